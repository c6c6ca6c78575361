"""Chunks of the head: sealed rows, compressed as a page that stays in memory (docs/format/page.md).

The rows of a chunk are neighbours in label order as far as that order was known when they were sealed, so that a
query for one metric, and the cut into a segment, decode few chunks.  A chunk has at most one row per series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..codec.pages import SAMPLES_MAX, Page, decode_page, encode_page
from ..model.ragged import offsets_of, spread
from .page_cache import TALLY, PageCache
from .runs import Runs, concatenate_runs
from .strips import PART_READ_MAX, Piece, Strip, strip_of_page

CHUNK_SAMPLES: Final = 32_768
"""Samples in a chunk, about, histograms by their cost; a page of this size is decoded in a millisecond or two."""
COST_MAX: Final = SAMPLES_MAX // 2
"""What reading a page may cost, counted in samples, where it has histograms."""


@frozen(eq=False)
class HeadChunk:
    """Compressed samples of several series.  refs: uint32[R].  Times in ms, both ends included."""

    refs: NDArray[np.uint32]
    min_ms: int
    max_ms: int
    sample_count: int
    page: bytes
    cost: int
    """What decoding takes, counted in samples."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return len(self.page) + self.refs.nbytes + 200

    def read(self, rows: NDArray[np.int64], cache: PageCache | None = None) -> Runs:
        """Return the samples of ascending rows.  cache: keeps the parsed page."""
        page = self._parse()[0] if cache is None else cache.get((self,), self._parse)
        return Runs(*page.read(rows))

    def piece(
        self, rows: NDArray[np.int64], places: NDArray[np.int64], cache: PageCache, *, keep: bool
    ) -> Piece | None:
        """Return some ascending rows as they are placed; None where the page holds more than floats."""
        strip: Strip | None = cache.peek((self, "strip"))
        if strip is None and len(rows) * PART_READ_MAX < len(self.refs):
            part = strip_of_page(cache.get((self,), self._parse), rows)
            return None if part is None else (places, None, part)
        if strip is None:
            strip = strip_of_page(self._parse()[0])
            if strip is None:
                return None
            if keep:
                cache.put((self, "strip"), strip, strip.nbytes)
        return places, None if len(rows) == len(self.refs) else rows, strip

    def _parse(self) -> tuple[Page, int]:
        TALLY.page()
        page = decode_page(self.page)
        return page, page.nbytes


def compress_runs(refs: NDArray[np.uint32], runs: Runs) -> list[HeadChunk]:
    """Return chunks of runs; successive runs of one series are united."""
    if not len(refs):
        return []
    is_first = np.ones(len(refs), np.bool_)
    is_first[1:] = refs[1:] != refs[:-1]
    starts = np.flatnonzero(is_first)
    runs = runs.with_offsets(np.append(runs.offsets[starts], runs.offsets[-1]))
    refs, costs = refs[starts], runs.costs()
    chunks = []
    row = 0
    while row < len(refs):
        limit = int(costs[row]) + CHUNK_SAMPLES
        end = max(row + 1, int(np.searchsorted(costs, limit, "right")) - 1)
        for part in _pieces(runs.rows(row, end)):
            times = part.times_ms
            page = encode_page(part.offsets, times, part.values, histograms=part.histograms, starts_ms=part.starts_ms)
            cost = int(part.costs()[-1])
            chunks.append(HeadChunk(refs[row:end].copy(), int(times.min()), int(times.max()), len(times), page, cost))
        row = end
    return chunks


def _pieces(runs: Runs) -> Iterator[Runs]:
    """Yield what goes into one page; more than one only where a single row is too long for one."""
    a, count, costs = 0, len(runs.times_ms), runs.sample_costs()
    while a < count:
        b = min(a + SAMPLES_MAX, count)
        if costs is not None:
            b = min(b, max(a + 1, int(np.searchsorted(costs, costs[a] + COST_MAX, "right")) - 1))
        yield runs.take(np.clip(runs.offsets, a, b) - a, slice(a, b))
        a = b


def unite_chunks(chunks: Sequence[HeadChunk], ranks: NDArray[np.uint32]) -> list[HeadChunk]:
    """Return the samples of successive chunks in chunks of longer rows.  ranks: label order by ref, where known."""
    runs = concatenate_runs([c.read(np.arange(len(c.refs))) for c in chunks])
    refs = np.concatenate([c.refs for c in chunks])
    lengths = np.diff(runs.offsets)
    order = np.lexsort((refs, ranks_of(refs, ranks)))  # stable: rows of one series stay in order of age
    at = spread(runs.offsets[:-1][order], lengths[order])
    return compress_runs(refs[order], runs.take(offsets_of(lengths[order]), at))


def ranks_of(refs: NDArray[np.uint32], ranks: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the rank of each series; series too new to have one come last."""
    if not len(ranks):
        return refs
    found = ranks[np.minimum(refs, len(ranks) - 1)]
    found[refs >= len(ranks)] = 0xFFFFFFFF
    return found
