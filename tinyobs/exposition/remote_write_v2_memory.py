"""What is remembered of the series of remote write 2.0 from one request to the next: their refs, and the metadata they told.

Both are found by the key of a series (`remote_write_v2_symbols.py`).  There is one entry for each series of the registry that
was ever sent by 2.0, 34 to 41 bytes of memory; it stays while the process lives, as the series in the registry does.  Those that
were sent with empty labels as well, or with others, have several, until there are `ENTRIES_PER_SERIES_MAX` for each series.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.block_hash import BlockHasher, Blocks, blocks_of
from ..model.gate import STAND_INS
from ..model.hash_table import MISSING, HashTable
from ..model.labels import NAME
from ..model.registry import SeriesRegistry
from .remote_write_v2_numbers import read_numbers
from .remote_write_v2_symbols import EncodedPair, Symbols

ENTRIES_PER_SERIES_MAX: Final = 2
_AT_ONCE: Final = 4096
"""New series that are interned in one step, which bounds the memory of it."""

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]


class SeriesMemory:
    """The series of one registry; all methods may be called from any thread."""

    def __init__(self, registry: SeriesRegistry) -> None:
        self.registry = registry
        self.hasher = BlockHasher()
        self._lock = threading.Lock()
        self._entries = HashTable()
        self._refs = np.zeros(64, np.uint32)
        self._told = np.zeros(64, np.uint64)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, keys: U64) -> U32:
        """Return the entry of each key, `MISSING` where there is none, as for 0."""
        entries = np.empty(len(keys), np.uint32)
        done = self._entries.find_runs(keys, entries)
        if done < len(keys):
            entries[done:] = self._entries.find(keys[done:])
        return entries

    def refs(self, entries: U32) -> U32:
        """Return the series of entries; anything where an entry is `MISSING`."""
        return self._refs.take(entries, mode="clip")

    def told(self, entries: U32) -> U64:
        """Return what the last metadata of entries was, as a hash; 0 for none, anything where an entry is `MISSING`."""
        return self._told.take(entries, mode="clip")

    def tell(self, entries: U32, hashes: U64) -> None:
        """Remember metadata that has been stored."""
        self._told[entries] = hashes

    def remember(self, keys: U64, refs: U32) -> None:
        """Remember series by their keys, which may be there already or several times."""
        good = refs < STAND_INS
        keys, refs = keys[good], refs[good]
        _, first = np.unique(keys, return_index=True)
        first.sort()  # as they came, so that they are found in runs
        keys = keys[first]
        with self._lock:
            count = len(self._entries)
            room = max(ENTRIES_PER_SERIES_MAX * len(self.registry) - count, 0)
            new = np.flatnonzero(self._entries.find(keys) == MISSING)[:room]
            end = count + len(new)
            if end > len(self._refs):
                for name in ("_refs", "_told"):
                    old = getattr(self, name)
                    longer = np.zeros(max(end, 2 * len(old)), old.dtype)
                    longer[: len(old)] = old
                    setattr(self, name, longer)
            self._refs[count:end] = refs[first[new]]
            self._told[count:end] = 0
            self._entries.add(keys[new])

    def learn(self, symbols: Symbols, refs: Blocks, keys: U64, new: I64, extra: Sequence[EncodedPair] = ()) -> None:
        """Intern those of the series at the positions `new`, and remember them.

        refs: the packed references of all series, sound ones for those that are new.  extra: labels that these have besides, to
        stand behind the metric name.
        Not those with labels that cannot be, that are out of order, or without a metric name: for them is the general way.
        """
        for i in range(0, len(new), _AT_ONCE):
            part = new[i : i + _AT_ONCE]
            numbers = read_numbers(refs.take(part), len(symbols))
            coded, place = np.unique(numbers.names << 32 | numbers.values, return_inverse=True)
            pairs = [symbols.pair(code >> 32, code & 0xFFFF_FFFF) for code in coded.tolist()]
            counts, part_keys = numbers.counts, keys[part]
            if extra:
                named = np.array([p is not None and p[0][0] == NAME for p in pairs])[place]
                place, counts, part_keys = _inserted(
                    place, counts, part_keys, named, len(pairs) + np.arange(len(extra))
                )
                pairs += extra
            self._learn(pairs, place, counts, part_keys)

    def _learn(self, pairs: list[EncodedPair | None], place: I64, counts: I64, keys: U64) -> None:
        if None in pairs:
            bad = np.array([p is None for p in pairs])[place]
            good = ~np.logical_or.reduceat(bad, np.cumsum(counts) - counts)
            stays = np.repeat(good, counts)
            place, counts, keys = place[stays], counts[good], keys[good]
            if not len(counts):
                return
            used, place = np.unique(place, return_inverse=True)
            pairs = [pairs[i] for i in used.tolist()]
        labels = [p[0] for p in pairs if p is not None]
        fields = [p[1] for p in pairs if p is not None]
        ends = np.cumsum(counts).tolist()
        every = [fields[i] for i in place.tolist()]
        blocks = blocks_of([b"".join(every[a:b]) for a, b in zip([0, *ends], ends, strict=False)])
        refs = self.registry.intern_rows(blocks, labels, place, counts)
        known = refs != MISSING
        self.remember(keys[known], refs[known])


def _inserted(place: I64, counts: I64, keys: U64, named: NDArray[np.bool_], extra: I64) -> tuple[I64, I64, U64]:
    """Return (places, counts, keys) of those series that have one metric name, with `extra` behind it.

    place: of the labels of all series, `counts` of each; named: which of them is a metric name.
    """
    good = np.add.reduceat(named, np.cumsum(counts) - counts, dtype=np.int64) == 1
    stays = np.repeat(good, counts)
    place, named, counts, keys = place[stays], named[stays], counts[good], keys[good]
    behind = np.repeat(np.flatnonzero(named) + 1, len(extra))
    return np.insert(place, behind, np.tile(extra, len(counts))), counts + len(extra), keys
