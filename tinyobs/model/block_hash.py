"""Keyed 64-bit hashes of many byte strings that lie in one buffer.

Multilinear hashing over 32-bit words w with random 64-bit keys k: the upper 32 bits of `sum(w[i] * k[i]) mod 2^64`, twice
with independent keys; the lower half of the first sum stays, under the second one's upper half.  Two different strings get the same 64 bits with a chance of at most 2^-64, whatever they are, as long
as whoever chose them does not know the keys (Lemire and Kaser, "Strongly universal string hashing is fast", 2014).  The keys
are drawn once per process and never leave it.

Strings longer than `BLOCK_BYTES_MAX` are hashed one by one with keyed BLAKE2.  Not here: tables (`hash_table.py`).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from functools import cache
from operator import mul
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .ragged import offsets_of

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

BLOCK_BYTES_MAX: Final = 4096
"""Longest string that is hashed in bulk, in bytes."""
PADDING_BYTES: Final = BLOCK_BYTES_MAX
"""Bytes that a buffer must have behind its last string; their content does not matter."""

_WORD_BYTES: Final = 8
"""One machine word, into which most label values fit."""
_WIDTHS: Final = np.array([64, 128, 256, 512, 1024, 2048, BLOCK_BYTES_MAX])
"""Strings of very different lengths are brought to one of these, so that they make a matrix: few widths, as each takes its time."""
_NARROW_BYTES: Final = 256
"""Strings of like lengths up to this are brought to the words of the longest; and masks up to this are a table."""
_FEW_BYTES: Final = 32 << 10
"""Strings that make a matrix of up to so many bytes are hashed in one step: dividing them by length takes longer."""
_FEW_WORDS: Final = 8
_PART_BYTES: Final = 256 << 10
"""Bytes of a matrix, so that what is computed of it stays in the processor's cache."""
_HALF: Final = np.uint64(32)
_ONE: Final = np.uint64(1)
_ALL: Final = (1 << 64) - 1


@frozen(eq=False)
class Blocks:
    """Byte strings in a buffer: number `i` is `data[starts[i] : starts[i] + lengths[i]]`.

    data: uint8, with `PADDING_BYTES` behind the last string.
    """

    data: U8
    starts: I64
    lengths: I64

    def __len__(self) -> int:
        return len(self.starts)

    def one(self, i: int) -> bytes:
        """Return one string."""
        start = int(self.starts[i])
        return self.data[start : start + int(self.lengths[i])].tobytes()

    def take(self, positions: I64) -> Blocks:
        """Return some of the strings."""
        return Blocks(self.data, self.starts[positions], self.lengths[positions])

    def slice(self, first: int, last: int) -> Blocks:
        """Return the strings number `first` .. `last - 1`."""
        return Blocks(self.data, self.starts[first:last], self.lengths[first:last])


def blocks_of(strings: Sequence[bytes]) -> Blocks:
    """Return byte strings, copied into one buffer."""
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    data = np.frombuffer(b"".join([*strings, bytes(PADDING_BYTES)]), np.uint8)
    return Blocks(data, offsets_of(lengths)[:-1], lengths)


class BlockHasher:
    """One set of keys.  All methods may be called from any thread."""

    def __init__(self) -> None:
        halves = BLOCK_BYTES_MAX // 4
        self._keys = np.frombuffer(os.urandom(8 * 2 * halves), np.uint64).reshape(2, halves)
        self._length_keys = np.frombuffer(os.urandom(16), np.uint64)
        self._secret = os.urandom(32)
        self._key_lists: list[list[int]] = self._keys.tolist()

    def hash_many(self, blocks: Blocks) -> U64:
        """Return the hash of each string; never 0."""
        width = max(-(-int(blocks.lengths.max(initial=0)) // _WORD_BYTES), 1) * _WORD_BYTES
        size = len(blocks) * width
        if width <= _NARROW_BYTES and (size <= _FEW_BYTES or size < 2 * int(blocks.lengths.sum())):
            return self._class(blocks, width)
        long = (blocks.lengths > _WORD_BYTES).nonzero()[0]
        if len(long) * 2 > len(blocks):
            return self._by_length(blocks)
        out = self._class(blocks, _WORD_BYTES)
        if len(long):
            out[long] = self.hash_many(blocks.take(long))
        return out

    def _by_length(self, blocks: Blocks) -> U64:
        out = np.empty(len(blocks), np.uint64)
        classes = _WIDTHS.searchsorted(blocks.lengths)
        first, last = int(classes.min()), int(classes.max())
        for c in range(first, last + 1):
            rows = np.flatnonzero(classes == c) if first < last else None
            if rows is not None and not len(rows):
                continue
            some = blocks if rows is None else blocks.take(rows)
            hashes = self._long(some) if c == len(_WIDTHS) else self._class(some, int(_WIDTHS[c]))
            if rows is None:
                return hashes
            out[rows] = hashes
        return out

    def hash_one(self, block: bytes) -> int:
        """Return the hash of one string."""
        size = len(block)
        if size > BLOCK_BYTES_MAX:
            return int.from_bytes(hashlib.blake2b(block, digest_size=8, key=self._secret).digest(), "little") or 1
        halves = struct.unpack(f"<{2 * -(-size // 8)}I", block + bytes(-size % 8))
        a, b = (
            sum(map(mul, halves, keys)) + size * int(k)
            for keys, k in zip(self._key_lists, self._length_keys, strict=True)
        )
        return (a ^ (b & _ALL) >> 32) & _ALL or 1

    def _class(self, blocks: Blocks, width: int) -> U64:
        n = max(_PART_BYTES // width, 1)
        if len(blocks) <= n:
            return self._rows(blocks, width)
        return np.concatenate([self._rows(blocks.slice(i, i + n), width) for i in range(0, len(blocks), n)])

    def _rows(self, blocks: Blocks, width: int) -> U64:
        # One element of this view is the whole string and what is behind it, so that taking it is one copy.
        overlapping = np.ndarray((len(blocks.data) - width + 1,), f"V{width}", blocks.data, 0, (1,))
        words = overlapping[blocks.starts].view(np.uint64).reshape(-1, width // 8)
        _blank_behind(words, blocks.lengths)
        halves = words.view(np.uint32).astype(np.uint64)
        keys = self._keys[:, : width // 4]
        if width == _WORD_BYTES:
            totals = keys[:, :1] * halves[:, 0]
            totals += keys[:, 1:] * halves[:, 1]
        else:
            totals = np.einsum("ij,kj->ki", halves, keys)
        totals += blocks.lengths.view(np.uint64) * self._length_keys[:, None]
        hashes: U64 = totals[1]
        hashes >>= _HALF
        hashes ^= totals[0]
        return np.maximum(hashes, _ONE, out=hashes)

    def _long(self, blocks: Blocks) -> U64:
        return np.array([self.hash_one(blocks.one(i)) for i in range(len(blocks))], np.uint64)


def _blank_behind(words: U64, lengths: I64) -> None:
    """Set to zero what stands behind strings.  words: uint64[n, w], each row a string and the bytes behind it."""
    count = words.shape[1]
    some, left = words, lengths
    if count > _FEW_WORDS and len(words):  # most of them may be full in all strings
        full = int(lengths.min()) // _WORD_BYTES
        some, left, count = words[:, full:], lengths - full * _WORD_BYTES, count - full
    if count * _WORD_BYTES <= _NARROW_BYTES:
        some &= _masks(count).take(left, axis=0, mode="clip")  # without checks, which take longer
    else:
        some &= _masks_of(left, count)


def _masks_of(lengths: I64, count: int) -> U64:
    """Return what is left of `count` words of strings of such lengths."""
    left = np.clip(lengths[:, None] - np.arange(0, count * _WORD_BYTES, _WORD_BYTES), 0, _WORD_BYTES)
    masks: U64 = _BYTE_MASKS[left]
    return masks


@cache
def _masks(count: int) -> U64:
    """Return the masks of all lengths that `count` words may have."""
    return _masks_of(np.arange(count * _WORD_BYTES + 1), count)


_BYTE_MASKS: Final = np.array([(1 << 8 * i) - 1 for i in range(_WORD_BYTES + 1)], np.uint64)
