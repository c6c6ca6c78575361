"""What is known of a key in the Influx line protocol: all names of fields that it ever had, and the series that they are.

Lines that leave out fields, or have them in another order, are lines that were never there as wholes (`influx_layouts.py`).
Where their names are among those that their key had, nothing has to be learnt.  Names are not looked up one by one: a *shape*, the names
of a line in their order, is known by a hash, and for each shape and list of names it is found out once which places in the list
these are.

For each key that is known there are some 50 bytes, and four for each field; names are kept once for all keys that have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.block_hash import Blocks
from ..model.hash_table import MISSING, HashTable
from ..model.ragged import offsets_of
from .influx_layouts import put

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
Bools = NDArray[np.bool_]

NAMES_MAX: Final = 1000
"""Names of one key; each time that some are added, all of its series are written anew."""
NAME_BYTES_MAX: Final = 256
"""Longest name that is remembered."""
NAME_ENTRIES: Final = 4
"""What a name in a list takes beside its bytes, counted in series."""
PLACES_MAX: Final = 1_000_000
"""Places of names of shapes that are remembered, some 10 MB; then all are forgotten."""
_SHAPE_PLACES: Final = 30
"""What a shape takes, counted in places."""

Names = tuple[bytes, ...]


@frozen(eq=False)
class _List:
    """Names in order, and their places."""

    names: Names
    places: Mapping[bytes, int]


class Unions:
    """Keys by hash.  `find` may be called from any thread while one other adds."""

    def __init__(self) -> None:
        self._table = HashTable()
        self._record_of = np.zeros(1024, np.int64)
        """Of each key: where it is described now; one that gets more names is described anew, at the end."""
        self._list_of = np.zeros(1024, np.int64)
        self._first_refs = np.zeros(1024, np.int64)
        """Of each record: its list of names, and where its refs begin."""
        self._records_count = 0
        self._refs = np.zeros(1024, np.uint32)
        self._lists: list[_List] = []
        self._numbers: dict[Names, int] = {}
        self._places: dict[tuple[int, int], I64 | None] = {}
        """By list and shape: the place of each name in the list, None where one is not there."""
        self._places_count = 0
        self._refs_count = 0
        self.entries_count = 0
        """Refs, those that were replaced as well, and what names take, counted in refs."""

    def find(self, keys: U64, names: Blocks, shapes: U64, counts: I64) -> tuple[U32, Bools]:
        """Return (the refs of all fields, `MISSING` for those of lines that are not known; which lines are known).

        keys, shapes: hashes of each line.  A line without fields is not known.
        """
        found = self._table.find(keys)
        records = self._record_of.take(found, mode="clip")
        known = (found != MISSING) & (counts > 0)
        offsets = offsets_of(counts)
        lists, parts = self._list_of.take(records, mode="clip"), []
        chosen = np.flatnonzero(known)
        for i, of, shape in zip(chosen.tolist(), lists[chosen].tolist(), shapes[chosen].tolist(), strict=True):
            try:
                places = self._places[of, shape]
            except KeyError:
                places = self._learn_shape(of, shape, [names.one(j) for j in range(offsets[i], offsets[i + 1])])
            if places is None:
                known[i] = False
            else:
                parts.append(places)
        refs = np.full(int(offsets[-1]), MISSING, np.uint32)
        if parts:
            places = np.concatenate(parts)
            places += np.repeat(self._first_refs.take(records[known], mode="clip"), counts[known])
            refs[np.repeat(known, counts)] = self._refs.take(places, mode="clip")
        return refs, known

    def known_of(self, key: int) -> dict[bytes, int]:
        """Return the names that a key has, with their refs."""
        number = self._table.find_one(key)
        if number == MISSING:
            return {}
        record = int(self._record_of[number])
        names, first = self._lists[int(self._list_of[record])].names, int(self._first_refs[record])
        return dict(zip(names, self._refs[first : first + len(names)].tolist(), strict=True))

    def cost_of(self, united: Mapping[int, Mapping[bytes, int]]) -> int:
        """Return how many entries there are more after a `put`."""
        lists = {tuple(some) for some in united.values()}
        added = sum([len(names) for names in lists if names not in self._numbers])
        return sum(map(len, united.values())) + NAME_ENTRIES * added

    def put(self, united: Mapping[int, Mapping[bytes, int]]) -> None:
        """Remember what keys have from now on, by their hashes; a key can be found when all of it is there."""
        fields = list(united.values())
        counts = np.fromiter(map(len, fields), np.int64, len(fields))
        first, total = self._records_count, int(counts.sum())
        refs = np.fromiter((ref for some in fields for ref in some.values()), np.uint32, total)
        self._refs = put(self._refs, self._refs_count, refs)
        lists = np.fromiter((self._number_of(tuple(some)) for some in fields), np.int64, len(fields))
        self._list_of = put(self._list_of, first, lists)
        self._first_refs = put(self._first_refs, first, offsets_of(counts)[:-1] + self._refs_count)
        self._records_count += len(fields)
        self._refs_count += total
        self.entries_count += total
        keys, records = np.fromiter(united, np.uint64, len(united)), np.arange(first, first + len(fields))
        numbers = self._table.find(keys)
        old = numbers != MISSING
        self._record_of[numbers[old]] = records[old]
        self._record_of = put(self._record_of, len(self._table), records[~old])
        self._table.add(keys[~old])

    def _number_of(self, names: Names) -> int:
        found = self._numbers.get(names)
        if found is None:
            found = self._numbers[names] = len(self._lists)
            self._lists.append(_List(names, {name: i for i, name in enumerate(names)}))
            self.entries_count += NAME_ENTRIES * len(names)
        return found

    def _learn_shape(self, of: int, shape: int, names: Sequence[bytes]) -> I64 | None:
        """Return the places of names in a list, None where one is not there, and remember it."""
        known = self._lists[of].places
        places = np.array([known[name] for name in names]) if all(name in known for name in names) else None
        self._places_count += len(names) + _SHAPE_PLACES
        if self._places_count > PLACES_MAX:
            self._places, self._places_count = {}, 0
        self._places[of, shape] = places
        return places
