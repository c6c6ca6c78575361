"""What each series is in OTLP, decided once: its resource, its metric, its place in a point, its attributes as bytes.

The type of a family comes from the metadata that scrapes and remote write bring; a series without is a gauge.  Rules:
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from attrs import frozen
from tinyobs.model.labels import Labels
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry

from .wire import attribute

TARGET_INFO: Final = "target_info"
_SCOPE: Final = ("otel_scope_name", "otel_scope_version")
_NOT_ATTRIBUTES: Final = frozenset(("__name__", "job", "instance", *_SCOPE))
_UNKNOWN: Final = MetricMetadata()


class Part(Enum):
    """What a sample of a series is."""

    GAUGE = auto()
    COUNTER = auto()
    """A sum that only grows."""
    STATE = auto()
    """A sum that may shrink: info and state sets."""
    BUCKET = auto()
    HISTOGRAM_SUM = auto()
    HISTOGRAM_COUNT = auto()
    QUANTILE = auto()
    SUMMARY_SUM = auto()
    SUMMARY_COUNT = auto()
    TARGET_INFO = auto()


HISTOGRAM_PARTS: Final = frozenset((Part.BUCKET, Part.HISTOGRAM_SUM, Part.HISTOGRAM_COUNT))
SUMMARY_PARTS: Final = frozenset((Part.QUANTILE, Part.SUMMARY_SUM, Part.SUMMARY_COUNT))

Source = tuple[str, str, str, str]
"""job, instance, name and version of the scope."""


@frozen
class Plan:
    """What becomes of a series.  labels: those that are attributes.  limit: the bound of a bucket, or the quantile."""

    part: Part
    source: Source
    metric: str
    labels: Labels
    limit: float = 0.0

    def attributes(self, number: int) -> bytes:
        """Return the attributes as fields of this number."""
        return b"".join(attribute(number, name, value) for name, value in self.labels)


class Plans:
    """The plans of all series, and the metadata that they follow from."""

    def __init__(self, registry: SeriesRegistry) -> None:
        self._registry = registry
        self._plans: dict[int, Plan] = {}
        self._metadata: dict[str, MetricMetadata] = {}

    def learn(self, metadata: Mapping[str, MetricMetadata]) -> None:
        """Take metadata over; a family of another type has its series planned anew."""
        for family, said in metadata.items():
            before = self._metadata.get(family, _UNKNOWN)
            self._metadata[family] = said
            if said.type is not before.type:
                self._plans.clear()  # happens with the first scrapes, hardly later

    def metadata(self, family: str) -> MetricMetadata:
        """Return what is known of a family."""
        return self._metadata.get(family, _UNKNOWN)

    def of(self, ref: int) -> Plan:
        """Return the plan of a series."""
        plan = self._plans.get(ref)
        if plan is None:
            plan = self._plans[ref] = self._made(self._registry.labels(ref))
        return plan

    def _made(self, labels: Labels) -> Plan:
        found = dict(labels)
        name = found.get("__name__", "")
        job, instance, scope, version = (found.get(key, "") for key in ("job", "instance", *_SCOPE))
        source = (job, instance, scope, version)
        own = tuple(pair for pair in labels if pair[0] not in _NOT_ATTRIBUTES)
        if name == TARGET_INFO:
            return Plan(Part.TARGET_INFO, source, name, own)
        part, family, key = self._part(name, found)
        if not key:
            return Plan(part, source, family, own)
        limit = _number(found[key])
        if limit is None:
            return Plan(Part.GAUGE, source, name, own)
        return Plan(part, source, family, tuple(pair for pair in own if pair[0] != key), limit)

    def _part(self, name: str, labels: Mapping[str, str]) -> tuple[Part, str, str]:
        """Return (part, name of the metric, label that says which bucket or quantile)."""
        kind = self._type(name)
        if kind is MetricType.COUNTER or (name.endswith("_total") and self._is(name, "_total", MetricType.COUNTER)):
            return Part.COUNTER, name, ""
        if kind in (MetricType.INFO, MetricType.STATESET) or self._is(name, "_info", MetricType.INFO):
            return Part.STATE, name, ""
        if kind is MetricType.SUMMARY and "quantile" in labels:
            return Part.QUANTILE, name, "quantile"
        for suffix, histogram, summary in (
            ("_bucket", Part.BUCKET, None),
            ("_sum", Part.HISTOGRAM_SUM, Part.SUMMARY_SUM),
            ("_count", Part.HISTOGRAM_COUNT, Part.SUMMARY_COUNT),
        ):
            if self._is(name, suffix, MetricType.HISTOGRAM) and (suffix != "_bucket" or "le" in labels):
                return histogram, name.removesuffix(suffix), "le" if suffix == "_bucket" else ""
            if summary is not None and self._is(name, suffix, MetricType.SUMMARY):
                return summary, name.removesuffix(suffix), ""
        return Part.GAUGE, name, ""

    def _type(self, family: str) -> MetricType:
        return self._metadata.get(family, _UNKNOWN).type

    def _is(self, name: str, suffix: str, kind: MetricType) -> bool:
        return name.endswith(suffix) and self._type(name.removesuffix(suffix)) is kind


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value
