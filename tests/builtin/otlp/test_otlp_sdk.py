"""The SDK of OpenTelemetry for Python pushes to a real agent, and queries give back what it counted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from peers import free_port, pause
from receiver_pages import agent_of

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the OTLP exporter is not installed")

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export, view
from opentelemetry.sdk.resources import Resource

RESOURCE = Resource(
    {"service.name": "shop", "service.namespace": "eu", "service.instance.id": "i-1", "host.name": "h", "n": [1, 2]}
)
CONVERT = "tinyobs: {features: [otlp-deltatocumulative]}\n"


@contextmanager
def meter(base: str, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (meter, what exports now)."""
    options.setdefault("timeout", 60)
    exporter = OTLPMetricExporter(f"{base}/v1/metrics", **options)
    reader = export.PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    exponential = view.View(
        instrument_name="exponential.*", aggregation=view.ExponentialBucketHistogramAggregation(max_size=20)
    )
    provider = sdk.MeterProvider([reader], RESOURCE, exemplar_filter=sdk.AlwaysOnExemplarFilter(), views=[exponential])
    try:
        yield provider.get_meter("lib", "1.0"), reader
    finally:
        provider.shutdown()


def push(base: str, rounds: int, **options: Any) -> None:
    """Count for some rounds, and export after each."""
    context = trace.set_span_in_context(
        trace.NonRecordingSpan(trace.SpanContext(0x1234, 0x56, False, trace.TraceFlags(trace.TraceFlags.SAMPLED)))
    )
    with meter(base, **options) as (made, reader):
        counter = made.create_counter("http.requests", "{request}", "requests that came")
        level = made.create_up_down_counter("queue.length")
        duration = made.create_histogram("http.duration", "s", explicit_bucket_boundaries_advisory=[0.1, 1.0])
        size = made.create_histogram("exponential.size", "By")
        made.create_observable_gauge("temperature", [lambda options: [Observation(21.5, {"room": "a"})]], "Cel")
        for i in range(rounds):
            counter.add(3, {"http.method": "GET", "ok": True}, context)
            counter.add(1, {"http.method": "PUT", "ok": False})
            level.add(2 - i)
            for value in (0.05, 0.5, 5.0):
                duration.record(value, {"route": "/"}, context)
                size.record(value * 100)
            assert reader.force_flush(20_000)
            pause(0.002)  # the next samples need another time


async def data(running: Any, path: str) -> Any:
    """Return what the API answers."""
    status, body = await running.get(f"/api/v1/{path}")
    assert status == 200, body
    return json.loads(body)["data"]


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
async def test_everything_that_the_sdk_counts(compression):
    """Counters, gauges, histograms of both kinds, exemplars, and what the resource says."""
    address = f"127.0.0.1:{free_port()}"
    async with agent_of("otlp: {promote_resource_attributes: [host.name]}\n", address, otlp_receiver=True) as running:
        await trio.to_thread.run_sync(lambda: push(f"http://{address}", 3, compression=compression))
        labels = 'host_name="h", instance="i-1", job="eu/shop"'
        wanted = {
            f'http_requests_total{{http_method="GET", ok="true", {labels}}}': 9.0,
            f'http_requests_total{{http_method="PUT", ok="false", {labels}}}': 3.0,
            f"queue_length{{{labels}}}": 3.0,
            f'temperature_celsius{{room="a", {labels}}}': 21.5,
            f'http_duration_seconds_bucket{{le="0.1", route="/", {labels}}}': 3.0,
            f'http_duration_seconds_bucket{{le="1", route="/", {labels}}}': 6.0,
            f'http_duration_seconds_bucket{{le="+Inf", route="/", {labels}}}': 9.0,
            f'http_duration_seconds_count{{route="/", {labels}}}': 9.0,
            f'http_duration_seconds_sum{{route="/", {labels}}}': 16.65,
            f"histogram_count(exponential_size_bytes{{{labels}}})": 9.0,
            f"histogram_sum(exponential_size_bytes{{{labels}}})": 1665.0,
            'target_info{host_name="h", instance="i-1", job="eu/shop", n="[1,2]"}': 1.0,
        }
        for expression, value in wanted.items():
            found = await running.query(expression)
            assert list(found.values()) == pytest.approx([value]), expression
        exemplars = await data(running, f"query_exemplars?query=http_requests_total&start=0&end={time.time() + 9}")
        assert exemplars[0]["exemplars"][0]["labels"] == {
            "trace_id": f"{0x1234:032x}", "span_id": f"{0x56:016x}",
        }  # fmt: skip
        metadata = await data(running, "metadata")
        assert metadata["http_requests_total"][0] == {"type": "counter", "help": "requests that came", "unit": ""}
        assert metadata["http_duration_seconds"][0]["type"] == "histogram"


async def test_deltas_of_the_sdk_are_added_up():
    """With the preference for deltas, of all kinds that have one."""
    address = f"127.0.0.1:{free_port()}"
    kinds = (sdk.Counter, sdk.Histogram, sdk.ObservableCounter)
    preferred = dict.fromkeys(kinds, export.AggregationTemporality.DELTA)
    async with agent_of(CONVERT, address, otlp_receiver=True) as running:
        await trio.to_thread.run_sync(lambda: push(f"http://{address}", 4, preferred_temporality=preferred))
        wanted = {
            'http_requests_total{http_method="GET"}': 12.0,
            'http_duration_seconds_bucket{le="1"}': 8.0,
            "histogram_count(exponential_size_bytes)": 12.0,
            "queue_length": 2.0,
        }
        for expression, value in wanted.items():
            assert list((await running.query(expression)).values()) == [value], expression
