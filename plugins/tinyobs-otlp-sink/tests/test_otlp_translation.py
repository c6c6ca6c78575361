"""Series as metrics of OpenTelemetry, read back with the protocol's own messages."""

from __future__ import annotations

import math

import pytest
from tinyobs.exposition.otlp.decoder import Decoder
from tinyobs.exposition.otlp.rules import Rules
from tinyobs.model.histograms import stale_histogram
from tinyobs.model.labels import to_text
from tinyobs.model.metadata import MetricType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN
from translation_scene import CUMULATIVE, NATIVE, NS, Scene, count, texts


def test_a_gauge_has_neither_start_nor_temporality():
    """Help and unit go along; job and instance are the resource, other labels are attributes."""
    s = Scene()
    s.add([({"__name__": "x", "a": "ü", "b": ""}, 1.5)], metadata={"x": MetricType.GAUGE})
    (request,) = s.requests()
    (resource,) = request.resource_metrics
    assert texts(resource.resource.attributes) == {"service.name": "j", "service.instance.id": "i"}
    (metric,) = resource.scope_metrics[0].metrics
    assert (metric.name, metric.description, metric.unit) == ("x", "Help of x.", "s")
    (point,) = metric.gauge.data_points
    assert (point.as_double, point.time_unix_nano, point.start_time_unix_nano) == (1.5, 1000 * NS, 0)
    assert texts(point.attributes) == {"a": "ü"}
    assert s.requests() == []


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, -math.inf, 1e300])
def test_values_are_kept(value):
    """Whatever a float may be."""
    s = Scene()
    s.add([({"__name__": "x"}, value)])
    assert s.metrics()["x"].gauge.data_points[0].as_double == value


def test_a_counter_is_a_cumulative_sum_with_a_start():
    """The first sample's time where nothing else is known, and again after a reset."""
    s = Scene()
    series = {"__name__": "x_total"}
    found = []
    for at_ms, value in ((1000, 5.0), (2000, 7.0), (3000, 1.0), (4000, 2.0)):
        s.add([(series, value)], at_ms, {"x": MetricType.COUNTER})
        metric = s.metrics()["x_total"]
        assert (metric.sum.is_monotonic, metric.sum.aggregation_temporality) == (True, CUMULATIVE)
        assert metric.description == "Help of x."
        (point,) = metric.sum.data_points
        found.append((point.start_time_unix_nano // NS, point.time_unix_nano // NS, point.as_double))
    assert found == [(1000, 1000, 5), (1000, 2000, 7), (3000, 3000, 1), (3000, 4000, 2)]
    s.add([(series, 3.0)], 5000, starts_ms=777)
    assert s.metrics()["x_total"].sum.data_points[0].start_time_unix_nano == 777 * NS


@pytest.mark.parametrize("family", ["x_total", "x"])
def test_metadata_may_have_the_name_with_or_without_total(family):
    """The text format says x_total, OpenMetrics x."""
    s = Scene()
    s.add([({"__name__": "x_total"}, 1.0)], metadata={family: MetricType.COUNTER})
    assert s.metrics()["x_total"].WhichOneof("data") == "sum"


def test_a_type_that_comes_later_counts_from_then_on():
    """Until then a series is a gauge."""
    s = Scene()
    s.add([({"__name__": "x_total"}, 1.0)])
    assert s.metrics()["x_total"].WhichOneof("data") == "gauge"
    s.add([({"__name__": "x_total"}, 1.0)], metadata={"x": MetricType.COUNTER})
    assert s.metrics()["x_total"].WhichOneof("data") == "sum"


@pytest.mark.parametrize(("kind", "name"), [(MetricType.INFO, "x_info"), (MetricType.STATESET, "x")])
def test_info_and_state_sets_are_sums_that_may_shrink(kind, name):
    """As the spec has it."""
    s = Scene()
    s.add([({"__name__": name}, 1.0)], metadata={"x": kind})
    metric = s.metrics()[name]
    assert (metric.WhichOneof("data"), metric.sum.is_monotonic) == ("sum", False)


def histogram(values, name="x", **labels):
    """Return the samples of a classic histogram: (upper bound -> cumulative count), count and sum."""
    buckets = [({"__name__": f"{name}_bucket", "le": le, **labels}, v) for le, v in values.items()]
    return [
        *buckets,
        ({"__name__": f"{name}_count", **labels}, values["+Inf"]),
        ({"__name__": f"{name}_sum", **labels}, 9.5),
    ]


def test_a_classic_histogram_becomes_one_point():
    """Counts are of each bucket, not of all below."""
    s = Scene()
    samples = histogram({"0.1": 1.0, "1.0": 3.0, "+Inf": 4.0}, a="1") + histogram({"5": 2.0, "+Inf": 2.0}, a="2")
    s.add(samples, metadata={"x": MetricType.HISTOGRAM})
    metrics = s.metrics()
    assert set(metrics) == {"x"}
    assert metrics["x"].histogram.aggregation_temporality == CUMULATIVE
    first, second = metrics["x"].histogram.data_points
    assert (list(first.explicit_bounds), list(first.bucket_counts)) == ([0.1, 1.0], [1, 2, 1])
    assert (first.count, first.sum, texts(first.attributes)) == (4, 9.5, {"a": "1"})
    assert (first.start_time_unix_nano, first.time_unix_nano) == (1000 * NS, 1000 * NS)
    assert (list(second.explicit_bounds), list(second.bucket_counts)) == ([5.0], [2, 0])


def test_a_histogram_of_which_parts_are_missing():
    """The last bucket or the count is enough; with neither its samples are refused."""
    s = Scene()
    metadata = {"x": MetricType.HISTOGRAM}
    s.add([({"__name__": "x_bucket", "le": "1"}, 1.0), ({"__name__": "x_bucket", "le": "+Inf"}, 3.0)], 1000, metadata)
    (point,) = s.metrics()["x"].histogram.data_points
    assert (point.count, list(point.bucket_counts), point.HasField("sum")) == (3, [1, 2], False)
    s.add([({"__name__": "x_count"}, 3.0)], 2000)
    (point,) = s.metrics()["x"].histogram.data_points
    assert (point.count, list(point.bucket_counts)) == (3, [])
    s.add([({"__name__": "x_bucket", "le": "1"}, 1.0), ({"__name__": "x_sum"}, 3.0)], 3000)
    assert s.requests() == []
    assert s.translation.refused == 2


def test_a_histogram_that_counts_anew_has_another_start():
    """Its count tells."""
    s = Scene()
    for at_ms, number in ((1000, 4.0), (2000, 5.0), (3000, 1.0)):
        s.add(histogram({"1": number, "+Inf": number}), at_ms, {"x": MetricType.HISTOGRAM})
        (point,) = s.metrics()["x"].histogram.data_points
    assert point.start_time_unix_nano == 3000 * NS


def test_a_summary_becomes_one_point():
    """With its quantiles in order."""
    s = Scene()
    samples = [
        ({"__name__": "x", "quantile": "0.9"}, 7.0),
        ({"__name__": "x", "quantile": "0.5"}, 3.0),
        ({"__name__": "x_count"}, 10.0),
        ({"__name__": "x_sum"}, 40.0),
    ]
    s.add(samples, metadata={"x": MetricType.SUMMARY})
    (point,) = s.metrics()["x"].summary.data_points
    assert (point.count, point.sum) == (10, 40)
    assert [(q.quantile, q.value) for q in point.quantile_values] == [(0.5, 3.0), (0.9, 7.0)]


def test_the_end_of_a_series_is_a_flag():
    """Of every kind; what comes later counts anew."""
    s = Scene()
    metadata = {"c": MetricType.COUNTER, "h": MetricType.HISTOGRAM, "s": MetricType.SUMMARY}
    samples = [
        ({"__name__": "g"}, 1.0),
        ({"__name__": "c"}, 1.0),
        *histogram({"1": 1.0, "+Inf": 1.0}, "h"),
        ({"__name__": "s_count"}, 1.0),
        ({"__name__": "n"}, NATIVE),
        ({"__name__": "m"}, NATIVE),
    ]
    s.add(samples, 1000, metadata)
    s.metrics()
    s.add([(labels, stale_histogram() if labels["__name__"] == "m" else STALE_NAN) for labels, _ in samples], 2000)
    ended = s.metrics()
    assert set(ended) == {"g", "c", "h", "s", "n", "m"}
    for metric in ended.values():
        (point,) = getattr(metric, metric.WhichOneof("data")).data_points
        assert (point.flags, point.time_unix_nano) == (1, 2000 * NS)
    assert not ended["g"].gauge.data_points[0].HasField("as_double")
    assert ended["n"].WhichOneof("data") == "exponential_histogram"
    s.add(samples, 3000)
    assert s.metrics()["c"].sum.data_points[0].start_time_unix_nano == 3000 * NS


def test_target_info_describes_the_resource():
    """It is no metric; what the configuration adds does not replace it."""
    s = Scene(**{"deployment.environment": "test", "host.name": "not this"})
    s.add([({"__name__": "target_info", "host.name": "h", "region": "eu"}, 1.0), ({"__name__": "x"}, 1.0)])
    (request,) = s.requests()
    (resource,) = request.resource_metrics
    own = {"service.name": "j", "service.instance.id": "i"}
    told = {"host.name": "h", "region": "eu", "deployment.environment": "test"}
    assert texts(resource.resource.attributes) == own | told
    assert [m.name for m in resource.scope_metrics[0].metrics] == ["x"]
    s.add([({"__name__": "target_info", "host.name": "h", "region": "eu"}, STALE_NAN), ({"__name__": "x"}, 1.0)])
    (request,) = s.requests()
    assert "region" not in texts(request.resource_metrics[0].resource.attributes)


def test_resources_and_scopes_are_kept_apart():
    """One for each job, instance and scope."""
    s = Scene()
    s.add(
        [
            ({"__name__": "x", "instance": "1"}, 1.0),
            ({"__name__": "x", "instance": "2"}, 2.0),
            ({"__name__": "x", "instance": "2", "otel_scope_name": "lib", "otel_scope_version": "1.2"}, 3.0),
        ]
    )
    (request,) = s.requests()
    found = [
        (
            texts(r.resource.attributes)["service.instance.id"],
            r.scope_metrics[0].scope.name,
            r.scope_metrics[0].scope.version,
        )
        for r in request.resource_metrics
    ]
    assert found == [("1", "", ""), ("2", "", ""), ("2", "lib", "1.2")]


@pytest.mark.parametrize("points_max", [1, 3, 7, 100])
def test_requests_are_bounded(points_max):
    """Every point is in one of them."""
    s = Scene()
    s.add([({"__name__": f"x{n % 3}", "instance": str(n % 2), "n": str(n)}, float(n)) for n in range(20)])
    requests = s.requests(points_max)
    assert all(count(r) <= points_max for r in requests)
    values = [
        p.as_double
        for r in requests
        for rm in r.resource_metrics
        for sm in rm.scope_metrics
        for m in sm.metrics
        for p in m.gauge.data_points
    ]
    assert sorted(values) == list(range(20))


def test_tinyobs_reads_it_by_its_bytes():
    """What one agent sends the receiver of another recognises as a whole, and has the same series again."""
    scene, decoder, found = Scene(), Decoder(SeriesRegistry(), Rules()), {}
    metadata = {"requests": MetricType.COUNTER, "size_seconds": MetricType.HISTOGRAM}
    for step in range(1, 5):
        samples = [({"__name__": "target_info", "os": "linux"}, 1.0)]
        samples += [({"__name__": "level", "room": str(i)}, float(step + i)) for i in range(3)]
        samples += [({"__name__": "requests_total", "code": "200"}, 7.0 * step)]
        samples += [
            ({"__name__": "size_seconds_bucket", "le": le}, float(step * n)) for n, le in ((1, "0.5"), (3, "+Inf"))
        ]
        samples += [({"__name__": "size_seconds_count"}, 3.0 * step), ({"__name__": "size_seconds_sum"}, 1.5 * step)]
        scene.add(samples, at_ms=1_700_000_000_000 + step * 1000, metadata=metadata)
        ((body, _),) = scene.translation.requests(100)
        decoded = decoder.quick(body) if step == 4 else decoder.decode(body)
        assert decoded is not None
        decoded.settle()
        batch = decoded.pushed.batch
        found = {
            to_text(decoder.registry.labels(r)): v
            for r, v in zip(batch.refs.tolist(), batch.values.tolist(), strict=True)
        }
    own = 'instance="i", job="j"'
    assert found.pop(f'target_info{{{own}, os="linux"}}') == 1.0
    assert found == {
        **{f'level{{{own}, room="{i}"}}': 4.0 + i for i in range(3)},
        f'requests_seconds_total{{code="200", {own}}}': 28.0,
        f'size_seconds_bucket{{{own}, le="0.5"}}': 4.0,
        f'size_seconds_bucket{{{own}, le="+Inf"}}': 12.0,
        f"size_seconds_count{{{own}}}": 12.0,
        f"size_seconds_sum{{{own}}}": 6.0,
    }
