"""What one collector found, as metric families in the making.

A collector adds points; the exporter takes the families only when the collector came to its end, so that a file that
turns unreadable half-way never leaves half a collector behind.  Not here: the merging of collectors (`exporter.py`).
"""

from __future__ import annotations

from attrs import define, field

from ...model.families import MetricFamily, Point
from ...model.labels import Labels
from ...model.metadata import MetricType


@define
class Gathering:
    """Points by family name; the type and help of a family are those of its first point."""

    _heads: dict[str, tuple[MetricType, str]] = field(factory=dict, init=False)
    _points: dict[str, list[Point]] = field(factory=dict, init=False)

    def counter(self, name: str, help: str, value: float, labels: Labels = ()) -> None:
        """Add a point of a counter; `labels` are sorted by name."""
        self.add(MetricType.COUNTER, name, help, value, labels)

    def gauge(self, name: str, help: str, value: float, labels: Labels = ()) -> None:
        """Add a point of a gauge."""
        self.add(MetricType.GAUGE, name, help, value, labels)

    def untyped(self, name: str, help: str, value: float, labels: Labels = ()) -> None:
        """Add a point whose kind is not known, as those that mirror a kernel table."""
        self.add(MetricType.UNKNOWN, name, help, value, labels)

    def families(self) -> list[MetricFamily]:
        """Return what was added, in the order of the first points."""
        return [MetricFamily(name, *self._heads[name], tuple(points)) for name, points in self._points.items()]

    def add(self, type: MetricType, name: str, help: str, value: float, labels: Labels = (), suffix: str = "") -> None:
        """Add a point of any type; `suffix` is what its name has behind the family's, as `_bucket`.

        A label whose value turns out empty is left out: an empty label is an absent one.
        """
        for _, text in labels:
            if not text:
                labels = tuple(pair for pair in labels if pair[1])
                break
        points = self._points.get(name)
        if points is None:
            self._heads[name] = (type, help)
            points = self._points[name] = []
        points.append(Point(float(value), labels, suffix))
