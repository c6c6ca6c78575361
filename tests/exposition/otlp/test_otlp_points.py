"""Each kind of data point becomes the samples that Prometheus makes of it."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from otlp_bodies import SECOND_NS, START_NS, Body, attributes
from reading import decoder, floats, rows

from tinyobs.errors import LimitExceeded
from tinyobs.exposition.otlp import assembly
from tinyobs.exposition.otlp.schema import DELTA
from tinyobs.exposition.otlp.values import positional, text_of
from tinyobs.model.histograms import ResetHint, numbers_of
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.staleness import is_stale

AT = START_NS // 1_000_000


def natives(body: bytes, **rules):
    """Return the native histograms of a body."""
    batch = decoder(**rules).decode(body).pushed.batch
    return [batch.histograms.one(int(n)) for n in numbers_of(batch.values) if n >= 0]


def refused(body: bytes, **rules):
    """Return (reasons, sentences)."""
    pushed = decoder(**rules).decode(body).pushed
    return dict(pushed.refused), pushed.problems


def test_numbers():
    """Gauges and sums, floats and integers, times in milliseconds."""
    body = Body()
    body.gauge("level", 1.5, -2, at_ns=START_NS + 1_999_999)
    body.sum("hits", 3, unit="1")
    body.sum("change", -3, monotonic=False)
    assert floats(body.bytes()) == {
        "level": [(AT + 1, 1.5), (AT + 1001, -2.0)],
        "hits_total": [(AT, 3.0)],
        "change": [(AT, -3.0)],
    }


def test_classic_histograms():
    """Buckets add up; the sum may be missing; bounds have no exponent."""
    body = Body()
    body.histogram("duration", [1, 0, 3, 4], [0.005, 2.5, 1e21], unit="s", route="/")
    body.histogram("bare", [], [], total=None).count = 7
    labels = 'route="/"'
    assert floats(body.bytes()) == {
        f"duration_seconds_sum{{{labels}}}": [(AT, 1.5)],
        f"duration_seconds_count{{{labels}}}": [(AT, 8.0)],
        f'duration_seconds_bucket{{le="0.005", {labels}}}': [(AT, 1.0)],
        f'duration_seconds_bucket{{le="2.5", {labels}}}': [(AT, 1.0)],
        f'duration_seconds_bucket{{le="1000000000000000000000", {labels}}}': [(AT, 4.0)],
        f'duration_seconds_bucket{{le="+Inf", {labels}}}': [(AT, 8.0)],
        "bare_count": [(AT, 7.0)],
        'bare_bucket{le="+Inf"}': [(AT, 7.0)],
    }


def test_summaries():
    """Sum, count and quantiles."""
    body = Body()
    body.summary("latency", {0.5: 1.0, 0.999: 3.0}, path="/")
    assert floats(body.bytes()) == {
        'latency_sum{path="/"}': [(AT, 2.5)],
        'latency_count{path="/"}': [(AT, 4.0)],
        'latency{path="/", quantile="0.5"}': [(AT, 1.0)],
        'latency{path="/", quantile="0.999"}': [(AT, 3.0)],
    }


def test_exponential_histograms():
    """Indexes differ by one; gaps of more than two empty buckets part spans."""
    body = Body()
    body.exponential("size", [1, 2, 0, 0, 0, 3], scale=3, offset=-2, negative=[4], zero_count=2)
    (h,) = natives(body.bytes())
    assert (h.schema, h.count, h.zero_count, h.sum, h.zero_threshold) == (3, 12, 2, 1.5, 1e-128)
    assert (h.positive_spans, h.positive_buckets) == (((-1, 2), (3, 1)), (1, 2, 3))
    assert (h.negative_spans, h.negative_buckets) == (((1, 1),), (4,))
    assert (h.is_integer, h.reset_hint) == (True, ResetHint.UNKNOWN)


@pytest.mark.parametrize("offset", [-9, 0, 8, -2_000])
def test_fine_scales_are_brought_down(offset):
    """Bucket i of a scale is in bucket i >> 1 of the one below."""
    body = Body()
    body.exponential("fine", [1] * 30, scale=10, offset=offset)
    (h,) = natives(body.bytes())
    assert h.schema == 8
    first = (offset >> 2) + 1
    assert h.positive_spans == ((first, ((offset + 29) >> 2) - (offset >> 2) + 1),)
    assert sum(h.positive_buckets) == 30


@pytest.mark.parametrize("scale", [-5, -2_000_000_000, 65])
def test_scales_that_cannot_be(scale):
    """There is no such schema; the other points stay."""
    body = Body()
    body.exponential("coarse", [1], scale=scale)
    body.gauge("good", 1.0)
    assert list(floats(body.bytes())) == ["good"]
    reasons, (sentence,) = refused(body.bytes())
    assert reasons == {"invalid": 1}
    assert sentence.startswith(
        'metric "coarse", data point 1 of the request: the scale of an exponential histogram must be'
    )


def test_a_histogram_that_contradicts_itself():
    """Counts of buckets make up the count."""
    body = Body()
    body.exponential("wrong", [1, 2]).count = 5
    assert refused(body.bytes())[0] == {"invalid": 1}
    body = Body()
    body.histogram("wrong", [1, 2], [1.0]).count = 5
    assert refused(body.bytes(), custom_buckets=True)[0] == {"invalid": 1}


def test_the_width_of_zero_is_kept():
    """Where the sender tells it."""
    body = Body()
    body.exponential("size", [1], zero_count=3).zero_threshold = 0.25
    assert natives(body.bytes())[0].zero_threshold == 0.25


def test_custom_buckets():
    """Histograms become native ones, their bounds kept."""
    body = Body()
    body.histogram("duration", [0, 0, 2, 0, 0, 5], [1.0, 2.0, 3.0, 4.0, 5.0], unit="s")
    body.histogram("bare", [], []).count = 3
    h, bare = natives(body.bytes(), custom_buckets=True)
    assert (h.schema, h.count, h.custom_values) == (-53, 7, (1.0, 2.0, 3.0, 4.0, 5.0))
    assert (h.positive_spans, h.positive_buckets) == (((2, 4),), (2, 0, 0, 5))
    assert (bare.count, bare.custom_values, bare.positive_buckets) == (3, (), (3,))


def test_no_recorded_value_ends_series():
    """All samples of such a point are staleness markers, native ones included."""
    body = Body()
    body.gauge("level", 1.0).data_points[0].flags = 1
    body.histogram("duration", [1], []).flags = 1
    body.summary("latency", {0.5: 1.0}).flags = 1
    body.exponential("size", [1]).flags = 1
    batch = decoder().decode(body.bytes()).pushed.batch
    marks = is_stale(batch.values)
    assert marks.sum() == len(batch) - 1 == 7
    (h,) = natives(body.bytes())
    assert is_stale(np.array([h.sum])).all()


def test_times_that_cannot_be():
    """0 means that it is not known."""
    body = Body(service__name="shop", host__name="h")
    for at in (0, 1 << 63, 2**64 - 1):
        body.gauge("level", 1.0, at_ns=at)
    assert decoder().decode(body.bytes()).pushed.refused == {"timestamp": 3}
    assert floats(body.bytes()) == {}
    body.gauge("level", 1.0)
    found = decoder().decode(body.bytes()).pushed.batch
    assert found.timestamps_ms.tolist() == [AT, AT]


def test_points_without_a_value():
    """Nothing is made up."""
    body = Body()
    body.metric("void").gauge.data_points.add(time_unix_nano=START_NS)
    assert refused(body.bytes())[0] == {"no_value": 1}


def test_metrics_without_points_or_data():
    """They are nothing, and no fault."""
    body = Body()
    body.metric("void").gauge.SetInParent()
    body.metric("nothing")
    decoded = decoder().decode(body.bytes())
    assert (decoded.points, dict(decoded.pushed.refused), len(decoded.pushed.batch)) == (0, {}, 0)


@pytest.mark.parametrize("temporality", [0, 1, 7])
def test_temporality(temporality):
    """Only cumulative points are taken; for deltas the sentence says what helps."""
    body = Body()
    body.sum("hits", 1, 2, temporality=temporality)
    body.histogram("duration", [1], [], temporality=temporality)
    body.gauge("good", 1.0)
    reasons, sentences = refused(body.bytes())
    assert reasons == {"temporality": 3}
    assert sentences[0].startswith('invalid temporality and type combination for metric "hits"')
    assert ("deltas need the feature" in sentences[0]) == (temporality == DELTA)
    assert list(floats(body.bytes())) == ["good"]


def test_native_deltas():
    """They are stored as they are; native histograms of them are gauges, and the type is unknown."""
    body = Body()
    body.sum("hits", 1, temporality=DELTA)
    body.exponential("size", [1], temporality=DELTA)
    made = decoder(native_delta=True)
    decoded = made.decode(body.bytes())
    assert [m.type for m in decoded.pushed.batch.metadata.values()] == [MetricType.UNKNOWN] * 2
    assert natives(body.bytes(), native_delta=True)[0].reset_hint is ResetHint.GAUGE


def test_attributes_become_labels():
    """Names are translated, values are texts, and those that meet are joined."""
    body = Body()
    body.gauge("a", 1.0, **{"x.y": "1", "x/y": 2, "_z": True, "1": 0.5, "empty": "", "__name__": "no", "üb": b"\x01"})
    (name,) = floats(body.bytes())
    assert name == 'a{key_1="0.5", key_b="AQ==", key_z="true", x_y="1;2"}'
    (name,) = floats(body.bytes(), escape=False)
    assert name == 'a{"1"="0.5", _z="true", "x.y"="1", "x/y"="2", "üb"="AQ=="}'


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("text", "text"),
        (True, "true"),
        (-3, "-3"),
        (5.0, "5"),
        (1.5e-7, "1.5e-7"),
        (1e-7, "1e-7"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (math.inf, "json: unsupported value: +Inf"),
        (b"\x00\xff", "AP8="),
        (["a", 1, None, [True]], '["a",1,null,[true]]'),
        ({"b": 1.5, "a": "<&>\n"}, '{"a":"\\u003c\\u0026\\u003e\\n","b":1.5}'),
        ([math.nan], ""),
        ([b"\x00"], '["AA=="]'),
        (None, ""),
    ],
)
def test_values_of_attributes(value, wanted):
    """As the Collector writes them."""
    body = Body(key=value)
    assert text_of(body.resource_metrics.resource.attributes[0].value) == wanted


def test_values_that_are_too_deep():
    """They are refused with their point."""
    deep = "x"
    for _ in range(40):
        deep = [deep]
    body = Body()
    body.gauge("a", 1.0, deep=deep)
    assert refused(body.bytes())[0] == {"labels": 1}


def test_positional_floats():
    """Never an exponent."""
    assert [positional(x) for x in (0.5, 1e22, 1e-7, 5.0, math.inf, -math.inf)] == [
        "0.5", "10000000000000000000000", "0.0000001", "5", "+Inf", "-Inf",
    ]  # fmt: skip
    assert positional(math.nan) == "NaN"


def test_text_that_is_not_utf_8():
    """Costs the point, the metric or the resource that has it, and no more."""
    body = Body()
    attributes(body.gauge("a", 1.0).data_points[0].attributes, {})
    body.scope_metrics.metrics[0].gauge.data_points[0].attributes.add(key=b"\xff").value.string_value = b"x"
    body.metric("bad").gauge.data_points.add(time_unix_nano=START_NS, as_double=1.0)
    body.scope_metrics.metrics[1].name = b"\xff"
    body.gauge("good", 1.0)
    assert list(floats(body.bytes())) == ["good"]
    counts, texts = refused(body.bytes())
    assert counts == {"labels": 1, "name": 1}
    assert sum('a text is not UTF-8: "\\xff"' in text for text in texts) == 2
    body.resource_metrics.resource.attributes.add(key=b"k").value.string_value = b"\xff"
    assert refused(body.bytes())[0] == {"resource": 3}


def test_resources():
    """They give job and instance, and go before labels of points."""
    body = Body(service__name="shop", service__namespace="eu", service__instance__id=7, host__name="h", env="prod")
    body.gauge("a", 1.0, job="mine", host_name="own")
    assert list(floats(body.bytes())) == ['a{host_name="own", instance="7", job="eu/shop"}']
    assert list(floats(body.bytes(), promoted=frozenset({"host.name", "env", "none"}))) == [
        'a{env="prod", host_name="own", instance="7", job="eu/shop"}'
    ]
    assert list(floats(body.bytes(), promote_all=True, promoted=frozenset({"env"}))) == [
        'a{host_name="own", instance="7", job="eu/shop", service_instance_id="7", service_name="shop", '
        'service_namespace="eu"}'
    ]


def targets(body: Body, **rules):
    """Return (series, time) of the samples of `target_info`."""
    made = decoder(**rules)
    found = rows(made.registry, made.decode(body.bytes()))
    return [(str(row[0]), int(str(row[1])) - AT) for row in found if str(row[0]).startswith("target_info")]


def test_target_info():
    """One series for each resource with more than an identity, from its first point to its last."""
    body = Body(service__name="shop", service__instance__id="i", host__name="h", os="l")
    body.gauge("a", 1.0)
    body.gauge("b", 1.0, at_ns=START_NS + 400 * SECOND_NS)
    series = 'target_info{host_name="h", instance="i", job="shop", os="l"}'
    assert targets(body) == [(series, at) for at in (0, 150_000, 300_000, 400_000)]
    assert [at for _, at in targets(body, lookback_ms=600_000)] == [0, 300_000, 400_000]
    (name, _), *_ = targets(body, keep_identifying=True)
    assert name == (
        'target_info{host_name="h", instance="i", job="shop", os="l", service_instance_id="i", service_name="shop"}'
    )
    body.gauge("c", 1.0, at_ns=START_NS + 10_000_000 * SECOND_NS)
    times = [at for _, at in targets(body)]
    assert len(times) == 1000
    assert times[-1] == 10_000_000_000


@pytest.mark.parametrize(
    "resource",
    [{}, {"service__name": "shop"}, {"host__name": "h"}, {"service__name": "shop", "service__instance__id": "i"}],
)
def test_no_target_info(resource):
    """Without an identity, or with nothing else, there is none."""
    body = Body(**resource)
    body.gauge("a", 1.0)
    assert targets(body) == []


def test_target_info_is_told_once_for_equal_resources():
    """Resources that are the same give one sample for one time."""
    body = Body(service__name="shop", host__name="h")
    body.gauge("a", 1.0)
    body.request.resource_metrics.add().CopyFrom(body.resource_metrics)
    assert targets(body) == [('target_info{host_name="h", job="shop"}', 0)]
    body.gauge("b", 1.0, at_ns=START_NS + 200 * SECOND_NS)
    assert [at for _, at in targets(body)] == [0, 150_000, 200_000]
    body.request.resource_metrics[1].scope_metrics[0].metrics[0].gauge.data_points[0].time_unix_nano += 100 * SECOND_NS
    assert [at for _, at in targets(body)] == [0, 100_000, 150_000, 200_000]


def test_scopes():
    """Their name, version, schema and attributes become labels where they are to."""
    body = Body(scope="lib", service__name="shop", host__name="h")
    body.scope_metrics.scope.version, body.scope_metrics.schema_url = b"1", b"u"
    attributes(body.scope_metrics.scope.attributes, {"a.b": 1})
    body.gauge("a", 1.0)
    wanted = 'otel_scope_a_b="1", otel_scope_name="lib", otel_scope_schema_url="u", otel_scope_version="1"'
    assert list(floats(body.bytes(), scope_labels=True)) == [f'a{{job="shop", {wanted}}}']
    assert list(floats(body.bytes())) == ['a{job="shop"}']
    assert targets(body, scope_labels=True) == [('target_info{host_name="h", job="shop"}', 0)]
    body.scope_metrics.scope.name = b""
    assert list(floats(body.bytes(), scope_labels=True)) == ['a{job="shop"}']


def test_types_and_units_as_labels():
    """With the feature of that name."""
    body = Body()
    body.sum("hits", 1, unit="By/s")
    assert list(floats(body.bytes(), types=True)) == [
        'hits_bytes_per_second_total{__type__="counter", __unit__="bytes_per_second"}'
    ]


def test_metadata():
    """Type, description and unit of each family."""
    body = Body()
    for name in ("hits", "duration", "latency", "size", "level", "depth"):
        body.metric(name, "s", f"help of {name}")
    hits, duration, _, size, _, depth = body.scope_metrics.metrics
    hits.sum.aggregation_temporality, hits.sum.is_monotonic = 2, True
    depth.sum.aggregation_temporality = duration.histogram.aggregation_temporality = 2
    size.exponential_histogram.aggregation_temporality = 2
    for metric in body.scope_metrics.metrics:
        kind = metric.WhichOneof("data") or {"latency": "summary", "level": "gauge"}[metric.name.decode()]
        getattr(metric, kind).data_points.add(time_unix_nano=START_NS, flags=1)
    found = decoder().decode(body.bytes()).pushed.batch.metadata
    assert {name: m.type.value for name, m in found.items()} == {
        "hits_seconds_total": "counter",
        "duration_seconds": "histogram",
        "latency_seconds": "summary",
        "size_seconds": "histogram",
        "level_seconds": "gauge",
        "depth_seconds": "gauge",
    }
    assert found["hits_seconds_total"] == MetricMetadata(MetricType.COUNTER, "help of hits", "seconds")


def test_starts():
    """Kept where they are wanted, of what counts from a start."""
    body = Body()
    body.sum("hits", 1, start_ns=START_NS - 5 * SECOND_NS)
    body.sum("level", 1, monotonic=False, start_ns=START_NS - 5 * SECOND_NS)
    body.exponential("size", [1], start_ns=START_NS - 7 * SECOND_NS)
    for _ in range(2):
        batch = decoder(starts=True).decode(body.bytes()).pushed.batch
        assert (batch.starts_ms - AT).tolist() == [-5000, -AT, -7000]
    assert decoder().decode(body.bytes()).pushed.batch.starts_ms is None


def test_exemplars():
    """Each at the lowest bucket that holds it, with ids, and with attributes where they are short enough."""
    body = Body()
    point = body.histogram("duration", [1, 1, 1], [1.0, 2.0])
    for value, text in ((9.0, "x"), (1.5, "y" * 200), (0.5, "z")):
        exemplar = point.exemplars.add(as_double=value, time_unix_nano=START_NS + int(value) * SECOND_NS)
        exemplar.trace_id, exemplar.span_id = bytes(range(16)), bytes(range(8))
        attributes(exemplar.filtered_attributes, {"user.id": text})
    body.sum("hits", 3).data_points[0].exemplars.add(as_int=2)
    body.gauge("level", 3).data_points[0].exemplars.add(as_int=2)
    body.sum("bad", 3).data_points[0].exemplars.add(time_unix_nano=START_NS)
    made = decoder()
    decoded = made.decode(body.bytes())
    ids = {"span_id": "0001020304050607", "trace_id": "000102030405060708090a0b0c0d0e0f"}
    found = [
        (dict(made.registry.labels(e.ref)).get("le"), dict(e.labels), e.value, e.timestamp_ms - AT, e.has_time)
        for e in decoded.pushed.batch.exemplars
    ]
    assert sorted(found, key=str) == sorted(
        [
            ("+Inf", {**ids, "user.id": "x"}, 9.0, 9000, True),
            ("2", ids, 1.5, 1000, True),
            ("1", {**ids, "user.id": "z"}, 0.5, 0, True),
            (None, {}, 2.0, 0, False),
        ],
        key=str,
    )
    assert (dict(decoded.pushed.refused), decoded.rejected) == ({"exemplar": 1}, 0)


def test_target_info_of_many_resources(monkeypatch):
    """All together fill the gaps with so many samples; the newest of each is always there."""
    monkeypatch.setattr(assembly, "GAP_SAMPLES_MAX", 5)
    request = Body()
    del request.request.resource_metrics[:]
    for i in range(4):
        body = Body(service__name=f"s{i}", host__name="h")
        body.gauge("a", 1.0)
        body.gauge("b", 1.0, at_ns=START_NS + 450 * SECOND_NS)
        request.request.resource_metrics.extend(body.request.resource_metrics)
    counts = Counter(series for series, _ in targets(request))
    assert sorted(counts.values()) == [1, 1, 3, 4]


def test_too_much_of_something():
    """Attributes, buckets and quantiles beyond any use cost their point."""
    body = Body()
    attributes(body.gauge("a", 1.0).data_points[0].attributes, {f"k{i}": "" for i in range(1001)})
    body.histogram("b", [1] * 10_002, [float(i) for i in range(10_001)])
    body.summary("c", {i / 10_001: 1.0 for i in range(10_001)})
    body.gauge("good", 1.0)
    assert list(floats(body.bytes())) == ["good"]
    assert refused(body.bytes())[0] == {"labels": 1, "invalid": 2}
    assert refused(body.bytes(), custom_buckets=True)[0] == {"labels": 1, "invalid": 2}


@pytest.mark.parametrize("bare", [False, True])
def test_too_many_samples(bare):
    """They cost the request, whichever way it goes, before they fill the memory."""
    body = Body()
    body.gauge("a", *([1.0] * 11))
    given = body.bytes() + (b"\x12\x00" if bare else b"")
    with pytest.raises(LimitExceeded, match="more than 10 samples"):
        decoder(samples_max=10).decode(given)
    body = Body()
    for i in range(3):
        body.histogram(f"h{i}", [1] * 4, [1.0, 2.0, 3.0])
    with pytest.raises(LimitExceeded, match=r"tinyobs\.otlp\.samples_max"):
        decoder(samples_max=10).decode(body.bytes())
    assert len(decoder(samples_max=18).decode(body.bytes()).pushed.batch) == 18


def test_the_smallest_points_there_are():
    """Two bytes each: they are counted before anything is made of them."""
    points = b"\x0a\x00" * 50_000
    metric = b"\x2a" + bytes([0x80 | len(points) & 0x7F, 0x80 | len(points) >> 7 & 0x7F, len(points) >> 14]) + points
    scope = b"\x12" + bytes([0x80 | len(metric) & 0x7F, 0x80 | len(metric) >> 7 & 0x7F, len(metric) >> 14]) + metric
    body = Body()
    body.resource_metrics.scope_metrics[0].MergeFromString(scope)
    with pytest.raises(LimitExceeded):
        decoder(samples_max=40_000).decode(body.bytes())
    assert decoder(samples_max=50_000).decode(body.bytes()).rejected == 50_000


def test_extra_labels_are_on_all_series():
    """They go before all others."""
    body = Body(service__name="shop", host__name="h")
    body.gauge("a", 1.0, env="dev")
    assert list(floats(body.bytes(), extra_labels=(("env", "prod"), ("job", "x")))) == ['a{env="prod", job="x"}']
