"""Environment variables in values."""

from __future__ import annotations

import pytest

from tinyobs.config.environment import EXPANDED_LENGTH_MAX, expand, expand_label

ENVIRONMENT = {"HOST": "db1", "EMPTY": "", "DOLLAR": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain $HOST $1 $$", "plain $HOST $1 $$"),
        ("${HOST}:${HOST}", "db1:db1"),
        ("${NOPE:-x y}${EMPTY:-z}", "x yz"),
        ("${EMPTY}", ""),
        ("${1} $${HOST} $$${HOST}", "${1} ${HOST} $${HOST}"),
        ("${DOLLAR}", "${HOST}"),
        ("${not closed", "${not closed"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    """Only `${NAME}` is a reference; what a variable holds is not looked at again."""
    assert expand(text, ENVIRONMENT) == expected


def test_an_unset_variable_is_a_fault() -> None:
    """Silence would make a wrong configuration."""
    with pytest.raises(ValueError, match="the environment variable 'NOPE' is not set"):
        expand("${NOPE}", ENVIRONMENT)


def test_expansion_is_bounded() -> None:
    """A value cannot grow beyond its limit."""
    with pytest.raises(ValueError, match="after expansion"):
        expand("${A}${A}", {"A": "x" * EXPANDED_LENGTH_MAX})


@pytest.mark.parametrize(
    ("text", "expected", "missing"),
    [
        ("$HOST-${HOST}", "db1-db1", []),
        ("$$HOST ${$}", "$HOST $", []),
        ("${NOPE}x", "x", ["NOPE"]),
        ("a$", "a$", []),
    ],
)
def test_external_labels(text: str, expected: str, missing: list[str]) -> None:
    """Labels know both notations; what is not set is nothing, and is named."""
    assert expand_label(text, ENVIRONMENT) == (expected, missing)
