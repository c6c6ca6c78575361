"""The message of remote write 2.0, `io.prometheus.write.v2.Request`, for tests and readers of single requests.

Source: prompb/io/prometheus/write/v2/types.proto of Prometheus.
"""

from __future__ import annotations

from typing import Final

from .protobuf_schema import message_classes

_MESSAGES = message_classes(
    "io.prometheus.write.v2",
    {
        "Request": [(4, "symbols", "*string"), (5, "timeseries", "*TimeSeries")],
        "TimeSeries": [
            (1, "labels_refs", "*uint32"),
            (2, "samples", "*Sample"),
            (3, "histograms", "*Histogram"),
            (4, "exemplars", "*Exemplar"),
            (5, "metadata", "Metadata"),
        ],
        "Exemplar": [(1, "labels_refs", "*uint32"), (2, "value", "double"), (3, "timestamp", "int64")],
        "Sample": [(1, "value", "double"), (2, "timestamp", "int64"), (3, "start_timestamp", "int64")],
        "Metadata": [(1, "type", "int32"), (3, "help_ref", "uint32"), (4, "unit_ref", "uint32")],
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
            (17, "start_timestamp", "int64"),
        ],
    },
)

Request2: Final = _MESSAGES["Request"]
