"""Durations in the notation of Prometheus."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.durations import DURATION_MS_MAX, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("0", 0),
        ("0w", 0),
        ("0s", 0),
        ("324ms", 324),
        ("3s", 3_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("4d", 4 * 86_400_000),
        ("4d1h", 4 * 86_400_000 + 3_600_000),
        ("14d", 14 * 86_400_000),
        ("3w", 21 * 86_400_000),
        ("3w2d1h", 23 * 86_400_000 + 3_600_000),
        ("10y", 3650 * 86_400_000),
        ("1y2w3d4h5m6s7ms", 382 * 86_400_000 + 14_706_007),
    ],
)
def test_good_durations(text: str, duration_ms: int) -> None:
    """Every unit has its fixed length, and units add up."""
    assert parse_duration(text) == duration_ms


@pytest.mark.parametrize("text", ["1", "1y1m1d", "-1w", "1.5d", "d", "1s 1ms", "١s", "1d\n", "1S", "1msms"])
def test_bad_durations(text: str) -> None:
    """What is not in the notation is refused with the words of Prometheus."""
    with pytest.raises(ValueError, match="not a valid duration string"):
        parse_duration(text)


def test_an_empty_text_is_no_duration() -> None:
    """The empty text has a message of its own."""
    with pytest.raises(ValueError, match="empty duration string"):
        parse_duration("")


@pytest.mark.parametrize("text", ["294y", "200y10400w", "107675d", "2584200h", "9" * 10_000 + "ms"])
def test_too_long_durations(text: str) -> None:
    """More than 64 bits of nanoseconds is out of range, however it is written."""
    with pytest.raises(ValueError, match="duration out of range"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (60_000, "1m"),
        (90_000, "1m30s"),
        (90 * 86_400_000, "90d"),
        (14 * 86_400_000, "2w"),
        (365 * 86_400_000, "1y"),
        (366 * 86_400_000, "366d"),
        (-5_400_000, "-1h30m"),
    ],
)
def test_printing(duration_ms: int, text: str) -> None:
    """Weeks and years are printed only where nothing remains."""
    assert format_duration(duration_ms) == text


@settings(deadline=None)
@given(st.integers(0, DURATION_MS_MAX))
def test_printed_durations_read_back(duration_ms: int) -> None:
    """Printing loses nothing."""
    assert parse_duration(format_duration(duration_ms)) == duration_ms
