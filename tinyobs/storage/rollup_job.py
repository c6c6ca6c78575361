"""Building downsampling tiers: a day of one tier at a time, from raw segments or from the next finer tier.

A day is built once newer data shows that it is complete, and again when late samples have come into it, as long as its
raw samples are all there.  Days that lie together are then merged, so that a tier of years is a few files.

What aggregates are: `rollup.py`; what a tier is for: docs/format/tiers.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np

from ..codec.compression import DENSE
from ..model.columns import SeriesColumns
from ..model.ragged import offsets_of
from ..model.rollup import Aggregate
from .jobs import Job, Watch, Work
from .layout import segment_name
from .manifest import Manifest, SegmentEntry
from .memory import return_free_memory
from .merging import HELD_SAMPLES, MergeJob, Walk, block_of, merge_parts
from .options import DAY_MS, HOUR_MS
from .rollup import Rollup, roll_up, roll_up_tier, with_implied, without_implied
from .runs import Runs, empty_runs, runs_of
from .segment_reader import SegmentReader
from .segment_set import entry_of
from .segment_writer import SegmentWriter
from .tiers import AGGREGATES, TIER_LEVEL, Span, aggregate_of, is_stale, span_of, united

if TYPE_CHECKING:
    from .engine import Engine

LATE_MS: Final = 2 * HOUR_MS
"""How long the end of a day waits for late samples at most; those that come later still are taken in anew."""
Pair = tuple[SegmentEntry, SegmentReader]

GROUP_DAYS: Final = (8, 64)
"""Days, counted from the epoch, whose segments of a tier become one when all that lie there are complete."""


class RollupJob(Job):
    """The aggregates of one day.  inputs: raw segments, or those of the next finer tier with all aggregates."""

    kind = "rollup"

    def __init__(
        self, engine: Engine, width_ms: int, span: Span, inputs: Sequence[Pair], replaced: Sequence[Pair]
    ) -> None:
        """Begin the files; raises `OSError`."""
        self._engine, self._width, self._span = engine, width_ms, span
        self._inputs, self._replaced = list(inputs), [e for e, _ in replaced]
        self._slice_samples_max = engine.options.slice_samples_max
        self.work = Work(samples_total=sum(e.samples for e, _ in inputs), bytes_before=sum(e.bytes for e, _ in inputs))
        self._writers: dict[Aggregate, tuple[int, SegmentWriter]] = {}
        self._made: list[SegmentEntry] = []
        self._is_handed_over = False
        budget = min(HELD_SAMPLES, self._slice_samples_max) // max(1, len(inputs))
        self._walks = [Walk(_within(r, block_of(e, budget), span)) for e, r in inputs]

    def step(self) -> bool:
        """Write one slice."""
        watch, read = Watch(), 0
        while read < self._slice_samples_max and not watch.is_up:
            alive = [(i, w) for i, w in enumerate(self._walks) if w.fill()]
            if not alive:
                self.work.samples_read += read
                self._end()
                return False
            frontier = min(w.last for _, w in alive)
            parts = [(self._inputs[i][0], w.take(frontier)) for i, w in alive]
            read += sum(p.samples for _, p in parts)
            self._write(parts)
        self.work.samples_read += read
        return True

    def finish(self) -> None:
        """Put the aggregates in place of those that were there."""
        self._is_handed_over = True  # from here on a manifest may list them
        self._engine.segments.replace(self._replaced, self._made, self._engine.publish)
        if not self._made:
            newest = max(e.sequence for e, _ in self._inputs)
            self._engine.upkeep.tiering.note_empty(self._width, self._span, newest)
        return_free_memory()

    def abort(self) -> None:
        """Remove what was begun; segments that were handed over are no longer the job's to remove."""
        if self._is_handed_over:
            return
        for _, writer in self._writers.values():
            writer.abort()
        for entry in self._made:
            self._engine.disk.remove(segment_name(entry.sequence))

    def _write(self, parts: Sequence[tuple[SegmentEntry, SeriesColumns]]) -> None:
        finer: dict[Aggregate, Runs] = {}
        if parts[0][0].tier_ms:
            by_aggregate: dict[Aggregate, list[SeriesColumns]] = {}
            for entry, columns in parts:
                by_aggregate.setdefault(aggregate_of(entry), []).append(columns)
            labels = sorted(set().union(*(c.labels for _, c in parts)))
            template = SeriesColumns(labels, *_nothing(len(labels)))
            for a in AGGREGATES:
                finer[a] = runs_of(merge_parts([template, *by_aggregate.get(a, [])]))
            found = roll_up_tier(with_implied(finer, parts[0][0].tier_ms), self._width)
        else:
            merged = merge_parts([c for _, c in parts])
            labels, found = list(merged.labels), roll_up(runs_of(merged), self._width)
        self._put(labels, without_implied(found, self._width))

    def _put(self, labels: list[tuple[tuple[str, str], ...]], found: Rollup) -> None:
        for aggregate, runs in found.items():
            filled = np.flatnonzero(np.diff(runs.offsets))
            if not len(filled):
                continue
            if aggregate not in self._writers:
                sequence = self._engine.segments.take_sequence()
                level = TIER_LEVEL + AGGREGATES.index(aggregate)
                writer = SegmentWriter(self._engine.disk, segment_name(sequence), level=level, zstd_level=DENSE)
                self._writers[aggregate] = sequence, writer
            rows = runs.with_offsets(offsets_of(np.diff(runs.offsets)[filled]))
            self._writers[aggregate][1].add(rows.compact().columns([labels[i] for i in filled.tolist()]))
            self.work.samples_written += len(runs.times_ms)

    def _end(self) -> None:
        first = self._inputs[0][0]
        # A tier is as fresh as what it was made from.
        source = min(e.source for e, _ in self._inputs) if first.tier_ms else max(e.sequence for e, _ in self._inputs)
        for aggregate in AGGREGATES:
            if aggregate in self._writers:
                sequence, writer = self._writers[aggregate]
                info = writer.finish()
                del self._writers[aggregate]
                made = entry_of(sequence, info)
                covers = self._span[0] + 1, self._span[1]
                self._made.append(attrs.evolve(made, tier_ms=self._width, covers=covers, source=source))
                self.work.bytes_after += info.bytes


class TierMergeJob(MergeJob):
    """Segments of one aggregate of a tier that become one for all their days."""

    def finish(self) -> None:
        """Let the new segment stand for all that the old ones stood for."""
        if self.result is not None:
            spans = [span_of(e) for e, _ in self.inputs]
            covers = min(s[0] for s in spans) + 1, max(s[1] for s in spans)
            self.result = attrs.evolve(self.result, covers=covers, source=min(e.source for e, _ in self.inputs))
        super().finish()


class Tiering:
    """Plans the building of tiers; remembers days in which there is nothing."""

    def __init__(self) -> None:
        self._empty: dict[tuple[int, Span], int] = {}
        """(width, day) -> the newest segment in which there was nothing of it."""
        self._looked_at: Manifest | None = None

    def plan(self, engine: Engine, now_ms: int) -> Job | None:
        """Return the next job: a day to build, or days to merge.  What can be built changes with the manifest."""
        manifest = engine.segments.manifest
        if not engine.options.tiers or manifest is self._looked_at:
            return None
        widths = sorted(w for w, _ in engine.options.tiers if DAY_MS % w == 0)
        for i, width in enumerate(widths):
            finer = next((w for w in reversed(widths[:i]) if width % w == 0), 0)
            job = self._build(engine, width, finer, now_ms) or _merge(engine, width)
            if job is not None:
                return job
        self._looked_at = manifest
        return None

    def note_empty(self, width_ms: int, span: Span, newest: int) -> None:
        """Remember that a stretch has no samples in segments up to number `newest`."""
        self._empty[width_ms, span] = newest

    def _build(self, engine: Engine, width: int, finer: int, now_ms: int) -> Job | None:
        pairs = [p for p in engine.segments.pairs if p[0].sequence not in engine.upkeep.damaged]
        raw = [e for e, _ in pairs if not e.tier_ms]
        stale = {e.sequence for e, _ in pairs if e.tier_ms in (width, finer or width) and is_stale(e, raw)}
        for day in _days(engine, raw, now_ms):
            there = [p for p in pairs if p[0].tier_ms == width and _meets(p[0], day)]
            if there and not any(e.sequence in stale for e, _ in there):
                continue
            known = self._empty.get((width, day), -1)
            if known >= 0 and all(e.sequence <= known for e, _ in pairs if e.tier_ms == finer and _meets(e, day)):
                continue
            # Days that were merged are built anew together.
            spans = [day, *(span_of(e) for e, _ in there)]
            span = min(s[0] for s in spans), max(s[1] for s in spans)
            there = [p for p in pairs if p[0].tier_ms == width and _meets(p[0], span)]
            inputs = [p for p in pairs if p[0].tier_ms == finer and _meets(p[0], span)]
            if not any(e.sequence in stale for e, _ in inputs) and _is_whole(inputs, there, span):
                return RollupJob(engine, width, span, inputs, there)
        return None


def _is_whole(inputs: Sequence[Pair], there: Sequence[Pair], span: Span) -> bool:
    """Tell whether the inputs hold all that a span had: what a tier has of samples that are gone must stay."""
    if not inputs:
        return False
    if inputs[0][0].tier_ms:
        return united([span_of(e) for e, _ in inputs]) == united([*(span_of(e) for e, _ in inputs), span])
    edges = [e.mint_ms for e, _ in there if aggregate_of(e) is Aggregate.EDGES]
    return not edges or min(e.mint_ms for e, _ in inputs) <= min(edges)


def _days(engine: Engine, raw: Sequence[SegmentEntry], now_ms: int) -> list[Span]:
    """Return the days that raw segments hold in whole, none of whose samples are in the head, in order.

    As with retention, age counts from the newest sample or the clock, whichever is earlier: an import may bring samples
    of the future.
    """
    head, options = engine.head, engine.options
    newest = max(head.max_ms, min(now_ms, max((e.maxt_ms for e in raw), default=head.max_ms)))
    limit = newest - min(options.out_of_order_window_ms, LATE_MS)
    if head.min_ms <= head.max_ms:
        limit = min(limit, head.min_ms - 1)
    found: set[int] = set()
    for e in raw:
        found.update(range((e.mint_ms - 1) // DAY_MS, (e.maxt_ms - 1) // DAY_MS + 1))
    since = newest - options.retention_ms
    return [(d * DAY_MS, (d + 1) * DAY_MS) for d in sorted(found) if d * DAY_MS >= since and (d + 1) * DAY_MS <= limit]


def _merge(engine: Engine, width: int) -> Job | None:
    """Return the job that merges days of a tier that lie together, all of one aggregate."""
    newest = max((span_of(e)[1] for e in engine.segments.entries if e.tier_ms == width), default=0)
    for days in GROUP_DAYS:
        groups: dict[tuple[Aggregate, int], list[Pair]] = {}
        for entry, reader in engine.segments.pairs:
            if entry.tier_ms != width or entry.sequence in engine.upkeep.damaged:
                continue
            after, until = span_of(entry)
            number = after // (days * DAY_MS)
            if number == (until - 1) // (days * DAY_MS) and (number + 1) * days * DAY_MS <= newest:
                groups.setdefault((aggregate_of(entry), number), []).append((entry, reader))
        for group in groups.values():
            if len(group) > 1:
                return TierMergeJob(engine, "rollup_merge", group, group[0][0].level)
    return None


def _meets(entry: SegmentEntry, span: Span) -> bool:
    after, until = span_of(entry) if entry.tier_ms else (entry.mint_ms - 1, entry.maxt_ms)
    return after < span[1] and until > span[0]


def _within(reader: SegmentReader, block: int, span: Span) -> Iterator[SeriesColumns]:
    """Yield the series that have samples in a span, with these."""
    count = reader.info.series_count
    for first in range(0, count, block):
        numbers = np.arange(first, min(first + block, count), dtype=np.uint32)
        columns = reader.read(numbers, span[0] + 1, span[1])
        filled = np.flatnonzero(np.diff(columns.offsets))
        if len(filled):
            labels = [columns.labels[i] for i in filled.tolist()]
            yield runs_of(columns).with_offsets(offsets_of(np.diff(columns.offsets)[filled])).columns(labels)


def _nothing(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    runs = empty_runs(rows)
    return runs.offsets, runs.times_ms, runs.values
