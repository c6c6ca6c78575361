"""Byte sizes in the notation of Prometheus."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.sizes import SIZE_BYTES_MAX, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("0B", 0),
        ("1B", 1),
        ("1KB", 1024),
        ("2MB3KB4B", (2 << 20) + (3 << 10) + 4),
        ("1.5MB", 1_572_864),
        ("1KiB", 1024),
        ("2MiB3KiB4B", (2 << 20) + (3 << 10) + 4),
        ("512MB", 512 << 20),
        ("+1GiB", 1 << 30),
        ("-1KB", -1024),
        (".5KB", 512),
    ],
)
def test_good_sizes(text: str, size_bytes: int) -> None:
    """KB and KiB are both 1024 bytes, and parts add up."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "-", "1", "1kB", "KB", "1KB1KiB", "1 KB", ".KB", "1KBx", "1..2KB", "9EB9EB", "x"])
def test_bad_sizes(text: str) -> None:
    """A unit is needed, must be known, and all parts use one family."""
    with pytest.raises(ValueError, match="units: "):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0B"), (25, "25B"), (1536, "1KiB512B"), (15 << 20, "15MiB"), (-1024, "-1KiB")]
)
def test_printing(size_bytes: int, text: str) -> None:
    """The largest unit comes first; parts that are zero are left out."""
    assert format_size(size_bytes) == text


@settings(deadline=None)
@given(st.integers(0, SIZE_BYTES_MAX))
def test_printed_sizes_read_back(size_bytes: int) -> None:
    """Printing loses nothing."""
    assert parse_size(format_size(size_bytes)) == size_bytes


@settings(deadline=None)
@given(st.text(alphabet="0123456789.KMGTPEiB+- x", max_size=12))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert abs(size) <= SIZE_BYTES_MAX
