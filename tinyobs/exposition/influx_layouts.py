"""Lines of the Influx line protocol as wholes: which series the fields of a line are, without asking for each of them.

A sender says the same of a thing again and again: a key, and the same fields in the same order.  Such a line is known by the hash of
its *head*, the bytes from its beginning to the end of its first name, and by how many fields it has.  That the other names are those
that it had before is seen by comparing them, a word at a time, which takes a fraction of hashing each and looking it up.  Lines
whose names are not always the same, or longer than `NAME_BYTES_MAX` bytes, are left to what is known of their keys (`influx_unions.py`).

For each line that is known there are some 30 bytes, and four for each field; names are kept once for all lines that have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..model.block_hash import Blocks
from ..model.hash_table import MISSING, HashTable
from ..model.ragged import offsets_of
from .number_columns import LAST_BYTES, words_of

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
Bools = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

NAME_BYTES_MAX: Final = 32
"""Longest name that is compared; a buffer has at least so many bytes before its first one."""
_WORD: Final = 8


class Layouts:
    """What is known of lines.  `find` may be called from any thread while one other adds."""

    def __init__(self) -> None:
        self._table = HashTable()
        self._first_refs = np.zeros(1024, np.int64)
        """Where the refs of a line begin."""
        self._first_names = np.zeros(1024, np.int64)
        """Where the names of a line begin."""
        self._refs = np.zeros(1024, np.uint32)
        self._lists: dict[tuple[bytes, ...], int] = {}
        self._lengths = np.zeros(1024, np.int64)
        self._words = [np.zeros(1024, np.uint64) for _ in range(NAME_BYTES_MAX // _WORD)]
        """Of each name the last eight bytes, those before, and so on, with zeros in front of it."""
        self._names_count = 0
        self.refs_count = 0

    def find(self, lines: U64, names: Blocks, counts: I64, *, is_compared: bool) -> tuple[U32, Bools]:
        """Return (the refs of all fields, `MISSING` for those of lines that are not known; which lines are known).

        lines: a hash of head and number of fields of each.  is_compared: whether names behind the first one matter.
        """
        at = np.empty(len(lines), np.uint32)
        done = self._table.find_runs(lines, at)
        if done < len(lines):
            at[done:] = self._table.find(lines[done:])
        known = at != MISSING
        offsets = offsets_of(counts)
        places = np.arange(int(offsets[-1]))
        if is_compared and len(names) and known.any():
            same = self._are_same(at, names, counts, offsets, places)
            if not same.all():
                known[np.searchsorted(offsets, np.flatnonzero(~same), side="right") - 1] = False
        places += np.repeat(self._first_refs.take(at, mode="clip") - offsets[:-1], counts)
        refs = self._refs.take(places, mode="clip")
        if not known.all():
            refs[~np.repeat(known, counts)] = MISSING
        return refs, known

    def add(self, lines: U64, names: Sequence[tuple[bytes, ...]], refs: Sequence[U32]) -> None:
        """Remember lines, all different and new; a line can be found when all of it is there."""
        first, refs_first = len(self._table), self.refs_count
        counts = np.fromiter(map(len, names), np.int64, len(names))
        self._refs = put(self._refs, refs_first, np.concatenate([np.empty(0, np.uint32), *refs]))
        self._first_refs = put(self._first_refs, first, offsets_of(counts)[:-1] + refs_first)
        places = np.fromiter((self._place_of(some) for some in names), np.int64, len(names))
        self._first_names = put(self._first_names, first, places)
        self.refs_count += int(counts.sum())
        self._table.add(lines)

    def has(self, lines: U64) -> Bools:
        """Return which hashes are known, whatever the other names are."""
        found: Bools = self._table.find(lines) != MISSING
        return found

    def _are_same(self, at: U32, names: Blocks, counts: I64, offsets: I64, places: I64) -> Bools:
        """Return for each field whether it has the name that it had before; places: 0, 1, 2 ..."""
        firsts = self._first_names.take(at, mode="clip")
        ends, lengths = names.starts + names.lengths, names.lengths
        wanted: slice | I64
        shape: tuple[int, ...]
        if (firsts == firsts[0]).all() and (counts == counts[0]).all():  # all lines have the same names
            shape, wanted = (-1, int(counts[0])), slice(int(firsts[0]), int(firsts[0]) + int(counts[0]))
        else:
            shape, wanted = (-1,), places + np.repeat(firsts - offsets[:-1], counts)
        same: Bools = (lengths.reshape(shape) == _some(self._lengths, wanted)).reshape(-1)
        words = words_of(names.data)
        for i in range(-(-min(int(lengths.max(initial=0)), NAME_BYTES_MAX) // _WORD)):
            seen = words[ends - _WORD * (i + 1)]
            seen &= LAST_BYTES.take(lengths - _WORD * i, mode="clip")
            same &= (seen.reshape(shape) == _some(self._words[i], wanted)).reshape(-1)
        return same

    def _place_of(self, names: tuple[bytes, ...]) -> int:
        """Return where names are kept, having put them there."""
        found = self._lists.get(names)
        if found is None:
            found = self._lists[names] = self._names_count
            padded = b"".join([name.rjust(NAME_BYTES_MAX, b"\0") for name in names])
            columns = np.frombuffer(padded, "<u8").reshape(-1, NAME_BYTES_MAX // _WORD)[:, ::-1]
            self._words = [put(old, found, columns[:, i]) for i, old in enumerate(self._words)]
            self._lengths = put(self._lengths, found, np.fromiter(map(len, names), np.int64, len(names)))
            self._names_count += len(names)
        return found


def put(values: NDArray[T], first: int, more: NDArray[T]) -> NDArray[T]:
    """Return an array that has more values from `first` on, the same one where they fit; readers keep the old one."""
    end = first + len(more)
    if end > len(values):
        longer = np.zeros(2 * end, values.dtype)
        longer[:first] = values[:first]
        values = longer
    values[first:end] = more
    return values


def _some(values: NDArray[T], wanted: slice | I64) -> NDArray[T]:
    return values[wanted] if isinstance(wanted, slice) else values.take(wanted, mode="clip")
