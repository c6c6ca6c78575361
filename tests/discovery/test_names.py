"""Names of labels made from names that others chose."""

from __future__ import annotations

import pytest

from tinyobs.discovery.names import sanitize_label_name


@pytest.mark.parametrize(
    ("name", "label"),
    [("fooClientLABEL", "fooClientLABEL"), ("barClient.LABEL$$##", "barClient_LABEL____"), ("1a/ü", "1a__"), ("", "")],
)
def test_foreign_characters_become_underscores(name: str, label: str) -> None:
    """One for each character, also where it has several bytes; a first digit stays."""
    assert sanitize_label_name(name) == label
