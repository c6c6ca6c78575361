"""What may stand behind the series of a pushed line."""

from __future__ import annotations

import numpy as np
import pytest

from tinyobs.exposition.lexing import Malformed
from tinyobs.exposition.pushed_tail import read_pushed_tail, to_milliseconds
from tinyobs.exposition.tails import NO_TIMESTAMP

EXEMPLAR = (("trace_id", "x"),)


@pytest.mark.parametrize(
    ("tail", "value", "time"),
    [
        (b"1", 1.0, None),
        (b"1 1700000000123", 1.0, 1_700_000_000_123),
        (b"1 1700000000", 1.0, 1_700_000_000_000),
        (b"1 2147483647", 1.0, 2_147_483_647_000),
        (b"1 2147483648", 1.0, 2_147_483_648),
        (b"1 1700000000.1239", 1.0, 1_700_000_000_124),
        (b"1  1.7e9  ", 1.0, 1_700_000_000_000),
        (b"1 1.7e12", 1.0, 1_700_000_000_000),
        (b"1 -5", 1.0, -5000),
        (b"NaN 1700000000.5 # no exemplar", None, 1_700_000_000_500),
        (b"1 # anything { at all", 1.0, None),
        (b"1 #", 1.0, None),
        (b"1\t5 # x", 1.0, 5000),
    ],
)
def test_times_and_comments(tail, value, time):
    """Times are milliseconds or seconds, with or without a fraction; what follows `#` is a comment."""
    found, at, exemplar = read_pushed_tail(tail)
    assert (None if found != found else found, at, exemplar) == (value, time, None)


@pytest.mark.parametrize(
    ("tail", "time", "exemplar"),
    [
        (b'1 # {trace_id="x"} 2', None, (EXEMPLAR, 2.0, None)),
        (b'1 1700000000.5 # {trace_id="x"} 2 1.5 ', 1_700_000_000_500, (EXEMPLAR, 2.0, 1500)),
        (b'1 # {a="#"} 2', None, ((("a", "#"),), 2.0, None)),
    ],
)
def test_exemplars(tail, time, exemplar):
    """They are read as in OpenMetrics, whatever the content type was."""
    assert read_pushed_tail(tail) == (1.0, time, exemplar)


@pytest.mark.parametrize(
    ("tail", "at", "reason"),
    [
        (b"one", 0, "not a number"),
        (b"one # x", 0, "not a number"),
        (b"", 0, "expected value"),
        (b"# x", 0, "not a number"),
        (b"1 2 3", 4, "expected next entry"),
        (b"1 today", 2, "not a number"),
        (b"1 NaN", 2, "timestamp out of range"),
        (b"1 +Inf", 2, "timestamp out of range"),
        (b"1 1e30", 2, "timestamp out of range"),
        (b"1 99999999999999999999", 2, "timestamp out of range"),
        (b"1 # {trace_id=x} 2", 14, "expected label value"),
        (b'1 5 # {a="b"}', 13, "expected value after exemplar"),
        (b'1 5 # {a="b"} two', 14, "not a number"),
    ],
)
def test_faults_have_their_place(tail, at, reason):
    """In bytes from the beginning of the tail."""
    with pytest.raises(Malformed, match=reason) as e:
        read_pushed_tail(tail)
    assert e.value.at == at


def test_many_times_at_once():
    """The same rule for a column; what stands for no time stays."""
    times = np.array([1_700_000_000, 1_700_000_000_000, NO_TIMESTAMP, 0, -1], np.int64)
    assert to_milliseconds(times).tolist() == [1_700_000_000_000, 1_700_000_000_000, NO_TIMESTAMP, 0, -1000]
    large = times[1:3]
    assert to_milliseconds(large) is large
