"""Long lists are read one object after the other, as the `json` module would at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.builtin.kubernetes_sd.json_lists import read_list

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


@given(
    items=st.lists(OBJECTS, max_size=6) | st.none(),
    metadata=st.dictionaries(st.text(), st.text(), max_size=3),
    others=st.dictionaries(st.text().filter(lambda k: k not in ("items", "metadata")), VALUES, max_size=3),
    is_last=st.booleans(),
    indent=st.sampled_from([None, 0, 2]),
)
def test_lists(items: Any, metadata: Any, others: Any, is_last: bool, indent: int | None) -> None:
    """Whatever the order of the keys, the spaces between, and what else there is."""
    parts = {"metadata": metadata, **others, "items": items}
    if not is_last:
        parts = dict(reversed(parts.items()))
    data = json.dumps(parts, indent=indent).encode()
    assert read_list(b" " + data + b"\n", dict) == (metadata, items or [])


def test_items_are_read_at_once() -> None:
    """No object is there when the next is decoded, but what was made of it."""
    made: list[int] = []

    def read(item: Any) -> int:
        made.append(item["n"])
        return len(made)

    assert read_list(b'{"items": [{"n": 7}, 5, null, {"n": 8}]}', read) == ({}, [1, 2])
    assert made == [7, 8]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"items"',
        b'{"items": [{}',
        b'{"items": [{},]}',
        b'{"items": [{} {}]}',
        b'{"a": 1 "b": 2}',
        b"{'a': 1}",
        b"{1: 2}x",
        b'{"metadata": 5}',
        b"\xff",
        b'{"items": ' + b"[" * 100_000,
        b'{"items": [' + b'{"a":' * 100_000,
    ],
)
def test_what_is_no_list(data: bytes) -> None:
    """It is a `ValueError`, whatever it is."""
    with pytest.raises(ValueError):
        read_list(data, dict)
