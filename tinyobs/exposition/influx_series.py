"""Which series the fields of lines belong to: decided when a key and a field name first come together, and remembered.

Lines are remembered as wholes (`influx_layouts.py`).  For those that are not always the same it is remembered what their keys
have had (`influx_unions.py`), both by 64-bit hashes of bytes and of where lines came from (`model/block_hash.py`).  Bytes that
mean the same but are written in another way, such as tags in another order, have an entry of their own.  When `SERIES_MAX`
entries are there, all are forgotten; what is still sent is learnt again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.block_hash import BlockHasher, Blocks, blocks_of
from ..model.gate import STAND_INS
from ..model.hash_table import MISSING
from ..model.ragged import offsets_of, spread
from ..model.registry import SeriesRegistry
from . import influx_unions
from .influx_layouts import NAME_BYTES_MAX, Layouts
from .influx_line import BadLine, parse_key, unescaped
from .influx_names import Namer, NameRules, Origin
from .influx_unions import Names, Unions

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
Bools = NDArray[np.bool_]

SERIES_MAX: Final = 4_000_000
"""Entries that are remembered, some 100 MB."""
ORIGINS_MAX: Final = 1000
"""Origins whose hashes are remembered."""

_COUNT_FACTOR: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_SINGLE: Final = np.uint64(0x5851_F42D_4C95_7F2D)


@frozen(eq=False)
class KeyedFields:
    """Fields of lines.  keys: one for each line.  names: of all fields.  counts: how many of them each line has.

    singles: bool for each line, whether it has no other field, not even a string.  heads: of each line all up to the end of
    its first name, that of a string as well; None where lines are not known by them.
    """

    keys: Blocks
    names: Blocks
    counts: I64
    singles: Bools
    heads: Blocks | None = None

    def take(self, lines: I64) -> KeyedFields:
        """Return the fields of some lines, which are not known by their heads."""
        offsets = offsets_of(self.counts)
        fields, counts = spread(offsets[lines], self.counts[lines]), self.counts[lines]
        return KeyedFields(self.keys.take(lines), self.names.take(fields), counts, self.singles[lines])


class SeriesMemory:
    """What is known of an agent's series by their bytes.  All methods may be called from any thread."""

    def __init__(self, registry: SeriesRegistry, rules: NameRules, series_max: int = SERIES_MAX) -> None:
        self.rules = rules
        self._registry, self._series_max = registry, series_max
        self._hasher = BlockHasher()
        self._factors = _random_odd(64)
        """By place in a line: what the hash of a name is multiplied with."""
        self._origins: dict[Origin, np.uint64] = {}
        self._layouts, self._unions = Layouts(), Unions()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many entries there are: series, twice where they are known in two ways, and what else takes as much."""
        return self._layouts.refs_count + self._unions.entries_count

    def refs_of(self, fields: KeyedFields, origin: Origin) -> tuple[U32, dict[int, str]]:
        """Return (the ref of each field, faults: line -> reason).  The fields of faulty lines have no refs."""
        if not len(fields.counts):
            return np.empty(0, np.uint32), {}
        if fields.heads is None:
            return self._by_key(fields, origin, None)
        layouts, lines = self._layouts, self._line_hashes(fields, origin)
        is_compared = not fields.singles.all()
        refs, known = layouts.find(lines, fields.names, fields.counts, is_compared=is_compared)
        if known.all():
            return refs, {}
        left = np.flatnonzero(~known)
        found, faults = self._by_key(fields.take(left), origin, lines[left])
        refs[np.repeat(~known, fields.counts)] = found
        return refs, {int(left[i]): reason for i, reason in faults.items()}

    def _by_key(self, fields: KeyedFields, origin: Origin, lines: U64 | None) -> tuple[U32, dict[int, str]]:
        """Do as `refs_of` does, asking what is known of the key of each line.

        lines: hashes by which those are to be remembered that are not known so either.
        """
        keys, counts = self._key_hashes(fields, origin), fields.counts
        refs, known = self._unions.find(keys, fields.names, self._shapes(fields), counts)
        if known.all():
            return refs, {}
        left = np.flatnonzero(~known)
        fields = fields.take(left)
        found, faults = self._learn(fields, origin)
        refs[np.repeat(~known, counts)] = found
        self._remember(fields, keys[left], None if lines is None else lines[left], found, faults)
        return refs, {int(left[i]): reason for i, reason in faults.items()}

    def _remember(self, fields: KeyedFields, keys: U64, lines: U64 | None, refs: U32, faults: Collection[int]) -> None:
        """Remember lines as wholes where they have a hash, and what their keys have; none that is faulty."""
        bounds = list(pairwise(offsets_of(fields.counts).tolist()))
        names = [tuple([fields.names.one(i) for i in range(a, b)]) for a, b in bounds]
        found = [refs[a:b] for a, b in bounds]
        good, whole = np.ones(len(keys), np.bool_), np.zeros(len(keys), np.bool_)
        good[list(faults)] = False
        with self._lock:
            if lines is not None:
                whole = good & self._are_fit(fields, lines, refs)
            # A line with one field is known by its head and needs no more.
            united = self._united(keys, names, found, np.flatnonzero(good & ~(whole & (fields.counts < 2))).tolist())
            chosen = np.flatnonzero(whole)
            if lines is not None:
                chosen = chosen[np.sort(np.unique(lines[chosen], return_index=True)[1])]
            count = int(fields.counts[chosen].sum())
            if len(self) + count + self._unions.cost_of(united) > self._series_max:
                self._layouts, self._unions = Layouts(), Unions()
                if count + self._unions.cost_of(united) > self._series_max:
                    return
            if lines is not None:
                self._layouts.add(lines[chosen], [names[i] for i in chosen], [found[i] for i in chosen])
            if united:
                self._unions.put(united)

    def _are_fit(self, fields: KeyedFields, lines: U64, refs: U32) -> Bools:
        """Return which lines may be remembered as wholes."""
        unfit = (refs >= STAND_INS) | (fields.names.lengths > NAME_BYTES_MAX)
        fit = ~self._layouts.has(lines)
        fit[np.searchsorted(offsets_of(fields.counts), np.flatnonzero(unfit), side="right") - 1] = False
        return fit

    def _united(
        self, keys: U64, names: Sequence[Names], refs: Sequence[U32], lines: Sequence[int]
    ) -> dict[int, dict[bytes, int]]:
        """Return what the keys of some lines have now, where that is more than is known: name -> ref."""
        found: dict[int, dict[bytes, int]] = {}
        for i in lines:
            key = int(keys[i])
            before = found.get(key) or self._unions.known_of(key)
            pairs = zip(names[i], refs[i].tolist(), strict=True)
            united = {**before, **{n: r for n, r in pairs if r < STAND_INS and len(n) <= influx_unions.NAME_BYTES_MAX}}
            if len(before) < len(united) <= influx_unions.NAMES_MAX:
                found[key] = united
        return found

    def _key_hashes(self, fields: KeyedFields, origin: Origin) -> U64:
        """Return a hash for the key of each line, another one where fields of the same names are other series."""
        hashes = self._hasher.hash_many(fields.keys)
        hashes += self._hash_of(origin)
        if self.rules.skip_single_field:
            hashes[fields.singles] += _SINGLE
        return hashes

    def _shapes(self, fields: KeyedFields) -> U64:
        """Return a hash for the names of each line in their order."""
        counts, offsets = fields.counts, offsets_of(fields.counts)
        total, longest = int(offsets[-1]), int(counts.max(initial=0))
        with self._lock:
            if longest > len(self._factors):
                self._factors = np.concatenate((self._factors, _random_odd(longest)))
            factors = self._factors
        sums = np.zeros(total + 1, np.uint64)
        if total:
            places = np.arange(total)
            places -= np.repeat(offsets[:-1], counts)
            np.cumsum(self._hasher.hash_many(fields.names) * factors[places], out=sums[1:])
        shapes: U64 = sums[offsets[1:]] - sums[offsets[:-1]]
        return shapes

    def _line_hashes(self, fields: KeyedFields, origin: Origin) -> U64:
        """Return a hash for each line, of its head, how many fields it has, and whether it has only one.

        Where a line has one field its name stands in the head and is not compared; the head of one with a string before its
        only number may be the same, and must not be known as the same line.
        """
        assert fields.heads is not None
        hashes = self._hasher.hash_many(fields.heads)
        hashes += self._hash_of(origin)
        hashes += fields.counts.view(np.uint64) * _COUNT_FACTOR
        hashes += fields.singles * _SINGLE
        return hashes

    def _hash_of(self, origin: Origin) -> np.uint64:
        found = self._origins.get(origin)
        if found is None:
            if len(self._origins) >= ORIGINS_MAX:
                self._origins = {}
            found = self._origins[origin] = np.uint64(self._hasher.hash_one(_bytes_of(origin)))
        return found

    def _learn(self, fields: KeyedFields, origin: Origin) -> tuple[U32, dict[int, str]]:
        """Return (the refs of all fields, what is wrong with which lines)."""
        offsets = offsets_of(fields.counts).tolist()
        refs = np.full(offsets[-1], MISSING, np.uint32)
        namer = Namer(origin, self.rules)
        found: list[bytes] = []
        places: list[int] = []
        faults: dict[int, str] = {}
        for line, (a, b) in enumerate(pairwise(offsets)):
            if a == b:
                continue
            try:
                key, is_single = namer.key(parse_key(fields.keys.one(line))), bool(fields.singles[line])
                blocks = [namer.block(key, unescaped(fields.names.one(at)), is_single) for at in range(a, b)]
            except BadLine as e:
                faults[line] = str(e)
            else:
                found += blocks
                places += range(a, b)
        if places:
            refs[places] = self._intern(found)
        return refs, faults

    def _intern(self, blocks: list[bytes]) -> U32:
        refs = self._registry.intern_blocks(blocks_of(blocks))
        for i in np.flatnonzero(refs == MISSING).tolist():  # too many or too long labels to be looked at in bulk
            refs[i] = self._registry.intern_block(blocks[i])
        return refs


def _random_odd(count: int) -> U64:
    """Return numbers that nobody can guess, and that have an inverse modulo 2^64."""
    return np.frombuffer(os.urandom(8 * count), np.uint64) | np.uint64(1)


def _bytes_of(origin: Origin) -> bytes:
    """Return bytes that no other origin has."""
    texts: Sequence[str] = [origin.database, *(text for pair in origin.labels for text in pair)]
    return b"".join(b"%d:%s" % (len(raw), raw) for raw in (text.encode("utf-8", "surrogatepass") for text in texts))
