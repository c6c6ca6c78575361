"""Metric families -> length-delimited `io.prometheus.client.MetricFamily` messages.

Format: io/prometheus/client/metrics.proto of Prometheus' client_model.  The points of a classic histogram or summary
that share their other labels and their timestamp become one metric.  Types that the format lacks become gauges.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..model.families import MetricFamily, Point
from ..model.labels import Labels, drop, get
from ..model.metadata import MetricType
from ..model.registry import varint
from .client_schema import COUNTER, GAUGE, GAUGE_HISTOGRAM, HISTOGRAM, SUMMARY, UNTYPED, Family
from .floats import parse_float
from .names import Escaping, label_name, metric_name

_TYPE: Final = {
    MetricType.COUNTER: COUNTER,
    MetricType.GAUGE: GAUGE,
    MetricType.SUMMARY: SUMMARY,
    MetricType.UNKNOWN: UNTYPED,
    MetricType.HISTOGRAM: HISTOGRAM,
    MetricType.GAUGE_HISTOGRAM: GAUGE_HISTOGRAM,
}
_FIELD: Final = {COUNTER: "counter", GAUGE: "gauge", UNTYPED: "untyped"}
_BOUND: Final = {HISTOGRAM: "le", GAUGE_HISTOGRAM: "le", SUMMARY: "quantile"}


def write_protobuf(families: Iterable[MetricFamily], escaping: Escaping = Escaping.UNDERSCORES) -> bytes:
    """Return the families as messages, each after its length as a varint."""
    out = bytearray()
    for family in families:
        data = message_of(family, escaping).SerializeToString()
        out += varint(len(data)) + data
    return bytes(out)


def message_of(family: MetricFamily, escaping: Escaping) -> Any:
    """Return the message of one family."""
    type_ = _TYPE.get(family.type, GAUGE)
    message = Family(name=metric_name(family.name, escaping), help=family.help, type=type_)
    if family.unit:
        message.unit = family.unit
    bound = _BOUND.get(type_)
    metrics: dict[tuple[Labels, int | None], Any] = {}
    for point in family.points:
        if point.suffix == "_created":
            continue
        labels = point.labels if bound is None else drop(point.labels, {bound})
        key = labels, point.timestamp_ms
        metric = metrics.get(key) if bound is not None else None
        if metric is None:
            metric = metrics[key] = message.metric.add()
            for name, value in labels:
                metric.label.add(name=label_name(name, escaping), value=value)
            if point.timestamp_ms is not None:
                metric.timestamp_ms = point.timestamp_ms
        if bound is None:
            getattr(metric, _FIELD[type_]).value = point.value
        elif type_ == SUMMARY:
            _add_to_summary(metric.summary, point)
        else:
            _add_to_histogram(metric.histogram, point)
    return message


def _add_to_summary(summary: Any, point: Point) -> None:
    if point.suffix == "_sum":
        summary.sample_sum = point.value
    elif point.suffix == "_count":
        summary.sample_count = _whole(point.value)
    else:
        summary.quantile.add(quantile=_bound_of(point, "quantile"), value=point.value)


def _add_to_histogram(histogram: Any, point: Point) -> None:
    if point.suffix in ("_sum", "_gsum"):
        histogram.sample_sum = point.value
    elif point.suffix in ("_count", "_gcount"):
        histogram.sample_count = _whole(point.value)
    else:
        histogram.bucket.add(upper_bound=_bound_of(point, "le"), cumulative_count=_whole(point.value))


def _bound_of(point: Point, name: str) -> float:
    try:
        return parse_float(get(point.labels, name).encode())
    except ValueError:
        return float("nan")


def _whole(value: float) -> int:
    """Return a count as the unsigned integer that the format wants."""
    return int(value) if 0 <= value < 2.0**64 else 0
