"""How many there were of something and how long they took, as a summary without quantiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define

from ..model.families import MetricFamily, Point
from ..model.labels import from_mapping
from ..model.metadata import MetricType


@define
class Durations:
    """How many there were and how long they took in seconds, by key."""

    totals: dict[Any, tuple[int, float]] = Factory(dict)

    def observe(self, key: Any, seconds: float) -> None:
        """Add one."""
        count, total = self.totals.get(key, (0, 0.0))
        self.totals[key] = count + 1, total + seconds

    def family(self, name: str, help: str, labels_of: Callable[[Any], Mapping[str, str]]) -> MetricFamily:
        """Return a summary without quantiles."""
        points = []
        for key, (count, total) in list(self.totals.items()):
            labels = from_mapping(labels_of(key))
            points += [Point(total, labels, "_sum"), Point(float(count), labels, "_count")]
        return MetricFamily(name, MetricType.SUMMARY, help, tuple(points))
