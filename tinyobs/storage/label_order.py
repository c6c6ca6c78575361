"""The order of series by label set, computed on numbers instead of tuples of strings.

Label sets compare as tuples of (name, value) pairs.  With every pair replaced by its rank among all pairs they compare
as tuples of integers; sorting goes over as many of these at a time as fit into 64 bits, the last ones first (each sort is
stable), and reads the series in blocks: some 30 bytes a series, whatever the number of labels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.labels import Labels

BLOCK_SERIES: Final = 1 << 16
"""Series whose labels are looked at together."""

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
ReadPairs = Callable[[int, int], tuple[U64, U32]]
"""(first, last + 1) -> (starts, pair ids) of these series, in the form of `SeriesRegistry.flat_pairs`."""


def label_ranks(pairs: Sequence[tuple[str, str]], series_count: int, read: ReadPairs) -> U32:
    """Return for each series its place in label order, uint32[series_count]; pairs: the (name, value) of each pair id."""
    by_text = sorted(range(len(pairs)), key=pairs.__getitem__)
    rank_of_pair = np.empty(len(pairs), np.uint64)
    rank_of_pair[by_text] = np.arange(1, len(pairs) + 1)  # 0 is "no more labels", before any other
    del by_text
    width = max(1, 64 // max(1, len(pairs).bit_length()))
    longest = max([_longest(read(a, b)[0]) for a, b in _blocks(series_count)], default=0)
    order = np.arange(series_count, dtype=np.uint32)
    for column in reversed(range(0, longest, width)):
        keys = np.empty(series_count, np.uint64)
        for a, b in _blocks(series_count):
            keys[a:b] = _keys(*read(a, b), rank_of_pair, column, width)
        keys = keys[order]
        order = order[np.argsort(keys, kind="stable")]
        del keys
    return places_in(order)


def places_in(order: U32) -> U32:
    """Return the place of each of the numbers 0 .. n-1 in a permutation."""
    ranks = np.empty(len(order), np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    return ranks


def with_newcomers(ranks: U32, series_count: int, labels: Callable[[int], Labels]) -> U32:
    """Return the ranks of all series, where those from `len(ranks)` on are few and have none yet."""
    fresh = sorted(range(len(ranks), series_count), key=labels)
    order = places_in(ranks)
    at = [bisect_left(order, labels(r), key=lambda known: labels(int(known))) for r in fresh]
    return places_in(np.insert(order, at, np.array(fresh, np.uint32)))


def _blocks(count: int) -> list[tuple[int, int]]:
    return [(a, min(a + BLOCK_SERIES, count)) for a in range(0, count, BLOCK_SERIES)]


def _longest(starts: U64) -> int:
    return int(np.diff(starts).max(initial=0))


def _keys(starts: U64, ids: U32, rank_of_pair: U64, column: int, width: int) -> U64:
    """Return the ranks of the labels number `column` .. `column + width - 1` of each series as one number."""
    begins = starts.view(np.int64)
    lengths = np.diff(begins)
    bits = np.uint64(len(rank_of_pair).bit_length() % 64)
    keys = np.zeros(len(lengths), np.uint64)
    for position in range(column, column + width):
        keys <<= bits
        has = np.flatnonzero(lengths > position)
        keys[has] |= rank_of_pair[ids[begins[has] + position]]
    return keys
