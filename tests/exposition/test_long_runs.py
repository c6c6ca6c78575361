"""Long runs of one character that end badly are refused in one pass.

Patterns that may part such a run in several ways try all of them, which takes minutes or for ever where one pass takes a
millisecond: a test here that regresses does not end.
"""

from __future__ import annotations

import pytest

from tinyobs.exposition.floats import parse_float
from tinyobs.exposition.graphite import GraphiteParser
from tinyobs.exposition.influx_line import BadLine, parse_line
from tinyobs.exposition.v1_times import read_duration
from tinyobs.model.registry import SeriesRegistry

COUNT = 64 << 10


@pytest.mark.parametrize("text", [b"1" * COUNT, b"1" * COUNT + b".", b"." + b"1" * COUNT, b"1e" + b"1" * COUNT])
@pytest.mark.parametrize("end", [b"x", b"e", b".."])
def test_numbers(text, end):
    """Digits, wherever they stand in a number."""
    with pytest.raises(ValueError, match=r"not a number"):
        parse_float(text + end)
    with pytest.raises(BadLine):
        parse_line(b"m f=" + text + end)


@pytest.mark.parametrize("line", [b"m " + b"\\" * COUNT, b"m f" + b"\\=" * COUNT, b'm "' + b"\\" * COUNT + b" x"])
def test_names_of_influx_fields(line):
    """Backslashes without the equals sign that ends a name."""
    with pytest.raises(BadLine, match="invalid field format"):
        parse_line(line)


def test_an_equals_sign_behind_a_backslash():
    """It belongs to the name, and does not end it."""
    with pytest.raises(BadLine, match="invalid field format"):
        parse_line(b"m f\\=1")
    assert parse_line(b"m f\\==1").fields == ((b"f\\=", 1.0),)


def test_lines_of_graphite():
    """The lines around stay."""
    pushed = GraphiteParser(SeriesRegistry()).parse(b"a 1 1\nb " + b"1" * COUNT + b"x 1\nc 1 1\n", 0)
    assert len(pushed.batch) == 2
    assert pushed.refused == {"malformed": 1}


def test_durations():
    """No duration has so many digits."""
    with pytest.raises(ValueError, match="longer than a duration"):
        read_duration("1" * COUNT)
