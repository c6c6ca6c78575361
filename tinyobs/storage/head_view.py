"""What the head held at one moment, for readers: lock-free, because none of it changes any more.

A view shares chunks and row arrays with the head and owns only a copy of the rows' counts (a byte each).  As long as
a view lives, the head gives none of its rows to another series.
"""

from __future__ import annotations

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from .assemble import Part
from .head_chunk import HeadChunk
from .head_rows import RowMatrix, Runs, read_rows
from .page_cache import PageCache

_SOME_TIME = np.iinfo(np.int64).min + 1
"""Above the newest time of a series that has none."""


@frozen(eq=False, weakref_slot=True)
class HeadView:
    """Chunks in order of age, rows (with the counts of that moment), newest time by ref."""

    chunks: tuple[HeadChunk, ...]
    rows: RowMatrix
    newest_ms: NDArray[np.int64]
    min_ms: int
    max_ms: int
    """Of the samples in chunks and rows; `min_ms` is above `max_ms` when there are none."""
    cache: PageCache | None = None
    """Where parsed chunks are kept: a query reads in blocks of series, and a dashboard asks again."""

    def covers(self, mint_ms: int, maxt_ms: int) -> bool:
        """Tell whether there can be samples in a time range, both ends included."""
        return self.min_ms <= maxt_ms and self.max_ms >= mint_ms

    def seen_since(self, refs: NDArray[np.uint32], mint_ms: int) -> NDArray[np.uint32]:
        """Return those series of which the newest sample is not older than `mint_ms`."""
        known = refs[: int(np.searchsorted(refs, len(self.newest_ms)))]
        return known[self.newest_ms[known] >= max(mint_ms, _SOME_TIME)]

    def find(self, refs: NDArray[np.uint32], mint_ms: int, maxt_ms: int) -> HeadHits:
        """Return where the samples of distinct series are; the order of `refs` is that of the result."""
        highest = int(refs.max(initial=0)) + 1
        place = np.full(highest + 1, -1, np.int32)  # the last entry stands for every ref beyond
        place[refs] = np.arange(len(refs), dtype=np.int32)
        chunks = []
        for chunk in self.chunks:
            if chunk.max_ms >= mint_ms and chunk.min_ms <= maxt_ms:
                positions = place[np.minimum(chunk.refs, highest)]
                hit = np.flatnonzero(positions >= 0)
                if len(hit):
                    chunks.append(_ChunkHits(chunk, hit, positions[hit].astype(np.int64), self.cache))
        used = self.rows.used
        positions = place[np.minimum(self.rows.refs[:used], highest)]
        rows = np.flatnonzero((positions >= 0) & (self.rows.counts > 0))
        rows = rows[np.lexsort((self.rows.births[rows], positions[rows]))]
        return HeadHits(self.rows, chunks, rows, positions[rows].astype(np.int64))


@define(eq=False)
class _ChunkHits:
    """The rows of a chunk that belong to the selection, and for each its place in the selection."""

    chunk: HeadChunk
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    cache: PageCache | None

    def read(self, first: int, last: int) -> Part | None:
        """Return the runs of the places first .. last-1."""
        chosen = (self.places >= first) & (self.places < last)
        if not chosen.any():
            return None
        return self.places[chosen] - first, self.chunk.read(self.rows[chosen], self.cache)


@define(eq=False)
class HeadHits:
    """Where the samples of a selection of series are; read in blocks of series."""

    _matrix: RowMatrix
    _chunks: list[_ChunkHits]
    _rows: NDArray[np.int64]
    _places: NDArray[np.int64]

    def read(self, first: int, last: int) -> list[Part]:
        """Return the runs of the series first .. last-1 of the selection, numbered from 0, in order of age."""
        parts = [p for p in (c.read(first, last) for c in self._chunks) if p is not None]
        a, b = (int(i) for i in np.searchsorted(self._places, (first, last)))
        if b > a:
            rows = self._rows[a:b]
            runs: Runs = read_rows(self._matrix, rows, self._matrix.counts[rows])
            parts.append((self._places[a:b] - first, runs))
        return parts
