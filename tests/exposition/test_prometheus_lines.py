"""Pushed Prometheus text: every line stands for itself."""

from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tinyobs.exposition.prometheus_lines import LineMemory, LineReader, pieces
from tinyobs.model.labels import to_text
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry

NOW = 1_700_000_000_000


def read(body, memory=None, registry=None, **options):
    """(rows, pushed) of a body: series in PromQL notation, time, value."""
    registry = SeriesRegistry() if registry is None else registry
    reader = LineReader(registry, memory or LineMemory(), now_ms=NOW, **options)
    pushed = reader.read(body)
    return rows_of(pushed, registry), pushed, reader


def rows_of(pushed, registry):
    b = pushed.batch
    columns = zip(b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), strict=True)
    return [(to_text(registry.labels(ref)), at, value) for ref, at, value in columns]


def test_lines_with_and_without_times():
    """A missing time is that of the request; a series may have many samples."""
    rows, pushed, _ = read(b'm 1\nm{a="x y"} 2 5\n\n# a comment\nm 3 6\n  n\t4\n')
    assert rows == [("m", NOW, 1.0), ('m{a="x y"}', 5000, 2.0), ("m", 6000, 3.0), ("n", NOW, 4.0)]
    assert not pushed.refused


@pytest.mark.parametrize("again", [False, True])
def test_bad_lines_are_named_and_good_ones_stay(again):
    """Also where all beginnings are known already, and values are read in bulk."""
    registry, memory = SeriesRegistry(), LineMemory()
    if again:
        read(b"m 1\nn 1\no 1\n", memory, registry)
    rows, pushed, _ = read(b'm 1\nn one\nm{ 2\no 3 yesterday\no 4 9\n{} 1\nm{a="\xff"} 1\nm 5\r\n', memory, registry)
    assert [(s, v) for s, _, v in rows] == [("m", 1.0), ("o", 4.0), ("m", 5.0)]
    assert pushed.refused == {"malformed": 5}
    told = sorted(int(p.split()[1].rstrip(",")) for p in pushed.problems)
    assert told == [2, 3, 4, 6, 7]
    assert any("line 2, column 3: not a number" in p for p in pushed.problems)


def test_what_is_known_is_read_alike():
    """A second body with the same memory says the same as the first."""
    body = b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_count 2\na{b="c"} 5 1700000000001\n'
    registry, memory = SeriesRegistry(), LineMemory()
    first, pushed, _ = read(body, memory, registry)
    assert first[0][0] == 'h_bucket{le="1.0"}'
    assert pushed.batch.metadata == {"h": MetricMetadata(MetricType.HISTOGRAM)}
    assert read(body, memory, registry)[0] == first
    plain = read(b'h_bucket{le="1"} 1\n', memory, registry)[0]
    assert plain[0][0] == 'h_bucket{le="1"}'


def test_lines_as_targets_of_openmetrics_write_them():
    """Seconds and exemplars are read where the content type was lost, in bulk and one by one; so is a byte order mark."""
    stamped = b"\xef\xbb\xbfm 1 1700000000\nm 2 1700000001\n"
    assert read(stamped)[0] == [("m", 1_700_000_000_000, 1.0), ("m", 1_700_000_001_000, 2.0)]
    rows, pushed, _ = read(stamped + b'm 3 1700000002.5 # {trace_id="x"} 9 1700000002\nm 4 # a comment\n# EOF\n')
    assert [at for _, at, _ in rows] == [1_700_000_000_000, 1_700_000_001_000, 1_700_000_002_500, NOW]
    (exemplar,) = pushed.batch.exemplars
    assert (exemplar.labels, exemplar.value, exemplar.timestamp_ms) == ((("trace_id", "x"),), 9.0, 1_700_000_002_000)
    assert not pushed.refused


@pytest.mark.parametrize(("name", "got"), [(b"my.name", "."), (b"my-name", "-"), ("naïve".encode(), "ï")])
def test_names_with_other_characters(name, got):
    """The message says which character it is, where, and how such names are written."""
    _, pushed, _ = read(b"n 1\n" + name + b" 1\n")
    place = len(re.match(rb"[a-z]+", name)[0]) + 1
    (problem,) = pushed.problems
    assert problem.startswith(
        f'line 2, column {place}: expected a blank or a brace behind the metric name, got "{got}"'
    )
    assert read(b'{"' + name + b'"} 1\n')[0][0][2] == 1.0


def test_labels_that_are_added():
    """Those of a path win over others that are added, and these over a series' own."""
    rows, _, _ = read(b'm{job="b",site="s"} 1\n', forced=(("job", "a"),), added=(("site", "t"), ("x", "y")))
    assert rows[0][0] == 'm{job="a", site="t", x="y"}'


def test_openmetrics():
    """Times are seconds, exemplars are kept, and the end must be there."""
    body = b'# TYPE c counter\n# HELP c Counts.\n# UNIT c \nc_total 5 1.5 # {trace="a"} 2 1.25\ng 1\n# EOF\n'
    rows, pushed, reader = read(body, openmetrics=True)
    assert rows == [("c_total", 1500, 5.0), ("g", NOW, 1.0)]
    (exemplar,) = pushed.batch.exemplars
    assert (exemplar.labels, exemplar.value, exemplar.timestamp_ms) == ((("trace", "a"),), 2.0, 1250)
    assert pushed.batch.metadata["c"].help == "Counts."
    assert not reader.end().refused
    behind = reader.read(b"m 1\n")
    assert behind.refused == {"malformed": 1}
    assert "after # EOF" in behind.problems[0]
    _, _, cut = read(b"g 1\n", openmetrics=True)
    assert "does not end with # EOF" in cut.end().problems[0]


def test_metadata_that_cannot_be():
    """It is named as well, and costs no sample."""
    rows, pushed, _ = read(b"# TYPE m something\nm 1\n# HELP  \n# TYPE m gauge\nm 2\n")
    assert [v for _, _, v in rows] == [1.0, 2.0]
    assert [p.split(":")[0] for p in pushed.problems] == ["line 1, column 8", "line 3, column 9"]


def test_special_values():
    """As targets expose them."""
    rows, _, _ = read(b"a NaN\nb +Inf\nc -Inf\nd 1e-300\n")
    assert math.isnan(rows[0][2])
    assert [v for _, _, v in rows[1:]] == [math.inf, -math.inf, 1e-300]


def test_memory_is_bounded():
    """Beyond the bound all is forgotten, and comes back."""
    registry, memory = SeriesRegistry(), LineMemory(10)
    for i in range(30):
        rows, _, _ = read(f"m{i} 1\n".encode(), memory, registry)
        assert rows == [(f"m{i}", NOW, 1.0)]
        assert memory._count <= 10


def test_pieces_are_whole_lines():
    """Together they are the body; the numbers of lines go on."""
    body = b"".join(b"m%d 1\n" % i for i in range(100)) + b"bad\nm 2"
    parts = list(pieces(body, 64))
    assert b"".join(parts) == body
    assert len(parts) > 5
    reader = LineReader(SeriesRegistry(), LineMemory(), now_ms=NOW)
    pushed = [reader.read(part) for part in parts]
    assert sum(len(p.batch) for p in pushed) == 101
    assert next(p.problems for p in pushed if p.problems)[0].startswith("line 101,")


def test_a_line_that_is_too_long():
    """It is passed over."""
    rows, pushed, _ = read(b'm{a="' + b"x" * (1 << 20) + b'"} 1\nn 1\n')
    assert rows == [("n", NOW, 1.0)]
    assert "longer than" in pushed.problems[0]


GOOD = [b"m 1", b'm{a="b"} 2 5', b"# TYPE m gauge", b"# HELP m text", b"n 3", b'h_bucket{le="1"} 2', b"o NaN 7"]


@seed(7)
@settings(max_examples=150)
@given(st.lists(st.one_of(st.sampled_from(GOOD), st.binary(max_size=30)), max_size=12), st.booleans())
def test_neighbours_of_anything_stay(lines, openmetrics):
    """Whatever bytes stand between good lines, these are read, and every other line is at most one fault."""
    lines = [line.replace(b"\n", b"") for line in lines if b"EOF" not in line]
    marked = []
    for i, line in enumerate(lines):
        marked += [line, b'good{i="%d"} 1' % i]
    rows, pushed, _ = read(b"\n".join(marked) + b"\n", openmetrics=openmetrics)
    assert sum(s.startswith("good{") for s, _, _ in rows) >= len(lines)
    assert sum(pushed.refused.values()) <= len(lines)


def test_mutated_bodies():
    """Bytes changed anywhere raise nothing, and cost no more than the lines they stand in."""
    rng = random.Random(11)
    body = b"\n".join(GOOD * 4) + b"\n"
    whole = len(read(body)[0])
    registry, memory = SeriesRegistry(), LineMemory()
    for _ in range(400):
        changed = bytearray(body)
        changed[rng.randrange(len(body))] = rng.randrange(256)
        rows, pushed, _ = read(bytes(changed), memory, registry)
        assert len(rows) >= whole - 2
        assert sum(pushed.refused.values()) <= 2
