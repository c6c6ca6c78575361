"""Times and durations as Go writes them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.exposition.v1_times import (
    SECONDS_KEPT,
    ZERO,
    ZERO_MS,
    TimeReader,
    read_duration,
    read_time,
    write_duration,
    write_time,
    write_times,
)


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01T00:00:01.5Z", 1500),
        ("1970-01-01T00:00:01.123456789Z", 1123),
        ("1970-01-01T00:00:01.123456789", 1123),
        ("1970-01-01T01:00:01.1234+01:00", 1123),
        ("1969-12-31T22:30:00-01:30", 0),
        ("1970-01-01T00:00:01,25Z", 1250),
        (ZERO, ZERO_MS),
    ],
)
def test_times(text, time_ms):
    """RFC 3339 with any fraction and zone, or none, which is UTC."""
    assert read_time(text) == time_ms


@pytest.mark.parametrize(
    "text",
    ["", "now", "1970-01-01", "1970-01-01 00:00:01Z", "1970-01-01T00:00:01.Z", "1970-01-01T00:00:01z", "1970-13-01T00:00:01Z",
     "1970-01-01T00:00:61Z", "1970-01-01T00:00:01+1", "1970-01-01T00:00:01.٣٣٣Z", "19700101T000001Z", "1970-W01-1T00:00:00"],
)  # fmt: skip
def test_what_is_no_time(text):
    """Other forms are refused, those that Python would read as well."""
    with pytest.raises(ValueError):
        read_time(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2025-13-01T00:00:00Z", "'2025-13-01T00:00:00' is no time: month must be in 1..12"),
        ("2025-01-01T00:00:00 02:00", "+ is written %2B in a URL"),
        ("yesterday", "'yesterday' is no time such as 2025-01-31T08:00:00Z"),
    ],
)
def test_messages_about_times(text, message):
    """They quote what was given, and say what is wrong with it."""
    with pytest.raises(ValueError) as e:
        read_time(text)
    assert message in str(e.value)


def test_a_duration_beyond_all_numbers():
    """It is refused before it becomes one."""
    with pytest.raises(ValueError, match="longer than a duration"):
        read_duration("9" * 400 + "h")


def test_what_is_remembered_is_bounded():
    """Many seconds in one body take no more memory than few."""
    reader = TimeReader()
    for i in range(SECONDS_KEPT + 100):
        assert reader.read(write_time(i * 1000)) == i * 1000
    assert len(reader._seconds) <= SECONDS_KEPT


@given(st.integers(-(10**13), 10**14))
@settings(derandomize=True, max_examples=200)
def test_times_come_back(time_ms):
    """What is written is read as the same millisecond."""
    import numpy as np

    assert read_time(write_time(time_ms)) == time_ms
    assert read_time(write_times(np.array([time_ms]))[0]) == time_ms


@given(st.text(max_size=40))
@settings(derandomize=True, max_examples=300)
def test_any_text(text):
    """It is a time, or a `ValueError`."""
    for read in (read_time, read_duration):
        try:
            read(text)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("15s", 15_000), ("1m30s", 90_000), ("250ms", 250), ("1.5h", 5_400_000), (".5s", 500), ("2us", 0.002)],
)
def test_durations(text, milliseconds):
    """All units of Go."""
    assert read_duration(text) == pytest.approx(milliseconds)


@pytest.mark.parametrize("text", ["", "15", "s", "1d", "15 s", "1m-3s", "1,5s"])
def test_what_is_no_duration(text):
    """A number alone is none."""
    with pytest.raises(ValueError):
        read_duration(text)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (5, "5ms"), (1500, "1.5s"), (60_000, "1m0s"), (3_661_020, "1h1m1.02s"), (90_000_000, "25h0m0s")],
)
def test_durations_as_go_writes_them(milliseconds, text):
    """Hours are the largest unit."""
    assert write_duration(milliseconds) == text
