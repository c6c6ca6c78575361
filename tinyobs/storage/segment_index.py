"""The label index of a segment file: the same questions as `LabelIndex`, answered from small blocks read when asked.

Names are read at once, they are few.  Everything else is decoded block by block and lies in the page cache, so an
open segment that nobody queries costs next to no memory.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeVar, overload

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..codec.integers import IntegerRows
from ..errors import CorruptionError
from ..model.labels import Labels
from ..model.ragged import offsets_of, take_rows
from .index_blocks import decode_postings, decode_series, decode_strings
from .matching import U32, PostingsIndex
from .page_cache import PageCache
from .segment_format import BLOCK_BYTES_MAX, BlockTable

I64 = NDArray[np.int64]
T = TypeVar("T")

FEW_SERIES: Final = 16
"""So many times fewer series than all are looked up one by one, more by the posting lists."""
LISTED_VALUES_MAX: Final = 1 << 14
"""A label with more values is not listed as a whole for a lookup, but searched block by block."""
STRING_BYTES: Final = 150
"""What a pair of strings costs in memory, roughly: the measure by which the cache counts them."""


@frozen
class IndexTables:
    """What a segment index needs besides the file itself."""

    names: list[str]
    firsts: list[int]
    """For each name its first rank, and at the end the number of ranks."""
    values: BlockTable
    postings: BlockTable
    series: BlockTable


class SegmentIndex(PostingsIndex):
    """Thread-safe.  Raises `CorruptionError` where a block is damaged."""

    def __init__(
        self, file: str, data: memoryview, tables: IndexTables, series_count: int, cache: PageCache, owner: Hashable
    ) -> None:
        self.series_count = series_count
        self._file = file
        self._data = data
        self._tables = tables
        self._place = {name: i for i, name in enumerate(tables.names)}
        self._cache = cache
        self._owner = owner

    def names(self) -> Sequence[str]:
        """Return the label names, sorted."""
        return self._tables.names

    def values(self, name: str) -> Sequence[str]:
        """Return the distinct values of a label, sorted; nothing for an unknown name."""
        i = self._place.get(name)
        if i is None:
            return ()
        first, last = self._tables.firsts[i : i + 2]
        if last - first > LISTED_VALUES_MAX:
            return _Values(self._pairs, first, last)

        def make() -> tuple[list[str], int]:
            values = [v for _, v in self._pairs(first, last)]
            return values, 8 * len(values)

        return self._cache.get((self._owner, "names", name), make)

    def postings(self, name: str, first: int, last: int) -> tuple[I64, U32]:
        """Return (offsets int64[n+1], series) of values number `first` .. `last - 1` of a label."""
        i = self._place.get(name)
        if i is None or first >= last:
            return np.zeros(1, np.int64), np.empty(0, np.uint32)
        base = self._tables.firsts[i]
        table = self._tables.postings
        parts, counts = [], []
        for block, a, b in _overlaps(table.firsts, self._tables.firsts[-1], base + first, base + last):
            lists = self._posting_block(block)
            flat, offsets = lists.decode(None if b - a == len(lists.counts) else np.arange(a, b))
            parts.append(flat)
            counts.append(np.diff(offsets))
        return offsets_of(np.concatenate(counts)), np.concatenate(parts).astype(np.uint32)

    def labels(self, numbers: U32) -> list[Labels]:
        """Return the label sets of ascending series numbers."""
        out: list[Labels] = []
        for counts, ranks in self._ranks(numbers):
            used, at = np.unique(ranks, return_inverse=True)
            pairs = self._chosen_pairs(used)
            flat = [pairs[i] for i in at.tolist()]
            out += [tuple(flat[a:b]) for a, b in pairwise(offsets_of(counts).tolist())]
        return out

    def label_names(self, numbers: U32 | None = None) -> list[str]:
        """Return the sorted label names of the given series, of all by default."""
        if numbers is None or len(numbers) * FEW_SERIES > self.series_count:
            return super().label_names(numbers)
        places = np.searchsorted(self._tables.firsts, self._used_ranks(numbers), side="right") - 1
        return [self._tables.names[i] for i in np.unique(places).tolist()]

    def label_values(self, name: str, numbers: U32 | None = None) -> list[str]:
        """Return the sorted values of a label on the given series, on all by default."""
        i = self._place.get(name)
        if i is None or numbers is None or len(numbers) * FEW_SERIES > self.series_count:
            return super().label_values(name, numbers)
        ranks = self._used_ranks(numbers)
        first, last = np.searchsorted(ranks, self._tables.firsts[i : i + 2])
        return [v for _, v in self._chosen_pairs(ranks[first:last])]

    def verify(self) -> None:
        """Decode every block, past the cache."""
        t = self._tables
        for block in range(len(t.values)):
            self._read_values(block)
        for block in range(len(t.postings)):
            self._check(t.postings, block, decode_postings)
        for block in range(len(t.series)):
            self._check(t.series, block, decode_series)

    # -- blocks ------------------------------------------------------------------------------------------------

    def _ranks(self, numbers: U32) -> Iterator[tuple[I64, I64]]:
        """Yield (labels per series, ranks) of ascending series numbers, block by block."""
        firsts = self._tables.series.firsts
        blocks = np.searchsorted(firsts, numbers, side="right") - 1
        for block in np.unique(blocks).tolist():
            rows = numbers[blocks == block].astype(np.int64) - int(firsts[block])
            offsets, ranks = self._series_block(block)
            yield np.diff(offsets)[rows], take_rows(ranks, offsets, rows)

    def _used_ranks(self, numbers: U32) -> I64:
        """Return the ascending ranks of the pairs on some series."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *(ranks for _, ranks in self._ranks(numbers))]))

    def _pairs(self, first: int, last: int) -> list[tuple[str, str]]:
        """Return the pairs of ranks `first` .. `last - 1`."""
        out: list[tuple[str, str]] = []
        for block, a, b in _overlaps(self._tables.values.firsts, self._tables.firsts[-1], first, last):
            out += self._value_block(block)[a:b]
        return out

    def _chosen_pairs(self, ranks: I64) -> list[tuple[str, str]]:
        """Return the pairs of ascending ranks."""
        firsts = self._tables.values.firsts
        blocks = np.searchsorted(firsts, ranks, side="right") - 1
        out: list[tuple[str, str]] = []
        for block in np.unique(blocks).tolist():
            pairs = self._value_block(block)
            out += [pairs[i] for i in (ranks[blocks == block] - int(firsts[block])).tolist()]
        return out

    def _value_block(self, block: int) -> list[tuple[str, str]]:
        def make() -> tuple[list[tuple[str, str]], int]:
            pairs = self._read_values(block)
            return pairs, STRING_BYTES * len(pairs)

        return self._cache.get((self._owner, "values", block), make)

    def _read_values(self, block: int) -> list[tuple[str, str]]:
        table, names, firsts = self._tables.values, self._tables.names, self._tables.firsts
        first = int(table.firsts[block])
        last = int(table.firsts[block + 1]) if block + 1 < len(table) else firsts[-1]
        size = int(table.sizes[block])
        strings = self._check(table, block, lambda data: decode_strings(data, size, last - first))
        at = bisect_right(firsts, first) - 1
        pairs: list[tuple[str, str]] = []
        while first < last:
            end = min(firsts[at + 1], last)
            name = names[at]
            pairs += [(name, v) for v in strings[len(pairs) : len(pairs) + end - first]]
            first, at = end, at + 1
        return pairs

    def _posting_block(self, block: int) -> IntegerRows:
        def make() -> tuple[IntegerRows, int]:
            rows = self._check(self._tables.postings, block, decode_postings)
            return rows, rows.nbytes

        return self._cache.get((self._owner, "postings", block), make)

    def _series_block(self, block: int) -> tuple[I64, I64]:
        def make() -> tuple[tuple[I64, I64], int]:
            offsets, ranks = self._check(self._tables.series, block, decode_series)
            if len(ranks) and not 0 <= int(ranks.min()) <= int(ranks.max()) < self._tables.firsts[-1]:
                raise CorruptionError(self._file, int(self._tables.series.offsets[block]), "label beyond the values")
            return (offsets, ranks), offsets.nbytes + ranks.nbytes

        return self._cache.get((self._owner, "series", block), make)

    def _check(self, table: BlockTable, block: int, decode: Callable[[memoryview], T]) -> T:
        """Return a block decoded; `CorruptionError` when it is not what the table says."""
        offset, length = int(table.offsets[block]), int(table.lengths[block])
        data = self._data[offset : offset + length]
        try:
            if int(table.sizes[block]) > BLOCK_BYTES_MAX:
                raise ValueError("block too long")
            if len(data) != length or zlib.crc32(data) != int(table.checksums[block]):
                raise ValueError("block does not fit its checksum")
            return decode(data)
        except ValueError as e:
            raise CorruptionError(self._file, offset, str(e)) from None


class _Values(Sequence[str]):
    """The values of a label with very many, decoded block by block where they are looked at."""

    def __init__(self, pairs: Callable[[int, int], list[tuple[str, str]]], first: int, last: int) -> None:
        self._pairs, self._first, self._last = pairs, first, last

    def __len__(self) -> int:
        return self._last - self._first

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            first, last, _ = i.indices(len(self))
            return [v for _, v in self._pairs(self._first + first, self._first + last)]
        if not 0 <= i < len(self):
            raise IndexError(i)
        return self._pairs(self._first + i, self._first + i + 1)[0][1]


def _overlaps(firsts: I64, total: int, first: int, last: int) -> list[tuple[int, int, int]]:
    """Return (block, a, b) for each block that shares items with [first, last): its items a .. b - 1 do."""
    out = []
    block = int(np.searchsorted(firsts, first, side="right")) - 1
    while first < last:
        begin = int(firsts[block])
        end = min(int(firsts[block + 1]) if block + 1 < len(firsts) else total, last)
        out.append((block, first - begin, end - begin))
        first, block = end, block + 1
    return out
