"""What the head held at one moment, for readers: lock-free, because none of it changes any more.

A view shares chunks and row arrays with the head and owns only a copy of the rows' counts (a byte each).  As long as
a view lives, the head gives none of its rows to another series.  Rows that were empty are not its own: they change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from .assemble import Part
from .chunk_memory import ChunkHits, Reading, hits_of, places_of, read_chunks
from .head_chunk import HeadChunk
from .head_rows import RowMatrix, read_rows
from .page_cache import PageCache
from .runs import Runs
from .series_sets import NamedSeries
from .strips import Piece, Strip, strip_of_runs

REMEMBERED_SERIES_MAX: Final = 16_384
"""Series of a selection up to which it is remembered where they are: with a day in the head, some ten megabytes."""
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

    @property
    def _kept(self) -> PageCache:
        return PageCache(0) if self.cache is None else self.cache

    @property
    def samples_a_series(self) -> float:
        """About how many samples a series has in chunks."""
        return sum([c.sample_count for c in self.chunks]) / max(int(np.count_nonzero(self.newest_ms > _SOME_TIME)), 1)

    def covers(self, mint_ms: int, maxt_ms: int) -> bool:
        """Tell whether there can be samples in a time range, both ends included."""
        return self.min_ms <= maxt_ms and self.max_ms >= mint_ms

    def seen_since(self, refs: NDArray[np.uint32], mint_ms: int) -> NDArray[np.bool_]:
        """Return of which series the newest sample is not older than `mint_ms`; refs ascend."""
        seen = np.zeros(len(refs), np.bool_)
        known = int(np.searchsorted(refs, len(self.newest_ms)))
        seen[:known] = self.newest_ms[refs[:known]] >= max(mint_ms, _SOME_TIME)
        return seen

    def find(
        self, refs: NDArray[np.uint32], mint_ms: int, maxt_ms: int, check: Callable[[], None] = lambda: None
    ) -> HeadHits:
        """Return where the samples of distinct series are; the order of `refs` is that of the result.

        check: called before a chunk is decoded; raises to stop.
        """
        place = places_of(refs)
        chunks = []
        for chunk in self.chunks:
            if chunk.max_ms >= mint_ms and chunk.min_ms <= maxt_ms:
                hits = hits_of(chunk, place)
                if hits is not None:
                    chunks.append(_ChunkHits(chunk, hits, self._kept))
        return HeadHits(self.rows, chunks, *self._rows_of(refs, place), check)

    def remembered(self, series: NamedSeries, mint_ms: int, maxt_ms: int, reading: Reading) -> HeadHits:
        """Return the same for series that are asked for again and again."""
        if len(series.numbers) > REMEMBERED_SERIES_MAX:
            return self.find(series.numbers, mint_ms, maxt_ms, reading.poll)
        rows = self._rows_of(series.numbers, places_of(series.numbers))
        found = read_chunks(series, self.chunks, mint_ms, maxt_ms, reading)
        if isinstance(found, Runs):
            return HeadHits(self.rows, [KeptRuns(found)], *rows, reading.poll)
        return HeadHits(self.rows, [_ChunkHits(c, h, self._kept) for c, h in found], *rows, reading.poll)

    def _rows_of(
        self, refs: NDArray[np.uint32], place: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of series by place and age; and these places."""
        if not len(refs):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        # Series that belong together were born together: two comparisons rule out most rows of others.
        low = refs.min()
        rows = np.flatnonzero(self.rows.refs[: self.rows.used] - low <= refs.max() - low)
        # Clipped, as the writer may be giving empty rows to other series meanwhile, beyond all places.
        positions = place.take(self.rows.refs[rows], mode="clip").astype(np.int64)
        here = (positions >= 0) & (self.rows.counts[rows] > 0)
        rows, positions = rows[here], positions[here]
        if len(rows) > 1:
            order = np.lexsort((self.rows.births[rows], positions))
            rows, positions = rows[order], positions[order]
        return rows, positions


@frozen(eq=False)
class KeptRuns:
    """One run for each series of a selection, decoded; read-only, since many queries share it."""

    runs: Runs
    strip: Strip | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.runs.freeze()
        object.__setattr__(self, "strip", strip_of_runs(self.runs))

    def pieces(self, first: int, last: int, *, keep: bool) -> list[Piece] | None:
        """Return the same as strips; None where there is more than floats."""
        if self.strip is None:
            return None
        whole = first == 0 and last == len(self.runs.offsets) - 1
        return [(np.arange(last - first), None if whole else np.arange(first, last), self.strip)]

    def read(self, first: int, last: int) -> Part | None:
        """Return the runs of the places first .. last-1."""
        found = self.runs.rows(first, last)
        return (np.arange(last - first), found) if len(found.times_ms) else None


@define(eq=False)
class _ChunkHits:
    """The rows of a chunk that belong to the selection, and for each its place in the selection."""

    chunk: HeadChunk
    hits: ChunkHits
    cache: PageCache

    def read(self, first: int, last: int) -> Part | None:
        """Return the runs of the places first .. last-1."""
        found = self.hits.within(first, last)
        return None if found is None else (found[1], self.chunk.read(found[0], self.cache))

    def pieces(self, first: int, last: int, *, keep: bool) -> list[Piece] | None:
        """Return the same as strips; None where there is more than floats."""
        found = self.hits.within(first, last)
        if found is None:
            return []
        piece = self.chunk.piece(*found, self.cache, keep=keep)
        return None if piece is None else [piece]


@define(eq=False)
class HeadHits:
    """Where the samples of a selection of series are; read in blocks of series."""

    _matrix: RowMatrix
    _chunks: Sequence[_ChunkHits | KeptRuns]
    _rows: NDArray[np.int64]
    _places: NDArray[np.int64]
    _check: Callable[[], None]

    def read(self, first: int, last: int) -> list[Part]:
        """Return the runs of the series first .. last-1 of the selection, numbered from 0, in order of age."""
        parts = []
        for chunk in self._chunks:
            self._check()
            part = chunk.read(first, last)
            if part is not None:
                parts.append(part)
        a, b = (int(i) for i in np.searchsorted(self._places, (first, last)))
        if b > a:
            rows = self._rows[a:b]
            runs: Runs = read_rows(self._matrix, rows, self._matrix.counts[rows])
            parts.append((self._places[a:b] - first, runs))
        return parts

    def pieces(self, first: int, last: int, *, keep: bool) -> list[Piece] | None:
        """Return the same as strips; None where there is more than floats.  keep: whether they stay decoded."""
        out: list[Piece] = []
        for chunk in self._chunks:
            self._check()
            found = chunk.pieces(first, last, keep=keep)
            if found is None:
                return None
            out += found
        a, b = self._places.searchsorted((first, last)).tolist()
        places, rows = self._places[a:b] - first, self._rows[a:b]
        while len(rows):  # the oldest row of each series, then the next
            oldest = np.ones(len(rows), np.bool_)
            oldest[1:] = places[1:] != places[:-1]
            strip = strip_of_runs(read_rows(self._matrix, rows[oldest], self._matrix.counts[rows[oldest]]))
            if strip is None:
                return None
            out.append((places[oldest], None, strip))
            places, rows = places[~oldest], rows[~oldest]
        return out
