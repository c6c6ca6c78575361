"""Distinct label pairs and label names by number, found by their text or by their bytes in a label block.

A part of `registry.py`, which does the locking: everything that adds is called under its lock.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import WireError
from .block_hash import BlockHasher, Blocks
from .hash_table import MISSING, HashTable
from .label_block import decode_pair, encode_pair
from .labels import NAME

Pair = tuple[str, str]

METRIC_NAME: Final = 0
"""The number of the name `__name__`."""
JOB: Final = 1
"""The number of the name `job`."""
_NO_IDS: Final = array("I", [0])


class PairTable:
    """Interned pairs; ids are 0 .. len-1, and so are those of names."""

    def __init__(self, hasher: BlockHasher) -> None:
        self._hasher = hasher
        self._ids: dict[Pair, int] = {}
        self._by_bytes = HashTable()
        self._ids_by_bytes = array("I")
        """The ids of the entries of `_by_bytes`."""
        self._name_ids: dict[str, int] = {NAME: METRIC_NAME, "job": JOB}
        self.pairs: list[Pair] = []
        self.names: list[str] = [NAME, "job"]
        self._name_of_pair = array("I")

    def __len__(self) -> int:
        return len(self.pairs)

    def id_of(self, pair: Pair) -> int:
        """Return the id of a pair, giving it one when it is new."""
        i = self._ids.get(pair)
        if i is None:
            name = self._name_ids.get(pair[0])
            if name is None:
                name = self._name_ids[pair[0]] = len(self.names)
                self.names.append(pair[0])
            i = self._ids[pair] = len(self.pairs)
            self.pairs.append(pair)
            self._name_of_pair.append(name)
        return i

    def pair(self, pair_id: int) -> Pair:
        """Return (name, value) of an id."""
        return self.pairs[pair_id]

    def look_up(self, encoded: Blocks) -> LookedUp:
        """Return what is known of encoded labels; those not seen before are decoded, but not remembered yet."""
        hashes = self._hasher.hash_many(encoded)
        found = self._by_bytes.find(hashes)
        unknown = np.flatnonzero(found == MISSING)
        entries = np.frombuffer(self._ids_by_bytes or _NO_IDS, np.uint32)
        ids = entries.take(found, mode="clip").astype(np.int64)
        del entries  # the array cannot grow while a view of it lives
        looked = LookedUp(self, ids, len(self.pairs))
        if len(unknown):
            fresh, first, place = np.unique(hashes[unknown], return_index=True, return_inverse=True)
            new = np.array([looked.add(self._decoded(encoded.one(i))) for i in unknown[first].tolist()], np.int64)
            ids[unknown] = new[place]
            looked.hashes = fresh[new >= looked.base][np.argsort(new[new >= looked.base])]
            known = (new >= 0) & (new < looked.base)  # as text, not in this form
            self._remember(fresh[known], new[known])
        return looked

    def look_at(self, labels: Sequence[Pair]) -> LookedUp:
        """Return what is known of label pairs; new ones are not remembered yet."""
        looked = LookedUp(self, np.empty(0, np.int64), len(self.pairs))
        looked.ids = np.array([looked.add(pair) for pair in labels], np.int64)
        return looked

    def adopt(self, looked: LookedUp, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return ids (-1 for none) with new pairs among them remembered, under the numbers that they have got."""
        new = ids >= looked.base
        if not new.any():
            return ids
        used = np.unique(ids[new]) - looked.base
        got = np.zeros(len(looked.fresh), np.int64)
        got[used] = [self.id_of(looked.fresh[i]) for i in used.tolist()]
        if looked.hashes is not None:
            self._remember(looked.hashes[used], got[used])
        out = ids.copy()
        out[new] = got[ids[new] - looked.base]
        return out

    def _remember(self, hashes: NDArray[np.uint64], ids: NDArray[np.int64]) -> None:
        """Let labels be found by the hashes of their bytes."""
        self._by_bytes.add(hashes)
        self._ids_by_bytes.frombytes(ids.astype(np.uint32).tobytes())

    def names_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids of the names of pairs."""
        names: NDArray[np.int64] = np.frombuffer(self._name_of_pair, np.uint32)[ids].astype(np.int64)
        return names

    def known_id(self, pair: Pair) -> int:
        """Return the id of a pair, -1 where it has none."""
        return self._ids.get(pair, -1)

    def name_id(self, name: str) -> int:
        """Return the id of a name, -1 where it has none."""
        return self._name_ids.get(name, -1)

    def _decoded(self, raw: bytes) -> Pair | None:
        """Return an encoded label, None where it is not canonical."""
        try:
            pair = decode_pair(raw)
        except WireError:
            return None
        return pair if pair[1] and encode_pair(pair) == raw else None


class LookedUp:
    """Ids of labels: those known, and `base`, `base + 1` ... for `fresh` pairs, which nobody remembers yet; -1: not canonical.

    hashes: those of the fresh ones' bytes, where they came as bytes.
    """

    def __init__(self, table: PairTable, ids: NDArray[np.int64], base: int) -> None:
        self.ids, self.base = ids, base
        self.fresh: list[Pair] = []
        self.hashes: NDArray[np.uint64] | None = None
        self._table = table
        self._names: list[int] = []
        self._fresh_ids: dict[Pair, int] = {}
        self._new_names: dict[str, int] = {}

    def add(self, pair: Pair | None) -> int:
        """Return the id of a pair, -1 for None."""
        if pair is None:
            return -1
        known = self._table.known_id(pair)
        if known >= 0:
            return known
        again = self._fresh_ids.get(pair)
        if again is not None:
            return again
        name = self._table.name_id(pair[0])
        if name < 0:
            name = self._new_names.setdefault(pair[0], len(self._table.names) + len(self._new_names))
        self._names.append(name)
        self.fresh.append(pair)
        self._fresh_ids[pair] = self.base + len(self.fresh) - 1
        return self._fresh_ids[pair]

    def pair(self, pair_id: int) -> Pair:
        """Return (name, value) of an id."""
        return self.fresh[pair_id - self.base] if pair_id >= self.base else self._table.pairs[pair_id]

    def names_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids of the names of pairs; new ones have numbers behind the others."""
        if not self.fresh:
            return self._table.names_of(ids)
        new = ids >= self.base
        out = self._table.names_of(np.where(new, 0, ids)) if self.base else np.zeros(ids.shape, np.int64)
        out[new] = np.array(self._names, np.int64)[ids[new] - self.base]
        return out

    def name_id(self, name: str) -> int:
        """Return the id of a name, -1 where neither known nor new labels have it."""
        known = self._table.name_id(name)
        return known if known >= 0 else self._new_names.get(name, -1)

    def name(self, name_id: int) -> str:
        """Return a name."""
        known = self._table.names
        return known[name_id] if name_id < len(known) else list(self._new_names)[name_id - len(known)]
