"""The bulk way of the Influx line protocol gives what reading line by line gives, whatever the bytes are."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from influx_reference import read

from tinyobs.exposition import influx
from tinyobs.exposition.influx import InfluxDecoder, InfluxOptions
from tinyobs.exposition.influx_names import NameRules, Origin
from tinyobs.exposition.influx_times import Precision
from tinyobs.model.registry import SeriesRegistry

OPTIONS = InfluxOptions(1_790_000_123_456, Precision.AUTO, Origin("db1", (("extra", "x"),)), 1)
RULES = [NameRules(), NameRules(skip_single_field=True), NameRules(keep_names=False, skip_measurement=True)]
QUICK = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

names = st.sampled_from(
    [b"cpu", b"a\\ b", b"c\\,d", b"x\\=y", b"p\\\\", b"q\\", b"\xc3\xbc", b"\xff", b"", b"long" * 30, b"a.b-c", b"#h"]
)
tags = st.one_of(
    st.builds(lambda n, v: b"," + n + b"=" + v, names, names),
    st.sampled_from([b",", b",host", b",=a", b",a==b", b",h=\xff"]),
)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(lambda v: repr(v).encode()),
    st.integers(-(10**20), 10**20).map(lambda v: b"%d" % v),
    st.integers(-(10**20), 10**20).map(lambda v: b"%di" % v),
    st.decimals(-(10**9), 10**9, places=3).map(lambda v: str(v).encode()),
    st.sampled_from([b"1", b"0i", b"5u", b"-5u", b"t", b"False", b"nope", b"", b"NaN", b"1e400", b".5", b"5.", b"+1", b"1.2.3", b"1=2"]),
)  # fmt: skip
strings = st.one_of(
    st.text('ab ,=\\#"', max_size=6).map(lambda s: b'"%s"' % s.replace("\\", "\\\\").replace('"', '\\"').encode()),
    st.sampled_from([b'""', b'"x"', b'"a, b=2 c"', b'"C:\\Temp"', b'"x"y', b'"x""y"', b'"="', b'"\xff"', b'" # "']),
)  # fmt: skip
fields = st.builds(lambda n, v: n + b"=" + v, names, st.one_of(numbers, numbers, strings))
stamps = st.one_of(
    st.just(b""), st.integers(-(2**64), 2**64).map(lambda t: b" %d" % t),
    st.just(b" 1790000000000000000"), st.sampled_from([b" ", b"  ", b" x", b" 1 2", b"\t1"]),
)  # fmt: skip


def _line(name, some_tags, some_fields, stamp, end):
    return name + b"".join(some_tags) + b" " + b",".join(some_fields) + stamp + end


lines = st.one_of(
    st.builds(
        _line, names, st.lists(tags, max_size=3), st.lists(fields, min_size=1, max_size=4), stamps,
        st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \n"]),
    ),
    st.sampled_from([b"# comment, a=1 v=2\n", b"\n", b"  \n", b" # c\n", b"cpu\n", b"  cpu v=1\n", b"cpu  v=1  1790000000\n", b"\r\n"]),
    st.binary(max_size=30).map(lambda b: b.replace(b'"', b"'") + b"\n"),
)  # fmt: skip
bodies = st.lists(lines, max_size=12).map(b"".join)


def compare(body: bytes, rules: NameRules, decoder: InfluxDecoder, registry: SeriesRegistry) -> None:
    """Check a body in which no string goes beyond its line."""
    expected, refused, strings = read(body, OPTIONS, rules)
    pushed = decoder.decode(body, OPTIONS)
    batch = pushed.batch
    columns = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True)
    assert [(registry.labels(r), t, v) for r, t, v in columns] == expected
    assert pushed.refused.get("malformed", 0) == len(refused)
    assert pushed.refused.get("string_field", 0) == strings
    for number, problem in zip(refused, pushed.problems, strict=False):
        assert problem.endswith(f"(line {number})")


@pytest.mark.parametrize("rules", RULES, ids=["usual", "single", "underscores"])
@pytest.mark.parametrize("piece", [0, 1, 64, 1 << 18])
@given(data=st.data())
@QUICK
def test_both_ways_agree(rules, piece, data):
    """Samples, order, and the numbers of refused lines are the same, when series are new and when they are known."""
    before = influx.PIECE_BYTES, influx.SMALL_BYTES_MAX
    influx.PIECE_BYTES, influx.SMALL_BYTES_MAX = piece, -1 if piece else before[1]  # 0: as a small body
    try:
        registry = SeriesRegistry()
        decoder = InfluxDecoder(registry, rules, 20)
        body = data.draw(bodies)
        for _ in range(2):
            compare(body, rules, decoder, registry)
    finally:
        influx.PIECE_BYTES, influx.SMALL_BYTES_MAX = before


@pytest.mark.parametrize("small_bytes_max", [-1, 1 << 20])
def test_damaged_bodies(small_bytes_max, monkeypatch):
    """Bytes of a good body that are changed, cut or doubled cost no more than the lines that they are in."""
    monkeypatch.setattr(influx, "SMALL_BYTES_MAX", small_bytes_max)
    rng = random.Random(11)
    good = b"".join(
        b"cpu,host=h%d,core=%d user=%d.5,sys=%di,on=true,idle=98.49246231155778 17900000000%09d\n" % (i, i % 4, i, i, i)
        for i in range(40)
    )
    registry = SeriesRegistry()
    decoder = InfluxDecoder(registry, NameRules())
    compare(good, NameRules(), decoder, registry)
    for _ in range(300):
        body = bytearray(good)
        for _ in range(rng.choice((1, 3, 20))):
            at = rng.randrange(len(body))
            kind = rng.randrange(3)
            if kind == 0:
                body[at] = rng.choice(b' ,=\\\n\r#\t0i"\xff\x00x') if rng.random() < 0.8 else rng.randrange(256)
            elif kind == 1:
                del body[at : at + rng.randrange(1, 10)]
            else:
                body[at:at] = body[at : at + rng.randrange(1, 10)]
        compare(bytes(body).replace(b'"', b"'"), NameRules(), decoder, registry)


@given(body=st.lists(st.one_of(lines, st.binary(max_size=20), st.sampled_from([b'a s="x', b'a s="x"\n', b'",v=1\n', b'\\"'])), max_size=12))  # fmt: skip
@QUICK
def test_bodies_with_quotes_never_cost_a_neighbour(body):
    """Whatever stands between them, lines before and behind that have no part in a string are there, both ways alike."""
    decoder = InfluxDecoder(SeriesRegistry())
    text, before = b"first v=1 1\n" + b"".join(body) + b"\nlast v=2 1\n", influx.SMALL_BYTES_MAX
    found = []
    for influx.SMALL_BYTES_MAX in (-1, before):
        pushed = decoder.decode(text, OPTIONS)
        found.append((pushed.batch.refs.tolist(), pushed.batch.values.tolist(), pushed.refused, pushed.problems))
    assert found[0] == found[1]
    pushed = decoder.decode(b"first v=1 1\n" + b"".join(body) + b"\nlast v=2 1\n", OPTIONS)
    assert float(pushed.batch.values[0]) == 1.0
    if b'"' not in b"".join(body):
        assert float(pushed.batch.values[-1]) == 2.0


def test_pieces_of_a_body_have_its_samples_and_its_faults(monkeypatch):
    """In order, each once, whatever strings go beyond a piece; the lines of faults are those of the body."""
    monkeypatch.setattr(influx, "PIECE_BYTES", 100)
    some = [b'a,h=%d v=%d,s="x y" 1\n', b"b,h=%d v=%d 1\n", b'c,h=%d v=%d,s="two\nlines, v=2" 1\n', b"bad,%d%d\n"]
    body = b"".join(some[i % 4] % (i, i) for i in range(1000))
    whole, parts = InfluxDecoder(SeriesRegistry()), InfluxDecoder(SeriesRegistry())
    expected = whole.decode(body, OPTIONS)
    pieces = list(parts.decode_pieces(body, OPTIONS, 2000))
    assert len(pieces) > 10
    assert max(len(piece.batch) for piece in pieces) < 200
    assert [v for piece in pieces for v in piece.batch.values.tolist()] == expected.batch.values.tolist()
    for reason, count in expected.refused.items():
        assert sum(piece.refused.get(reason, 0) for piece in pieces) == count
    first = [problem for piece in pieces for problem in piece.problems][: len(expected.problems)]
    assert first == list(expected.problems)
