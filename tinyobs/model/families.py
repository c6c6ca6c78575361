"""Metric families as values: what exporters and TinyObs itself expose, before any wire format.

A family is name, type, help, unit and its points.  A point is a suffix ("" for the plain sample, "_total", "_bucket",
"_sum", "_count", ...), labels and a value.  `exposition/` writes them in every format; `builtin/` turns them into
batches for in-process collection.  The names of points follow the *classic text format*: a counter family is called
`x_total` and its points have suffix ""; the OpenMetrics writer strips and adds what that format wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import Factory, frozen

from .labels import Labels, from_mapping
from .metadata import MetricType


@frozen
class Point:
    """One sample of a family: `suffix` is appended to the family's name."""

    value: float
    labels: Labels = ()
    suffix: str = ""
    timestamp_ms: int | None = None


@frozen
class MetricFamily:
    """All points of one metric name."""

    name: str
    type: MetricType
    help: str
    points: Sequence[Point] = Factory(tuple)
    unit: str = ""


def counter(name: str, help: str, value: float, **labels: str) -> MetricFamily:
    """Return a counter family with one point; `name` ends in `_total`."""
    return MetricFamily(name, MetricType.COUNTER, help, (Point(float(value), from_mapping(labels)),))


def gauge(name: str, help: str, value: float, **labels: str) -> MetricFamily:
    """Return a gauge family with one point."""
    return MetricFamily(name, MetricType.GAUGE, help, (Point(float(value), from_mapping(labels)),))


def merge(families: Iterable[MetricFamily]) -> list[MetricFamily]:
    """Return the families with those of one name united (the first one's type and help stand), sorted by name."""
    found: dict[str, MetricFamily] = {}
    for f in families:
        old = found.get(f.name)
        if old is None:
            found[f.name] = f
        else:
            found[f.name] = MetricFamily(f.name, old.type, old.help, (*old.points, *f.points), old.unit)
    return [found[name] for name in sorted(found)]
