"""What is made of one request, whichever way its points went: the batch, its metadata, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ...errors import LimitExceeded
from ...model.batch import Batch
from ...model.gate import STAND_INS
from ...model.histograms import Histograms
from ...model.labels import Labels
from ...model.metadata import MetricMetadata
from ...model.registry import SeriesRegistry
from ..pushed import Faults, Pushed
from .deltas import Conversion
from .points import EXEMPLAR, PointReader, Rows
from .rules import TARGET_INFO, TARGET_METADATA, MetricContext, ResourceContext, Rules

ORIGIN: Final = "otlp"
TARGET_SAMPLES_MAX: Final = 1000
"""Samples of one `target_info` in a request, the newest ones: 41 hours with the usual lookback."""
GAP_SAMPLES_MAX: Final = 20_000
"""Samples of all `target_info` of a request but for the newest of each."""
TOLD_MAX: Final = 100_000
"""Metadata that is remembered as stored; with one more all of it is stored again."""

_LIMIT: Final = "tinyobs.otlp.samples_max"

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U32 = NDArray[np.uint32]

Columns = tuple[U32, I64, I64, F64, I64 | None]
"""(refs, number of the point, times in ms, values, starts in ms) of samples."""


@define
class Told:
    """Metadata that is stored already."""

    _families: set[tuple[str, MetricMetadata]] = field(factory=set)

    def is_new(self, family: str, metadata: MetricMetadata) -> bool:
        """Tell whether metadata is not stored yet, as far as is known."""
        return (family, metadata) not in self._families

    def remember(self, metadata: Mapping[str, MetricMetadata], contexts: Iterable[MetricContext]) -> None:
        """Remember metadata that is stored now, and contexts that have no other."""
        if len(self._families) > TOLD_MAX:
            self._families.clear()
        self._families.update(metadata.items())
        for context in contexts:
            context.is_told = (context.family, context.metadata) in self._families


@frozen(eq=False)
class Decoded:
    """What was decoded of a request.  points: data points of it, those that were left out included.

    rejected: how many those are.  `settle` is to be called when the batch is stored.
    """

    pushed: Pushed
    points: int
    rejected: int
    _told: Told
    _contexts: Sequence[MetricContext]
    _totals: Conversion | None

    def settle(self) -> None:
        """Remember that metadata is stored, and let totals of deltas move on."""
        if self._contexts or self.pushed.batch.metadata:
            self._told.remember(self.pushed.batch.metadata, self._contexts)
        if self._totals is not None:
            self._totals.settle()


@define(eq=False)
class Made:
    """What is made of one request.  fast: samples that did not go the general way.

    targets: (resource, its earliest time, its latest, in nanoseconds).
    """

    registry: SeriesRegistry
    rules: Rules
    told: Told
    points: int = 0
    totals: Conversion | None = None
    fast: Columns | None = None
    rows: Rows = field(factory=Rows)
    faults: Faults = field(factory=Faults)
    targets: list[tuple[ResourceContext, int, int]] = field(factory=list)
    metadata: dict[str, MetricMetadata] = field(factory=dict)
    slow_refs: U32 = field(factory=lambda: np.empty(0, np.uint32))
    """The series of `rows`, when it is decoded."""
    _contexts: list[MetricContext] = field(factory=list)
    _gap_samples: int = field(factory=lambda: GAP_SAMPLES_MAX)

    def reader(self) -> PointReader:
        """Return what takes points the general way."""
        return PointReader(self.faults, self.rows, self.rules.custom_buckets, self.totals)

    def take(self, reader: PointReader, context: MetricContext, points: Sequence[Any]) -> None:
        """Take the points of a metric."""
        first = self.points
        self.points += len(points)
        self.refuse_many()
        if context.refusal is not None:
            self.refuse(context, len(points))
            return
        for i, point in enumerate(points, first):
            reader.take(i, context, point)
            self.refuse_many()
        if points:
            self.add_metadata([context])

    def refuse_many(self) -> None:
        """Raise `LimitExceeded` where there are too many data points, or samples of those that take the general way."""
        if max(self.points, len(self.rows)) > self.rules.samples_max:
            raise LimitExceeded(_LIMIT, f"the request has more than {self.rules.samples_max} samples ({_LIMIT})")

    def refuse(self, context: MetricContext, count: int) -> None:
        """Count points of a metric that cannot be taken."""
        if context.refusal is not None and count:
            self.faults.add(*context.refusal, count)

    def add_metadata(self, contexts: Iterable[MetricContext]) -> None:
        """Note metadata that is not stored yet."""
        for c in contexts:
            if not c.is_told and c.refusal is None:
                self._contexts.append(c)
                if c.family not in self.metadata and self.told.is_new(c.family, c.metadata):
                    self.metadata[c.family] = c.metadata

    def decoded(self) -> Decoded:
        """Return all of it."""
        columns, table, exemplars = self._samples()
        refs, times, values, starts = self._with_targets(columns)
        if (refs[1:] < refs[:-1]).any():
            by_ref = np.argsort(refs, kind="stable")
            refs, times, values = refs[by_ref], times[by_ref], values[by_ref]
            starts = None if starts is None else starts[by_ref]
        batch = Batch(
            refs, times, values, ORIGIN, self.metadata, histograms=table, starts_ms=starts, exemplars=exemplars
        )
        rejected = sum(n for reason, n in self.faults.refused.items() if reason != EXEMPLAR)
        return Decoded(self.faults.pushed(batch), self.points, rejected, self.told, self._contexts, self.totals)

    def _samples(self) -> tuple[Columns, Histograms | None, Sequence[Any]]:
        """Return the samples in the order of the points, with their histograms and exemplars."""
        rows, fast = self.rows, self.fast
        if not len(rows):
            return fast or _NO_COLUMNS, None, ()
        values, table = rows.columns()
        self.slow_refs = refs = self.registry.intern_many(rows.labels)
        points, times = np.array(rows.point, np.int64), np.array(rows.times_ms, np.int64)
        starts = np.array(rows.starts_ms, np.int64) if self.rules.starts else None
        exemplars = rows.exemplars_of(refs)
        if fast is None or not len(fast[0]):
            return (refs, points, times, values, starts), table, exemplars
        point_of = np.concatenate([fast[1], points])
        order = np.argsort(point_of, kind="stable")
        if starts is not None:
            starts = np.concatenate([fast[4] if fast[4] is not None else np.zeros(len(fast[0]), np.int64), starts])[
                order
            ]
        joined = (
            np.concatenate([fast[0], refs])[order],
            point_of[order],
            np.concatenate([fast[2], times])[order],
            np.concatenate([fast[3], values])[order],
            starts,
        )
        return joined, table, exemplars

    def _with_targets(self, columns: Columns) -> tuple[U32, I64, F64, I64 | None]:
        """Return (refs, times, values, starts) with the samples of `target_info` behind the others."""
        refs, _, times, values, starts = columns
        found = sorted(set(self._target_samples()))
        if not found:
            return refs, times, values, starts
        if self.told.is_new(TARGET_INFO, TARGET_METADATA):
            self.metadata[TARGET_INFO] = TARGET_METADATA
        n = len(found)
        more = np.array(found, np.int64)
        return (
            np.concatenate([refs, more[:, 0].astype(np.uint32)]),
            np.concatenate([times, more[:, 1]]),
            np.concatenate([values, np.ones(n)]),
            None if starts is None else np.concatenate([starts, np.zeros(n, np.int64)]),
        )

    def _target_samples(self) -> list[tuple[int, int]]:
        """Return (ref, time in ms) of resources: from their earliest time in steps of half the lookback, and at their latest."""
        found = []
        step = max(self.rules.lookback_ms, 2) * 500_000
        for resource, low, high in self.targets:
            if resource.target is None:
                continue
            ref = resource.target_ref
            if ref < 0:
                ref = self._target_ref(resource, resource.target)
            if low < high:
                gaps = range(max(low, high - step * min(TARGET_SAMPLES_MAX - 1, self._gap_samples)), high, step)
                self._gap_samples -= len(gaps)
                found += [(ref, nanos // 1_000_000) for nanos in gaps]
            found.append((ref, high // 1_000_000))
        return found

    def _target_ref(self, resource: ResourceContext, target: Labels) -> int:
        ref = self.registry.intern(target)
        if ref < STAND_INS:  # else it is good for this request only
            resource.target_ref = ref
        return ref


_NO_COLUMNS: Final[Columns] = (
    np.empty(0, np.uint32),
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0),
    None,
)
