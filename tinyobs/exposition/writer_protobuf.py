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
from .floats import parse_float
from .names import Escaping, label_name, metric_name
from .protobuf_schema import message_classes

_MESSAGES = message_classes(
    "io.prometheus.client",
    {
        "LabelPair": [(1, "name", "string"), (2, "value", "string")],
        "Gauge": [(1, "value", "double")],
        "Counter": [(1, "value", "double")],
        "Untyped": [(1, "value", "double")],
        "Quantile": [(1, "quantile", "double"), (2, "value", "double")],
        "Summary": [(1, "sample_count", "uint64"), (2, "sample_sum", "double"), (3, "quantile", "*Quantile")],
        "Bucket": [(1, "cumulative_count", "uint64"), (2, "upper_bound", "double")],
        "Histogram": [
            (1, "sample_count", "uint64"),
            (2, "sample_sum", "double"),
            (3, "bucket", "*Bucket"),
            (4, "sample_count_float", "double"),
            (5, "schema", "sint32"),
            (6, "zero_threshold", "double"),
            (8, "zero_count_float", "double"),
            (9, "negative_span", "*BucketSpan"),
            (11, "negative_count", "*double"),
            (12, "positive_span", "*BucketSpan"),
            (14, "positive_count", "*double"),
        ],
        "BucketSpan": [(1, "offset", "sint32"), (2, "length", "uint32")],
        "Metric": [
            (1, "label", "*LabelPair"),
            (2, "gauge", "Gauge"),
            (3, "counter", "Counter"),
            (4, "summary", "Summary"),
            (5, "untyped", "Untyped"),
            (7, "histogram", "Histogram"),
            (6, "timestamp_ms", "int64"),
        ],
        "MetricFamily": [
            (1, "name", "string"),
            (2, "help", "string"),
            (3, "type", "int32"),
            (4, "metric", "*Metric"),
            (5, "unit", "string"),
        ],
    },
    presence=True,
)
Family: Final = _MESSAGES["MetricFamily"]

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)
TYPE_NAMES: Final = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM")
"""The enum `MetricType`."""

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
