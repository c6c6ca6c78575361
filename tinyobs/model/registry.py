"""The shared numbering of series: label set <-> dense `ref`, one registry per agent.

Every series that enters an agent is interned here once; from then on it is a 32-bit number and no label is looked
at again.  The key of a series is the 64-bit hash of its *canonical block*: its labels in order, encoded as the
repeated `labels` field of a remote-write TimeSeries (`label_block.py`).  A well-formed remote-write series therefore *is*
its own key: `refs_of_blocks` recognises many at once without decoding them.  Two series share a hash with a chance of
n^2 / 2^65 (one in 37 million at a million series); the hash is keyed anew in each process (`block_hash.py`), so nobody can
construct such a pair.

Memory per series: its hash and its place in the table (14 to 21 bytes), where its labels are (8 bytes), and 4 bytes per
label; a distinct (name, value) pair is stored once.  Refs are never used again for another series while the process lives.
A series that the gate turns away (`gate.py`) leaves nothing behind: it is asked before anything is stored.

Thread safety: lookups need no lock; interning takes one.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import WireError
from .block_hash import BlockHasher, Blocks, blocks_of
from .block_walk import ordered, walk
from .gate import STAND_INS, Candidates, Gate, PairTexts
from .hash_table import MISSING, HashTable
from .label_block import LABEL_BYTES_MAX as LABEL_BYTES_MAX
from .label_block import decode_pair, labels_of_block
from .label_block import encode_block as encode_block
from .label_block import read_varint as read_varint
from .label_block import varint as varint
from .labels import Labels
from .pair_table import LookedUp, Pair, PairTable

_BLOCKS_AT_ONCE: Final = 4096
"""New blocks that are taken apart in one step, which bounds the memory of it."""
_MANY_MIN: Final = 8
"""Label sets from which on it pays to look at all at once."""
_NAME_FIELD: Final = b"\x0a\x08__name__"
"""How the name of the label that names the metric stands in a block."""
_NO_IDS: Final = array("I", [0])

ALIASES_PER_SERIES_MAX: Final = 2
"""Other encodings of label blocks that are remembered, for each series on average."""


class SeriesRegistry:
    """Interned series.  `len(registry)` is the number of series ever interned; refs are 0 .. len-1."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held while something is numbered, and by the gate while it decides."""
        self.gate: Gate | None = None
        self.generation = 0
        """Changes when stand-ins are good no more; see `gate.py`."""
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

    @property
    def pair_texts(self) -> PairTexts:
        """What pair ids mean."""
        return self._pairs

    def pair(self, pair_id: int) -> tuple[str, str]:
        """Return the (name, value) of a pair id."""
        return self._pairs.pairs[pair_id]

    def labels(self, ref: int) -> Labels:
        """Return the label set of a series; of a stand-in, what it stands for."""
        if ref >= STAND_INS and self.gate is not None:
            return self.gate.labels_of(ref)
        pairs = self._pairs.pairs
        return tuple([pairs[i] for i in self._ids[self._starts[ref] : self._starts[ref + 1]]])

    def flat_pairs(self, first: int = 0, last: int | None = None) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Return (starts uint64[n+1], pair ids uint32[m]) of the series `first` .. `last - 1`, to the end by default, as copies.

        The pair ids of series `first + i` are `ids[starts[i]:starts[i+1]]`, in label order; `starts[0]` is 0.
        """
        with self.lock:
            starts = np.array(self._starts[first : None if last is None else last + 1], dtype=np.uint64)
            ids = np.array(self._ids[int(starts[0]) : int(starts[-1])], dtype=np.uint32)
        return starts - starts[0], ids

    def pairs_of(self, refs: NDArray[np.uint32]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Return (starts uint64[n+1], pair ids uint32[m]) of any series, in the form of `flat_pairs`."""
        with self.lock:
            starts, ids = np.frombuffer(self._starts, np.uint64), np.frombuffer(self._ids or _NO_IDS, np.uint32)
            first, counts = starts[refs], starts[refs.astype(np.int64) + 1] - starts[refs]
            ends = np.cumsum(counts)
            skipped = np.repeat(first - (ends - counts), counts.astype(np.int64))
            found = ids[np.arange(len(skipped), dtype=np.uint64) + skipped]
            del starts, ids  # the arrays cannot grow while a view of them lives
        return np.concatenate((np.zeros(1, np.uint64), ends)), found

    def candidates(self, refs: NDArray[np.uint32]) -> Candidates:
        """Return numbered series in the form in which the gate sees new ones."""
        starts, ids = self.pairs_of(refs)
        counts = np.diff(starts.view(np.int64))
        columns = np.full((len(refs), int(counts.max(initial=0))), -1, np.int64)
        columns[np.arange(columns.shape[1]) < counts[:, None]] = ids
        return Candidates(self._refs.hashes[refs], columns, self._pairs)

    # -- interning ---------------------------------------------------------------------------------------------

    def intern(self, labels: Labels, *, gated: bool = True) -> int:
        """Return the ref of a label set, giving it one when it is new, or the stand-in that the gate wants for it.

        gated: False where the ref is kept for ever, or belongs to what is stored already; then the gate is not asked.
        """
        key = self._hasher.hash_one(encode_block(labels))
        ref = self._refs.find_one(key)
        if ref == MISSING:
            with self.lock:
                ref = self._refs.find_one(key)
                if ref == MISSING:
                    looked = self._pairs.look_at(labels)
                    hashes = np.array([key], np.uint64)
                    ref = int(self._number(hashes, looked.ids.reshape(1, -1), looked, gated)[0])
        return ref

    def intern_many(self, series: Iterable[Labels], *, gated: bool = True) -> NDArray[np.uint32]:
        """Return the refs of many label sets, as uint32[n]; much faster than one by one where many are new.

        New series get their refs in the order given.
        """
        given = list(series)
        blocks = [encode_block(labels) for labels in given] if len(given) >= _MANY_MIN else []
        if not blocks or not all(_NAME_FIELD in block for block in blocks):
            return np.fromiter((self.intern(labels, gated=gated) for labels in given), np.uint32)
        refs = self.intern_blocks(blocks_of(blocks), gated=gated)
        for i in np.flatnonzero(refs == MISSING).tolist():  # labels that nobody may push, but that a target may have
            refs[i] = self.intern(given[i], gated=gated)
        return refs

    def refs_of_blocks(self, blocks: Blocks) -> NDArray[np.uint32]:
        """Return the ref for each label block, `MISSING` where it is unknown.  The fast path of receivers."""
        hashes = self._hasher.hash_many(blocks)
        refs = np.empty(len(hashes), np.uint32)
        done = self._refs.find_runs(hashes, refs)
        if done < len(hashes):
            refs[done:] = self._find(hashes[done:])
        return refs

    def intern_blocks(self, blocks: Blocks, *, gated: bool = True) -> NDArray[np.uint32]:
        """Return the ref for each label block, giving new ones to new series, as `intern` does.

        `MISSING` stands for blocks that are not canonical, or name no metric (see `label_block.py`), and are not known by
        `remember_block`: `intern_block` puts the first kind right.
        """
        hashes = self._hasher.hash_many(blocks)
        refs = self._find(hashes, gated)
        unknown = np.flatnonzero(refs == MISSING)
        for i in range(0, len(unknown), _BLOCKS_AT_ONCE):
            part = unknown[i : i + _BLOCKS_AT_ONCE]
            distinct, first, place = np.unique(hashes[part], return_index=True, return_inverse=True)
            order = np.argsort(first)  # refs in the order of appearance
            found = np.empty(len(distinct), np.uint32)
            found[order] = self._add_canonical(blocks.take(part[first[order]]), distinct[order], gated)
            refs[part] = found[place]
        return refs

    def intern_rows(
        self, blocks: Blocks, pairs: Sequence[Pair], numbers: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> NDArray[np.uint32]:
        """Return the refs of series whose labels are known already, giving new ones to new series, as `intern` does.

        Much faster than `intern_blocks`, as nothing is taken apart.  blocks: the label block of each.  numbers: positions in
        `pairs` of its labels, one series after the other; counts: how many it has.  Pairs have neither empty names nor empty
        values.  `MISSING` stands for series whose labels are not in order, or name no metric.
        """
        hashes = self._hasher.hash_many(blocks)
        distinct, first, place = np.unique(hashes, return_index=True, return_inverse=True)
        order = np.argsort(first)  # refs in the order of appearance
        distinct, first = distinct[order], first[order]
        columns = np.full((len(counts), int(counts.max(initial=0))), -1, np.int64)
        columns[np.arange(columns.shape[1]) < counts[:, None]] = numbers
        with self.lock:
            refs = self._find(distinct)
            left = np.flatnonzero(refs == MISSING)
            if len(left) and self.gate is not None and self.gate.closed != MISSING:
                refs[left] = self.gate.closed
            elif len(left):
                looked = self._pairs.look_at(pairs)
                rows = np.append(looked.ids, -1)[columns[first[left]]]
                good = ordered(rows, looked)
                left, rows = left[good], rows[good]
                refs[left] = self._number(distinct[left], rows, looked, gated=True)
        out = np.empty(len(order), np.uint32)
        out[order] = refs
        return out[place]

    def intern_block(self, block: bytes, *, gated: bool = True) -> int:
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
        return self.intern(tuple(sorted({n: v for n, v in pairs if v}.items())), gated=gated)

    def remember_block(self, block: bytes, ref: int) -> None:
        """Let `refs_of_blocks` find series `ref` by a block that holds its labels in another order or encoding.

        For senders that do not sort their labels.  Bounded: beyond `ALIASES_PER_SERIES_MAX` nothing is remembered.
        """
        if ref >= STAND_INS:
            return
        key = self._hasher.hash_one(block)
        with self.lock:
            known = self._refs.find_one(key) != MISSING or self._aliases.find_one(key) != MISSING
            if not known and len(self._aliases) < ALIASES_PER_SERIES_MAX * len(self):
                if len(self._aliases) == len(self._ref_of_alias):
                    self._ref_of_alias = np.concatenate([self._ref_of_alias, np.zeros_like(self._ref_of_alias)])
                self._ref_of_alias[len(self._aliases)] = ref
                self._aliases.add(np.array([key], np.uint64))

    # -- private -----------------------------------------------------------------------------------------------

    def _find(self, hashes: NDArray[np.uint64], gated: bool = True) -> NDArray[np.uint32]:
        """Return the ref of each hash of a block, canonical or remembered."""
        refs = self._refs.find(hashes)
        if len(self._aliases):
            unknown = np.flatnonzero(refs == MISSING)
            aliases = self._aliases.find(hashes[unknown])
            hit = aliases != MISSING
            refs[unknown[hit]] = self._ref_of_alias[aliases[hit]]
        if gated and self.gate is not None:
            unknown = np.flatnonzero(refs == MISSING)
            if len(unknown):
                refs[unknown] = self.gate.recall(hashes[unknown])
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

    def _add_canonical(self, blocks: Blocks, hashes: NDArray[np.uint64], gated: bool) -> NDArray[np.uint32]:
        """Give refs to those of some different unknown blocks that are canonical."""
        with self.lock:
            refs = self._refs.find(hashes)  # another thread may have been faster
            left = np.flatnonzero(refs == MISSING)
            if gated and self.gate is not None and self.gate.closed != MISSING:
                refs[left] = self.gate.closed
                return refs
            walked = walk(blocks.take(left), self._pairs)
            left = left[walked.canonical]
            refs[left] = self._number(hashes[left], walked.columns, walked.looked, gated)
        return refs

    def _number(
        self, hashes: NDArray[np.uint64], columns: NDArray[np.int64], looked: LookedUp, gated: bool
    ) -> NDArray[np.uint32]:
        """Return refs for different new series, whose pair ids have -1 behind the last, or what stands for them."""
        gate = self.gate if gated else None
        out = np.full(len(hashes), MISSING, np.uint32)
        if gate is not None and len(hashes):
            out[:] = gate.screen(Candidates(hashes, columns, looked))
            passed = out == MISSING
            if not passed.all():
                hashes, columns = hashes[passed], columns[passed]
        columns = self._pairs.adopt(looked, columns)
        first = self._define(hashes, np.count_nonzero(columns >= 0, axis=1), columns[columns >= 0].astype(np.uint32))
        refs = np.arange(first, first + len(hashes), dtype=np.uint32)
        out[out == MISSING] = refs
        if gate is not None and len(refs):
            gate.numbered(refs, columns)
        return out
