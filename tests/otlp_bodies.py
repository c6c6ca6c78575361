"""Bodies of OTLP metrics for tests, made of the same messages that the decoder knows."""

from __future__ import annotations

from typing import Any

from tinyobs.exposition.otlp.schema import CUMULATIVE, Request

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


class Body:
    """A request with one resource and one scope; methods add metrics and return what points can be added to."""

    def __init__(self, *, scope: str = "", **resource: Any) -> None:
        self.request = Request()
        self.resource_metrics = self.request.resource_metrics.add()
        attributes(self.resource_metrics.resource.attributes, {k.replace("__", "."): v for k, v in resource.items()})
        self.scope_metrics = self.resource_metrics.scope_metrics.add()
        self.scope_metrics.scope.name = scope.encode()

    def metric(self, name: str, unit: str = "", description: str = "") -> Any:
        """Add a metric without data."""
        return self.scope_metrics.metrics.add(name=name.encode(), unit=unit.encode(), description=description.encode())

    def gauge(self, name: str, *values: float, unit: str = "", at_ns: int = START_NS, **labels: Any) -> Any:
        """Add a gauge with a point for each value, a second apart."""
        data = self.metric(name, unit).gauge
        data.SetInParent()
        numbers(data, values, at_ns, labels)
        return data

    def sum(
        self,
        name: str,
        *values: float,
        unit: str = "",
        monotonic: bool = True,
        temporality: int = CUMULATIVE,
        at_ns: int = START_NS,
        start_ns: int = 0,
        **labels: Any,
    ) -> Any:
        """Add a sum with a point for each value, a second apart."""
        data = self.metric(name, unit).sum
        data.aggregation_temporality, data.is_monotonic = temporality, monotonic
        numbers(data, values, at_ns, labels, start_ns)
        return data

    def histogram(
        self,
        name: str,
        counts: list[int],
        bounds: list[float],
        *,
        total: float | None = 1.5,
        unit: str = "",
        temporality: int = CUMULATIVE,
        at_ns: int = START_NS,
        start_ns: int = 0,
        **labels: Any,
    ) -> Any:
        """Add an explicit histogram with one point; returns the point."""
        data = self.metric(name, unit).histogram
        data.aggregation_temporality = temporality
        point = data.data_points.add(time_unix_nano=at_ns, start_time_unix_nano=start_ns, count=sum(counts))
        point.bucket_counts[:], point.explicit_bounds[:] = counts, bounds
        if total is not None:
            point.sum = total
        attributes(point.attributes, labels)
        return point

    def exponential(
        self,
        name: str,
        positive: list[int],
        *,
        scale: int = 0,
        offset: int = 0,
        negative: list[int] | None = None,
        zero_count: int = 0,
        total: float = 1.5,
        temporality: int = CUMULATIVE,
        at_ns: int = START_NS,
        start_ns: int = 0,
        **labels: Any,
    ) -> Any:
        """Add an exponential histogram with one point; returns the point."""
        data = self.metric(name).exponential_histogram
        data.aggregation_temporality = temporality
        point = data.data_points.add(
            time_unix_nano=at_ns, start_time_unix_nano=start_ns, scale=scale, zero_count=zero_count, sum=total
        )
        point.positive.offset = offset
        point.positive.bucket_counts[:] = positive
        point.negative.bucket_counts[:] = negative or []
        point.count = zero_count + sum(positive) + sum(negative or [])
        attributes(point.attributes, labels)
        return point

    def summary(self, name: str, quantiles: dict[float, float], *, at_ns: int = START_NS, **labels: Any) -> Any:
        """Add a summary with one point; returns the point."""
        point = self.metric(name).summary.data_points.add(time_unix_nano=at_ns, count=4, sum=2.5)
        for quantile, value in quantiles.items():
            point.quantile_values.add(quantile=quantile, value=value)
        attributes(point.attributes, labels)
        return point

    def bytes(self) -> bytes:
        """Return the body in protobuf."""
        return bytes(self.request.SerializeToString())


def numbers(data: Any, values: tuple[float, ...], at_ns: int, labels: dict[str, Any], start_ns: int = 0) -> None:
    for i, value in enumerate(values):
        point = data.data_points.add(time_unix_nano=at_ns + i * SECOND_NS, start_time_unix_nano=start_ns)
        setattr(point, "as_int" if isinstance(value, int) else "as_double", value)
        attributes(point.attributes, labels)


def attributes(into: Any, values: dict[str, Any]) -> None:
    """Add attributes of any kind."""
    for key, value in values.items():
        any_value(into.add(key=key.encode()).value, value)


def any_value(into: Any, value: Any) -> None:
    if isinstance(value, str):
        into.string_value = value.encode()
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int):
        into.int_value = value
    elif isinstance(value, float):
        into.double_value = value
    elif isinstance(value, bytes):
        into.bytes_value = value
    elif isinstance(value, list):
        into.array_value.SetInParent()
        for item in value:
            any_value(into.array_value.values.add(), item)
    elif isinstance(value, dict):
        into.kvlist_value.SetInParent()
        attributes(into.kvlist_value.values, value)
