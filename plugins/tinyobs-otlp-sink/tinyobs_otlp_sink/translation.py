"""Records of the log -> requests of OTLP (ExportMetricsServiceRequest).

Counters and histograms are cumulative.  Where the time since which one counts is not known, it is the time of the first
sample seen, and that of the first after a reset: so the spec wants it for a start that is unknown.  The parts of a classic
histogram or a summary that have one time become one point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from attrs import define, field
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint, is_handle, numbers_of
from tinyobs.model.labels import Labels
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import is_stale_value

from .plans import HISTOGRAM_PARTS, Part, Plan, Plans, Source
from .points import custom_point, ended_point, exponential_point, histogram_point, number_point, summary_point
from .wire import attribute, message, text, unsigned

CUMULATIVE: Final = 2
SUM: Final = 7
"""Numbers of the fields of a Metric, by kind; that of a gauge is 5."""
GAUGE: Final = 5
HISTOGRAM: Final = 9
EXPONENTIAL: Final = 10
SUMMARY: Final = 11
_TAILS: Final = {
    "gauge": (GAUGE, b""),
    "counter": (SUM, unsigned(2, CUMULATIVE) + unsigned(3, 1)),
    "state": (SUM, unsigned(2, CUMULATIVE)),
    "histogram": (HISTOGRAM, unsigned(2, CUMULATIVE)),
    "exponential": (EXPONENTIAL, unsigned(2, CUMULATIVE)),
    "summary": (SUMMARY, b""),
}
"""Kind of metric -> the number of its field, and what stands behind its points."""

Key = tuple[str, str]
"""Name and kind of a metric."""
_Start = tuple[int, float]


@define
class _Group:
    """The parts of a histogram or summary with one time."""

    plan: Plan
    start_ms: int = 0
    limits: dict[float, float] = field(factory=dict)
    count: float | None = None
    total: float | None = None
    has_ended: bool = False


class Translation:
    """Translates for one receiver.  refused: samples that OTLP has no form for."""

    def __init__(self, registry: SeriesRegistry, resource_attributes: Mapping[str, str]) -> None:
        self.refused = 0
        self._plans = Plans(registry)
        self._more = dict(resource_attributes)
        self._info: dict[tuple[str, str], Labels] = {}
        """Labels of `target_info` by job and instance."""
        self._starts: dict[object, _Start] = {}
        """Series, or histogram -> (since when it counts, its last count)."""
        self._natives: set[int] = set()
        """Series whose last sample was a native histogram, by ref."""
        self._attributes: dict[tuple[int, int], tuple[Plan, bytes]] = {}
        self._points: dict[Source, dict[Key, list[bytes]]] = {}
        self._groups: dict[tuple[object, int], _Group] = {}

    def add(self, batch: Batch) -> None:
        """Take the samples of a batch."""
        self._plans.learn(batch.metadata)
        starts = [0] * len(batch) if batch.starts_ms is None else batch.starts_ms.tolist()
        rows = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), starts, strict=True)
        natives = _natives(batch)
        for i, (ref, at_ms, value, start_ms) in enumerate(rows):
            plan = self._plans.of(ref)
            histogram = natives.get(i)
            if histogram is not None and not is_stale_value(histogram.sum):
                self._add_native(ref, plan, at_ms, start_ms, histogram)
            elif histogram is not None or (ref in self._natives and is_stale_value(value)):
                self._end_native(ref, plan, at_ms)
            else:
                self._add_number(ref, plan, at_ms, start_ms, value)

    def requests(self, points_max: int) -> Iterator[tuple[bytes, int]]:
        """Yield (request, number of points) for all that was added, and forget it."""
        for (_, at_ms), group in self._groups.items():
            self._finish(group, at_ms)
        self._groups = {}
        points, self._points = self._points, {}
        parts: list[bytes] = []
        count = 0
        for source, metrics in points.items():
            waiting: list[bytes] = []
            for (name, kind), some in metrics.items():
                at = 0
                while at < len(some):
                    piece = some[at : at + points_max - count]
                    waiting.append(self._metric(name, kind, piece))
                    count, at = count + len(piece), at + len(piece)
                    if count == points_max:
                        yield b"".join([*parts, *self._resource(source, waiting)]), count
                        parts, waiting, count = [], [], 0
            parts += self._resource(source, waiting)
        if count:
            yield b"".join(parts), count

    # -- samples -----------------------------------------------------------------------------------------------

    def _add_number(self, ref: int, plan: Plan, at_ms: int, start_ms: int, value: float) -> None:
        ended = is_stale_value(value)
        self._natives.discard(ref)
        if plan.part is Part.TARGET_INFO:
            self._learn_target(plan, ended)
        elif plan.part is Part.GAUGE:
            self._put(plan, "gauge", number_point(self._fields(ref, plan, 7), 0, at_ms, None if ended else value))
        elif plan.part in (Part.COUNTER, Part.STATE):
            kind = "counter" if plan.part is Part.COUNTER else "state"
            since = self._since(ref, at_ms, start_ms, value, ended, monotonic=plan.part is Part.COUNTER)
            self._put(plan, kind, number_point(self._fields(ref, plan, 7), since, at_ms, None if ended else value))
        else:
            self._add_part(plan, at_ms, start_ms, value, ended)

    def _add_part(self, plan: Plan, at_ms: int, start_ms: int, value: float, ended: bool) -> None:
        """Put a sample to the others of its histogram or summary."""
        kind = plan.part in HISTOGRAM_PARTS
        key = (plan.source, plan.metric, plan.labels, kind)
        group = self._groups.get((key, at_ms))
        if group is None:
            group = self._groups[key, at_ms] = _Group(plan)
        group.start_ms = group.start_ms or start_ms
        group.has_ended = group.has_ended or ended
        if plan.part in (Part.BUCKET, Part.QUANTILE):
            group.limits[plan.limit] = value
        elif plan.part in (Part.HISTOGRAM_SUM, Part.SUMMARY_SUM):
            group.total = value
        else:
            group.count = value

    def _finish(self, group: _Group, at_ms: int) -> None:
        """Make a point of what came together."""
        plan = group.plan
        is_histogram = plan.part in HISTOGRAM_PARTS
        kind, number, flags = ("histogram", 9, 10) if is_histogram else ("summary", 7, 8)
        attributes = plan.attributes(number)
        key = (plan.source, plan.metric, plan.labels, is_histogram)
        count = group.count if group.count is not None else group.limits.get(math.inf)
        if group.has_ended:
            self._starts.pop(key, None)
            self._put(plan, kind, ended_point(attributes, at_ms, flags))
            return
        if count is None:  # neither the count nor the last bucket: what is left tells too little
            self.refused += len(group.limits) + (group.total is not None)
            return
        since = self._since(key, at_ms, group.start_ms, count, False)
        if is_histogram:
            point = histogram_point(attributes, since, at_ms, count, group.total, group.limits)
        else:
            point = summary_point(attributes, since, at_ms, count, group.total or 0.0, group.limits)
        self._put(plan, kind, point)

    def _add_native(self, ref: int, plan: Plan, at_ms: int, start_ms: int, h: Histogram) -> None:
        if not h.is_integer or h.reset_hint is ResetHint.GAUGE:
            self.refused += 1  # OTLP counts in whole numbers, and its histograms only grow
            return
        self._natives.add(ref)
        since = self._since(ref, at_ms, start_ms, h.count, False)
        if h.schema == CUSTOM_SCHEMA:
            self._put(plan, "histogram", custom_point(self._fields(ref, plan, 9), since, at_ms, h))
        else:
            self._put(plan, "exponential", exponential_point(self._fields(ref, plan, 1), since, at_ms, h))

    def _end_native(self, ref: int, plan: Plan, at_ms: int) -> None:
        self._natives.discard(ref)
        self._starts.pop(ref, None)
        self._put(plan, "exponential", ended_point(self._fields(ref, plan, 1), at_ms, 10))

    def _since(self, key: object, at_ms: int, start_ms: int, value: float, ended: bool, monotonic: bool = True) -> int:
        """Return since when something counts, in ms."""
        if ended:
            self._starts.pop(key, None)
            return start_ms
        since, last = self._starts.get(key, (at_ms, value))
        if monotonic and value < last:
            since = at_ms
        if start_ms:
            since = start_ms
        self._starts[key] = (since, value)
        return since

    # -- what goes around points -------------------------------------------------------------------------------

    def _fields(self, ref: int, plan: Plan, number: int) -> bytes:
        """Return the attributes of a series as fields of this number."""
        known = self._attributes.get((ref, number))
        if known is None or known[0] is not plan:
            known = self._attributes[ref, number] = (plan, plan.attributes(number))
        return known[1]

    def _put(self, plan: Plan, kind: str, point: bytes) -> None:
        self._points.setdefault(plan.source, {}).setdefault((plan.metric, kind), []).append(message(1, point))

    def _metric(self, name: str, kind: str, points: Sequence[bytes]) -> bytes:
        number, tail = _TAILS[kind]
        family = name.removesuffix("_total") if kind == "counter" else name
        said = self._plans.metadata(family)
        if said == self._plans.metadata(""):
            said = self._plans.metadata(name)
        head = text(1, name) + text(2, said.help) + text(3, said.unit)
        return message(2, head + message(number, b"".join(points) + tail))

    def _resource(self, source: Source, metrics: Sequence[bytes]) -> list[bytes]:
        """Return ResourceMetrics with some metrics, nothing without any."""
        if not metrics:
            return []
        job, instance, scope_name, scope_version = source
        attributes = dict(self._info.get((job, instance), ()))
        attributes |= {name: v for name, v in (("service.name", job), ("service.instance.id", instance)) if v}
        attributes = self._more | attributes
        resource = b"".join(attribute(1, name, value) for name, value in sorted(attributes.items()))
        scope = text(1, scope_name) + text(2, scope_version)
        scoped = (message(1, scope) if scope else b"") + b"".join(metrics)
        return [message(1, message(1, resource) + message(2, scoped))]

    def _learn_target(self, plan: Plan, ended: bool) -> None:
        if ended:
            self._info.pop(plan.source[:2], None)
        else:
            self._info[plan.source[:2]] = plan.labels


def _natives(batch: Batch) -> dict[int, Histogram]:
    """Return the native histograms of a batch, by position."""
    if batch.histograms is None or not len(batch.histograms):
        return {}
    at = np.flatnonzero(is_handle(batch.values))
    numbers = numbers_of(batch.values[at])
    return {i: batch.histograms.one(n) for i, n in zip(at.tolist(), numbers.tolist(), strict=True)}
