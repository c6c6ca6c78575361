"""A table from 64-bit hashes to 32-bit numbers in two NumPy arrays, probed for many hashes at once.

Open addressing with linear probing, filled to at most 5/8: 19 to 38 bytes an entry, where a Python dictionary needs 110.
The place of a hash is given by its upper bits, so the entries of a table that grows are already nearly in order.  Entries are
never removed.  Nothing here computes hashes (`block_hash.py`); they must be uniform, or the table is slow.

Thread safety: `find` may run in any thread while one other adds.  A number is written before its hash, and a table that has
grown replaces the old one as a whole, so a reader sees a right number or none.
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
    """The arrays of one size."""

    def __init__(self, bits: int) -> None:
        self.shift = np.uint64(64 - bits)
        self.entries_max = (5 << bits) // 8
        self.places_max = (1 << bits) + _TAIL
        # Behind the last place a window finds nothing.
        self.hashes = np.zeros(self.places_max + _WINDOW, np.uint64)
        self.numbers = np.zeros(self.places_max + _WINDOW, np.uint32)


class HashTable:
    """Entries are added once and stay.  0 is no hash."""

    def __init__(self) -> None:
        self._bits = _BITS_MIN
        self._count = 0
        self._slots = _Slots(self._bits)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self._slots.hashes.nbytes + self._slots.numbers.nbytes)

    def find(self, hashes: U64) -> U32:
        """Return the number of each hash, `MISSING` where it is not in the table."""
        slots = self._slots
        at = (hashes >> slots.shift).view(np.int64)
        found = slots.hashes.take(at)
        hit = found == hashes
        out = np.where(hit, slots.numbers.take(at), np.uint32(MISSING))
        left = (~hit & (found != 0)).nonzero()[0]
        if not len(left):
            return out
        at = at[left] + 1
        windows = np.ndarray((slots.places_max,), f"V{8 * _WINDOW}", slots.hashes, 0, (8,))
        while len(left):
            seen = windows[at].view(np.uint64).reshape(-1, _WINDOW)
            hits = seen == hashes[left][:, None]
            hit = hits.any(axis=1)
            out[left[hit]] = slots.numbers[at[hit] + hits[hit].argmax(axis=1)]
            more = np.flatnonzero(~hit & (seen != 0).all(axis=1))
            left, at = left[more], at[more] + _WINDOW
            inside = at < slots.places_max
            left, at = left[inside], at[inside]
        return out

    def find_one(self, hash_: int) -> int:
        """Return the number of one hash, or `MISSING`."""
        slots = self._slots
        at = hash_ >> int(slots.shift)
        while at < len(slots.hashes):
            found = int(slots.hashes[at])
            if found == hash_:
                return int(slots.numbers[at])
            if not found:
                break
            at += 1
        return MISSING

    def add(self, hashes: U64, numbers: U32) -> None:
        """Add entries whose hashes are all different and not in the table.  One thread at a time."""
        while self._count + len(hashes) > self._slots.entries_max or not self._insert(self._slots, hashes, numbers):
            self._grow()
            missing = self.find(hashes) == MISSING  # where an attempt failed half-way, some are in already
            hashes, numbers = hashes[missing], numbers[missing]

    def add_one(self, hash_: int, number: int) -> None:
        """Add one entry whose hash is not in the table."""
        self.add(np.array([hash_], np.uint64), np.array([number], np.uint32))

    def _insert(self, slots: _Slots, hashes: U64, numbers: U32) -> bool:
        """Put entries into free places; return False when a run of full places reaches the end of the table."""
        at = (hashes >> slots.shift).view(np.int64)
        while len(at):
            if int(at.max()) >= slots.places_max:
                return False
            free = np.flatnonzero(slots.hashes.take(at) == 0)
            places, first = np.unique(at[free], return_index=True)
            winners = free[first]
            slots.numbers[places] = numbers[winners]
            slots.hashes[places] = hashes[winners]
            self._count += len(winners)
            stays = np.ones(len(at), np.bool_)
            stays[winners] = False
            hashes, numbers, at = hashes[stays], numbers[stays], at[stays] + 1
        return True

    def _grow(self) -> None:
        full = self._slots.hashes != 0
        hashes, numbers = self._slots.hashes[full], self._slots.numbers[full]
        order = np.argsort(hashes, kind="stable")  # quick for what is nearly in order
        hashes, numbers = hashes[order], numbers[order]
        while True:
            self._bits += 1
            slots = _Slots(self._bits)
            ranks = np.arange(len(hashes))
            places = np.maximum.accumulate((hashes >> slots.shift).view(np.int64) - ranks) + ranks
            if not len(places) or int(places[-1]) < slots.places_max:
                break
        slots.numbers[places] = numbers
        slots.hashes[places] = hashes
        self._slots = slots
