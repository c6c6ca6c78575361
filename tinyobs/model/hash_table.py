"""A table from 64-bit hashes to numbers 0, 1, 2 ... in two NumPy arrays, probed for many hashes at once.

The hashes stand in the order of their numbers; beside them is a table with open addressing and linear probing that holds
only the numbers, filled to at most 5/8: 14 to 21 bytes an entry, where a Python dictionary needs 110.  The place of a hash is
given by its upper bits, so the entries of a table that grows are already nearly in order.  Entries are never removed.
Nothing here computes hashes (`block_hash.py`); they must be uniform, or the table is slow.

Thread safety: `find` may run in any thread while one other adds.  A hash is written before its number, and arrays that have
grown replace the old ones as a whole, the hashes first, so a reader sees a right number or none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

MISSING: Final = 0xFFFF_FFFF
"""Stands for the number of a hash that is not in the table."""

_BITS_MIN: Final = 10
_TAIL: Final = 256
"""Places behind the last one that hashes point to, so that no run of full places has to go on at the beginning."""
_WINDOW: Final = 4
"""Places that are looked at together where the first one holds something else."""


class _Slots:
    """The places of one size; a free one holds `MISSING`."""

    def __init__(self, bits: int) -> None:
        self.shift = np.uint64(64 - bits)
        self.entries_max = (5 << bits) // 8
        self.places_max = (1 << bits) + _TAIL
        # Behind the last place a window finds nothing.
        self.numbers = np.full(self.places_max + _WINDOW, MISSING, np.uint32)
        self.windows = np.ndarray((self.places_max,), f"V{4 * _WINDOW}", self.numbers, 0, (4,))


class HashTable:
    """Entries are added once and stay; the first has number 0."""

    def __init__(self) -> None:
        self._bits = _BITS_MIN
        self._count = 0
        self._slots = _Slots(self._bits)
        self._hashes = np.zeros(1 << _BITS_MIN, np.uint64)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self._slots.numbers.nbytes + self._hashes.nbytes)

    @property
    def hashes(self) -> U64:
        """The hashes in the order of their numbers."""
        count = self._count
        return self._hashes[:count]

    def find(self, hashes: U64) -> U32:
        """Return the number of each hash, `MISSING` where it is not in the table."""
        slots = self._slots
        known = self._hashes  # after the slots, so that it has the hash of every number in them
        at = (hashes >> slots.shift).view(np.int64)
        found = slots.numbers.take(at)
        hit = known.take(found, mode="clip") == hashes
        hit &= found != MISSING
        out = np.where(hit, found, np.uint32(MISSING))
        left = (~hit & (found != MISSING)).nonzero()[0]
        at = at[left] + 1
        while len(left):
            seen = slots.windows[at].view(np.uint32).reshape(-1, _WINDOW)
            full = seen != MISSING
            hits = (known.take(seen, mode="clip") == hashes[left][:, None]) & full
            hit = hits.any(axis=1)
            out[left[hit]] = seen[hits]
            more = np.flatnonzero(~hit & full.all(axis=1))
            left, at = left[more], at[more] + _WINDOW
            inside = at < slots.places_max
            left, at = left[inside], at[inside]
        return out

    def find_one(self, hash_: int) -> int:
        """Return the number of one hash, or `MISSING`."""
        slots = self._slots
        known = self._hashes
        at = hash_ >> int(slots.shift)
        while (number := int(slots.numbers[at])) != MISSING:
            if int(known[number]) == hash_:
                return number
            at += 1
        return MISSING

    def add(self, hashes: U64) -> int:
        """Add hashes that are all different and not in the table; return the number of the first.  One thread at a time."""
        first = self._count
        end = first + len(hashes)
        if end > len(self._hashes):
            longer = np.zeros(max(end, 2 * len(self._hashes)), np.uint64)
            longer[:first] = self._hashes[:first]
            self._hashes = longer
        self._hashes[first:end] = hashes
        try:
            if end > self._slots.entries_max or not self._insert(self._slots, hashes, first):
                self._grow(end)
        except BaseException:  # out of memory: what is in the table already must not be found
            self._hashes[first:end] = 0
            raise
        self._count = end
        return first

    def _insert(self, slots: _Slots, hashes: U64, first: int) -> bool:
        """Put numbers into free places; return False when a run of full places reaches the end of the table."""
        at = (hashes >> slots.shift).view(np.int64)
        numbers = np.arange(first, first + len(hashes), dtype=np.uint32)
        while len(at):
            if int(at.max()) >= slots.places_max:
                return False
            free = np.flatnonzero(slots.numbers.take(at) == MISSING)
            places, winners = np.unique(at[free], return_index=True)
            winners = free[winners]
            slots.numbers[places] = numbers[winners]
            stays = np.ones(len(at), np.bool_)
            stays[winners] = False
            numbers, at = numbers[stays], at[stays] + 1
        return True

    def _grow(self, count: int) -> None:
        """Replace the table by one that has room for the first `count` hashes, all of them in it."""
        placed = self._slots.numbers[self._slots.numbers != MISSING]
        placed = placed[placed < self._count]  # those that were being added may be in already
        numbers = np.concatenate([placed, np.arange(self._count, count, dtype=np.uint32)])
        hashes = self._hashes[numbers]
        order = np.argsort(hashes, kind="stable")  # quick for what is nearly in order
        numbers, hashes = numbers[order], hashes[order]
        ranks = np.arange(len(hashes))
        while True:
            self._bits += 1
            slots = _Slots(self._bits)
            places = np.maximum.accumulate((hashes >> slots.shift).view(np.int64) - ranks) + ranks
            if count <= slots.entries_max and int(places[-1]) < slots.places_max:
                break
        slots.numbers[places] = numbers
        self._slots = slots
