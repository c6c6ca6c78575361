"""Samples of a set of series in the chunks of the head, remembered decoded while queries come again.

A chunk never changes, so which of its rows belong to a set is worked out once, and what a small selection has in a
stretch of chunks stays decoded: the next refresh of a dashboard needs only the chunks that came since.  Chunks are
known by weak references; what is remembered keeps none of them alive.
"""

from __future__ import annotations

from typing import Final
from weakref import ref

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..codec.pages import TIME_MAX, TIME_MIN
from .assemble import Part, assemble
from .head_chunk import HeadChunk
from .head_rows import Runs
from .page_cache import PageCache
from .series_sets import ENTRY_BYTES, NamedSeries

KEPT_SAMPLES_MAX: Final = 1 << 17
"""Samples of a selection up to which they stay decoded: two megabytes."""


@frozen(eq=False)
class ChunkHits:
    """The rows of a chunk that belong to a selection, ascending, and for each its place in the selection."""

    rows: NDArray[np.int64]
    places: NDArray[np.int64]


@frozen(eq=False)
class ChunkMemory:
    """What is known of a selection.  hits: for each of `chunks` the rows in it, None where there are none.

    runs: the samples of the chunks number `first` .. `last - 1`, one run for each series.
    """

    chunks: tuple[ref[HeadChunk], ...]
    hits: tuple[ChunkHits | None, ...]
    first: int = 0
    last: int = 0
    runs: Runs | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        rows = sum([h.rows.nbytes * 2 + 200 for h in self.hits if h is not None])
        kept = 0 if self.runs is None else self.runs.times_ms.nbytes * 2 + self.runs.offsets.nbytes
        return ENTRY_BYTES + 16 * len(self.chunks) + rows + kept


def recall(series: NamedSeries, chunks: tuple[HeadChunk, ...], cache: PageCache) -> ChunkMemory:
    """Return what is known of the series in the chunks, worked out where it was not."""
    key = (series, "chunks")
    memory: ChunkMemory | None = cache.peek(key)
    now = tuple(map(ref, chunks))
    if memory is not None and memory.chunks == now:
        return memory
    known: dict[int, ChunkHits | None] = {}
    if memory is not None:
        known = dict(zip(map(id, memory.chunks), memory.hits, strict=True))
    place = places_of(series.numbers)
    hits = tuple([known[id(r)] if id(r) in known else hits_of(c, place) for r, c in zip(now, chunks, strict=True)])
    if memory is not None and memory.runs is not None and memory.chunks[: memory.last] == now[: memory.last]:
        memory = ChunkMemory(now, hits, memory.first, memory.last, memory.runs)
    else:
        memory = ChunkMemory(now, hits)
    cache.put(key, memory, memory.nbytes)
    return memory


def read_chunks(
    series: NamedSeries, chunks: tuple[HeadChunk, ...], mint_ms: int, maxt_ms: int, cache: PageCache
) -> Runs | None:
    """Return one run for each series with at least its samples in the range, None where that would be too many."""
    memory = recall(series, chunks, cache)
    needed = [i for i, h in enumerate(memory.hits) if h is not None and _meets(chunks[i], mint_ms, maxt_ms)]
    if not needed:
        return Runs(np.zeros(len(series.numbers) + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
    first, last = needed[0], needed[-1] + 1
    if memory.runs is not None:
        if memory.first <= first and last <= memory.last:
            return memory.runs
        wide = min(first, memory.first), max(last, memory.last)
        if _expected(chunks, memory, *wide) <= KEPT_SAMPLES_MAX:
            return _extended(series, chunks, memory, *wide, cache)
    if _expected(chunks, memory, first, last) > KEPT_SAMPLES_MAX:
        return None
    return _extended(series, chunks, ChunkMemory(memory.chunks, memory.hits, first, first), first, last, cache)


def places_of(numbers: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Return the place of each series by its number, -1 for others; the last entry stands for all numbers beyond."""
    place = np.full(int(numbers.max(initial=0)) + 2, -1, np.int32)
    place[numbers] = np.arange(len(numbers), dtype=np.int32)
    return place


def hits_of(chunk: HeadChunk, place: NDArray[np.int32]) -> ChunkHits | None:
    """Return the rows of a chunk that belong to series which have a place."""
    positions = place[np.minimum(chunk.refs, len(place) - 1)]
    hit = np.flatnonzero(positions >= 0)
    return ChunkHits(hit, positions[hit].astype(np.int64)) if len(hit) else None


def _extended(
    series: NamedSeries, chunks: tuple[HeadChunk, ...], memory: ChunkMemory, first: int, last: int, cache: PageCache
) -> Runs:
    """Return the runs of the chunks `first` .. `last - 1`, which are at least those of `memory`, and remember them."""
    parts = _read(chunks, memory, first, memory.first, cache)
    if memory.runs is not None:
        parts.append((np.arange(len(series.numbers)), memory.runs))
    parts += _read(chunks, memory, memory.last, last, cache)
    runs = assemble(parts, len(series.numbers), TIME_MIN, TIME_MAX)
    grown = ChunkMemory(memory.chunks, memory.hits, first, last, runs)
    cache.put((series, "chunks"), grown, grown.nbytes)
    return runs


def _read(chunks: tuple[HeadChunk, ...], memory: ChunkMemory, first: int, last: int, cache: PageCache) -> list[Part]:
    hits = zip(chunks[first:last], memory.hits[first:last], strict=True)
    return [(h.places, c.read(h.rows, cache)) for c, h in hits if h is not None]


def _meets(chunk: HeadChunk, mint_ms: int, maxt_ms: int) -> bool:
    return chunk.max_ms >= mint_ms and chunk.min_ms <= maxt_ms


def _expected(chunks: tuple[HeadChunk, ...], memory: ChunkMemory, first: int, last: int) -> float:
    """Return about how many samples the selection has in some chunks."""
    hits = zip(chunks[first:last], memory.hits[first:last], strict=True)
    return sum([len(h.rows) * c.sample_count / len(c.refs) for c, h in hits if h is not None])
