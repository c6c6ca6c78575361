"""The messages of remote write 1.0 (`prometheus.WriteRequest`): the full ones, and one that only splits a request.

Source: prompb/remote.proto and prompb/types.proto of Prometheus.  Label texts are declared as bytes, because one
series that is not UTF-8 must not spoil the request.
"""

from __future__ import annotations

from typing import Final

from ..model.metadata import MetricType
from .protobuf_schema import message_classes

HISTOGRAM_MESSAGES: Final = {
    "BucketSpan": [(1, "offset", "sint32"), (2, "length", "uint32")],
    "Histogram": [
        (1, "count_int", "count:uint64"),
        (2, "count_float", "count:double"),
        (3, "sum", "double"),
        (4, "schema", "sint32"),
        (5, "zero_threshold", "double"),
        (6, "zero_count_int", "zero_count:uint64"),
        (7, "zero_count_float", "zero_count:double"),
        (8, "negative_spans", "*BucketSpan"),
        (9, "negative_deltas", "*sint64"),
        (10, "negative_counts", "*double"),
        (11, "positive_spans", "*BucketSpan"),
        (12, "positive_deltas", "*sint64"),
        (13, "positive_counts", "*double"),
        (14, "reset_hint", "int32"),
        (15, "timestamp", "int64"),
        (16, "custom_values", "*double"),
    ],
}
"""What version 2.0 has as well."""

_MESSAGES = message_classes(
    "prometheus",
    {
        "Label": [(1, "name", "bytes"), (2, "value", "bytes")],
        "Sample": [(1, "value", "double"), (2, "timestamp", "int64")],
        "TimeSeries": [
            (1, "labels", "*Label"),
            (2, "samples", "*Sample"),
            (3, "exemplars", "*Exemplar"),
            (4, "histograms", "*Histogram"),
        ],
        "Exemplar": [(1, "labels", "*Label"), (2, "value", "double"), (3, "timestamp", "int64")],
        **HISTOGRAM_MESSAGES,
        "MetricMetadata": [
            (1, "type", "int32"),
            (2, "metric_family_name", "bytes"),
            (4, "help", "bytes"),
            (5, "unit", "bytes"),
        ],
        "WriteRequest": [(1, "timeseries", "*TimeSeries"), (3, "metadata", "*MetricMetadata")],
        "SplitRequest": [(1, "timeseries", "*bytes"), (3, "metadata", "*MetricMetadata")],
    },
)

TimeSeries: Final = _MESSAGES["TimeSeries"]
WriteRequest: Final = _MESSAGES["WriteRequest"]
SplitRequest: Final = _MESSAGES["SplitRequest"]

TYPE_OF_NUMBER: Final = (
    MetricType.UNKNOWN,
    MetricType.COUNTER,
    MetricType.GAUGE,
    MetricType.HISTOGRAM,
    MetricType.GAUGE_HISTOGRAM,
    MetricType.SUMMARY,
    MetricType.INFO,
    MetricType.STATESET,
)
"""The enum `MetricMetadata.MetricType`."""
