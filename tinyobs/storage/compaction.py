"""Merging segments: what to merge (`plan_merge`) and doing it in slices (`Merge`).

Widths are the block, three blocks, nine, ... up to `EngineOptions.segment_ms_max`, aligned to the epoch, so that every
width divides the next.  The segments that lie within one stretch of a width become one, smallest width first, once
newer data shows that the stretch is complete.  A small late addition to a large segment waits for company.

A merge walks all inputs in label order at once and holds a block of series of each; the newest input wins where two
have a sample for the same series and time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import numpy as np
from attrs import define, field

from ..codec.compression import DENSE
from ..model.columns import SeriesColumns
from ..model.labels import Labels
from .assemble import Part, assemble
from .cut import WIDER
from .disk import Disk
from .layout import segment_name
from .manifest import SegmentEntry
from .options import EngineOptions
from .runs import runs_of
from .segment_reader import SegmentReader
from .segment_set import entry_of
from .segment_writer import SegmentWriter

INPUTS_MAX: Final = 16
"""Segments merged at a time."""
CROWD: Final = 8
"""Segments in a stretch that is not complete yet from which on they are merged all the same."""
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


def plan_merge(
    entries: Sequence[SegmentEntry], options: EngineOptions, left_out: Collection[int] = ()
) -> tuple[int, list[SegmentEntry]]:
    """Return (level, segments to merge into one of that level, in order of age); an empty list when all is well.

    left_out: numbers of segments that cannot be merged.
    """
    newest = max((e.maxt_ms for e in entries), default=0)
    width, level = options.block_ms, 1
    while width <= options.segment_ms_max:
        groups: dict[int, list[SegmentEntry]] = {}
        for e in entries:
            if e.mint_ms // width == e.maxt_ms // width:
                groups.setdefault(e.mint_ms // width, []).append(e)
        for number, stretch in sorted(groups.items()):
            for group in _mergeable(entries, [e for e in stretch if e.sequence not in left_out]):
                if _is_worth_it(group[:INPUTS_MAX], complete=(number + 1) * width <= newest):
                    return level, group[:INPUTS_MAX]
        width, level = width * WIDER, level + 1
    return 0, []


def _mergeable(entries: Sequence[SegmentEntry], stretch: Sequence[SegmentEntry]) -> Iterator[list[SegmentEntry]]:
    """Yield the parts of a stretch whose merging leaves the order of age as it is wherever segments overlap.

    The result stands in the place of the youngest input, so no other segment between two inputs may overlap the older.
    """
    wanted = {e.sequence for e in stretch}
    group: list[SegmentEntry] = []
    for e in entries:
        if e.sequence in wanted:
            group.append(e)
        elif any(e.mint_ms <= g.maxt_ms and e.maxt_ms >= g.mint_ms for g in group):
            yield group
            group = []
    yield group


def _is_worth_it(group: Sequence[SegmentEntry], *, complete: bool) -> bool:
    if len(group) < 2:
        return False
    if len(group) >= CROWD:
        return True
    largest = max(e.bytes for e in group)
    return complete and sum(e.bytes for e in group) - largest >= largest // 20


@define(eq=False)
class Merge:
    """A merge in progress.  inputs: in order of age."""

    disk: Disk
    inputs: Sequence[tuple[SegmentEntry, SegmentReader]]
    level: int
    sequence: int
    slice_samples_max: int
    finished: SegmentEntry | None = None
    _writer: SegmentWriter = field(init=False)
    _walks: list[_Walk] = field(init=False)

    def __attrs_post_init__(self) -> None:
        name = segment_name(self.sequence)
        self._writer = SegmentWriter(self.disk, name, level=self.level, zstd_level=DENSE)
        budget = self.slice_samples_max // len(self.inputs)
        self._walks = [_Walk(reader.iterate(_block_of(entry, budget))) for entry, reader in self.inputs]

    def step(self) -> bool:
        """Write one slice; tell whether there is more.  Raises `OSError` or `CorruptionError`."""
        written = 0
        while written < self.slice_samples_max:
            alive = [w for w in self._walks if w.fill()]
            if not alive:
                self.finished = entry_of(self.sequence, self._writer.finish())
                return False
            frontier = min(w.last for w in alive)
            columns = _merge([w.take(frontier) for w in alive])
            self._writer.add(columns)
            written += columns.samples
        return True

    def abort(self) -> None:
        """Remove what was begun; a finished segment may be in a manifest already and stays."""
        if self.finished is None:
            self._writer.abort()


def _block_of(entry: SegmentEntry, budget: int) -> int:
    """Return how many series to read at a time so that about `budget` samples are held."""
    per_series = max(1, entry.samples // max(1, entry.series))
    return int(min(4096, max(16, budget // per_series)))


@define(eq=False)
class _Walk:
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


def _merge(parts: Sequence[SeriesColumns]) -> SeriesColumns:
    """Return the series of all parts, sorted, each once; the later part wins."""
    labels = sorted(set().union(*(p.labels for p in parts)))
    place = {series: i for i, series in enumerate(labels)}
    runs: list[Part] = []
    for p in parts:
        places = np.fromiter((place[series] for series in p.labels), np.int64, len(p.labels))
        runs.append((places, runs_of(p)))
    return assemble(runs, len(labels), _INT64_MIN, _INT64_MAX).columns(labels)
