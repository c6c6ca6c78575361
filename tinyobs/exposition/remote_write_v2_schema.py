"""The message of remote write 2.0, `io.prometheus.write.v2.Request`, for tests and readers of single requests.

Source: prompb/io/prometheus/write/v2/types.proto of Prometheus.
"""

from __future__ import annotations

from typing import Final

from .protobuf_schema import message_classes
from .remote_write_schema import HISTOGRAM_MESSAGES

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
        **HISTOGRAM_MESSAGES,
        "Histogram": [*HISTOGRAM_MESSAGES["Histogram"], (17, "start_timestamp", "int64")],
    },
)

Request2: Final = _MESSAGES["Request"]
TimeSeries2: Final = _MESSAGES["TimeSeries"]
