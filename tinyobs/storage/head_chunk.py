"""Chunks of the head: sealed rows, compressed as a page that stays in memory (docs/format/page.md).

The rows of a chunk are neighbours in label order as far as that order was known when they were sealed, so that a
query for one metric, and the cut into a segment, decode few chunks.  A chunk has at most one row per series.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..codec.pages import decode_page, encode_page
from ..codec.ragged import offsets_of
from .head_rows import Runs

CHUNK_SAMPLES: Final = 32_768
"""Samples in a chunk, about; a page of this size is decoded in a millisecond or two."""


@frozen(eq=False)
class HeadChunk:
    """Compressed samples of several series.  refs: uint32[R].  Times in ms, both ends included."""

    refs: NDArray[np.uint32]
    min_ms: int
    max_ms: int
    sample_count: int
    page: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return len(self.page) + self.refs.nbytes + 200

    def read(self, rows: NDArray[np.int64]) -> Runs:
        """Return the samples of ascending rows."""
        return Runs(*decode_page(self.page).read(rows))


def compress_runs(refs: NDArray[np.uint32], runs: Runs) -> list[HeadChunk]:
    """Return chunks of runs; successive runs of one series are united."""
    if not len(refs):
        return []
    is_first = np.ones(len(refs), np.bool_)
    is_first[1:] = refs[1:] != refs[:-1]
    starts = np.flatnonzero(is_first)
    offsets = np.append(runs.offsets[starts], runs.offsets[-1])
    refs = refs[starts]
    chunks = []
    row = 0
    while row < len(refs):
        limit = int(offsets[row]) + CHUNK_SAMPLES
        end = max(row + 1, int(np.searchsorted(offsets, limit, "right")) - 1)
        a, b = int(offsets[row]), int(offsets[end])
        times = runs.times_ms[a:b]
        page = encode_page(offsets[row : end + 1] - a, times, runs.values[a:b])
        chunks.append(HeadChunk(refs[row:end].copy(), int(times.min()), int(times.max()), b - a, page))
        row = end
    return chunks


def single_run(times_ms: NDArray[np.int64], values: NDArray[np.float64], lengths: NDArray[np.int64]) -> Runs:
    """Return runs that lie one after the other."""
    return Runs(offsets_of(lengths), times_ms, values)
