"""Samples of a set of series in the chunks of the head, remembered decoded while queries come again.

A chunk never changes, so which of its rows belong to a set is worked out once, and what a small selection has in a
stretch of chunks stays decoded: the next refresh of a dashboard needs only the chunks that came since.  Chunks are
known by weak references; what is remembered keeps none of them alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from weakref import ref

import numpy as np
from attrs import define, evolve, field, frozen
from numpy.typing import NDArray

from ..codec.pages import TIME_MAX, TIME_MIN
from .assemble import Part, assemble
from .head_chunk import HeadChunk
from .page_cache import PageCache
from .runs import Runs, runs_of
from .series_sets import ENTRY_BYTES, NamedSeries
from .strips import Piece, combined, strip_of_runs

KEPT_SAMPLES_MAX: Final = 1 << 23
"""Samples of a selection up to which they stay decoded, where the cache has room: 64 MiB, as timestamps are shared."""


@define(eq=False)
class Reading:
    """How to read.  cache: where things are kept.  check: called before a chunk is decoded; raises to stop.

    expected: samples that will be read, about.
    """

    cache: PageCache
    check: Callable[[], None] | None = None
    expected: float = 0.0

    @property
    def keeps_strips(self) -> bool:
        """Whether what is decoded stays: a query that reads about as much as the cache holds would only empty it."""
        return self.expected * 8 <= self.cache.bytes_max * STRIPS_SHARE

    def poll(self) -> None:
        """Call `check`."""
        if self.check is not None:
            self.check()


KEPT_SHARE: Final = 0.6
"""The share of the cache that one selection may take."""
STRIPS_SHARE: Final = 0.75
"""The share of the cache that one query may fill."""


@frozen(eq=False)
class ChunkHits:
    """The rows of a chunk that belong to a selection, ascending, and for each its place in the selection."""

    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    least: int = field(init=False)
    greatest: int = field(init=False)
    ascend: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "least", int(self.places.min(initial=0)))
        object.__setattr__(self, "greatest", int(self.places.max(initial=-1)))
        object.__setattr__(self, "ascend", bool((self.places[1:] > self.places[:-1]).all()))

    def within(self, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Return (rows, places from 0 on) of the places first .. last-1, None where there are none."""
        if self.greatest < first or self.least >= last:
            return None
        if first <= self.least and self.greatest < last:
            return self.rows, self.places - first if first else self.places
        if self.ascend:
            a, b = self.places.searchsorted((first, last)).tolist()
            return (self.rows[a:b], self.places[a:b] - first) if b > a else None
        chosen = (self.places >= first) & (self.places < last)
        return (self.rows[chosen], self.places[chosen] - first) if chosen.any() else None


NOT_ASKED: Final = ChunkHits(np.empty(0, np.int64), np.empty(0, np.int64))
"""In place of the rows in a chunk that no query has needed yet."""
Hits = ChunkHits | None


@frozen(eq=False)
class ChunkMemory:
    """What is known of a selection.  hits: for each of `chunks` the rows in it, None where there are none.

    runs: the samples of the chunks number `first` .. `last - 1`, one run for each series.
    """

    chunks: tuple[ref[HeadChunk], ...] = ()
    hits: tuple[Hits, ...] = ()
    first: int = 0
    last: int = 0
    runs: Runs | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        rows = sum([h.rows.nbytes * 2 + 200 for h in self.hits if h is not None and h is not NOT_ASKED])
        kept = 0 if self.runs is None else self.runs.nbytes
        return ENTRY_BYTES + 16 * len(self.chunks) + rows + kept

    def moved_to(self, now: tuple[ref[HeadChunk], ...]) -> ChunkMemory:
        """Return what is known of the chunks that are there now."""
        count = len(self.chunks)
        if self.chunks == now[:count]:
            if len(now) == count:
                return self
            return evolve(self, chunks=now, hits=self.hits + (NOT_ASKED,) * (len(now) - count))
        known = dict(zip(map(id, self.chunks), self.hits, strict=True))
        hits = tuple([known.get(id(r), NOT_ASKED) for r in now])
        if self.runs is not None and self.chunks[: self.last] == now[: self.last]:
            return evolve(self, chunks=now, hits=hits)
        return ChunkMemory(now, hits)

    def asked(self, series: NamedSeries, chunks: tuple[HeadChunk, ...], first: int, last: int) -> ChunkMemory:
        """Return the same with the rows in the chunks `first` .. `last - 1` worked out."""
        missing = [i for i in range(first, last) if self.hits[i] is NOT_ASKED]
        if not missing:
            return self
        place, hits = places_of(series.numbers), list(self.hits)
        for i in missing:
            hits[i] = hits_of(chunks[i], place)
        return evolve(self, hits=tuple(hits))


def read_chunks(
    series: NamedSeries, chunks: tuple[HeadChunk, ...], mint_ms: int, maxt_ms: int, reading: Reading
) -> Runs | list[tuple[HeadChunk, ChunkHits]]:
    """Return one run for each series with at least its samples in the range; where those are many, where they are."""
    cache = reading.cache
    in_range = [i for i, c in enumerate(chunks) if c.max_ms >= mint_ms and c.min_ms <= maxt_ms]
    if not in_range:
        return []
    key = (series, "chunks")
    before: ChunkMemory = cache.peek(key) or ChunkMemory()
    first, last = in_range[0], in_range[-1] + 1
    memory = before.moved_to(tuple(map(ref, chunks))).asked(series, chunks, first, last)
    found: Runs | list[tuple[HeadChunk, ChunkHits]]
    if memory.runs is not None and memory.first <= first and last <= memory.last:
        found = memory.runs
    elif (grown := _grown(series, chunks, memory, first, last, reading)) is not None:
        memory, found = grown
    else:
        found = [(chunks[i], h) for i in in_range if (h := memory.hits[i]) is not None]
    if memory is not before:
        cache.put(key, memory, memory.nbytes)
    return found


def places_of(numbers: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Return the place of each series by its number, -1 for others; the last entry stands for all numbers beyond."""
    place = np.full(int(numbers.max(initial=0)) + 2, -1, np.int32)
    place[numbers] = np.arange(len(numbers), dtype=np.int32)
    return place


def hits_of(chunk: HeadChunk, place: NDArray[np.int32]) -> Hits:
    """Return the rows of a chunk that belong to series which have a place."""
    positions = place[np.minimum(chunk.refs, len(place) - 1)]
    hit = np.flatnonzero(positions >= 0)
    return ChunkHits(hit, positions[hit].astype(np.int64)) if len(hit) else None


def _grown(
    series: NamedSeries, chunks: tuple[HeadChunk, ...], memory: ChunkMemory, first: int, last: int, reading: Reading
) -> tuple[ChunkMemory, Runs] | None:
    """Return the memory with the samples of some chunks, and what it held before if both together are not too many."""
    limit = min(KEPT_SAMPLES_MAX, reading.cache.bytes_max * KEPT_SHARE / 8)
    if memory.runs is not None and first <= memory.last and last >= memory.first:
        wide = min(first, memory.first), max(last, memory.last)
        if _expected(chunks, memory, *wide) <= limit:
            first, last = wide
        else:
            memory = evolve(memory, runs=None)
    if memory.runs is None or not first <= memory.first <= memory.last <= last:
        memory = evolve(memory, first=first, last=first, runs=None)
    if _expected(chunks, memory, first, last) > limit:
        return None
    runs = _joined(series, chunks, memory, first, last, reading)
    if runs is None:
        parts = _read(chunks, memory, first, memory.first, reading)
        if memory.runs is not None:
            parts.append((np.arange(len(series.numbers)), memory.runs))
        parts += _read(chunks, memory, memory.last, last, reading)
        runs = assemble(parts, len(series.numbers), TIME_MIN, TIME_MAX)
    return evolve(memory, first=first, last=last, runs=runs), runs


def _joined(
    series: NamedSeries, chunks: tuple[HeadChunk, ...], memory: ChunkMemory, first: int, last: int, reading: Reading
) -> Runs | None:
    """Return the samples of some chunks and of what the memory holds, timestamps shared; None where that cannot be."""
    pieces: list[Piece] = []
    for i in range(first, last):
        hits = memory.hits[i]
        if i == memory.first and memory.runs is not None:
            strip = strip_of_runs(memory.runs)
            if strip is None:
                return None
            pieces.append((np.arange(len(series.numbers)), None, strip))
        if hits is None or (memory.runs is not None and memory.first <= i < memory.last):
            continue
        reading.poll()
        piece = chunks[i].piece(hits.rows, hits.places, reading.cache, keep=False)
        if piece is None:
            return None
        pieces.append(piece)
    found = combined(pieces, series.labels, TIME_MIN, TIME_MAX)
    return None if found is None else runs_of(found)


def _read(chunks: tuple[HeadChunk, ...], memory: ChunkMemory, first: int, last: int, reading: Reading) -> list[Part]:
    parts = []
    for chunk, hits in zip(chunks[first:last], memory.hits[first:last], strict=True):
        if hits is not None:
            reading.poll()
            parts.append((hits.places, chunk.read(hits.rows, reading.cache)))
    return parts


def _expected(chunks: tuple[HeadChunk, ...], memory: ChunkMemory, first: int, last: int) -> float:
    """Return about how many samples the selection has in some chunks."""
    hits = zip(chunks[first:last], memory.hits[first:last], strict=True)
    return sum([len(h.rows) * c.sample_count / len(c.refs) for c, h in hits if h is not None])
