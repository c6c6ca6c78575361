"""What a metric family says of itself: type, help and unit."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class MetricType(StrEnum):
    """The types of OpenMetrics 1.0, which are also those of the Prometheus HTTP API."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    GAUGE_HISTOGRAM = "gaugehistogram"
    SUMMARY = "summary"
    INFO = "info"
    STATESET = "stateset"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


@frozen
class MetricMetadata:
    """HELP, TYPE and UNIT of one metric family."""

    type: MetricType = MetricType.UNKNOWN
    help: str = ""
    unit: str = ""
