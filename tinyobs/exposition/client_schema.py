"""The messages of the protobuf exposition format: `io.prometheus.client`, to write and to read.

Source: io/prometheus/client/metrics.proto of Prometheus' client_model.  For reading there are classes that leave for
later what is seldom looked at: a family keeps its metrics as bytes, a metric its labels and its histogram.  Texts are
bytes there, because protobuf libraries differ in whether they refuse what is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .protobuf_schema import Table, message_classes

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)
TYPE_NAMES: Final = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM")
"""The enum `MetricType`."""

_PACKAGE: Final = "io.prometheus.client"
_TABLE: Final[Table] = {
    "LabelPair": [(1, "name", "string"), (2, "value", "string")],
    "Timestamp": [(1, "seconds", "int64"), (2, "nanos", "int32")],
    "Exemplar": [(1, "label", "*LabelPair"), (2, "value", "double"), (3, "timestamp", "Timestamp")],
    "Gauge": [(1, "value", "double")],
    "Counter": [(1, "value", "double"), (2, "exemplar", "Exemplar"), (3, "created_timestamp", "Timestamp")],
    "Untyped": [(1, "value", "double")],
    "Quantile": [(1, "quantile", "double"), (2, "value", "double")],
    "Summary": [
        (1, "sample_count", "uint64"),
        (2, "sample_sum", "double"),
        (3, "quantile", "*Quantile"),
        (4, "created_timestamp", "Timestamp"),
    ],
    "Bucket": [
        (1, "cumulative_count", "uint64"),
        (4, "cumulative_count_float", "double"),
        (2, "upper_bound", "double"),
        (3, "exemplar", "Exemplar"),
    ],
    "BucketSpan": [(1, "offset", "sint32"), (2, "length", "uint32")],
    "Histogram": [
        (1, "sample_count", "uint64"),
        (4, "sample_count_float", "double"),
        (2, "sample_sum", "double"),
        (3, "bucket", "*Bucket"),
        (15, "created_timestamp", "Timestamp"),
        (5, "schema", "sint32"),
        (6, "zero_threshold", "double"),
        (7, "zero_count", "uint64"),
        (8, "zero_count_float", "double"),
        (9, "negative_span", "*BucketSpan"),
        (10, "negative_delta", "*sint64"),
        (11, "negative_count", "*double"),
        (12, "positive_span", "*BucketSpan"),
        (13, "positive_delta", "*sint64"),
        (14, "positive_count", "*double"),
        (16, "exemplars", "*Exemplar"),
    ],
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
}


def _to_read(table: Table) -> Mapping[str, Sequence[tuple[int, str, str]]]:
    """Return the table with texts, and what is left for later, as bytes."""
    later = {("MetricFamily", "metric"): "*bytes", ("Metric", "label"): "*bytes"}

    def kind(message: str, name: str, type_: str) -> str:
        return later.get((message, name), "bytes" if type_ == "string" else type_)

    return {m: [(number, name, kind(m, name, type_)) for number, name, type_ in rows] for m, rows in table.items()}


_WRITTEN: Final = message_classes(_PACKAGE, _TABLE, presence=True)
_READ: Final = message_classes(_PACKAGE, _to_read(_TABLE), presence=True)

Family: Final = _WRITTEN["MetricFamily"]
"""To be written."""
FamilyRead: Final = _READ["MetricFamily"]
MetricRead: Final = _READ["Metric"]
LabelRead: Final = _READ["LabelPair"]
