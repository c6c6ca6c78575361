"""The protobuf parser against a plain reading, over bodies that change step by step, and against noise."""

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protobuf_bodies import body_of, expected, family_of, samples_of

from tinyobs.errors import WireError
from tinyobs.exposition.client_schema import COUNTER, GAUGE, SUMMARY, UNTYPED
from tinyobs.exposition.histogram_rules import HistogramRules
from tinyobs.exposition.protobuf_parser import ProtobufParser
from tinyobs.exposition.writer_protobuf import write_protobuf
from tinyobs.model.families import MetricFamily, Point
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricType

VALUES = st.sampled_from([0.0, 1.0, -2.5, 1e300, float("inf"), 12345.678])
COUNTS = st.sampled_from([0, 1, 127, 128, 2**40])
TIMES = st.sampled_from([{}, {}, {"created_timestamp": {"seconds": 17, "nanos": 1_000_000}}])
LABELS = st.sampled_from([{}, {"a": "b"}, {"a": "c", "d": ""}, {"z": "ü", "a": "b"}])


@st.composite
def histograms(draw):
    """A histogram: classic, native, of floats, or both."""
    bounds = draw(st.sampled_from([(), (0.1, 5.0), (1.0, 2.0, float("inf"))]))
    counts = sorted(draw(COUNTS) for _ in bounds)
    made = {
        "sample_sum": draw(VALUES),
        "bucket": [{"upper_bound": b, "cumulative_count": c} for b, c in zip(bounds, counts, strict=True)],
        **draw(TIMES),
    }
    if not draw(st.booleans()):
        return {**made, "sample_count": draw(COUNTS)}
    lengths = draw(st.lists(st.integers(0, 3), max_size=3))
    offsets = [draw(st.integers(-4, 4)) if i == 0 else draw(st.integers(0, 4)) for i, _ in enumerate(lengths)]
    absolute = [draw(st.integers(0, 200)) for _ in range(sum(lengths))]
    made["positive_span"] = [{"offset": o, "length": n} for o, n in zip(offsets, lengths, strict=True)]
    made |= {"schema": draw(st.integers(-4, 8)), "zero_threshold": 0.5}
    if draw(st.booleans()):
        return {**made, "sample_count_float": sum(absolute) + 0.5, "positive_count": [float(c) for c in absolute]}
    deltas = [b - a for a, b in zip([0, *absolute], absolute, strict=False)]
    return {**made, "sample_count": sum(absolute) + 3, "zero_count": 3, "positive_delta": deltas}


@st.composite
def metrics(draw, type_):
    """One metric of a type, without labels."""
    made = {"timestamp_ms": 99} if draw(st.integers(0, 7)) == 0 else {}
    if type_ == COUNTER:
        return {**made, "counter": {"value": draw(VALUES), **draw(TIMES)}}
    if type_ in (GAUGE, UNTYPED):
        field = draw(st.sampled_from(["gauge" if type_ == GAUGE else "untyped"] * 5 + ["counter"]))
        return {**made, field: {"value": draw(VALUES)} if draw(st.integers(0, 5)) else {}}
    if type_ == SUMMARY:
        quantiles = [{"quantile": q, "value": draw(VALUES)} for q in draw(st.sampled_from([(), (0.5, 1.0)]))]
        return {
            **made,
            "summary": {"sample_count": draw(COUNTS), "sample_sum": 1.5, "quantile": quantiles, **draw(TIMES)},
        }
    return {**made, "histogram": draw(histograms())}


@st.composite
def bodies(draw):
    """Bodies of one target, in which families and metrics come, go and change."""
    kinds = {name: draw(st.integers(0, 5)) for name in "abcde"}
    out = []
    for _ in range(draw(st.integers(2, 5))):
        if out and draw(st.booleans()):
            names = [f.name for f in out[-1]]
        else:
            names = draw(st.lists(st.sampled_from("abcde"), unique=True))
        families = []
        for name in names:
            found = draw(st.lists(LABELS, min_size=1, max_size=3, unique_by=lambda x: from_mapping(x)))
            families.append(family_of(name, kinds[name], [{"labels": x, **draw(metrics(kinds[name]))} for x in found]))
        out.append(families)
    return out


@settings(max_examples=150, deadline=None)
@given(bodies(), st.booleans(), st.booleans())
def test_bodies_are_read_as_the_plain_reader_reads_them(found, native, always_classic):
    """Whatever came before, a body yields the same samples in the same order; numbers never change their meaning."""
    parser, labels = ProtobufParser(HistogramRules(native, always_classic)), {}
    for families in found:
        parsed = parser.parse(body_of(*families))
        assert samples_of(parsed, labels) == expected(families, native, always_classic)


@settings(max_examples=100, deadline=None)
@given(bodies(), st.integers(0, 2**32), st.integers(1, 4))
def test_noise_is_read_or_refused(found, seed, changes):
    """A body with bytes changed, cut or added is read or refused, never anything else, and does no harm to the next."""
    rng, parser, labels = random.Random(seed), ProtobufParser(), {}
    for families in found:
        body = bytearray(body_of(*families))
        for _ in range(changes):
            at = rng.randrange(len(body) + 1)
            body[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        with contextlib.suppress(WireError):
            labels.update(parser.parse(bytes(body)).new)
        assert samples_of(parser.parse(body_of(*families)), labels) == expected(families)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LABELS, VALUES), min_size=1, max_size=4, unique_by=lambda x: from_mapping(x[0])))
def test_what_the_writer_writes_is_read(points):
    """Families of the writer of /metrics come back as they were."""
    own = [Point(value, from_mapping(labels)) for labels, value in points]
    families = [
        MetricFamily("g", MetricType.GAUGE, "Help.", own),
        MetricFamily("c_total", MetricType.COUNTER, "Help.", own),
    ]
    samples = samples_of(ProtobufParser().parse(write_protobuf(families)), {})
    wanted = [(from_mapping({"__name__": f.name, **dict(p.labels)}), p.value) for f in families for p in f.points]
    assert [(labels, value) for labels, value, _, _ in samples] == wanted


@pytest.mark.parametrize("size", [0, 1, 7, 100])
def test_random_bytes(size):
    """Bytes that were never a body are refused or read."""
    rng = random.Random(size)
    parser = ProtobufParser()
    for _ in range(200):
        with contextlib.suppress(WireError):
            parser.parse(rng.randbytes(size))
