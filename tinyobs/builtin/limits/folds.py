"""What folded series go into, and the sums: of increases for counters, of last values for gauges.  docs/limits.md explains them.

A sum never goes back in time: a sample that is not younger than the newest of its sum changes the sum, and is seen with the
next one.  A member begins with a first sample that only says where it stands, unless it is known to have begun to count later
than the sum did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from ...model import labels as lb
from ...model.labels import Labels
from ...model.metadata import MetricMetadata, MetricType
from ...model.staleness import STALE_NAN, is_stale
from .bucket_fills import Buckets, Fills, bucket_of
from .members import NEVER, Members

OTHER: Final = "__other__"
"""The value that stands for all that are not kept."""
GONE_MS: Final = 300_000
"""A gauge that had no sample for so long is left out of a sum, as queries leave it out."""
_SUFFIXES: Final = ("_bucket", "_count", "_sum", "_total")

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@define
class Target:
    """A series that others are folded into.  records: of the report.  ref: -1 until it has a sample."""

    labels: Labels
    rule: int
    source: int
    records: tuple[int, ...]
    ref: int = -1


@frozen(eq=False)
class Sums:
    """Samples of targets, in order of time for each; starts_ms: 0 for gauges."""

    targets: I64
    timestamps_ms: I64
    values: F64
    starts_ms: I64


_NONE: Final = np.empty(0, np.int64)
NO_SUMS: Final = Sums(_NONE, _NONE, np.empty(0), _NONE)


class Folds:
    """The targets, and what they have come to.  starts_ms: since when each counts, 0 as long as it has no sample."""

    def __init__(self, members: Members) -> None:
        self.members = members
        self.targets: list[Target] = []
        self._numbers: dict[Labels, int] = {}
        self._totals = np.zeros(64)
        self._newest_ms = np.full(64, NEVER)
        self.starts_ms = np.zeros(64, np.int64)
        self._counts = np.zeros(64, np.bool_)
        """Which are counters."""
        self._bounds = np.full(64, np.nan)
        self._of_histogram = np.zeros(64, np.uint64)
        self._histograms: dict[int, list[int]] = {}
        """The targets that are buckets of one histogram."""
        self._fills: tuple[tuple[int, int], Fills] | None = None

    def find(self, labels: Labels) -> int:
        """Return the number of a target, -1 where there is none."""
        return self._numbers.get(labels, -1)

    def add(self, target: Target) -> int:
        """Return the number of a new target."""
        number = self._numbers[target.labels] = len(self.targets)
        self.targets.append(target)
        if number >= len(self._totals):
            self._resize(2 * number)
        self._totals[number], self._newest_ms[number], self.starts_ms[number] = 0.0, NEVER, 0
        self._bounds[number], histogram = bucket_of(target.labels)
        self._of_histogram[number] = histogram
        if not math.isnan(self._bounds[number]):
            self._histograms.setdefault(histogram, []).append(number)
        return number

    def is_new(self, number: int) -> bool:
        """Tell whether a target had no sample yet."""
        return self.targets[number].ref < 0

    def begin(self, number: int, ref: int, is_counter: bool) -> None:
        """Give a target its ref and its kind; a bucket between others has come to what the next lower one has."""
        self.targets[number].ref = ref
        self._counts[number] = is_counter
        if is_counter:
            bound = self._bounds[number]
            others = [i for i in self._histograms.get(int(self._of_histogram[number]), ()) if self._bounds[i] <= bound]
            begun = [i for i in others if i != number and self.targets[i].ref >= 0]
            if begun:
                lower = max(begun, key=lambda i: float(self._bounds[i]))
                self._totals[number], self.starts_ms[number] = self._totals[lower], self.starts_ms[lower]

    def forget(self, staying: NDArray[np.int32]) -> I64:
        """Drop targets that no member is left of, and return the others, which are numbered anew in this order.

        staying: the targets of the members, renumbered in place.
        """
        kept = np.unique(staying)
        renumbered = np.zeros(len(self.targets), np.int32)
        renumbered[kept] = np.arange(len(kept), dtype=np.int32)
        staying[:] = renumbered[staying]
        self.targets = [self.targets[i] for i in kept.tolist()]
        self._numbers = {t.labels: i for i, t in enumerate(self.targets)}
        for column in (self._totals, self._newest_ms, self.starts_ms, self._counts, self._bounds):
            column[: len(kept)] = column[kept]
        self._of_histogram[: len(kept)] = self._of_histogram[kept]
        self._fills, self._histograms = None, {}
        for number in np.flatnonzero(~np.isnan(self._bounds[: len(kept)])).tolist():
            self._histograms.setdefault(int(self._of_histogram[number]), []).append(number)
        return kept.astype(np.int64)

    def fold(self, places: I64, times: I64, values: F64, starts: I64 | None) -> Sums:
        """Take in samples of members, by their places; return the samples of their targets."""
        fresh = self.members.fresh(places, times)
        if not len(fresh):
            return NO_SUMS
        places, times, values = places[fresh], times[fresh], values[fresh]
        starts = None if starts is None else starts[fresh]
        targets = self.members.targets[places].astype(np.int64)
        self.set_starts(targets, times)
        counts = self._counts[targets]
        deltas = np.zeros(len(places))
        before = self._gauge_sums(targets, times) if not counts.all() else None
        if counts.any():
            deltas[counts] = self._increases(places[counts], values[counts], None if starts is None else starts[counts])
        if not counts.all():
            deltas[~counts] = self._changes(places[~counts], times[~counts], values[~counts])
        self._note(places, times, values)
        if self.members.has_buckets and counts.any():
            rows, more = self._filled(places, targets)
            targets, times = np.concatenate([targets, more]), np.concatenate([times, times[rows]])
            deltas = np.concatenate([deltas, deltas[rows]])
        return self._sums(targets, times, deltas, before)

    def _filled(self, places: I64, targets: I64) -> tuple[I64, I64]:
        """Return (rows, targets): which samples count for which other targets, since their members lack buckets of those bounds."""
        m, sizes = self.members, (len(self.members), len(self.targets))
        if self._fills is None or self._fills[0] != sizes:
            of = m.targets[: sizes[0]].astype(np.int64)
            buckets = Buckets(m.bounds[: sizes[0]], m.of_histogram[: sizes[0]])
            known = Buckets(self._bounds[: sizes[1]], self._of_histogram[: sizes[1]])
            self._fills = sizes, Fills(buckets, known, of)
        rows, more = self._fills[1].more(places, targets)
        distinct, place = np.unique(more, return_inverse=True)
        has_begun = np.array([self.targets[i].ref >= 0 for i in distinct.tolist()], np.bool_)[place]
        both = has_begun & self._counts[targets[rows]] & self._counts[more]
        return rows[both], more[both]

    def set_starts(self, targets: I64, times: I64) -> None:
        """Let targets that have no sample yet count since the first of these."""
        new = np.flatnonzero(self.starts_ms[targets] == 0)
        if len(new):
            earliest = np.full(len(self.targets), np.iinfo(np.int64).max)
            np.minimum.at(earliest, targets[new], times[new])
            distinct = np.unique(targets[new])
            self.starts_ms[distinct] = np.maximum(earliest[distinct], 1)

    def _increases(self, places: I64, values: F64, starts: I64 | None) -> F64:
        """Return by how much each sample of a counter is more than the one before; a lower one has begun at 0."""
        out = np.zeros(len(places))
        good = np.flatnonzero(np.isfinite(values))
        places, values = places[good], values[good]
        first = is_first(places)
        before = np.where(first, self.members.values[places], np.roll(values, 1))
        rises = np.where(values >= before, values - before, values)
        unknown = np.isnan(before)
        if unknown.any():
            began = starts[good] if starts is not None else np.zeros(len(good), np.int64)
            since = self.starts_ms[self.members.targets[places]]
            rises[unknown & ~((began > 0) & (began >= since))] = 0.0
        out[good] = np.maximum(rises, 0.0)
        return out

    def _changes(self, places: I64, times: I64, values: F64) -> F64:
        """Return by how much each sample of a gauge changes the sum; one that is stale is taken out of it."""
        now = np.where(is_stale(values), 0.0, values)
        first, m = is_first(places), self.members
        counted = m.live[places] & (m.times_ms[places] > times - GONE_MS) & ~m.histograms.holds(places)
        changes: F64 = now - np.where(first, np.where(counted, m.values[places], 0.0), np.roll(now, 1))
        return changes

    def _note(self, places: I64, times: I64, values: F64) -> None:
        """Remember the last sample of each member."""
        last = np.append(places[1:] != places[:-1], True)
        m = self.members
        stale = is_stale(values)
        m.times_ms[places[last]] = times[last]
        m.live[places[last]] = ~stale[last]
        m.histograms.drop(places[last])
        # A counter goes on after a marker where it stood; what is no number says nothing of where it stands.
        usable = np.flatnonzero(np.where(self._counts[m.targets[places]], np.isfinite(values), ~stale))
        m.values[places[usable]] = values[usable]  # of several the last one stays, as they are in order

    def _gauge_sums(self, targets: I64, times: I64) -> F64:
        """Return the sums as they are before these samples."""
        earliest = np.full(len(self.targets), np.iinfo(np.int64).max)
        np.minimum.at(earliest, targets, times)
        affected = earliest < np.iinfo(np.int64).max
        return self.members.sums(affected, earliest - GONE_MS)[0]

    def _sums(self, targets: I64, times: I64, deltas: F64, before: F64 | None) -> Sums:
        order = np.lexsort((times, targets))
        targets, times, deltas = targets[order], times[order], deltas[order]
        begins = np.flatnonzero(is_first(targets) | is_first(times))
        targets, times, deltas = targets[begins], times[begins], np.add.reduceat(deltas, begins)
        counts = self._counts[targets]
        base = self._totals[targets] if before is None else np.where(counts, self._totals[targets], before[targets])
        values = base + _running(deltas, is_first(targets))
        final = np.append(targets[1:] != targets[:-1], True)
        self._totals[targets[final & counts]] = values[final & counts]
        values[final] = self._final(targets[final], times[final], values[final])
        later = self.later(targets, times)
        targets, counts = targets[later], counts[later]
        return Sums(targets, times[later], values[later], np.where(counts, self.starts_ms[targets], 0))

    def later(self, targets: I64, times: I64) -> NDArray[np.bool_]:
        """Return which samples of targets, by target and time, are after all before, and note that these are there."""
        later = times > self._newest_ms[targets]
        self._newest_ms[targets[later]] = times[later]  # of several the last one stays, as they are in order
        return later

    def _final(self, targets: I64, times: I64, values: F64) -> F64:
        """Return the last value of each target: sums of gauges without what rounding has left, or that all is stale."""
        affected = np.zeros(len(self.targets), np.bool_)
        affected[targets] = True
        since = np.full(len(self.targets), NEVER)
        gauges = ~self._counts[targets]
        since[targets[gauges]] = times[gauges] - GONE_MS
        exact, live = self.members.sums(affected, since)
        values = np.where(gauges, exact[targets], values)
        values[live[targets] == 0] = STALE_NAN
        return values

    def _resize(self, size: int) -> None:
        for name in ("_totals", "_newest_ms", "starts_ms", "_counts", "_bounds", "_of_histogram"):
            column = getattr(self, name)
            longer = np.zeros(size, column.dtype)
            longer[: len(column)] = column
            setattr(self, name, longer)


def is_counter(labels: Labels, metadata: Mapping[str, MetricMetadata]) -> bool:
    """Tell whether a series only grows: by what is known of its family, else by its name."""
    name = lb.metric_name(labels)
    suffix = next((s for s in _SUFFIXES if name.endswith(s)), "")
    for family in (name, name.removesuffix(suffix)):
        kind = metadata[family].type if family in metadata else MetricType.UNKNOWN
        if kind is MetricType.COUNTER:
            return True
        if kind in (MetricType.HISTOGRAM, MetricType.SUMMARY):
            return suffix in ("_bucket", "_count", "_sum")
        if kind is not MetricType.UNKNOWN:
            return False
    return bool(suffix)


def family_of(name: str) -> str:
    """Return the name that the parts of a classic histogram have in common."""
    return name.removesuffix(next((s for s in _SUFFIXES[:3] if name.endswith(s)), ""))


def is_first(numbers: I64) -> NDArray[np.bool_]:
    """Return where runs of equal numbers begin."""
    first = np.ones(len(numbers), np.bool_)
    first[1:] = numbers[1:] != numbers[:-1]
    return first


def _running(values: F64, first: NDArray[np.bool_]) -> F64:
    """Return running sums that begin anew where `first` says; each run by itself, so that none rounds that of another."""
    if first.all():
        return values
    begins = np.flatnonzero(first).tolist()
    return np.concatenate([np.cumsum(values[a:b]) for a, b in zip(begins, [*begins[1:], len(values)], strict=True)])
