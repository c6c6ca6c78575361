"""A table from 64-bit hashes to numbers 0, 1, 2 ... in two NumPy arrays, probed for many hashes at once.

The hashes stand in the order of their numbers; beside them is a table with open addressing and linear probing that holds
only the numbers, filled to at most 5/8: 14 to 21 bytes an entry, where a Python dictionary needs 110.  The place of a hash is
given by its upper bits, so the entries of a table that grows are already nearly in order.  Entries are never removed.
Nothing here computes hashes (`block_hash.py`); they must be uniform, or the table is slow.

Thread safety: `find` may run in any thread while one other adds.  A hash is written before its number, and arrays that have
grown replace the old ones as a whole, the hashes first.  So a reader that takes a number, and only then the array of hashes,
finds the hash of that number in it: it sees a right number or none.
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

_RUNS_MAX: Final = 8
_RUN_MIN: Final = 16
"""After so many runs, or one that is shorter, hashes are better looked up one by one."""
_BITS_MIN: Final = 10
_TAIL: Final = 256
"""Places behind the last one that hashes point to, so that no run of full places has to go on at the beginning."""
_FEW: Final = 8
"""Up to so many hashes are looked up one by one."""


class _Slots:
    """The places of one size; a free one holds `MISSING`."""

    def __init__(self, bits: int, sparse: bool) -> None:
        self.shift = np.uint64(64 - bits)
        self.entries_max = (2 if sparse else 5) << bits >> 3
        self.places_max = (1 << bits) + _TAIL
        self.numbers = np.full(self.places_max + 1, MISSING, np.uint32)  # behind the last place nothing is found


class HashTable:
    """Entries are added once and stay; the first has number 0."""

    def __init__(self, *, sparse: bool = False) -> None:
        """sparse: filled to 1/4 at most, up to 48 bytes an entry; hashes are then found in fewer steps, of which each takes as long for few hashes as for hundreds."""
        self._bits = _BITS_MIN
        self._count = 0
        self._sparse = sparse
        self._slots = _Slots(self._bits, sparse)
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
        at = (hashes >> slots.shift).view(np.int64)
        out = slots.numbers.take(at)
        left = (self._hashes.take(out, mode="clip") != hashes).nonzero()[0]
        left = left[out[left] != MISSING]
        at, sought = at[left], hashes[left]
        while len(left) > _FEW:
            at += 1
            found = slots.numbers.take(at)
            out[left] = found  # what is wrong is replaced by the next round
            more = ((self._hashes.take(found, mode="clip") != sought) & (found != MISSING)).nonzero()[0]
            left, at, sought = left[more], at[more], sought[more]
        for i in left.tolist():
            out[i] = self._find_from(slots, int(hashes[i]))
        return out

    def find_runs(self, hashes: U64, out: U32) -> int:
        """Fill in numbers that ascend by one, run after run, and return for how many hashes; the others are for `find`.

        What comes one after another got its numbers one after another when it came first, mostly.  Comparing with the
        hashes in that order touches far less memory than looking each of them up.
        """
        known, at = self.hashes, 0
        for _ in range(_RUNS_MAX):
            number = self.find_one(int(hashes[at])) if at < len(hashes) else MISSING
            if number >= len(known):
                break
            size = min(len(hashes) - at, len(known) - number)
            equal = known[number : number + size] == hashes[at : at + size]
            size = size if equal.all() else int(equal.argmin())
            out[at : at + size] = np.arange(number, number + size, dtype=np.uint32)
            at += size
            if size < _RUN_MIN:
                break
        return at

    def find_one(self, hash_: int) -> int:
        """Return the number of one hash, or `MISSING`."""
        return self._find_from(self._slots, hash_)

    def _find_from(self, slots: _Slots, hash_: int) -> int:
        at = hash_ >> int(slots.shift)
        while (number := int(slots.numbers[at])) != MISSING:
            if int(self._hashes[number]) == hash_:  # the number first: the hashes of then may be too few
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
            slots = _Slots(self._bits, self._sparse)
            places = np.maximum.accumulate((hashes >> slots.shift).view(np.int64) - ranks) + ranks
            if count <= slots.entries_max and int(places[-1]) < slots.places_max:
                break
        slots.numbers[places] = numbers
        self._slots = slots
