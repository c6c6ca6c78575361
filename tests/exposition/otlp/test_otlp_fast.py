"""The fast ways give what the general way gives: for bodies as exporters send them, and for any others."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otlp_bodies import SECOND_NS, START_NS, Body, attributes
from reading import decoder, everything, exporter, same

from tinyobs.exposition.otlp import assembly, known, plan
from tinyobs.exposition.otlp.decoder import Decoder
from tinyobs.exposition.otlp.plan import Layouts
from tinyobs.exposition.otlp.rules import Rules
from tinyobs.exposition.otlp.schema import DELTA

RULES = (
    {},
    {"starts": True, "scope_labels": True, "types": True},
    {"escape": False, "suffixes": False, "promote_all": True, "promoted": frozenset({"host.name"})},
    {"custom_buckets": True, "native_delta": True, "keep_identifying": True},
)


@pytest.mark.parametrize("rules", RULES)
def test_what_an_exporter_sends(rules):
    """Learned, recognised point by point, recognised as a whole: the same samples."""
    made = decoder(**rules)
    for step in range(1, 6):
        assert same(made, exporter(step).bytes())
    if not rules.get("custom_buckets"):
        assert len(made._known) == 49
        assert made.quick(exporter(9).bytes()) is not None


def test_points_in_another_order():
    """A Go program sends the points of a metric in any order; all are recognised."""
    made, order = decoder(), random.Random(1)
    for step in range(6):
        body = exporter(step, 3)
        metric = body.metric("shuffled").gauge
        for i in order.sample(range(20), 20):
            point = metric.data_points.add(time_unix_nano=START_NS + step * SECOND_NS, as_double=float(i + step))
            attributes(point.attributes, {"series": "x" * i})
        assert same(made, body.bytes())
    before = len(made._known)
    made.decode(body.bytes())
    assert len(made._known) == before


def test_what_is_unusual_now_and_then():
    """Exemplars, flags and missing times within otherwise usual bodies; what is usual is recognised all the same."""
    made = decoder(starts=True)
    for step in range(8):
        body = exporter(step, 4)
        points = [m.gauge.data_points[0] for m in body.scope_metrics.metrics if m.HasField("gauge")]
        points[step % 4].flags = step & 1
        if step % 3 == 1:
            points[1].time_unix_nano = 0
            points[2].time_unix_nano = 1 << 63
        if step % 3 == 2:
            histogram = next(m for m in body.scope_metrics.metrics if m.HasField("histogram")).histogram.data_points[0]
            histogram.exemplars.add(as_double=0.2, time_unix_nano=START_NS, trace_id=b"\x01" * 16)
        body.sum("delta", 1.0, temporality=DELTA)
        body.exponential("exp", [step, 2], offset=-1)
        body.summary("sum", {0.5: float(step)})
        assert same(made, body.bytes())


def test_a_body_that_differs_in_its_names_is_another():
    """Of the same length, with other bytes in an attribute, in a name and in a bound."""
    made = decoder()
    for step in range(3):
        assert same(made, exporter(step).bytes())
    body = exporter(3).bytes()
    for old, new in (
        (b"GET", b"PUT"),
        (b"gauge.1", b"gauge.x"),
        (b"shop", b"sh0p"),
        (np.float64(2.5).tobytes(), np.float64(3.5).tobytes()),
    ):
        assert body.count(old)
        assert same(made, body.replace(old, new))
        assert same(made, body)


def test_any_byte_may_be_wrong():
    """Changed, missing and doubled bytes: the same samples, or refused by both."""
    made, random_ = decoder(), random.Random(5)
    whole = exporter(1, 3).bytes()
    for step in range(3):
        same(made, exporter(step, 3).bytes())
    readable = 0
    for _ in range(1500):
        body = bytearray(whole)
        for _ in range(random_.choice((1, 1, 2, 5))):
            at = random_.randrange(len(body))
            kind = random_.randrange(4)
            if kind == 0:
                body[at] = random_.randrange(256)
            elif kind == 1:
                body[at] ^= 1 << random_.randrange(8)
            elif kind == 2:
                del body[at : at + random_.choice((1, 2, 9))]
            else:
                body[at:at] = body[at : at + random_.choice((1, 3, 20))]
        readable += same(made, bytes(body))
    assert readable > 300


NUMBERS = st.floats(width=64) | st.integers(-(2**63), 2**63 - 1)
TEXTS = st.sampled_from(["a", "b.c", "http.code", "_x", "1", "ü", "", "__name__", "le", "job"]) | st.text(max_size=4)
VALUES = st.recursive(
    TEXTS | st.integers(-5, 5) | st.booleans() | st.floats() | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
TIMES = st.sampled_from([START_NS, START_NS + 1, START_NS + 7 * SECOND_NS, 0, 1 << 63, 2**64 - 1])


@st.composite
def bodies(draw: Any) -> bytes:
    """Draw a request of any metrics."""
    body = Body(scope=draw(TEXTS), service__name=draw(TEXTS))
    attributes(body.resource_metrics.resource.attributes, draw(st.dictionaries(TEXTS, VALUES, max_size=2)))
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["gauge", "sum", "histogram", "exponential_histogram", "summary", "none"]))
        metric = body.metric(draw(TEXTS), draw(st.sampled_from(["", "s", "1", "By/s"])), draw(TEXTS))
        if kind == "none":
            continue
        data = getattr(metric, kind)
        data.SetInParent()
        if kind not in ("gauge", "summary"):
            data.aggregation_temporality = draw(st.sampled_from([2, 2, 2, 1, 0, 7]))
        if kind == "sum":
            data.is_monotonic = draw(st.booleans())
        for _ in range(draw(st.integers(0, 3))):
            draw_point(draw, kind, data.data_points.add())
    return body.bytes()


def draw_point(draw: Any, kind: str, point: Any) -> None:
    point.time_unix_nano, point.start_time_unix_nano = draw(TIMES), draw(TIMES)
    point.flags = draw(st.sampled_from([0, 0, 0, 1, 2]))
    attributes(point.attributes, draw(st.dictionaries(TEXTS, VALUES, max_size=2)))
    if kind in ("gauge", "sum"):
        value = draw(NUMBERS | st.none())
        if value is not None:
            setattr(point, "as_int" if isinstance(value, int) else "as_double", value)
        return
    point.count = draw(st.integers(0, 2**64 - 1) | st.integers(0, 20))
    if draw(st.booleans()):
        point.sum = draw(st.floats())
    if kind == "summary":
        for quantile in draw(st.lists(st.sampled_from([0.0, 0.5, 0.99, 1.0]), max_size=2)):
            point.quantile_values.add(quantile=quantile, value=draw(st.floats()))
        return
    if draw(st.booleans()):
        point.min, point.max = 1.0, 2.0
    counts = draw(st.lists(st.integers(0, 5), max_size=5))
    if kind == "histogram":
        point.bucket_counts[:] = counts
        point.explicit_bounds[:] = draw(
            st.lists(st.sampled_from([0.5, 1.0, 2.0, float("inf"), float("nan")]), max_size=5)
        )
    else:
        point.scale, point.zero_count = draw(st.integers(-6, 20)), draw(st.integers(0, 3))
        point.positive.offset, point.positive.bucket_counts[:] = draw(st.integers(-9, 9)), counts
        if draw(st.booleans()):
            point.count = sum(counts) + point.zero_count
    for _ in range(draw(st.integers(0, 1))):
        point.exemplars.add(
            as_double=draw(st.floats()), time_unix_nano=draw(TIMES), span_id=draw(st.binary(max_size=8))
        )


@given(bodies(), st.sampled_from(RULES))
@settings(max_examples=300)
def test_any_metrics(body, rules):
    """Whatever a request holds, as often as it comes."""
    made = decoder(**rules)
    for _ in range(3):
        assert same(made, body)


@given(st.binary(max_size=60))
def test_any_bytes(body):
    """The same answer for what is no request."""
    same(decoder(), body)


def test_what_is_known_is_bounded(monkeypatch):
    """Beyond the bound all is forgotten, and comes back."""
    monkeypatch.setattr(known, "KEYS_MAX", 20)
    monkeypatch.setattr(known, "CONTEXTS_MAX", 30)
    monkeypatch.setattr(assembly, "TOLD_MAX", 10)
    made = decoder()
    for step in range(12):
        body = exporter(step, 5)
        body.gauge(f"another.{step}", 1.0)
        assert same(made, body.bytes())
    assert len(made._known) < 60


def test_layouts_are_bounded_by_their_bytes():
    """The one that was used longest ago goes; none that alone is too much comes."""
    made = decoder()
    made._layouts = Layouts(40_000)
    for size in (1, 2, 3, 2, 40):
        for step in range(1, 4):
            assert same(made, exporter(step, size).bytes())
    assert 0 < len(made._layouts) < 4


def test_bodies_that_never_look_alike_are_not_remembered_each_time(monkeypatch):
    """After some misses only now and then one is."""
    kept = []
    monkeypatch.setattr(plan._Layout, "size", property(lambda self: kept.append(self.blank) or len(self.blank)))
    made = decoder()
    for step in range(30):
        body = Body(service__name="shop")
        metric = body.metric("m").gauge
        for i in (*range(step % 7, 7), *range(step % 7)):
            attributes(metric.data_points.add(time_unix_nano=START_NS, as_double=1.0).attributes, {"n": str(i)})
        assert same(made, body.bytes())
    assert len(set(kept)) < 10


def test_many_sets_of_rules_share_nothing():
    """Each decoder has what it learned for itself."""
    body = exporter(1).bytes()
    names = set()
    for rules in RULES:
        made = Decoder(decoder().registry, Rules(**rules))
        names.add(tuple(str(row[0]) for row in everything(made.registry, made.decode(body))[0]))
    assert len(names) == len(RULES)
