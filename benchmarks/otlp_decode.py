"""How fast OTLP bodies are decoded, in microseconds of CPU for a data point: medians of many bodies.

    python benchmarks/otlp_decode.py [--points N] [--rounds N]

Prints one JSON object.  `alike`: bodies that differ in nothing but their numbers, as most SDKs send.  `shuffled`: known points in
another order each time, as the SDK of Go sends, of `spread` known metrics.  `collector`, `dotnet`: the same as those write it,
with the fields of messages backwards, and with others first.  `batches`: some 1000 points of 120 pods, as a Collector gathers them: which pods,
which of their 20 metrics and which points come in which order differs each time, and so do the lengths of bodies.  `new`: points of series that were never seen.  `general`: by the protobuf library, nothing remembered.
Each point has four attributes; `spread` has one point a metric, `grouped` 50, `histograms` 15
buckets (18 samples a point).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyobs.exposition.otlp.decoder import Decoder
from tinyobs.exposition.otlp.rules import Rules
from tinyobs.exposition.otlp.schema import CUMULATIVE, Request
from tinyobs.model.registry import SeriesRegistry

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from otlp_orders import collector, dotnet, reordered

START_NS = 1_790_000_000_000_000_000
BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


def add_attributes(into: Any, values: dict[str, str]) -> None:
    for key, value in values.items():
        into.add(key=key.encode()).value.string_value = value.encode()


def body(kind: str, points: int, step: int, shuffled: bool = False, fresh: int = 0) -> bytes:
    """Return a request of some points.  step: counts up; fresh: other series for each number."""
    request = Request()
    resource_metrics = request.resource_metrics.add()
    identity = {"service.name": "checkout", "service.namespace": "shop", "service.instance.id": f"pod-{fresh:06d}"}
    add_attributes(
        resource_metrics.resource.attributes, {**identity, "host.name": "node-17", "k8s.pod.name": "checkout-17"}
    )
    scope_metrics = resource_metrics.scope_metrics.add()
    scope_metrics.scope.name = b"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
    per_metric = {"spread": 1, "grouped": 50, "histograms": 50}[kind]
    order = list(range(per_metric))
    at_ns = START_NS + step * 10_000_000_000
    metrics = list(range(points // per_metric))
    if shuffled and kind == "spread":
        random.Random(step).shuffle(metrics)
    for m in metrics:
        metric = scope_metrics.metrics.add(
            name=f"http.server.request.{m:04d}".encode(), description=b"Requests served."
        )
        if kind == "histograms":
            metric.unit, data = b"s", metric.histogram
        else:
            metric.unit, data = b"By", metric.sum if m % 2 else metric.gauge
        if data is not metric.gauge:
            data.aggregation_temporality = CUMULATIVE
        if data is metric.sum:
            data.is_monotonic = True
        if shuffled:
            random.Random(step * 1000 + m).shuffle(order)
        for i in order:
            fill(data.data_points.add(time_unix_nano=at_ns, start_time_unix_nano=START_NS), kind, i, step)
    return bytes(request.SerializeToString())


def fill(point: Any, kind: str, i: int, step: int) -> None:
    if kind == "histograms":
        point.bucket_counts[:] = [step * (b + 1) + i for b in range(len(BOUNDS) + 1)]
        point.explicit_bounds[:] = BOUNDS
        point.count, point.sum, point.min, point.max = sum(point.bucket_counts), step * 1.5, 0.001, 9.5
    elif i % 3:
        point.as_double = step * 1.25 + i
    else:
        point.as_int = step + i
    code = ("200", "404", "500")[i % 3]
    labels = {
        "http.request.method": "GET",
        "http.route": f"/api/v1/things/{i:04d}",
        "server.address": "shop.example.com",
    }
    add_attributes(point.attributes, {**labels, "http.response.status_code": code})


def batch(step: int, points: int = 1000, pods: int = 120, at_ns: int = 0) -> tuple[bytes, int]:
    """Return what a Collector sends of known series, as it writes it, and how many points.  at_ns: their time."""
    order, request, count = random.Random(step), Request(), 0
    for pod in order.sample(range(pods), pods):
        resource_metrics = request.resource_metrics.add()
        names = {
            "service.name": "checkout",
            "service.instance.id": f"pod-{pod:05d}",
            "k8s.node.name": f"node-{pod % 7}",
        }
        add_attributes(resource_metrics.resource.attributes, names)
        scope_metrics = resource_metrics.scope_metrics.add()
        scope_metrics.scope.name = b"otelcol/kubeletstatsreceiver"
        for m in order.sample(range(20), order.randrange(10, 21)):
            metric = scope_metrics.metrics.add(
                name=f"k8s.thing.{m:03d}".encode(), description=b"What it is.", unit=b"By"
            )
            data = metric.sum if m % 2 else metric.gauge
            if m % 2:
                data.aggregation_temporality, data.is_monotonic = CUMULATIVE, True
            for i in order.sample(range(1 + m % 4), 1 + m % 4):
                times = {"time_unix_nano": at_ns or START_NS + step * 10_000_000_000, "start_time_unix_nano": START_NS}
                point = data.data_points.add(**times)
                setattr(point, "as_double" if i % 2 else "as_int", step + i)
                add_attributes(point.attributes, {"container": f"c{i}", "direction": "receive", "interface": "eth0"})
                count += 1
        if count >= points:
            break
    return reordered(bytes(request.SerializeToString()), collector), count


def cost(decode: Callable[[bytes], Any], bodies: list[bytes]) -> float:
    """Return the median of the CPU seconds that a body takes."""
    times = []
    for one in bodies:
        begin = time.process_time_ns()
        decode(one)
        times.append((time.process_time_ns() - begin) / 1e9)
    return statistics.median(times)


def measure(kind: str, points: int, rounds: int) -> dict[str, float]:
    """Return what is measured of one kind of bodies, in microseconds for a point."""
    decoder = Decoder(SeriesRegistry(), Rules())

    def decode(one: bytes) -> None:
        decoder.decode(one).settle()

    for step in range(1, 4):
        decode(body(kind, points, step))
    found = {"alike": cost(decode, [body(kind, points, step) for step in range(1, rounds + 1)])}
    mixed = [body(kind, points, step, shuffled=True) for step in range(1, rounds + 1)]
    found["shuffled"] = cost(decode, mixed)
    for order in (collector, dotnet):
        others = [reordered(one, order) for one in mixed]
        decode(others[0])
        found[order.__name__] = cost(decode, others)
    found["new"] = cost(decode, [body(kind, points, 1, fresh=i + 1) for i in range(5)])
    found["general"] = cost(lambda one: decoder._general(Request.FromString(one), None), [body(kind, points, 1)] * 5)
    return {name: round(seconds / points * 1e6, 3) for name, seconds in found.items()}


def measure_batches(points: int, rounds: int) -> dict[str, float]:
    """Return what bodies of a Collector take, in microseconds for each of as many points as they have at least."""
    decoder = Decoder(SeriesRegistry(), Rules())
    decode: Callable[[bytes], Any] = lambda one: decoder.decode(one).settle()  # noqa: E731
    for step in range(60):
        decode(batch(step, points)[0])
    return {"batches": round(cost(decode, [batch(100 + step, points)[0] for step in range(rounds)]) / points * 1e6, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50)
    given = parser.parse_args()
    found = {kind: measure(kind, given.points, given.rounds) for kind in ("spread", "grouped", "histograms")}
    found["batches"] = measure_batches(given.points, given.rounds)
    print(json.dumps({"unit": "microseconds of CPU for a data point", **found}, indent=2))


if __name__ == "__main__":
    main()
