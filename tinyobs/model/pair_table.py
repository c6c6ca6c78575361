"""Distinct label pairs and label names by number, found by their text or by their bytes in a label block.

A part of `registry.py`, which does the locking: everything that adds is called under its lock.
"""

from __future__ import annotations

from array import array
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
_NO_IDS: Final = array("I", [0])


class PairTable:
    """Interned pairs; ids are 0 .. len-1, and so are those of names."""

    def __init__(self, hasher: BlockHasher) -> None:
        self._hasher = hasher
        self._ids: dict[Pair, int] = {}
        self._by_bytes = HashTable()
        self._ids_by_bytes = array("I")
        """The ids of the entries of `_by_bytes`."""
        self._name_ids: dict[str, int] = {NAME: METRIC_NAME}
        self.pairs: list[Pair] = []
        self.names: list[str] = [NAME]
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

    def ids_of(self, encoded: Blocks) -> NDArray[np.int64]:
        """Return the ids of encoded labels, giving new ones to new pairs; -1 where a label is not canonical.

        Each distinct pair is decoded once while the process lives, however many series have it.
        """
        hashes = self._hasher.hash_many(encoded)
        found = self._by_bytes.find(hashes)
        unknown = np.flatnonzero(found == MISSING)
        entries = np.frombuffer(self._ids_by_bytes or _NO_IDS, np.uint32)
        ids = entries.take(found, mode="clip").astype(np.int64)
        del entries  # the array cannot grow while a view of it lives
        if len(unknown):
            fresh, first, place = np.unique(hashes[unknown], return_index=True, return_inverse=True)
            new = np.array([self._decoded(encoded.one(i)) for i in unknown[first].tolist()], np.int64)
            ids[unknown] = new[place]
            sound = new >= 0
            self._by_bytes.add(fresh[sound])
            self._ids_by_bytes.frombytes(new[sound].astype(np.uint32).tobytes())
        return ids

    def names_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids of the names of pairs."""
        names: NDArray[np.int64] = np.frombuffer(self._name_of_pair, np.uint32)[ids].astype(np.int64)
        return names

    def _decoded(self, raw: bytes) -> int:
        try:
            pair = decode_pair(raw)
        except WireError:
            return -1
        return self.id_of(pair) if pair[1] and encode_pair(pair) == raw else -1
