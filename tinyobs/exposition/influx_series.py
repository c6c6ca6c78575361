"""Which series the fields of lines belong to: decided when a key and a field name first come together, and remembered.

Lines are remembered as wholes (`influx_layouts.py`).  Where that cannot be, it is field by field: a 64-bit hash (of the bytes of
the key, the bytes of the name, and where the line came from, see `model/block_hash.py`) and the ref, 18 to 25 bytes for each
series.  Bytes that mean the same but are written in another way, such as tags in another order, have an entry of their own.
When `SERIES_MAX` series are there, all are forgotten; what is still sent is learnt again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..model.block_hash import BlockHasher, Blocks, blocks_of
from ..model.gate import STAND_INS
from ..model.hash_table import MISSING, HashTable
from ..model.ragged import offsets_of, spread
from ..model.registry import SeriesRegistry
from .influx_layouts import NAME_BYTES_MAX, Layouts
from .influx_line import BadLine, parse_key, unescaped
from .influx_names import Namer, NameRules, Origin

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
Bools = NDArray[np.bool_]

SERIES_MAX: Final = 4_000_000
"""Entries that are remembered, some 100 MB."""

_NAME_FACTOR: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
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


@define(eq=False)
class _Known:
    table: HashTable = field(factory=HashTable)
    refs: U32 = field(factory=lambda: np.zeros(1024, np.uint32))

    def find(self, hashes: U64) -> U32:
        """Return the ref of each hash, or `MISSING`."""
        at = np.empty(len(hashes), np.uint32)
        done = self.table.find_runs(hashes, at)
        if done < len(hashes):
            at[done:] = self.table.find(hashes[done:])
        return np.where(at == MISSING, np.uint32(MISSING), self.refs.take(at, mode="clip"))

    def add(self, hashes: U64, refs: U32) -> None:
        """Remember hashes that are different and new; refs are there before a reader can find a number."""
        first = len(self.table)
        if first + len(refs) > len(self.refs):
            longer = np.zeros(2 * (first + len(refs)), np.uint32)
            longer[:first] = self.refs[:first]
            self.refs = longer
        self.refs[first : first + len(refs)] = refs
        self.table.add(hashes)


class SeriesMemory:
    """What is known of an agent's series by their bytes.  All methods may be called from any thread."""

    def __init__(self, registry: SeriesRegistry, rules: NameRules, series_max: int = SERIES_MAX) -> None:
        self.rules = rules
        self._registry, self._series_max = registry, series_max
        self._hasher = BlockHasher()
        self._known, self._layouts = _Known(), Layouts()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many series are known, counting those twice that are known in two ways."""
        return len(self._known.table) + self._layouts.refs_count

    def refs_of(self, fields: KeyedFields, origin: Origin) -> tuple[U32, dict[int, str]]:
        """Return (the ref of each field, faults: line -> reason).  The fields of faulty lines have no refs."""
        if not len(fields.counts):
            return np.empty(0, np.uint32), {}
        if fields.heads is None:
            return self._by_fields(fields, origin, None)
        layouts, lines = self._layouts, self._line_hashes(fields, origin)
        is_compared = not fields.singles.all()
        refs, known = layouts.find(lines, fields.names, fields.counts, is_compared=is_compared)
        if known.all():
            return refs, {}
        left = np.flatnonzero(~known)
        found, faults = self._by_fields(fields.take(left), origin, lines[left])
        refs[np.repeat(~known, fields.counts)] = found
        return refs, {int(left[i]): reason for i, reason in faults.items()}

    def _by_fields(self, fields: KeyedFields, origin: Origin, lines: U64 | None) -> tuple[U32, dict[int, str]]:
        """Do as `refs_of` does, looking up each field.  lines: hashes by which lines are to be remembered."""
        hashes = self._hashes(fields, origin)
        refs = self._known.find(hashes)
        unknown = np.flatnonzero(refs == MISSING)
        faults = self._learn(fields, origin, refs, unknown) if len(unknown) else {}
        if lines is not None:
            kept = self._remember_lines(fields, lines, refs, faults)
            unknown = unknown[~np.repeat(kept, fields.counts)[unknown]]
        if len(unknown):
            self._remember(hashes[unknown], refs[unknown])
        return refs, faults

    def _remember_lines(self, fields: KeyedFields, lines: U64, refs: U32, faults: dict[int, str]) -> Bools:
        """Remember lines as wholes, where that can be; return of which it is done."""
        offsets = offsets_of(fields.counts)
        unfit = (refs >= STAND_INS) | (fields.names.lengths > NAME_BYTES_MAX)
        fit = np.ones(len(lines), np.bool_)
        fit[np.searchsorted(offsets, np.flatnonzero(unfit), side="right") - 1] = False
        fit[list(faults)] = False
        with self._lock:
            fit &= ~self._layouts.has(lines)
            first = np.zeros(len(lines), np.bool_)
            first[np.unique(lines, return_index=True)[1]] = True
            chosen = np.flatnonzero(fit & first)
            self._make_room(int(fields.counts[chosen].sum()) + len(chosen))
            ranges = list(zip(offsets[chosen].tolist(), offsets[chosen + 1].tolist(), strict=True))
            names = [tuple([fields.names.one(i) for i in range(a, b)]) for a, b in ranges]
            if sum(map(len, names)) <= self._series_max:
                self._layouts.add(lines[chosen], names, [refs[a:b] for a, b in ranges])
                return fit
        return np.zeros(len(lines), np.bool_)

    def _make_room(self, count: int) -> None:
        """Forget all when so many more would be too many."""
        if len(self) + count > self._series_max:
            self._known, self._layouts = _Known(), Layouts()

    def _hashes(self, fields: KeyedFields, origin: Origin) -> U64:
        """Return a hash for each field."""
        by_line = self._hasher.hash_many(fields.keys)
        by_line += np.uint64(self._hasher.hash_one(_bytes_of(origin)))
        if self.rules.skip_single_field:
            by_line[fields.singles] += _SINGLE
        hashes = self._hasher.hash_many(fields.names)
        hashes *= _NAME_FACTOR
        hashes += np.repeat(by_line, fields.counts)
        return hashes

    def _line_hashes(self, fields: KeyedFields, origin: Origin) -> U64:
        """Return a hash for each line, of its head, how many fields it has, and whether it has only one.

        Where a line has one field its name stands in the head and is not compared; the head of one with a string before its
        only number may be the same, and must not be known as the same line.
        """
        assert fields.heads is not None
        hashes = self._hasher.hash_many(fields.heads)
        hashes += np.uint64(self._hasher.hash_one(_bytes_of(origin)))
        hashes += fields.counts.view(np.uint64) * _NAME_FACTOR
        hashes += fields.singles * _SINGLE
        return hashes

    def _learn(self, fields: KeyedFields, origin: Origin, refs: U32, unknown: I64) -> dict[int, str]:
        """Fill in the refs of fields that are not known; return what is wrong with which lines."""
        offsets = offsets_of(fields.counts)
        lines = np.searchsorted(offsets, unknown, side="right") - 1
        namer = Namer(origin, self.rules)
        found: list[bytes] = []
        places: list[int] = []
        faults: dict[int, str] = {}
        line_before, key = -1, None
        for at, line in zip(unknown.tolist(), lines.tolist(), strict=True):
            if line in faults:
                continue
            try:
                if line != line_before:
                    key, line_before = namer.key(parse_key(fields.keys.one(line))), line
                assert key is not None
                found.append(namer.block(key, unescaped(fields.names.one(at)), bool(fields.singles[line])))
                places.append(at)
            except BadLine as e:
                faults[line] = str(e)
        if places:
            refs[places] = self._intern(found)
        return faults

    def _intern(self, blocks: list[bytes]) -> U32:
        refs = self._registry.intern_blocks(blocks_of(blocks))
        for i in np.flatnonzero(refs == MISSING).tolist():  # too many or too long labels to be looked at in bulk
            refs[i] = self._registry.intern_block(blocks[i])
        return refs

    def _remember(self, hashes: U64, refs: U32) -> None:
        good = refs < STAND_INS
        hashes, refs = hashes[good], refs[good]
        order = np.sort(np.unique(hashes, return_index=True)[1])  # as they came, so that they are found in runs
        with self._lock:
            self._make_room(len(order))
            known = self._known
            new = order[known.table.find(hashes[order]) == MISSING]  # another thread may have been faster
            known.add(hashes[new[: self._series_max]], refs[new[: self._series_max]])


def _bytes_of(origin: Origin) -> bytes:
    """Return bytes that no other origin has."""
    texts: Sequence[str] = [origin.database, *(text for pair in origin.labels for text in pair)]
    return b"".join(b"%d:%s" % (len(raw), raw) for raw in (text.encode("utf-8", "surrogatepass") for text in texts))
