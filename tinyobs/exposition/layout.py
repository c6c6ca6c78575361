"""What one body of a target looked like: the fast path for the next body, which nearly always looks the same.

A body is lines.  A layout remembers which lines are samples, the bytes before each sample's value (the *prefix*, which
names the series), the parser's number of each series, and a hash of all other lines.  A new body fits when it differs
in nothing but what follows the prefixes; then no label is looked at.  The prefixes are kept compressed (about 8 bytes
a series instead of 90), because a target is read for a millisecond and then rests for seconds.

The other lines are compared by a 64-bit hash seeded per process: a changed comment is overlooked once in 2^64.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Final

import numpy as np
import zstandard
from attrs import frozen
from numpy.typing import NDArray

ZSTD_LEVEL: Final = 3

_local = threading.local()


@frozen(eq=False)
class Layout:
    """A remembered body.

    numbers: int32[n], the series in body order.  modes: for each of them the spelling rule of its bound label.
    line_is_sample, line_is_other: one byte (0 or 1) a line.
    """

    numbers: NDArray[np.int32]
    modes: bytes
    line_is_sample: bytes
    line_is_other: bytes
    others_hash: int
    fixed_bytes: int
    packed_prefixes: bytes

    def tails(self, body: bytes) -> tuple[list[bytes], bytes] | None:
        """Return what follows the prefix in each sample line of a body, as list and joined; None where it does not fit."""
        lines = body.split(b"\n")
        if len(lines) != len(self.line_is_sample):
            return None
        if hash(b"\n".join(compress(lines, self.line_is_other))) != self.others_hash:
            return None
        # A line without its prefix stays whole, so that the tails together are longer than they may be.
        tails = list(map(bytes.removeprefix, compress(lines, self.line_is_sample), self.prefixes()))
        joined = b"".join(tails)
        return (tails, joined) if len(joined) + self.fixed_bytes == len(body) else None

    def prefixes(self) -> list[bytes]:
        """Return the prefixes of the samples, in body order."""
        if not self.modes:
            return []
        decompressor = getattr(_local, "decompressor", None)
        if decompressor is None:
            decompressor = _local.decompressor = zstandard.ZstdDecompressor()
        packed: bytes = decompressor.decompress(self.packed_prefixes)
        return packed.split(b"\n")

    def keys(self) -> Iterator[tuple[tuple[bytes, int], int]]:
        """Yield ((prefix, mode), number) of every sample."""
        return zip(zip(self.prefixes(), self.modes, strict=True), self.numbers.tolist(), strict=True)


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
    fixed = line_ends + others_bytes + sum(map(len, prefixes))
    return Layout(numbers, modes, line_is_sample, line_is_other, hash(others), fixed, packed)


_SAFE_ENDS: Final = {b" ", b"\t", b"}"}
_INVERT: Final = bytes([1, 0]) + bytes(254)
