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

from ..model.ragged import offsets_of, spread
from .matching import U32, PostingsIndex

CHUNK_POSTINGS: Final = 1 << 18
"""Postings sorted or moved at a time while building: bounds the temporary memory."""

I64 = NDArray[np.int64]


class LabelIndex(PostingsIndex):
    """An immutable index of `series_count` series."""

    def __init__(self, values: dict[str, list[str]], pair_ids: U32, offsets: I64, flat: U32, series_count: int) -> None:
        self._values = values
        self._pair_ids = pair_ids
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
        counts = count_ids(ids, len(pairs))
        used = np.flatnonzero(counts).tolist()
        used.sort(key=pairs.__getitem__)
        order = np.array(used, np.uint32)
        ranks = np.zeros(len(pairs), np.uint32)
        ranks[order] = np.arange(len(order), dtype=np.uint32)
        offsets = offsets_of(counts[order])
        flat = invert(starts.view(np.int64), ids, offsets, ranks)
        return cls(_values_of(pairs, used), order, offsets, flat, len(starts) - 1)

    def followed_by(self, other: LabelIndex, pairs: Sequence[tuple[str, str]]) -> LabelIndex:
        """Return the index of the series of both, those of `other` numbered behind the own ones.

        pairs: as both were built with; longer does no harm.
        """
        more = other._pair_ids[~np.isin(other._pair_ids, self._pair_ids)]
        order, values = self._pair_ids, self._values
        if len(more):
            used = np.concatenate((order, more)).tolist()
            used.sort(key=pairs.__getitem__)  # two ascending runs: merged, not sorted
            order, values = np.array(used, np.uint32), _values_of(pairs, used)
        ranks = np.zeros(int(order.max(initial=0)) + 1, np.int64)
        ranks[order] = np.arange(len(order))
        mine, theirs = ranks[self._pair_ids], ranks[other._pair_ids]
        counts = np.zeros(len(order), np.int64)
        counts[mine] = np.diff(self.offsets)
        own = counts[theirs]
        counts[theirs] += np.diff(other.offsets)
        offsets = offsets_of(counts)
        flat = np.empty(int(offsets[-1]), np.uint32)
        _place(flat, offsets[mine], self.offsets, self.flat, 0)
        _place(flat, offsets[theirs] + own, other.offsets, other.flat, self.series_count)
        return LabelIndex(values, order, offsets, flat, self.series_count + other.series_count)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; strings are shared with whoever gave them."""
        return self.flat.nbytes + self.offsets.nbytes + 12 * self.pair_count

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


def count_ids(ids: U32, id_count: int) -> I64:
    """Return how often each of the ids 0 .. id_count-1 occurs."""
    counts = np.zeros(id_count, np.int64)
    for at in range(0, len(ids), CHUNK_POSTINGS):
        part = np.bincount(ids[at : at + CHUNK_POSTINGS])
        counts[: len(part)] += part
    return counts


def invert(starts: I64, ids: U32, offsets: I64, ranks: U32 | None = None, first: int = 0) -> U32:
    """Return the postings of the ranks `first` .. `first + len(offsets) - 2`: for each the ascending series that have it.

    starts, ids: the ids of series s are `ids[starts[s]:starts[s+1]]`.  offsets: running sum of the series of each rank.
    ranks: the rank of each id; without it ids are ranks.

    Works through the series in chunks: (rank, series) keys of a chunk are sorted as one integer each, and every run
    of one rank goes behind what earlier chunks put there.
    """
    count, is_part = len(offsets) - 1, bool(offsets[-1] - offsets[0] < len(ids))
    flat = np.empty(int(offsets[-1] - offsets[0]), np.uint32)
    fill = offsets[:-1] - offsets[0]
    series_count = len(starts) - 1
    at = 0
    while at < series_count:
        end = max(int(np.searchsorted(starts, starts[at] + CHUNK_POSTINGS, side="right")) - 1, at + 1)
        mine = ids[int(starts[at]) : int(starts[end])]
        mine = (mine if ranks is None else ranks[mine]) - np.uint32(first)
        series = np.repeat(np.arange(at, end, dtype=np.uint64), np.diff(starts[at : end + 1]))
        at = end
        if is_part:
            inside = np.flatnonzero(mine < count)  # those below `first` have become large
            mine, series = mine[inside], series[inside]
        keys = mine.astype(np.uint64) << np.uint64(32) | series
        keys.sort()
        of_key = (keys >> np.uint64(32)).astype(np.int64)
        firsts = np.flatnonzero(np.diff(of_key, prepend=-1))
        runs = np.diff(firsts, append=len(keys))
        present = of_key[firsts]
        flat[np.arange(len(keys)) + np.repeat(fill[present] - firsts, runs)] = keys.astype(np.uint32)
        fill[present] += runs
    return flat


def _place(out: U32, starts: I64, offsets: I64, flat: U32, added: int) -> None:
    """Write posting list number i, `flat[offsets[i]:offsets[i+1]]`, each number raised by `added`, to `out[starts[i]:]`."""
    at, ranks = 0, len(offsets) - 1
    while at < ranks:
        end = max(int(np.searchsorted(offsets, offsets[at] + CHUNK_POSTINGS, side="right")) - 1, at + 1)
        moved = flat[int(offsets[at]) : int(offsets[end])]
        moved = moved + np.uint32(added) if added else moved
        if end == at + 1:
            out[int(starts[at]) : int(starts[at]) + len(moved)] = moved
        else:
            out[spread(starts[at:end], np.diff(offsets[at : end + 1]))] = moved
        at = end


def _values_of(pairs: Sequence[tuple[str, str]], sorted_ids: list[int]) -> dict[str, list[str]]:
    return {name: [pairs[i][1] for i in group] for name, group in groupby(sorted_ids, lambda i: pairs[i][0])}
