"""Making one segment of some: a merge, or the rewriting of a single one without what was deleted or has expired.

All inputs are walked in label order at once, a block of series of each in memory; the newest input wins where two have
a sample for the same series and time.  What readers hide (`masking.py`) is not in the result.

Not here: what to merge (`compaction.py`), what to rewrite (`cleaning.py`, `expiry.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np
from attrs import define

from ..codec.compression import DENSE
from ..model.columns import SeriesColumns
from ..model.labels import Labels
from .assemble import Part, assemble
from .changes import ALWAYS_MS
from .deletes import Delete
from .jobs import Job, Watch, Work
from .layout import segment_name
from .manifest import SegmentEntry
from .masking import hide
from .memory import return_free_memory
from .runs import runs_of
from .segment_reader import SegmentReader
from .segment_set import entry_of
from .segment_writer import SegmentWriter

if TYPE_CHECKING:
    from .engine import Engine

HELD_SAMPLES: Final = 131_072
"""Samples of all inputs together that are held at a time: with what merging them takes, about 10 MB."""
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class MergeJob(Job):
    """Segments that become one.  inputs: in order of age, all of one tier; the readers hide what shall not stay."""

    def __init__(
        self,
        engine: Engine,
        kind: str,
        inputs: Sequence[tuple[SegmentEntry, SegmentReader]],
        level: int,
        expired: Sequence[Delete] = (),
    ) -> None:
        """Begin the file; raises `OSError`.  expired: what shall not stay either."""
        self.kind, self.inputs = kind, list(inputs)
        self._engine, self._expired = engine, expired
        self._slice_samples_max = engine.options.slice_samples_max
        self._sequence = engine.segments.take_sequence()
        self._writer = SegmentWriter(engine.disk, segment_name(self._sequence), level=level, zstd_level=DENSE)
        budget = min(HELD_SAMPLES, self._slice_samples_max) // len(self.inputs)
        readers = [hide(reader, expired, engine.segments.cache) for _, reader in self.inputs]
        blocks = [block_of(entry, budget) for entry, _ in self.inputs]
        self._walks = [Walk(r.iterate(block)) for r, block in zip(readers, blocks, strict=True)]
        self.result: SegmentEntry | None = None
        """The new segment once it is written; None as well when no sample is left."""
        self._is_written = self._is_handed_over = False
        self.work = Work(
            samples_total=sum(e.samples for e, _ in self.inputs), bytes_before=sum(e.bytes for e, _ in self.inputs)
        )

    def step(self) -> bool:
        """Write one slice."""
        watch, written = Watch(), 0
        while written < self._slice_samples_max and not watch.is_up:
            alive = [w for w in self._walks if w.fill()]
            if not alive:
                if written:
                    break  # finishing the file takes a slice of its own
                self._end()
                return False
            frontier = min(w.last for w in alive)
            parts = [w.take(frontier) for w in alive]
            columns = merge_parts(parts)
            self._writer.add(columns)
            written += columns.samples
            self.work.samples_read += sum(p.samples for p in parts)
        self.work.samples_written += written
        return True

    def finish(self) -> None:
        """Let the new segment take the place of the old ones."""
        assert self._is_written
        self._is_handed_over = True
        added = () if self.result is None else (self.result,)
        segments = self._engine.segments
        segments.replace([e for e, _ in self.inputs], added, self._engine.publish)
        self._engine.changes.note(ALWAYS_MS)  # expired samples may have gone with the old segments
        if self._expired and self.result is not None:
            self._engine.upkeep.expiry.note(self.result.sequence, self._expired)
        return_free_memory()

    def abort(self) -> None:
        """Remove what was begun; a segment that was handed over may be in a manifest already and stays."""
        if not self._is_written:
            self._writer.abort()
        elif self.result is not None and not self._is_handed_over:
            self._engine.disk.remove(segment_name(self._sequence))

    def _end(self) -> None:
        if self._writer.sample_count == 0:
            self._is_written = True
            self._writer.abort()
            return
        info = self._writer.finish()
        self._is_written = True
        first = self.inputs[0][0]
        made = entry_of(self._sequence, info)
        self.result = attrs.evolve(made, tier_ms=first.tier_ms, covers=first.covers, source=first.source)
        self.work.samples_written, self.work.bytes_after = info.sample_count, info.bytes


def block_of(entry: SegmentEntry, budget: int) -> int:
    """Return how many series to read at a time so that about `budget` samples are held."""
    per_series = max(1, entry.samples // max(1, entry.series))
    return int(min(4096, max(16, budget // per_series)))


@define(eq=False)
class Walk:
    """A segment on its way through a merge: the block being taken from, and what is left of it."""

    _blocks: Iterator[SeriesColumns]
    _block: SeriesColumns | None = None
    _at: int = 0

    def fill(self) -> bool:
        """Have a series to give; False at the end."""
        while self._block is None or self._at >= len(self._block):
            self._block, self._at = next(self._blocks, None), 0
            if self._block is None:
                return False
        return True

    @property
    def last(self) -> Labels:
        """The last series of the block."""
        assert self._block is not None
        return self._block.labels[-1]

    def take(self, frontier: Labels) -> SeriesColumns:
        """Return the series up to and including `frontier`."""
        assert self._block is not None
        block, first = self._block, self._at
        end = first
        if block.labels[-1] <= frontier:
            end = len(block)
        else:
            while block.labels[end] <= frontier:
                end += 1
        self._at = end
        return runs_of(block).rows(first, end).columns(block.labels[first:end])


def merge_parts(parts: Sequence[SeriesColumns]) -> SeriesColumns:
    """Return the series of all parts, sorted, each once; the later part wins."""
    labels = sorted(set().union(*(p.labels for p in parts)))
    place = {series: i for i, series in enumerate(labels)}
    runs: list[Part] = []
    for p in parts:
        places = np.fromiter((place[series] for series in p.labels), np.int64, len(p.labels))
        runs.append((places, runs_of(p)))
    return assemble(runs, len(labels), _INT64_MIN, _INT64_MAX).columns(labels)
