"""What one body of a target looked like: the fast path for the next body, which nearly always looks the same.

A body is lines.  A *shape* remembers which lines are samples, the bytes before each sample's value (the *prefix*, which
names the series), and a hash of all other lines; a *layout* adds one parser's numbers of the series.  A new body fits
when it differs in nothing but what follows the prefixes; then no label is looked at.

Targets of one kind often have the same shape, and share it.  Its prefixes are kept compressed (about 8 bytes a series
instead of 120), because a target is read for a millisecond and then rests for seconds; a shape that many targets share
is kept ready for use, which halves the time of a fit.

The other lines are compared by a 64-bit hash seeded per process: a changed comment is overlooked once in 2^64.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Final
from weakref import WeakValueDictionary

import numpy as np
import zstandard
from attrs import define, frozen
from numpy.typing import NDArray

ZSTD_LEVEL: Final = 3
READY_USERS_MIN: Final = 4
"""Layouts that share a shape before it is kept ready for use."""

_local = threading.local()


@define(eq=False, slots=True, weakref_slot=True)
class Shape:
    """What bodies of one structure have in common.

    modes: for each sample the spelling rule of its bound label.  line_is_sample, line_is_other: one byte (0 or 1) a line.
    """

    modes: bytes
    line_is_sample: bytes
    line_is_other: bytes
    others_hash: int
    fixed_bytes: int
    packed_prefixes: bytes
    user_count: int = 0
    """Layouts that have been made with it since it is there."""
    _ready: list[bytes] | None = None
    """The prefixes."""
    _others: list[bytes] | None = None
    """The other lines of a body that fitted since the prefixes are ready."""

    def tails(self, body: bytes) -> tuple[list[bytes], bytes] | None:
        """Return what follows the prefix in each sample line of a body, as list and joined; None where it does not fit."""
        lines = body.split(b"\n")
        if len(lines) != len(self.line_is_sample) or not self._has_others(lines):
            return None
        # A line without its prefix stays whole, so that the tails together are longer than they may be.
        tails = list(map(bytes.removeprefix, compress(lines, self.line_is_sample), self.prefixes()))
        joined = b"".join(tails)
        return (tails, joined) if len(joined) + self.fixed_bytes == len(body) else None

    def prefixes(self) -> list[bytes]:
        """Return the prefixes of the samples, in body order; not to be changed."""
        if self._ready is not None:
            return self._ready
        if not self.modes:
            return []
        decompressor = getattr(_local, "decompressor", None)
        if decompressor is None:
            decompressor = _local.decompressor = zstandard.ZstdDecompressor()
        packed: bytes = decompressor.decompress(self.packed_prefixes)
        prefixes = packed.split(b"\n")
        if self.user_count >= READY_USERS_MIN:
            self._ready = prefixes
        return prefixes

    def _has_others(self, lines: list[bytes]) -> bool:
        """Tell whether the lines that are no samples are the same; comparing them is faster than hashing."""
        others = list(compress(lines, self.line_is_other))
        if others == self._others:
            return True
        if hash(b"\n".join(others)) != self.others_hash:
            return False
        if self._ready is not None:
            self._others = others
        return True


@frozen(eq=False)
class Layout:
    """A remembered body.  numbers: int32[n], the series in body order."""

    shape: Shape
    numbers: NDArray[np.int32]

    def tails(self, body: bytes) -> tuple[list[bytes], bytes] | None:
        """Return what follows the prefix in each sample line of a body; see `Shape.tails`."""
        return self.shape.tails(body)

    def keys(self) -> Iterator[tuple[tuple[bytes, int], int]]:
        """Yield ((prefix, mode), number) of every sample."""
        shape = self.shape
        return zip(zip(shape.prefixes(), shape.modes, strict=True), self.numbers.tolist(), strict=True)


_shapes: WeakValueDictionary[tuple[bytes, bytes, bytes, int], Shape] = WeakValueDictionary()
"""The shapes in use, by all that makes them."""


def learn(
    body: bytes, line_is_sample: bytes, prefixes: Sequence[bytes], modes: bytes, numbers: NDArray[np.int32]
) -> Layout | None:
    """Return the layout of a body, or None where the prefix of some sample does not end at a safe place.

    A prefix that ends in the middle of a name (`a+1` is a sample of `a`) would also fit the longer name `a5`.
    """
    joined = b"\n".join(prefixes)
    if not {p[-1:] for p in prefixes} <= _SAFE_ENDS or joined.count(b"\n") >= max(len(prefixes), 1):
        return None
    line_is_other = line_is_sample.translate(_INVERT)
    others = b"\n".join(compress(body.split(b"\n"), line_is_other))
    sample_count = len(prefixes)
    line_ends = len(line_is_sample) - 1
    other_count = len(line_is_sample) - sample_count
    others_bytes = len(others) - max(other_count - 1, 0)
    packed = zstandard.ZstdCompressor(ZSTD_LEVEL).compress(joined)
    key = packed, line_is_sample, modes, hash(others)
    shape = _shapes.get(key)
    if shape is None:
        fixed = line_ends + others_bytes + sum(map(len, prefixes))
        shape = _shapes[key] = Shape(modes, line_is_sample, line_is_other, hash(others), fixed, packed)
    shape.user_count += 1
    return Layout(shape, numbers)


_SAFE_ENDS: Final = {b" ", b"\t", b"}"}
_INVERT: Final = bytes([1, 0]) + bytes(254)
