"""Lines of Influx that are not always the same: with fields left out, in another order, of other types, in shuffled bodies."""

from __future__ import annotations

import itertools
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from influx_reference import read

from tinyobs.exposition import influx, influx_recall, influx_unions
from tinyobs.exposition.influx import InfluxDecoder, InfluxOptions
from tinyobs.exposition.influx_names import NameRules, Origin
from tinyobs.exposition.influx_times import Precision, one_to_ms, to_ms
from tinyobs.model.registry import SeriesRegistry

NOW = 1_790_000_123_456
KEYS = [b"cpu,host=a", b"cpu,host=b,cpu=cpu\\ total", b"m\xc3\xbc,t=w\\,x", b"disk", b"bad,tag", b"sys,q=C:\\Temp"]
NAMES = [b"user", b"load1", b"load15", b"x\\=y", b"a\\ b", b"name_of_more_than_thirty_two_bytes_in_all", b"\xc3\xbc"]
VALUES = [
    b"1",
    b"-0.0",
    b"7i",
    b"3u",
    b"t",
    b"98.49246231155778",
    b"1e-5",
    b"-9223372036854775808i",
    b'"s"',
    b'"x, y=1 z"',
    b"oops",
]
UNITS = {Precision.NANOSECONDS: 10**9, Precision.MICROSECONDS: 10**6, Precision.MILLISECONDS: 1000, Precision.SECONDS: 1, Precision.AUTO: 10**9}  # fmt: skip
FULL = b"".join(b"m,h=%d a=1,bb=2,c=3,d=4 10\n" % i for i in range(20))


@pytest.fixture(params=["small", "bulk", "pieces"])
def way(request, monkeypatch):
    """Read bodies in each of the ways."""
    monkeypatch.setattr(influx, "SMALL_BYTES_MAX", 1 << 20 if request.param == "small" else -1)
    monkeypatch.setattr(influx, "PIECE_BYTES", 300 if request.param == "pieces" else 1 << 18)


@pytest.fixture
def in_bulk(monkeypatch):
    """Read all bodies in bulk."""
    monkeypatch.setattr(influx, "SMALL_BYTES_MAX", -1)


def body_of(rng: random.Random, unit: int) -> bytes:
    """Return lines of some senders in no order: most with some of their fields, a few with others, or twice."""
    lines = []
    odd = rng.random() < 0.5
    for key in rng.sample(KEYS[:4] if not odd else KEYS, 4):
        names = [n for n in NAMES if rng.random() < 0.8] or NAMES[:1]
        if rng.random() < 0.2:
            rng.shuffle(names)
        if odd and rng.random() < 0.1:
            names.append(names[0])
        values = VALUES if odd else VALUES[:7]
        fields = b",".join(n + b"=" + rng.choice(values) for n in names)
        time = b" %d" % ((NOW // 1000 + rng.randrange(3)) * unit) if rng.random() < 0.9 or not odd else b""
        lines += [key + b" " + fields + time] * rng.choice((1, 1, 1, 2))
    rng.shuffle(lines)
    return b"\n".join(lines) + rng.choice((b"", b"\n"))


@pytest.mark.parametrize("rules", [NameRules(), NameRules(skip_single_field=True)], ids=["usual", "single"])
@pytest.mark.parametrize("series_max", [30, 100, 1_000_000])
def test_each_way_gives_what_reading_with_care_gives(way, rules, series_max, monkeypatch):
    """Bit by bit, and the same lines of faults, whatever was there before, and however little may be remembered."""
    rng = random.Random(series_max)
    monkeypatch.setattr(influx_unions, "NAMES_MAX", 6 if series_max < 1000 else 1000)
    registry = SeriesRegistry()
    decoder = InfluxDecoder(registry, rules, series_max)
    for _ in range(150):
        precision = rng.choice(list(UNITS))
        options = InfluxOptions(NOW, precision, Origin(rng.choice(("", "db"))), rng.choice((1, 1000)))
        body = body_of(rng, UNITS[precision])
        expected, refused, strings = read(body, options, rules)
        pushed = decoder.decode(body, options)
        batch = pushed.batch
        columns = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True)
        found = [(registry.labels(r), t, struct.pack("d", v)) for r, t, v in columns]
        assert found == [(s, t, struct.pack("d", v)) for s, t, v in expected]
        assert [int(p.rpartition("line ")[2][:-1]) for p in pushed.problems] == refused[: len(pushed.problems)]
        assert (pushed.refused.get("malformed", 0), pushed.refused.get("string_field", 0)) == (len(refused), strings)


def test_lines_with_fewer_fields_than_before_are_not_learnt(in_bulk, monkeypatch):
    """Nor are those that have them in another order, or as other types."""
    decoder = InfluxDecoder(SeriesRegistry())
    first = decoder.decode(FULL, InfluxOptions(NOW)).batch.refs.reshape(-1, 4)
    entries = len(decoder.memory)
    monkeypatch.setattr(decoder.memory, "_learn", None)
    for fields, places in (
        (b"a=1,c=t", [0, 2]),
        (b"d=4i,a=1", [3, 0]),
        (b"bb=-2.5", [1]),
        (b"d=1,c=2,bb=3,a=4", [3, 2, 1, 0]),
    ):
        body = FULL.replace(b"a=1,bb=2,c=3,d=4", fields)
        assert decoder.decode(body, InfluxOptions(NOW)).batch.refs.reshape(20, -1).tolist() == first[:, places].tolist()
    assert len(decoder.memory) == entries


def test_a_key_gets_more_and_more_names(in_bulk):
    """What it has is then known in any combination; beyond the most names it is still read."""
    decoder = InfluxDecoder(SeriesRegistry())
    names = [b"f%d" % i for i in range(40)]
    refs = {}
    for a, b in itertools.pairwise(names):
        found = decoder.decode(b"m,h=1 %b=1,%b=2 10\n" % (a, b), InfluxOptions(NOW)).batch.refs.tolist()
        assert refs.setdefault(a, found[0]) == found[0]
        assert refs.setdefault(b, found[1]) == found[1]
    memory = decoder.memory
    memory._learn = None  # type: ignore[method-assign,assignment]
    some = random.Random(3).sample(names, 20)
    body = b"m,h=1 " + b",".join(n + b"=1" for n in some) + b" 10\n"
    assert decoder.decode(body, InfluxOptions(NOW)).batch.refs.tolist() == [refs[n] for n in some]


def test_shapes_are_forgotten_and_found_out_again(in_bulk, monkeypatch):
    """Their memory is bounded; what comes of a line is the same."""
    monkeypatch.setattr(influx_unions, "PLACES_MAX", 0)
    decoder = InfluxDecoder(SeriesRegistry())
    first = decoder.decode(FULL, InfluxOptions(NOW)).batch.refs.reshape(-1, 4)
    for _ in range(3):
        body = FULL.replace(b"bb=2,", b"")
        assert (
            decoder.decode(body, InfluxOptions(NOW)).batch.refs.reshape(-1, 3).tolist() == first[:, [0, 2, 3]].tolist()
        )
    assert len(decoder.memory._unions._places) == 1


def test_a_line_of_very_many_fields_has_a_shape_of_its_own(in_bulk):
    """There are as many factors as the longest line needs, and more do not change what was known."""
    decoder = InfluxDecoder(SeriesRegistry())
    long = b"long " + b",".join(b"f%d=%d" % (i, i) for i in range(300)) + b" 10\n"
    for _ in range(2):
        batch = decoder.decode(FULL + long, InfluxOptions(NOW)).batch
        assert batch.values[80:].tolist() == list(range(300))
        assert len(set(batch.refs.tolist())) == 380


def test_a_small_body_that_came_before_is_taken_apart_at_once(monkeypatch):
    """In any order; with strings as well."""
    lines = [b'm,h=%d a=%d,bb=2.5,s="x y",c=3i 10' % (i, i) for i in range(5)]
    decoder = InfluxDecoder(SeriesRegistry())
    before = decoder.decode(b"\n".join(lines), InfluxOptions(NOW)).batch
    monkeypatch.setattr(influx_recall, "_taken_apart", None)
    random.Random(1).shuffle(lines)
    pushed = decoder.decode(b"\n".join(lines) + b"\n", InfluxOptions(NOW))
    assert sorted(zip(pushed.batch.refs.tolist(), pushed.batch.values.tolist(), strict=True)) == sorted(
        zip(before.refs.tolist(), before.values.tolist(), strict=True)
    )
    assert pushed.refused == {"string_field": 5}


@pytest.mark.parametrize(
    "body",
    [b"m a=1\nm b=1 2 3\n", b"m a=1 1\n\nm a=1 1\n", b"m a=1 \nm a=1 1\n", b"m a=1 1\nm a=1,b 1", b"m a=1=2 1\nm a=1 1", b"m  a=1 1\nm a=1", b"m a=1 x\nm a=1 1", b" ", b"", b"\n", b"m a=1 1 \n"],
)  # fmt: skip
def test_bodies_that_only_look_even_are_read_line_by_line(body):
    """Spaces and line breaks may be as many as they should be, and stand elsewhere."""
    registry = SeriesRegistry()
    decoder = InfluxDecoder(registry)
    decoder.decode(b"m a=1 1\nm b=1 2\n1 a=1 1\n", InfluxOptions(NOW))
    expected, refused, _ = read(body, InfluxOptions(NOW), NameRules())
    pushed = decoder.decode(body, InfluxOptions(NOW))
    batch = pushed.batch
    columns = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True)
    assert [(registry.labels(r), t, v) for r, t, v in columns] == expected
    assert pushed.refused.get("malformed", 0) == len(refused)


@given(
    st.one_of(st.integers(0, 2**63 - 1), st.sampled_from([0, 1, 10**11 - 1, 10**11, 10**14 - 1, 10**14, 10**17 - 1, 10**17, 2**63 - 1])),
    st.sampled_from(list(Precision)),
    st.sampled_from([1, 1000, 60_000]),
)  # fmt: skip
@settings(derandomize=True, max_examples=500, deadline=None)
def test_one_time_is_told_as_many_are(time, precision, trim_ms):
    """Whatever it counts, and however it is trimmed."""
    import numpy as np

    times, told = to_ms(np.array([time]), precision, NOW, trim_ms)
    assert one_to_ms(time, precision, NOW, trim_ms) == (int(times[0]) if told[0] else None)
