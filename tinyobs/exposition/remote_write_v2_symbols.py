"""The symbols of a request of remote write 2.0: their texts, and keys of series that do not depend on their numbers.

Senders number their symbols anew in each request, so the references of a series are other numbers each time.  The *key* of a
series is made of the texts: with two numbers of 64 random bits for each text, one as a name, which is odd, and one as a
value, it is the sum of the products of all pairs, modulo 2^64.  Making it takes a few operations on arrays for all series of a
request, and no text is looked at but once in each request, for its hash.

The order of labels does not change the key.  A label with an empty value does, though it is the same series without it.  Two lists
of labels have the same key with a chance of 2^-64, or 2^-58 where they have the same texts in other pairs, whatever they are, as the
hashes are keyed (`block_hash.py`).
"""

from __future__ import annotations

import os
from typing import Final

import numpy as np
from attrs import define
from numpy.typing import NDArray

from ..model.block_hash import BlockHasher, Blocks
from ..model.label_block import encode_pair, varint
from .remote_write_v2_numbers import Numbers, read_numbers, steps

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

_MIX: Final = np.uint64(0xD6E8_FEB8_6659_FD93)
"""An odd number with bits everywhere."""
_HALF: Final = np.uint64(32)

_ONE: Final = np.uint64(1)
_NOWHERE: Final = np.frombuffer(os.urandom(8), np.uint64)[0]
"""The hash of a text that is not there; drawn anew in each process, so that no series has it in its key."""

EncodedPair = tuple[tuple[str, str], bytes]
"""A label, and the field of a canonical label block that it is."""


def encoded_pair(label: tuple[str, str]) -> EncodedPair:
    """Return a label with its field."""
    encoded = encode_pair(label)
    return label, b"\x0a" + varint(len(encoded)) + encoded


@define(eq=False)
class Symbols:
    """The texts of one request by number."""

    blocks: Blocks
    hasher: BlockHasher
    _numbers: tuple[U64, U64] | None = None
    """Those of all texts as names, and those as values; behind them one for what points at no text."""

    def __len__(self) -> int:
        return len(self.blocks)

    def raw(self, number: int) -> bytes:
        """Return a text as it was sent."""
        return self.blocks.one(number)

    def text(self, number: int) -> str:
        """Return a text; what is not UTF-8 in it is replaced."""
        return self.raw(number).decode("utf-8", "replace")

    def pair(self, name: int, value: int) -> EncodedPair | None:
        """Return (label, field of a canonical label block); None for what no label can be."""
        if name >= len(self) or value >= len(self):
            return None
        try:
            label = self.raw(name).decode(), self.raw(value).decode()
        except UnicodeDecodeError:
            return None
        if not label[0] or not label[1]:
            return None
        return encoded_pair(label)

    def keys(self, refs: Blocks) -> U64:
        """Return the keys of series by their packed references; 0 for those whose references could not be read, in pairs.

        Those with a reference to a text that is not there have keys that no series without one has.
        """
        parts = [self._keys(read_numbers(part, len(self))) for part in steps(refs)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _keys(self, numbers: Numbers) -> U64:
        keys = self._keys_of_pairs(numbers)
        if numbers.sound is None:
            return keys
        every = np.zeros(len(numbers.sound), np.uint64)
        every[numbers.sound] = keys
        return every

    def _keys_of_pairs(self, numbers: Numbers) -> U64:
        if not len(numbers.counts):
            return np.zeros(0, np.uint64)
        of_names, of_values = self._of_names_and_values()
        pairs = of_names.take(numbers.names, mode="clip")
        pairs *= of_values.take(numbers.values, mode="clip")
        begins = numbers.counts.cumsum()
        begins -= numbers.counts
        keys: U64 = np.add.reduceat(pairs, begins)
        return np.maximum(keys, _ONE, out=keys)

    def of_values(self) -> U64:
        """Return for each symbol its number as a value; that of "" is 0.  Behind them is one for what points at no text."""
        values = self._of_names_and_values()[1].copy()
        values[:-1][self.blocks.lengths == 0] = 0
        return values

    def _of_names_and_values(self) -> tuple[U64, U64]:
        if self._numbers is None:
            hashes = np.empty(len(self) + 1, np.uint64)
            hashes[:-1] = self.hasher.hash_many(self.blocks)
            hashes[-1] = _NOWHERE
            values = hashes >> _HALF
            values ^= hashes
            values *= _MIX
            hashes |= _ONE
            self._numbers = hashes, values
        return self._numbers

    def number_of(self, text: bytes) -> I64:
        """Return the numbers under which a text stands, as a table may repeat it."""
        likely = np.flatnonzero(self.blocks.lengths == len(text))
        return likely[[self.raw(i) == text for i in likely.tolist()]]
