"""Pushes of the first TinyObs: what they say, what is wrong with them, and what is remembered."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.exposition.v1_metrics import (
    FORGET_MS,
    SWEEP_MS,
    SeriesLimit,
    V1Decoder,
    V1Fault,
    V1Limits,
    family_of,
    load_metrics,
)
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry

NOW_MS = 1_700_000_000_000


def decoder(**limits):
    """Return a decoder."""
    return V1Decoder(SeriesRegistry(), V1Limits(**limits))


def metric(name="a", value=1.0, type="gauge", **labels):
    """Return a metric."""
    return {"name": name, "type": type, "value": value, "labels": labels}


def labels(found, d):
    """Return the labels of what was decoded."""
    return [dict(d._registry.labels(ref)) for ref in found.refs.tolist()]


def test_what_metrics_say():
    """Labels, values and times; what is empty is absent."""
    d = decoder()
    found = d.take(
        [metric(x="1", empty=""), {"name": "b"}, metric("c", 2) | {"timestamp": "1970-01-01T00:00:01Z"}], (), NOW_MS
    )
    assert labels(found, d) == [{"__name__": "a", "x": "1"}, {"__name__": "b"}, {"__name__": "c"}]
    assert found.values.tolist() == [1.0, 0.0, 2.0]
    assert found.times_ms.tolist() == [NOW_MS, NOW_MS, 1000]
    assert set(found.metadata.values()) == {MetricMetadata(MetricType.GAUGE)}


def test_series_are_looked_at_once():
    """The same metric gets the same ref, whatever the order of its labels, with and without memory."""
    d = decoder()
    first = d.take([metric(x="1", y="2"), metric(y="2", x="1"), metric(x="1", y="2")], (), NOW_MS)
    assert len(set(first.refs.tolist())) == 1
    assert d.take([metric(x="1", y="2")], (), NOW_MS).refs.tolist() == first.refs.tolist()[:1]


def test_labels_that_are_added():
    """They replace the metric's own; the same metric without them is another series."""
    d, extra = decoder(), from_mapping({"x": "9", "z": "3"})
    assert labels(d.take([metric(x="1"), metric()], extra, NOW_MS), d) == [
        {"__name__": "a", "x": "9", "z": "3"},
        {"__name__": "a", "x": "9", "z": "3"},
    ]
    assert labels(d.take([metric()], (), NOW_MS), d) == [{"__name__": "a"}]


def test_types_are_told_until_they_are_stored():
    """Then only what changes."""
    d = decoder()
    counter = MetricMetadata(MetricType.COUNTER)
    first = d.take([metric("a", type="counter"), metric("h_bucket", type="histogram", le="1")], (), NOW_MS)
    assert first.metadata == {"a": counter, "h": MetricMetadata(MetricType.HISTOGRAM)}
    assert d.take([metric("a", type="counter")], (), NOW_MS).metadata == first.metadata
    d.told(first.metadata)
    assert d.take([metric("a", type="counter", x="1")], (), NOW_MS).metadata == {}
    assert d.take([metric("a", type="gauge", x="1")], (), NOW_MS).metadata == {"a": MetricMetadata(MetricType.GAUGE)}


def test_deltas_are_parts_of_histograms():
    """By type and name; other histograms are as they are."""
    d = decoder()
    names = ["h_bucket", "h_sum", "h_count", "h", "h_total"]
    metrics = [metric(n, type="histogram") for n in names] + [metric("h_sum", type="counter")]
    assert d.take(metrics, (), NOW_MS).deltas.tolist() == [0, 1, 2]
    plain = V1Decoder(SeriesRegistry(), V1Limits(), with_deltas=False)
    assert plain.take(metrics, (), NOW_MS).deltas.tolist() == []
    assert [family_of(n, "histogram") for n in (*names, "_sum")] == ["h", "h", "h", "h", "h_total", "_sum"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (1, "a metric is an object"),
        ({}, "name cannot be empty"),
        ({"name": 1}, "name must be a text"),
        (metric("n" * 257), "name too long"),
        (metric("ä" * 129), "name too long"),
        (metric(type="summary"), "type must be"),
        (metric(type=["gauge"]), "type must be"),
        (metric() | {"labels": ["x"]}, "labels is an object"),
        (metric() | {"labels": {"x": 1}}, "must be a text"),
        (metric() | {"labels": {"x": {}}}, "must be a text"),
        (metric() | {"labels": {"": "x"}}, "label name cannot be empty"),
        (metric() | {"labels": {"__name__": "x"}}, "is the metric's name"),
        (metric(**{"k" * 257: "x"}), "label key too long"),
        (metric(x="v" * 1025), "label value too long"),
        (metric(**{f"l{i}": "x" for i in range(21)}), "too many labels"),
        (metric(value="1"), "value must be a number"),
        (metric(value=None), "value must be a number"),
        (metric(value=True), "value must be a number"),
        (metric() | {"timestamp": 5}, "timestamp must be a text"),
        (metric() | {"timestamp": {}}, "timestamp must be a text"),
        (metric() | {"timestamp": "soon"}, "is no time"),
    ],
)
def test_what_is_wrong_has_its_index(bad, message):
    """Nothing of the push is remembered."""
    d = decoder()
    with pytest.raises(V1Fault, match=rf"^Invalid metric at index 1: .*{message}") as e:
        d.take([metric("good"), bad], (), NOW_MS)
    assert e.value.index == 1
    assert d.series_count == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"", "Invalid JSON"), (b"{", "Invalid JSON"), (b"[]", "not an object"), (b"1", "not an object"), (b'{"metrics":{}}', "not an object"),
     (b'{"metrics":[1,2,3]}', r"max 2\): 3"), (b'{"metrics":["\xff"]}', "Invalid JSON")],
)  # fmt: skip
def test_bodies_that_are_none(body, message):
    """The whole is refused."""
    with pytest.raises(V1Fault, match=message) as e:
        load_metrics(body, 2)
    assert e.value.index == -1


@pytest.mark.parametrize("body", [b"{}", b'{"metrics":null}', b'{"metrics":[]}'])
def test_bodies_without_metrics(body):
    """They are no fault."""
    assert load_metrics(body, 2) == []


def test_limits_of_series():
    """In all and of one metric; a push beyond them leaves nothing behind, and what is known goes on."""
    d = decoder(series_max=4, series_per_metric_max=2)
    d.take([metric(x="1"), metric(x="2")], (), NOW_MS)
    with pytest.raises(SeriesLimit, match=r"max 2 series per metric\): 'a'"):
        d.take([metric("b"), metric(x="3")], (), NOW_MS)
    with pytest.raises(SeriesLimit, match="max 4 unique series"):
        d.take([metric("b"), metric("c"), metric("d")], (), NOW_MS)
    d.take([metric("b"), metric("c"), metric(x="1")], (), NOW_MS)
    assert d.series_count == 4


def test_series_are_forgotten_after_a_day():
    """Those that were pushed lately stay; places are used again."""
    d = decoder(series_max=2)
    d.take([metric(x="1"), metric(x="2")], (), NOW_MS)
    later = NOW_MS + FORGET_MS - SWEEP_MS
    kept = d.take([metric(x="1")], (), later).refs.tolist()
    fresh = d.take([metric(x="3")], (), NOW_MS + FORGET_MS + SWEEP_MS)
    assert labels(fresh, d) == [{"__name__": "a", "x": "3"}]
    assert d.take([metric(x="1")], (), NOW_MS + FORGET_MS + SWEEP_MS).refs.tolist() == kept
    assert d.series_count == 2


def test_many_series():
    """More than the first arrays hold."""
    d = decoder()
    metrics = [metric(x=str(i)) for i in range(5000)]
    first = d.take(metrics, (), NOW_MS)
    assert len(set(first.refs.tolist())) == 5000
    assert d.take(metrics[::-1], (), NOW_MS).refs.tolist() == first.refs.tolist()[::-1]


GOOD = [metric("a", x="1"), metric("b", 2, "counter") | {"timestamp": "2024-01-01T00:00:00Z"}]
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["name", "type", "value", "labels", "timestamp", "more"]), VALUES, max_size=6))
@settings(derandomize=True, max_examples=400, deadline=None)
def test_any_metric(one):
    """It is taken, or refused with its index; its neighbours are as they were."""
    d = decoder()
    d.take(GOOD, (), NOW_MS)
    body = json.dumps({"metrics": [*GOOD, one]}).encode()
    index = count = None
    try:
        count = len(d.take(load_metrics(body, 10), (), NOW_MS))
    except V1Fault as e:
        index = e.index
    assert count == 3 or index in (-1, 2)
    assert d.take(GOOD, (), NOW_MS).values.tolist() == [1.0, 2.0]


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_damage(at, noise):
    """A good body with some bytes changed is a push or a fault."""
    body = bytearray(json.dumps({"metrics": GOOD}).encode())
    body[at % len(body) : at % len(body) + len(noise)] = noise
    d = decoder()
    try:
        d.take(load_metrics(bytes(body), 10), (), NOW_MS)
    except V1Fault:
        assert d.series_count == 0
