"""The shared numbering of series: label set <-> dense `ref`, one registry per agent.

Every series that enters an agent is interned here once; from then on it is a 32-bit number and no label is looked
at again.  The key of a series is the 64-bit hash of its *canonical block*: its labels in order, encoded as the
repeated `labels` field of a remote-write TimeSeries (`label_block.py`).  A well-formed remote-write series therefore *is*
its own key: `refs_of_blocks` recognises many at once without decoding them.  Two series share a hash with a chance of
n^2 / 2^65 (one in 37 million at a million series); the hash is keyed anew in each process (`block_hash.py`), so nobody can
construct such a pair.

Memory per series: its hash and its place in the table (14 to 21 bytes), where its labels are (8 bytes), and 4 bytes per
label; a distinct (name, value) pair is stored once.  Refs are never used again for another series while the process lives.

Thread safety: lookups need no lock; interning takes one.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import WireError
from .block_hash import BlockHasher, Blocks, blocks_of
from .block_walk import walk
from .hash_table import MISSING, HashTable
from .label_block import LABEL_BYTES_MAX as LABEL_BYTES_MAX
from .label_block import decode_pair, labels_of_block
from .label_block import encode_block as encode_block
from .label_block import read_varint as read_varint
from .label_block import varint as varint
from .labels import Labels
from .pair_table import PairTable

_BLOCKS_AT_ONCE: Final = 4096
"""New blocks that are taken apart in one step, which bounds the memory of it."""
_MANY_MIN: Final = 8
"""Label sets from which on it pays to look at all at once."""
_RUNS_MAX: Final = 8
_RUN_MIN: Final = 16
"""After so many runs of ascending refs, or one that is shorter, a request is looked up series by series."""
_NAME_FIELD: Final = b"\x0a\x08__name__"
"""How the name of the label that names the metric stands in a block."""
_NO_IDS: Final = array("I", [0])

ALIASES_PER_SERIES_MAX: Final = 2
"""Other encodings of label blocks that are remembered, for each series on average."""


class SeriesRegistry:
    """Interned series.  `len(registry)` is the number of series ever interned; refs are 0 .. len-1."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hasher = BlockHasher()
        self._refs = HashTable()
        self._aliases = HashTable()
        self._ref_of_alias = np.zeros(64, np.uint32)
        self._pairs = PairTable(self._hasher)
        self._starts = array("Q", [0])
        self._ids = array("I")

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def pair_count(self) -> int:
        """The number of distinct (name, value) pairs."""
        return len(self._pairs)

    def pair(self, pair_id: int) -> tuple[str, str]:
        """Return the (name, value) of a pair id."""
        return self._pairs.pairs[pair_id]

    def labels(self, ref: int) -> Labels:
        """Return the label set of a series."""
        pairs = self._pairs.pairs
        return tuple([pairs[i] for i in self._ids[self._starts[ref] : self._starts[ref + 1]]])

    def flat_pairs(self, first: int = 0, last: int | None = None) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Return (starts uint64[n+1], pair ids uint32[m]) of the series `first` .. `last - 1`, to the end by default, as copies.

        The pair ids of series `first + i` are `ids[starts[i]:starts[i+1]]`, in label order; `starts[0]` is 0.
        """
        with self._lock:
            starts = np.array(self._starts[first : None if last is None else last + 1], dtype=np.uint64)
            ids = np.array(self._ids[int(starts[0]) : int(starts[-1])], dtype=np.uint32)
        return starts - starts[0], ids

    def pairs_of(self, refs: NDArray[np.uint32]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Return (starts uint64[n+1], pair ids uint32[m]) of any series, in the form of `flat_pairs`."""
        with self._lock:
            starts, ids = np.frombuffer(self._starts, np.uint64), np.frombuffer(self._ids or _NO_IDS, np.uint32)
            first, counts = starts[refs], starts[refs.astype(np.int64) + 1] - starts[refs]
            ends = np.cumsum(counts)
            skipped = np.repeat(first - (ends - counts), counts.astype(np.int64))
            found = ids[np.arange(len(skipped), dtype=np.uint64) + skipped]
            del starts, ids  # the arrays cannot grow while a view of them lives
        return np.concatenate((np.zeros(1, np.uint64), ends)), found

    # -- interning ---------------------------------------------------------------------------------------------

    def intern(self, labels: Labels) -> int:
        """Return the ref of a label set, giving it one when it is new."""
        key = self._hasher.hash_one(encode_block(labels))
        ref = self._refs.find_one(key)
        if ref == MISSING:
            with self._lock:
                ref = self._refs.find_one(key)
                if ref == MISSING:
                    ids = np.array([self._pairs.id_of(p) for p in labels], np.uint32)
                    ref = self._define(np.array([key], np.uint64), np.array([len(labels)]), ids)
        return ref

    def intern_many(self, series: Iterable[Labels]) -> NDArray[np.uint32]:
        """Return the refs of many label sets, as uint32[n]; much faster than one by one where many are new.

        New series get their refs in the order given.
        """
        given = list(series)
        blocks = [encode_block(labels) for labels in given] if len(given) >= _MANY_MIN else []
        if not blocks or not all(_NAME_FIELD in block for block in blocks):
            return np.fromiter((self.intern(labels) for labels in given), np.uint32)
        refs = self.intern_blocks(blocks_of(blocks))
        for i in np.flatnonzero(refs == MISSING).tolist():  # labels that nobody may push, but that a target may have
            refs[i] = self.intern(given[i])
        return refs

    def refs_of_blocks(self, blocks: Blocks) -> NDArray[np.uint32]:
        """Return the ref for each label block, `MISSING` where it is unknown.  The fast path of receivers."""
        hashes = self._hasher.hash_many(blocks)
        refs = np.empty(len(hashes), np.uint32)
        done = self._find_runs(hashes, refs)
        if done < len(hashes):
            refs[done:] = self._find(hashes[done:])
        return refs

    def intern_blocks(self, blocks: Blocks) -> NDArray[np.uint32]:
        """Return the ref for each label block, giving new ones to new series.

        `MISSING` stands for blocks that are not canonical, or name no metric (see `label_block.py`), and are not known by
        `remember_block`: `intern_block` puts the first kind right.
        """
        hashes = self._hasher.hash_many(blocks)
        refs = self._find(hashes)
        unknown = np.flatnonzero(refs == MISSING)
        for i in range(0, len(unknown), _BLOCKS_AT_ONCE):
            part = unknown[i : i + _BLOCKS_AT_ONCE]
            distinct, first, place = np.unique(hashes[part], return_index=True, return_inverse=True)
            order = np.argsort(first)  # refs in the order of appearance
            found = np.empty(len(distinct), np.uint32)
            found[order] = self._add_canonical(blocks.take(part[first[order]]), distinct[order])
            refs[part] = found[place]
        return refs

    def intern_block(self, block: bytes) -> int:
        """Return the ref of a series given as label block, decoding it when it is new.

        Labels out of order, repeated or empty are put right: such a block maps to the ref of its canonical form.
        Raises `WireError` when the bytes are no label block or hold no label.
        """
        key = self._hasher.hash_one(block)
        ref = self._refs.find_one(key)
        if ref != MISSING:
            return ref
        alias = self._aliases.find_one(key)
        if alias != MISSING:
            return int(self._ref_of_alias[alias])
        pairs = [decode_pair(block[a:b]) for a, b, _ in labels_of_block(block)]
        if not any(map(itemgetter(1), pairs)):
            raise WireError("a series without labels")
        return self.intern(tuple(sorted({n: v for n, v in pairs if v}.items())))

    def remember_block(self, block: bytes, ref: int) -> None:
        """Let `refs_of_blocks` find series `ref` by a block that holds its labels in another order or encoding.

        For senders that do not sort their labels.  Bounded: beyond `ALIASES_PER_SERIES_MAX` nothing is remembered.
        """
        key = self._hasher.hash_one(block)
        with self._lock:
            known = self._refs.find_one(key) != MISSING or self._aliases.find_one(key) != MISSING
            if not known and len(self._aliases) < ALIASES_PER_SERIES_MAX * len(self):
                if len(self._aliases) == len(self._ref_of_alias):
                    self._ref_of_alias = np.concatenate([self._ref_of_alias, np.zeros_like(self._ref_of_alias)])
                self._ref_of_alias[len(self._aliases)] = ref
                self._aliases.add(np.array([key], np.uint64))

    # -- private -----------------------------------------------------------------------------------------------

    def _find_runs(self, hashes: NDArray[np.uint64], refs: NDArray[np.uint32]) -> int:
        """Fill in refs that ascend by one, run after run; return how many were found.

        Series that come one after another got their numbers one after another when they came first, in most requests.
        Comparing with the hashes in that order touches far less memory than looking each of them up.
        """
        known, at = self._refs.hashes, 0
        for _ in range(_RUNS_MAX):
            ref = self._refs.find_one(int(hashes[at])) if at < len(hashes) else MISSING
            if ref >= len(known):
                break
            size = min(len(hashes) - at, len(known) - ref)
            equal = known[ref : ref + size] == hashes[at : at + size]
            size = size if equal.all() else int(equal.argmin())
            refs[at : at + size] = np.arange(ref, ref + size, dtype=np.uint32)
            at += size
            if size < _RUN_MIN:
                break
        return at

    def _find(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Return the ref of each hash of a block, canonical or remembered."""
        refs = self._refs.find(hashes)
        if len(self._aliases):
            unknown = np.flatnonzero(refs == MISSING)
            aliases = self._aliases.find(hashes[unknown])
            hit = aliases != MISSING
            refs[unknown[hit]] = self._ref_of_alias[aliases[hit]]
        return refs

    def _define(self, hashes: NDArray[np.uint64], counts: NDArray[np.int64], ids: NDArray[np.uint32]) -> int:
        """Give the next refs to new series with these label counts and pair ids; return the first of them."""
        first, labels = len(self), len(self._ids)
        ends = np.cumsum(counts) + labels
        try:
            self._ids.frombytes(ids.tobytes())
            self._starts.frombytes(ends.astype(np.uint64).tobytes())
            self._refs.add(hashes)
        except BaseException:  # out of memory: the numbers of the table and ours must stay the same
            del self._starts[first + 1 :], self._ids[labels:]
            raise
        return first

    def _add_canonical(self, blocks: Blocks, hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Give refs to those of some different unknown blocks that are canonical."""
        with self._lock:
            refs = self._refs.find(hashes)  # another thread may have been faster
            left = np.flatnonzero(refs == MISSING)
            walked = walk(blocks.take(left), self._pairs)
            left = left[walked.canonical]
            first = self._define(hashes[left], walked.counts, walked.ids.astype(np.uint32))
            refs[left] = np.arange(first, first + len(left), dtype=np.uint32)
        return refs
