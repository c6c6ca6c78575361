"""The label index in memory: for every (name, value) pair the ascending numbers of the series that carry it.

Postings are one uint32 array in compressed-row form, pairs sorted by name and value: four bytes a posting and no
Python object per series.  The head builds one over its registry, the segment writer one over the series it wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .matching import U32, PostingsIndex

CHUNK_POSTINGS: Final = 1 << 18
"""Postings sorted at a time while building: bounds the temporary memory."""


class LabelIndex(PostingsIndex):
    """An immutable index of `series_count` series."""

    def __init__(self, values: dict[str, list[str]], offsets: NDArray[np.int64], flat: U32, series_count: int) -> None:
        self._values = values
        self._firsts = dict(zip(values, [0, *accumulate(map(len, values.values()))], strict=False))
        self.offsets = offsets
        """int64[P+1]: where the postings of each pair lie, pairs by name and value."""
        self.flat = flat
        """uint32[M]: all postings."""
        self.series_count = series_count

    @classmethod
    def build(cls, pairs: Sequence[tuple[str, str]], starts: NDArray[np.uint64], ids: U32) -> LabelIndex:
        """Return the index of series given as pair ids, in the form of `SeriesRegistry.flat_pairs`.

        pairs: the (name, value) of each pair id; more than are used do no harm.  starts: uint64[S+1] from 0 to M.
        ids: uint32[M].
        """
        counts = np.bincount(ids, minlength=len(pairs))
        used = np.flatnonzero(counts).tolist()
        used.sort(key=pairs.__getitem__)
        order = np.array(used, np.int64)
        ranks = np.zeros(len(pairs), np.uint32)
        ranks[order] = np.arange(len(order), dtype=np.uint32)
        offsets = np.zeros(len(order) + 1, np.int64)
        np.cumsum(counts[order], out=offsets[1:])
        flat = _invert(ranks, starts.astype(np.int64), ids, offsets)
        values = {name: [pairs[i][1] for i in group] for name, group in groupby(used, lambda i: pairs[i][0])}
        return cls(values, offsets, flat, len(starts) - 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; strings are shared with whoever gave them."""
        return self.flat.nbytes + self.offsets.nbytes + 8 * self.pair_count

    @property
    def pair_count(self) -> int:
        """The number of distinct (name, value) pairs."""
        return len(self.offsets) - 1

    def names(self) -> Sequence[str]:
        """Return the label names, sorted."""
        return list(self._values)

    def values(self, name: str) -> Sequence[str]:
        """Return the distinct values of a label, sorted; nothing for an unknown name."""
        return self._values.get(name, ())

    def postings(self, name: str, first: int, last: int) -> tuple[NDArray[np.int64], U32]:
        """Return (offsets int64[n+1], series) of values number `first` .. `last - 1` of a label."""
        base = self._firsts.get(name, 0)
        offsets = self.offsets[base + first : base + last + 1]
        return offsets - offsets[0], self.flat[int(offsets[0]) : int(offsets[-1])]


def _invert(ranks: U32, starts: NDArray[np.int64], ids: U32, offsets: NDArray[np.int64]) -> U32:
    """Return the postings: for each rank, from `offsets[rank]`, the ascending series that have a pair of that rank.

    Works through the series in chunks: (rank, series) keys of a chunk are sorted as one integer each, and every run
    of one rank goes behind what earlier chunks put there.
    """
    flat = np.empty(len(ids), np.uint32)
    fill = offsets[:-1].copy()
    series_count = len(starts) - 1
    at = 0
    while at < series_count:
        end = max(int(np.searchsorted(starts, starts[at] + CHUNK_POSTINGS, side="right")) - 1, at + 1)
        a, b = int(starts[at]), int(starts[end])
        series = np.repeat(np.arange(at, end, dtype=np.uint64), np.diff(starts[at : end + 1]))
        keys = ranks[ids[a:b]].astype(np.uint64) << np.uint64(32) | series
        keys.sort()
        of_key = (keys >> np.uint64(32)).astype(np.int64)
        firsts = np.flatnonzero(np.diff(of_key, prepend=-1))
        runs = np.diff(firsts, append=len(keys))
        present = of_key[firsts]
        flat[np.arange(len(keys)) + np.repeat(fill[present] - firsts, runs)] = keys.astype(np.uint32)
        fill[present] += runs
        at = end
    return flat
