"""Counts, durations and sizes of answered requests, under the names that dashboards for Prometheus know.

Source of names and buckets: prometheus web/web.go `newMetrics`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from attrs import Factory, define

from ..model.families import MetricFamily, Point
from ..model.labels import from_mapping
from ..model.metadata import MetricType

SECONDS_BUCKETS: Final = (0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0)
BYTES_BUCKETS: Final = tuple(100.0 * 10**i for i in range(8))


@define
class _Histogram:
    bounds: Sequence[float]
    counts: list[int] = Factory(lambda self: [0] * (len(self.bounds) + 1), takes_self=True)
    sum: float = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def points(self, handler: str) -> list[Point]:
        out, total = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            out.append(Point(float(total), from_mapping({"handler": handler, "le": le}), "_bucket"))
        labels = from_mapping({"handler": handler})
        return [*out, Point(self.sum, labels, "_sum"), Point(float(total), labels, "_count")]


class RequestStatistics:
    """Accumulates; used from the event loop, but for `families`, which worker threads call."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = {}
        self._seconds: dict[str, _Histogram] = {}
        self._bytes: dict[str, _Histogram] = {}

    def observe(self, handler: str, status: int, seconds: float, body_bytes: int) -> None:
        """Note one answered request."""
        key = (handler, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        if handler not in self._seconds:
            self._seconds[handler] = _Histogram(SECONDS_BUCKETS)
            self._bytes[handler] = _Histogram(BYTES_BUCKETS)
        self._seconds[handler].observe(seconds)
        self._bytes[handler].observe(float(body_bytes))

    def count(self, handler: str, status: int) -> int:
        """Return how many requests a handler answered with a status."""
        return self._counts.get((handler, status), 0)

    def families(self) -> list[MetricFamily]:
        """Return the metrics."""
        counts = [
            Point(float(n), from_mapping({"handler": handler, "code": str(status)}))
            for (handler, status), n in list(self._counts.items())
        ]
        return [
            MetricFamily("prometheus_http_requests_total", MetricType.COUNTER, "Counter of HTTP requests.", counts),
            MetricFamily(
                "prometheus_http_request_duration_seconds",
                MetricType.HISTOGRAM,
                "Histogram of latencies for HTTP requests.",
                [p for handler, h in list(self._seconds.items()) for p in h.points(handler)],
            ),
            MetricFamily(
                "prometheus_http_response_size_bytes",
                MetricType.HISTOGRAM,
                "Histogram of response size for HTTP requests.",
                [p for handler, h in list(self._bytes.items()) for p in h.points(handler)],
            ),
        ]
