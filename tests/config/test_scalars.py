"""Numbers, truth values and URLs as Go's YAML reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.config.scalars import read_bool, read_float, read_int, read_url


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("-5", -5), ("1_000", 1000), ("0x1F", 31), ("017", 15), ("0o17", 15), ("0b11", 3)]
)
def test_integers(text: str, value: int) -> None:
    """Decimal, hexadecimal, octal and binary, with underscores."""
    assert read_int(text) == value


@pytest.mark.parametrize("text", ["yes", "Y", "on", "True", "TRUE"])
def test_true(text: str) -> None:
    """All words of YAML 1.1."""
    assert read_bool(text) is True


@pytest.mark.parametrize("text", ["no", "N", "off", "False", "FALSE"])
def test_false(text: str) -> None:
    """All words of YAML 1.1."""
    assert read_bool(text) is False


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_int, "1.0", "expected an integer"),
        (read_int, "089", "expected an integer"),
        (read_int, "9" * 5000, "expected an integer"),
        (read_int, "0x", "expected an integer"),
        (read_int, "__", "expected an integer"),
        (read_float, "nan", "expected a number"),
        (read_float, "1e999", "expected a number"),
        (read_float, ".", "expected a number"),
        (read_bool, "yEs", "expected true or false"),
        (read_url, "host:80", "expected an http or https URL"),
        (read_url, "http://", "expected an http or https URL"),
        (read_url, "http://h:x/", "invalid URL"),
        (read_url, "http://[::1", "invalid URL"),
    ],
)
def test_refused(read: Callable[[str], Any], text: str, message: str) -> None:
    """Everything else is refused with what was expected."""
    with pytest.raises(ValueError, match=message):
        read(text)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes a reader fail in another way."""
    for read in (read_int, read_float, read_bool, read_url):
        with contextlib.suppress(ValueError):
            read(text)


@settings(deadline=None)
@given(st.integers(-(2**63), 2**64 - 1))
def test_integers_read_back(value: int) -> None:
    """All of 64 bits."""
    assert read_int(str(value)) == value
