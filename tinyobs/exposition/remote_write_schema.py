"""The messages of remote write 1.0 (`prometheus.WriteRequest`): the full ones, and one that only splits a request.

Source: prompb/remote.proto and prompb/types.proto of Prometheus.  Label texts are declared as bytes, because one
series that is not UTF-8 must not spoil the request; histograms and exemplars are bytes, because they are only counted.
"""

from __future__ import annotations

from typing import Final

from ..model.metadata import MetricType
from .protobuf_schema import message_classes

_MESSAGES = message_classes(
    "prometheus",
    {
        "Label": [(1, "name", "bytes"), (2, "value", "bytes")],
        "Sample": [(1, "value", "double"), (2, "timestamp", "int64")],
        "TimeSeries": [
            (1, "labels", "*Label"),
            (2, "samples", "*Sample"),
            (3, "exemplars", "*bytes"),
            (4, "histograms", "*bytes"),
        ],
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
