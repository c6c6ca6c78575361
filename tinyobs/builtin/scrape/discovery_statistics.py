"""Joins the statistics of many discoveries of one kind: counters add up, mappings unite.

Each entry of a scrape config runs a discoverer of its own, while metrics such as
`prometheus_sd_file_read_errors_total` count for the whole agent and must not fall when one of them ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from ...model.families import MetricFamily, Point


def unite(running: Iterable[Any], ended: Iterable[Any]) -> list[Any]:
    """Return one statistics object for each class of them.

    Numbers and summaries (a `MetricFamily`) add up, mappings unite (or add up by key, where they count); of those that
    have ended only what counts (`_total`) remains.
    """
    found: dict[type, Any] = {}
    for statistics in (*map(_remains, ended), *running):
        cls = type(statistics)
        found[cls] = _sum(found[cls], statistics) if cls in found else statistics
    return list(found.values())


def _sum(a: Any, b: Any) -> Any:
    fields = attrs.fields(type(a))
    return attrs.evolve(a, **{f.alias: _add(f.name, getattr(a, f.name), getattr(b, f.name)) for f in fields})


def _add(name: str, a: Any, b: Any) -> Any:
    if isinstance(a, Mapping):
        if name.endswith("_total"):
            return {key: a.get(key, 0) + b.get(key, 0) for key in {**a, **b}}
        return {**a, **b}
    if isinstance(a, MetricFamily):
        return attrs.evolve(a, points=_add_points(a.points, b.points))
    return a + b


def _add_points(a: Sequence[Point], b: Sequence[Point]) -> tuple[Point, ...]:
    """Add up the points with the same labels and suffix: the sums and counts of a summary."""
    found: dict[tuple[Any, str], Point] = {}
    for point in (*a, *b):
        key = point.labels, point.suffix
        old = found.get(key)
        found[key] = point if old is None else attrs.evolve(old, value=old.value + point.value)
    return tuple(found.values())


def _remains(statistics: Any) -> Any:
    gone = {}
    for f in attrs.fields(type(statistics)):
        if not f.name.endswith("_total"):
            value = getattr(statistics, f.name)
            gone[f.alias] = {} if isinstance(value, Mapping) else type(value)()
    return attrs.evolve(statistics, **gone)
