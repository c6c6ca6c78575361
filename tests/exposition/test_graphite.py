"""Graphite lines become samples; a bad line costs no other one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.exposition.graphite import PATH_BYTES_MAX, GraphiteParser
from tinyobs.model.labels import from_mapping, to_text
from tinyobs.model.registry import SeriesRegistry

NOW = 1_700_000_000_500


def read(body, parser=None, registry=None, **options):
    """Return ([(series, ms, value), ...], refused, problems)."""
    registry = SeriesRegistry() if registry is None else registry
    pushed = (parser or GraphiteParser(registry, **options)).parse(body, NOW)
    b = pushed.batch
    rows = zip(b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), strict=True)
    return [(to_text(registry.labels(r)), t, v) for r, t, v in rows], dict(pushed.refused), pushed.problems


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"a.b.c 1 1700000000", ("a_b_c", 1_700_000_000_000, 1.0)),
        (b"a.b;x=1;y=z 2.5 1700000000", ('a_b{x="1", y="z"}', 1_700_000_000_000, 2.5)),
        (b"a -1e3 1700000000.25", ("a", 1_700_000_000_250, -1000.0)),
        (b"a 1 -1", ("a", NOW, 1.0)),
        (b"a 1 N", ("a", NOW, 1.0)),
        (b"a 1", ("a", NOW, 1.0)),
        (b"  a\t 1  1700000000\r", ("a", 1_700_000_000_000, 1.0)),
        (b"9lives 1 1", ("_9lives", 1000, 1.0)),
        (b"a:b-c/d 1 1", ("a:b_c_d", 1000, 1.0)),
        (b"a;b.c=d 1 1", ('a{b_c="d"}', 1000, 1.0)),
        (b"a;b=c=d 1 1", ('a{b="c=d"}', 1000, 1.0)),
        ("a;b=Zürich 1 1".encode(), ('a{b="Zürich"}', 1000, 1.0)),
        (b"a inf 1", ("a", 1000, math.inf)),
        (b"a;x=1;x=2 1 1", ('a{x="2"}', 1000, 1.0)),
        (b"a 1 0", ("a", 0, 1.0)),
    ],
)
def test_a_line(line, expected):
    """Path, tags, value and time, as Carbon reads them; once by columns where it can be, and once by lines."""
    assert read(line) == ([expected], {}, ())
    assert read(line + b"\n\n")[0] == [expected]


@pytest.mark.parametrize(
    "line",
    [
        b"a",
        b"a 1 2 3",
        b"a x 1",
        b"a 1_0 1",
        b"a 0x10 1",
        b"a 1 x",
        b"a 1 1_0",
        b"a 1 1e300",
        b"a 1 nan",
        b";x=1 1 1",
        b"a;x 1 1",
        b"a;x= 1 1",
        b"a;=1 1 1",
        b"a; 1 1",
        b"\xff 1 1",
        b"a" * (PATH_BYTES_MAX + 1) + b" 1 1",
    ],
)
def test_a_line_that_cannot_be_read(line):
    """It is counted and named by its number; its neighbours stay."""
    rows, refused, problems = read(b"before 1 1\n" + line + b"\nafter 2 1\n")
    assert rows == [("before", 1000, 1.0), ("after", 1000, 2.0)]
    assert refused == {"malformed": 1}
    assert problems[0].startswith("line 2: ")
    assert len(problems[0]) < 300


def test_not_a_number():
    """Such values are left out, as Carbon does, and counted."""
    rows, refused, _ = read(b"a nan 1\nb 1 1\nc NaN 1\n")
    assert rows == [("b", 1000, 1.0)]
    assert refused == {"nan": 2}


def test_names_that_are_kept():
    """They stay as they are, those of tags as well."""
    assert read(b"a.b-c;x.y=1 1 1", keep_names=True)[0] == [('{"a.b-c", "x.y"="1"}', 1000, 1.0)]


def test_labels_that_are_added():
    """They win over tags of the same name."""
    assert read(b"a;x=1 1 1\nb 1 1", extra_labels=from_mapping({"x": "0", "y": "2"}))[0] == [
        ('a{x="0", y="2"}', 1000, 1.0),
        ('b{x="0", y="2"}', 1000, 1.0),
    ]


def test_a_rule_may_name_a_series():
    """Its labels, the name included, go before what is made of the path; tags stay."""
    rules = {"web.a.requests": from_mapping({"__name__": "requests", "host": "a"})}
    rows = read(b"web.a.requests;x=1 1 1\nother.path 1 1", map_path=rules.get)[0]
    assert [series for series, _, _ in rows] == ['requests{host="a", x="1"}', "other_path"]


def test_the_memory_of_paths_is_bounded_in_bytes(monkeypatch):
    """However long they are, and though a rule drops all of them."""
    monkeypatch.setattr("tinyobs.exposition.graphite.PATHS_BYTES_MAX", 1000)
    parser = GraphiteParser(SeriesRegistry(), map_path=lambda path: ())
    for i in range(50):
        assert read(b"p%d%s 1 1\n" % (i, b"x" * 100), parser)[1] == {"dropped_by_mapping": 1}
        assert len(parser._refs) <= 10


def test_many_paths_are_forgotten_together():
    """The memory is bounded, and what comes again is the same series."""
    registry = SeriesRegistry()
    parser = GraphiteParser(registry, paths_max=10)
    body = b"".join(b"m%d 1 1\n" % i for i in range(25))
    first = read(body, parser, registry)[0]
    assert read(body, parser, registry)[0] == first
    assert len(parser._refs) <= 10
    assert len(registry) == 25


LINES = st.lists(
    st.sampled_from(
        [
            b"a.b 1 1",
            b"a.b;x=1 2.5 1700000000",
            b"c 3 -1",
            b"bad",
            b"a x 1",
            b"",
            b"d nan 1",
            b" e 1",
            b";=",
            b"a 1 1_0",
        ]
    ),
    max_size=12,
)


@given(LINES, LINES)
@settings(derandomize=True, max_examples=300, deadline=None)
def test_lines_do_not_depend_on_each_other(first, second):
    """Two bodies one after the other say the same as both together."""
    registry = SeriesRegistry()
    parser = GraphiteParser(registry)
    apart = read(b"\n".join(first), parser, registry)[0] + read(b"\n".join(second), parser, registry)[0]
    together = read(b"\n".join([*first, *second]), None, registry)[0]
    assert together == apart


@given(st.binary(max_size=300), st.integers(0, 60))
@settings(derandomize=True, max_examples=500, deadline=None)
def test_any_bytes(noise, at):
    """Nothing fails, and lines before and after what cannot be read are there."""
    body = b"first 1 1\n" + noise.replace(b"\n", b"")[:at] + b"\nlast 2 1\n"
    rows = read(body)[0]
    assert rows[0] == ("first", 1000, 1.0)
    assert rows[-1] == ("last", 1000, 2.0)
