"""The messages of OTLP metrics.

Source: opentelemetry/proto/{common,resource,metrics,collector/metrics}/v1/*.proto.  Texts are declared as bytes, because
one that is not UTF-8 must not spoil the request.
"""

from __future__ import annotations

from typing import Final

from ..protobuf_schema import Table, message_classes

TABLE: Final[Table] = {
    "ExportMetricsServiceRequest": [(1, "resource_metrics", "*ResourceMetrics")],
    "ResourceMetrics": [
        (1, "resource", "Resource"),
        (2, "scope_metrics", "*ScopeMetrics"),
        (3, "schema_url", "bytes"),
    ],
    "Resource": [(1, "attributes", "*KeyValue")],
    "ScopeMetrics": [(1, "scope", "InstrumentationScope"), (2, "metrics", "*Metric"), (3, "schema_url", "bytes")],
    "InstrumentationScope": [(1, "name", "bytes"), (2, "version", "bytes"), (3, "attributes", "*KeyValue")],
    "Metric": [
        (1, "name", "bytes"),
        (2, "description", "bytes"),
        (3, "unit", "bytes"),
        (5, "gauge", "data:Gauge"),
        (7, "sum", "data:Sum"),
        (9, "histogram", "data:Histogram"),
        (10, "exponential_histogram", "data:ExponentialHistogram"),
        (11, "summary", "data:Summary"),
    ],
    "Gauge": [(1, "data_points", "*NumberDataPoint")],
    "Sum": [
        (1, "data_points", "*NumberDataPoint"),
        (2, "aggregation_temporality", "int32"),
        (3, "is_monotonic", "bool"),
    ],
    "Histogram": [(1, "data_points", "*HistogramDataPoint"), (2, "aggregation_temporality", "int32")],
    "ExponentialHistogram": [
        (1, "data_points", "*ExponentialHistogramDataPoint"),
        (2, "aggregation_temporality", "int32"),
    ],
    "Summary": [(1, "data_points", "*SummaryDataPoint")],
    "NumberDataPoint": [
        (2, "start_time_unix_nano", "fixed64"),
        (3, "time_unix_nano", "fixed64"),
        (4, "as_double", "value:double"),
        (5, "exemplars", "*Exemplar"),
        (6, "as_int", "value:sfixed64"),
        (7, "attributes", "*KeyValue"),
        (8, "flags", "uint32"),
    ],
    "HistogramDataPoint": [
        (2, "start_time_unix_nano", "fixed64"),
        (3, "time_unix_nano", "fixed64"),
        (4, "count", "fixed64"),
        (5, "sum", "has_sum:double"),
        (6, "bucket_counts", "*fixed64"),
        (7, "explicit_bounds", "*double"),
        (8, "exemplars", "*Exemplar"),
        (9, "attributes", "*KeyValue"),
        (10, "flags", "uint32"),
        (11, "min", "has_min:double"),
        (12, "max", "has_max:double"),
    ],
    "ExponentialHistogramDataPoint": [
        (1, "attributes", "*KeyValue"),
        (2, "start_time_unix_nano", "fixed64"),
        (3, "time_unix_nano", "fixed64"),
        (4, "count", "fixed64"),
        (5, "sum", "has_sum:double"),
        (6, "scale", "sint32"),
        (7, "zero_count", "fixed64"),
        (8, "positive", "Buckets"),
        (9, "negative", "Buckets"),
        (10, "flags", "uint32"),
        (11, "exemplars", "*Exemplar"),
        (12, "min", "has_min:double"),
        (13, "max", "has_max:double"),
        (14, "zero_threshold", "double"),
    ],
    "Buckets": [(1, "offset", "sint32"), (2, "bucket_counts", "*uint64")],
    "SummaryDataPoint": [
        (2, "start_time_unix_nano", "fixed64"),
        (3, "time_unix_nano", "fixed64"),
        (4, "count", "fixed64"),
        (5, "sum", "double"),
        (6, "quantile_values", "*ValueAtQuantile"),
        (7, "attributes", "*KeyValue"),
        (8, "flags", "uint32"),
    ],
    "ValueAtQuantile": [(1, "quantile", "double"), (2, "value", "double")],
    "Exemplar": [
        (2, "time_unix_nano", "fixed64"),
        (3, "as_double", "value:double"),
        (4, "span_id", "bytes"),
        (5, "trace_id", "bytes"),
        (6, "as_int", "value:sfixed64"),
        (7, "filtered_attributes", "*KeyValue"),
    ],
    "KeyValue": [(1, "key", "bytes"), (2, "value", "AnyValue")],
    "AnyValue": [
        (1, "string_value", "value:bytes"),
        (2, "bool_value", "value:bool"),
        (3, "int_value", "value:int64"),
        (4, "double_value", "value:double"),
        (5, "array_value", "value:ArrayValue"),
        (6, "kvlist_value", "value:KeyValueList"),
        (7, "bytes_value", "value:bytes"),
    ],
    "ArrayValue": [(1, "values", "*AnyValue")],
    "KeyValueList": [(1, "values", "*KeyValue")],
    "ExportMetricsServiceResponse": [(1, "partial_success", "ExportMetricsPartialSuccess")],
    "ExportMetricsPartialSuccess": [(1, "rejected_data_points", "int64"), (2, "error_message", "string")],
    "Status": [(1, "code", "int32"), (2, "message", "string")],
}
"""Message -> its fields; see `protobuf_schema.py`.  `Status` is google.rpc.Status without its details."""

MESSAGES: Final = message_classes("otlp", TABLE)

Request: Final = MESSAGES["ExportMetricsServiceRequest"]
Metric: Final = MESSAGES["Metric"]

DELTA: Final = 1
CUMULATIVE: Final = 2
"""Numbers of the enum `AggregationTemporality`."""
NO_RECORDED_VALUE: Final = 1
"""The bit of `flags` that says that a series has ended."""
KINDS: Final = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
"""The names of the fields of a metric that hold its data."""
POINT_MESSAGES: Final = {
    "gauge": MESSAGES["NumberDataPoint"],
    "sum": MESSAGES["NumberDataPoint"],
    "histogram": MESSAGES["HistogramDataPoint"],
    "exponential_histogram": MESSAGES["ExponentialHistogramDataPoint"],
    "summary": MESSAGES["SummaryDataPoint"],
}
