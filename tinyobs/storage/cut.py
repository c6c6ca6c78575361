"""Cutting the head: frozen chunks become segments, one for each aligned block of time.

The work is done in slices.  For each block, the series in label order are taken in groups small enough for memory; the
chunks of the head hold neighbours in label order, so that a group touches few of them.  When all segments are
finished, one manifest makes them live and moves the start of the log behind the freeze: that is the only moment at
which anything changes for readers or for recovery.

Historical data may spread over any time.  Where it would make too many segments, wider blocks are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ..model.registry import SeriesRegistry
from .assemble import assemble
from .disk import Disk
from .head_chunk import HeadChunk
from .head_rows import new_matrix
from .head_view import HeadView
from .layout import segment_name
from .manifest import SegmentEntry
from .segment_set import entry_of
from .segment_writer import SegmentWriter

BLOCKS_MAX: Final = 16
"""Segments that one cut may make."""
WIDER: Final = 3
"""Factor between one width of blocks and the next; compaction uses the same widths."""
_EXACT_BLOCKS: Final = 8
"""Blocks spanned by a chunk beyond which its times are looked at one by one."""


@define(eq=False)
class Cut:
    """A cut in progress.  order: the series of the chunks in label order."""

    disk: Disk
    registry: SeriesRegistry
    chunks: tuple[HeadChunk, ...]
    order: NDArray[np.uint32]
    block_ms: int
    slice_samples_max: int
    take_sequence: Callable[[], int]
    finished: list[SegmentEntry] = field(factory=list)
    samples_written: int = 0
    _blocks: list[int] = field(init=False)
    _width_ms: int = field(init=False)
    _writer: SegmentWriter | None = None
    _finishing: Iterator[None] | None = None
    _sequence: int = 0
    _at: int = 0

    def __attrs_post_init__(self) -> None:
        self._width_ms, self._blocks = plan_blocks(self.chunks, self.block_ms)
        self._blocks.reverse()

    def step(self) -> bool:
        """Write a group of series, or a piece of the index of a segment; tell whether there is more.  Raises `OSError`."""
        if not self._blocks:
            return False
        if self._at >= len(self.order):
            self._finish_block()
            return bool(self._blocks)
        low = self._blocks[-1] * self._width_ms
        high = low + self._width_ms - 1
        chunks = tuple(c for c in self.chunks if c.max_ms >= low and c.min_ms <= high)
        cost = sum(c.cost for c in chunks)
        groups = max(1, -(-cost // self.slice_samples_max))
        group = self.order[self._at : self._at + -(-len(self.order) // groups)]
        self._at += len(group)
        self._write(chunks, group, low, high)
        return True

    def abort(self) -> None:
        """Remove what was written; what cannot be removed is unlisted and goes at the next start."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = self._finishing = None
        while self.finished:
            self.disk.remove(segment_name(self.finished.pop().sequence))

    def _write(self, chunks: tuple[HeadChunk, ...], refs: NDArray[np.uint32], low: int, high: int) -> None:
        view = HeadView(chunks, new_matrix(), np.empty(0, np.int64), low, high)
        runs = assemble(view.find(refs, low, high).read(0, len(refs)), len(refs), low, high)
        lengths = np.diff(runs.offsets)
        filled = np.flatnonzero(lengths)
        if not len(filled):
            return
        if self._writer is None:
            self._sequence = self.take_sequence()
            self._writer = SegmentWriter(self.disk, segment_name(self._sequence), level=0)
        labels = [self.registry.labels(r) for r in refs[filled].tolist()]
        offsets = np.append(runs.offsets[:-1][filled], runs.offsets[-1])
        self.samples_written += len(runs.times_ms)
        self._writer.add(runs.with_offsets(offsets).columns(labels))

    def _finish_block(self) -> None:
        if self._writer is not None:
            if self._finishing is None:
                self._finishing = self._writer.finish_in_steps()
            for _ in self._finishing:
                return
            assert self._writer.info is not None
            self.finished.append(entry_of(self._sequence, self._writer.info))
            self._writer = self._finishing = None
        self._blocks.pop()
        self._at = 0


def plan_blocks(chunks: tuple[HeadChunk, ...], block_ms: int) -> tuple[int, list[int]]:
    """Return (width in ms, ascending numbers of the blocks of that width that may hold samples)."""
    found: set[int] = set()
    for chunk in chunks:
        first, last = chunk.min_ms // block_ms, chunk.max_ms // block_ms
        if last - first < _EXACT_BLOCKS:
            found.update(range(first, last + 1))
        else:
            times = chunk.read(np.arange(len(chunk.refs))).times_ms
            found.update(np.unique(times // block_ms).tolist())
    width = 1
    while len({b // width for b in found}) > BLOCKS_MAX:
        width *= WIDER
    return width * block_ms, sorted({b // width for b in found})
