"""Keyed 64-bit hashes of many byte strings that lie in one buffer.

Multilinear hashing over 32-bit words w with random 64-bit keys k: the upper 32 bits of `sum(w[i] * k[i]) mod 2^64`, twice
with independent keys.  Two different strings get the same 64 bits with a chance of at most 2^-64, whatever they are, as long
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
_PART_BYTES: Final = 512 << 10
"""Bytes of a matrix, so that what is computed of it stays in the processor's cache."""
_HIGH: Final = np.uint64(0xFFFF_FFFF_0000_0000)
_HALF: Final = np.uint64(32)


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
        words = BLOCK_BYTES_MAX // 8
        self._keys = np.frombuffer(os.urandom(8 * 4 * words), np.uint64).reshape(4, words)
        self._length_keys = np.frombuffer(os.urandom(16), np.uint64)
        self._secret = os.urandom(32)
        # The product of a 64-bit word with its key holds the upper half times 2^32 times the key as well; that only
        # changes which random number the upper half is multiplied with.
        self._half_keys: list[list[int]] = []
        for low, high in ((0, 1), (2, 3)):
            pairs = zip(self._keys[low].tolist(), self._keys[high].tolist(), strict=True)
            self._half_keys.append([k for a, b in pairs for k in (a, (a << 32) + b)])

    def hash_many(self, blocks: Blocks) -> U64:
        """Return the hash of each string; never 0."""
        long = (blocks.lengths > _WORD_BYTES).nonzero()[0]
        if len(long) * 2 > len(blocks):
            return self._wide(blocks)
        out = self._class(blocks, _WORD_BYTES)
        if len(long):
            out[long] = self._wide(blocks.take(long))
        return out

    def _wide(self, blocks: Blocks) -> U64:
        out = np.empty(len(blocks), np.uint64)
        longest = int(blocks.lengths.max())
        width = max(-(-longest // _WORD_BYTES), 1) * _WORD_BYTES
        if width <= _NARROW_BYTES and len(blocks) * width < 2 * int(blocks.lengths.sum()):
            return self._class(blocks, width)
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
            for keys, k in zip(self._half_keys, self._length_keys, strict=True)
        )
        return (a & int(_HIGH)) | (b >> 32 & 0xFFFF_FFFF) or 1

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
        upper = words >> _HALF
        keys = self._keys[:, : width // 8]
        totals = blocks.lengths.view(np.uint64) * self._length_keys[:, None]
        for part, some in ((words, keys[::2]), (upper, keys[1::2])):
            totals += some * part[:, 0] if width == _WORD_BYTES else np.einsum("ij,kj->ki", part, some)
        hashes: U64 = totals[1]
        hashes >>= _HALF
        totals[0] &= _HIGH
        hashes |= totals[0]
        hashes[hashes == 0] = 1
        return hashes

    def _long(self, blocks: Blocks) -> U64:
        return np.array([self.hash_one(blocks.one(i)) for i in range(len(blocks))], np.uint64)


def _blank_behind(words: U64, lengths: I64) -> None:
    """Set to zero what stands behind strings.  words: uint64[n, w], each row a string and the bytes behind it."""
    full = int(lengths.min(initial=words.shape[1] * _WORD_BYTES)) // _WORD_BYTES  # words of all strings
    some, left = words[:, full:], lengths - full * _WORD_BYTES
    count = some.shape[1]
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
