"""What the groups show: their families for `/pushgateway/metrics`, and as the JSON of a Pushgateway's query API.

Labels without a value are shown as a Pushgateway shows them, `instance=""` among them: they keep a server that scrapes this
from putting its own there.  Native histograms are shown by their classic part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from attrs import frozen

from ...exposition.floats import format_float
from ...exposition.grouping_key import INSTANCE
from ...model.families import MetricFamily, Point, merge
from ...model.histograms import is_handle
from ...model.labels import NAME, Labels, drop, get
from ...model.metadata import MetricMetadata, MetricType
from ...model.registry import SeriesRegistry
from .groups import OWN_METADATA, State

_TYPES: Final = {
    MetricType.COUNTER: "COUNTER",
    MetricType.GAUGE: "GAUGE",
    MetricType.SUMMARY: "SUMMARY",
    MetricType.HISTOGRAM: "HISTOGRAM",
    MetricType.GAUGE_HISTOGRAM: "HISTOGRAM",
}
_APART: Final = {
    (MetricType.COUNTER, "_total"): MetricType.COUNTER,
    (MetricType.INFO, "_info"): MetricType.INFO,
    **{
        (type_, "_created"): MetricType.GAUGE
        for type_ in (MetricType.COUNTER, MetricType.HISTOGRAM, MetricType.SUMMARY)
    },
}
"""Parts of families of OpenMetrics that are families of their own in the text format, and their types there."""
_BOUND: Final = {"SUMMARY": ("quantile", "quantiles"), "HISTOGRAM": ("le", "buckets")}

Shown = Sequence[tuple[Labels, State]]
"""Groups as of one moment."""


@frozen
class _Family:
    """A family of one group, and when it was pushed."""

    name: str
    metadata: MetricMetadata
    points: list[Point]
    time_ms: int


def families_of(groups: Shown, registry: SeriesRegistry) -> list[MetricFamily]:
    """Return the families of all groups, those of one name together."""
    return merge(
        MetricFamily(f.name, f.metadata.type, f.metadata.help, tuple(f.points), f.metadata.unit)
        for key, state in groups
        for f in _families(key, state, registry)
    )


def json_of(groups: Shown, registry: SeriesRegistry) -> list[dict[str, Any]]:
    """Return the groups as `/api/v1/metrics` of a Pushgateway answers them."""
    found = []
    for key, state in groups:
        group: dict[str, Any] = {"labels": dict(key), "last_push_successful": state.pushed_ms >= state.failed_ms}
        for family in _families(key, state, registry):
            type_ = _TYPES.get(family.metadata.type, "UNTYPED")
            shown: dict[str, Any] = {"time_stamp": rfc3339(family.time_ms), "type": type_}
            if family.metadata.help:
                shown["help"] = family.metadata.help
            group[family.name] = {**shown, "metrics": _metrics(family.points, type_)}
        found.append(group)
    return found


def rfc3339(time_ms: int) -> str:
    """Return a time as text."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _families(key: Labels, state: State, registry: SeriesRegistry) -> Iterator[_Family]:
    empty = {INSTANCE: ""} | {name: value for name, value in key if not value}
    for part in state.parts:
        names = list(part.structure.families)
        places = range(len(part.values)) if part.places is None else part.places.tolist()
        families = {n: _Family(n, part.structure.families[n], [], part.time_ms) for n in names if n in part.families}
        handles = is_handle(part.values) if part.histograms is not None else np.zeros(len(part.values), bool)
        for i in places:
            family = families[names[part.structure.family_of[i]]]
            if not handles[i]:
                labels = registry.labels(int(part.structure.refs[i]))
                name = get(labels, NAME)
                if (type_ := _APART.get((family.metadata.type, name[len(family.name) :]))) is not None:
                    metadata = MetricMetadata(type_, family.metadata.help)
                    family = families.setdefault(name, _Family(name, metadata, [], part.time_ms))
                point = Point(float(part.values[i]), _shown(labels, empty), name[len(family.name) :])
                family.points.append(point)
        yield from (f for f in families.values() if f.points)
    own = _shown(tuple((n, v) for n, v in key if v), empty)
    changed_ms = max(state.pushed_ms, state.failed_ms)
    for (name, metadata), time_ms in zip(OWN_METADATA.items(), (state.pushed_ms, state.failed_ms), strict=True):
        yield _Family(name, metadata, [Point(time_ms / 1000, own)], changed_ms)


def _shown(labels: Labels, empty: dict[str, str]) -> Labels:
    return tuple(sorted({**empty, **dict(drop(labels, {NAME}))}.items()))


def _metrics(points: Iterable[Point], type_: str) -> list[dict[str, Any]]:
    bound, key = _BOUND.get(type_, ("", ""))
    if not bound:
        return [{"labels": dict(p.labels), "value": format_float(p.value)} for p in points]
    metrics: dict[Labels, dict[str, Any]] = {}
    for p in points:
        labels = drop(p.labels, {bound})
        metric = metrics.setdefault(labels, {"labels": dict(labels), key: {}, "count": "0", "sum": "0"})
        if p.suffix in ("_count", "_sum"):
            metric[p.suffix[1:]] = format_float(p.value)
        else:
            metric[key][get(p.labels, bound).removesuffix(".0")] = format_float(p.value)
    return list(metrics.values())
