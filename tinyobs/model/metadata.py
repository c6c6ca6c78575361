"""What a metric family says of itself: type, help and unit."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import frozen

from .labels import Labels, from_pairs

TYPE_LABEL: Final = "__type__"
UNIT_LABEL: Final = "__unit__"


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


def with_type_and_unit(labels: Labels, metadata: MetricMetadata) -> Labels:
    """Return labels with `__type__` and `__unit__` as metadata has them, and none of these where it has not."""
    pairs = [pair for pair in labels if pair[0] not in (TYPE_LABEL, UNIT_LABEL)]
    if metadata.type is not MetricType.UNKNOWN:
        pairs.append((TYPE_LABEL, metadata.type.value))
    if metadata.unit:
        pairs.append((UNIT_LABEL, metadata.unit))
    return from_pairs(pairs)
