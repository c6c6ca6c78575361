"""The shared numbering of series: label set <-> dense `ref`, one registry per agent.

Every series that enters an agent is interned here once; from then on it is a 32-bit number and no label is looked
at again.  The key of a series is the 64-bit hash of its *canonical block*: its labels in order, encoded as the
repeated `labels` field of a remote-write TimeSeries.  A well-formed remote-write series therefore *is* its own key:
`ref_of_block()` recognises it without decoding it.  Two series share a hash with a chance of n^2 / 2^65 (one in
37 million at a million series); Python seeds the hash per process, so nobody can construct such a pair.

Memory per series: the hash entry (about 110 bytes) and 4 bytes per label; a distinct (name, value) pair is stored
once.  Refs are never used again for another series while the process lives.

Thread safety: lookups need no lock; interning takes one.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Sequence
from operator import itemgetter, lt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import WireError
from .labels import Labels

UNKNOWN: Final = -1
LABEL_BYTES_MAX: Final = 1 << 20
"""Longest label name or value that a block may carry, in bytes: a sanity bound, not a policy."""
_NO_IDS: Final = array("I", [0])

ALIASES_PER_SERIES_MAX: Final = 2
"""Other encodings of label blocks that are remembered, for each series on average."""


class SeriesRegistry:
    """Interned series.  `len(registry)` is the number of series ever interned; refs are 0 .. len-1."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ref_of_hash: dict[int, int] = {}
        self._alias_count = 0
        self._pair_id: dict[tuple[str, str], int] = {}
        self._pair_of_bytes: dict[bytes, int] = {}
        self._pairs: list[tuple[str, str]] = []
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
        return self._pairs[pair_id]

    def labels(self, ref: int) -> Labels:
        """Return the label set of a series."""
        pairs = self._pairs
        return tuple([pairs[i] for i in self._ids[self._starts[ref] : self._starts[ref + 1]]])

    def flat_pairs(self, first: int = 0) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Return (starts uint64[n+1], pair ids uint32[m]) of the series `first` .. len-1, as copies.

        The pair ids of series `first + i` are `ids[starts[i]:starts[i+1]]`, in label order; `starts[0]` is 0.
        """
        with self._lock:
            starts = np.array(self._starts[first:], dtype=np.uint64)
            ids = np.array(self._ids[int(starts[0]) :], dtype=np.uint32)
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
        key = hash(encode_block(labels))
        ref = self._ref_of_hash.get(key)
        if ref is None:
            with self._lock:
                ref = self._ref_of_hash.get(key)
                if ref is None:
                    ref = self._add(key, [self._id_of_pair(p) for p in labels])
        return ref

    def intern_many(self, series: Iterable[Labels]) -> NDArray[np.uint32]:
        """Return the refs of many label sets, as uint32[n]."""
        return np.fromiter((self.intern(labels) for labels in series), np.uint32)

    def refs_of_hashes(self, hashes: Sequence[int]) -> list[int | None]:
        """Return the ref for each `hash(block)`, None where the block is unknown.  The fast path of receivers."""
        return list(map(self._ref_of_hash.get, hashes))

    def intern_block(self, block: bytes) -> int:
        """Return the ref of a series given as remote-write label block, decoding it when it is new.

        Labels out of order, repeated or empty are put right: such a block maps to the ref of its canonical form.
        Raises `WireError` when the bytes are no label block or hold no label.
        """
        key = hash(block)
        ref = self._ref_of_hash.get(key)
        if ref is not None:
            return ref
        with self._lock:
            ids, canonical = self._decode(block)
            pairs = [self._pairs[i] for i in ids]
            names = [p[0] for p in pairs]
            canonical = canonical and all(map(lt, names, names[1:])) and all(map(itemgetter(1), pairs))
            if not canonical:
                pairs = sorted({n: v for n, v in pairs if v}.items())
                ids = [self._id_of_pair(p) for p in pairs]
                key = hash(encode_block(tuple(pairs)))
            if not ids:
                raise WireError("a series without labels")
            ref = self._ref_of_hash.get(key)
            return self._add(key, ids) if ref is None else ref

    def remember_block(self, block: bytes, ref: int) -> None:
        """Let `refs_of_hashes` find series `ref` by a block that holds its labels in another order or encoding.

        For senders that do not sort their labels.  Bounded: beyond `ALIASES_PER_SERIES_MAX` nothing is remembered.
        """
        with self._lock:
            if self._alias_count < ALIASES_PER_SERIES_MAX * len(self) and hash(block) not in self._ref_of_hash:
                self._ref_of_hash[hash(block)] = ref
                self._alias_count += 1

    # -- private -----------------------------------------------------------------------------------------------

    def _add(self, key: int, ids: list[int]) -> int:
        ref = len(self._starts) - 1
        self._ids.extend(ids)
        self._starts.append(len(self._ids))
        self._ref_of_hash[key] = ref
        return ref

    def _id_of_pair(self, pair: tuple[str, str]) -> int:
        i = self._pair_id.get(pair)
        if i is None:
            i = self._pair_id[pair] = len(self._pairs)
            self._pairs.append(pair)
        return i

    def _decode(self, block: bytes) -> tuple[list[int], bool]:
        """Return the pair ids of a block, and whether each label is encoded as `encode_block` does it.

        Each distinct pair is decoded once, unless its encoding is an odd one.
        """
        ids = []
        canonical = True
        at, end = 0, len(block)
        while at < end:
            if block[at] != 0x0A:
                raise WireError("not a label", at)
            if at + 1 < end and (size := block[at + 1]) < 0x80:
                at += 2
            else:
                start = at + 1
                size, at = read_varint(block, start)
                canonical = canonical and at - start == len(varint(size))
            if size > end - at:
                raise WireError("label longer than its series", at)
            raw = block[at : at + size]
            i = self._pair_of_bytes.get(raw)
            if i is None:
                pair = _decode_pair(raw)
                i = self._id_of_pair(pair)
                if raw == _encode_pair(pair):
                    self._pair_of_bytes[raw] = i
                else:
                    canonical = False
            ids.append(i)
            at += size
        return ids, canonical


def encode_block(labels: Labels) -> bytes:
    """Return the canonical block of a label set: its remote-write `labels` fields, in order."""
    out = bytearray()
    for label in labels:
        pair = _encode_pair(label)
        out += b"\x0a" + varint(len(pair)) + pair
    return bytes(out)


def varint(n: int) -> bytes:
    """Return the protobuf varint of a non-negative integer."""
    if n < 0x80:
        return bytes((n,))
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return (value, position behind it) of the varint at `at`; raises `WireError` when it is cut or too long."""
    value = shift = 0
    for i in range(at, min(at + 10, len(data))):
        byte = data[i]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, i + 1
        shift += 7
    raise WireError("cut or overlong varint", at)


def _encode_pair(pair: tuple[str, str]) -> bytes:
    n, v = pair[0].encode("utf-8", "surrogatepass"), pair[1].encode("utf-8", "surrogatepass")
    return b"\x0a" + varint(len(n)) + n + b"\x12" + varint(len(v)) + v


def _decode_pair(raw: bytes) -> tuple[str, str]:
    """Return (name, value) of an encoded label; a missing value is "", unknown fields and empty names are refused."""
    found = {0x0A: b"", 0x12: b""}
    at = 0
    while at < len(raw):
        tag = raw[at]
        if tag not in found:
            raise WireError("unknown field in a label", at)
        size, at = read_varint(raw, at + 1)
        if size > len(raw) - at or size > LABEL_BYTES_MAX:
            raise WireError("label text cut or too long", at)
        found[tag] = raw[at : at + size]
        at += size
    if not found[0x0A]:
        raise WireError("a label without a name", 0)
    try:
        return found[0x0A].decode(), found[0x12].decode()
    except UnicodeDecodeError as e:
        raise WireError(f"label is not UTF-8: {e.reason}", e.start) from None
