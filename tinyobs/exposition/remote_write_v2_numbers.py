"""References of remote write 2.0: the packed varints of all series of a request, read at once.

The references of each series become a row of bytes: the one before them, the references, and 0xff up to the width of the widest.
A number ends with each byte below 0x80, so the ends of all rows are found with one comparison.  Numbers of one and two bytes,
which is what there is in requests with up to 16384 symbols, are made of all bytes as if a number ended there, since that takes
less than picking out the bytes that count.
Not here: what the numbers refer to (`remote_write_v2_symbols.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.block_hash import Blocks

REFS_BYTES_MAX: Final = 246
"""Longest packed references that are read in bulk; longer ones take the general way."""

AT_ONCE_BYTES: Final = 96 << 10
"""Bytes of rows that are read in one step, so that what is made of them stays in the processor's cache."""
_WORD_BYTES: Final = 8
_BEHIND: Final = np.where(np.arange(256) <= np.arange(256)[:, None], 0, 0xFF).astype(np.uint8)
"""For each length of references a row with the bytes behind them set."""
_ENDS_BELOW: Final = np.uint8(0x80)
_BYTES_SUM: Final = np.uint64(0x0101_0101_0101_0101)
"""A word of eight small numbers times this has their sum in its uppermost byte."""
_UPPERMOST: Final = np.uint64(56)

I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
Bools = NDArray[np.bool_]
Places = NDArray[np.intp]


@frozen(eq=False)
class Numbers:
    """References of series to symbols.

    sound: which series have some that could be read, in pairs, None where all have; whether they are in range is not looked at.
    counts: how many pairs each sound one has.  table: the two numbers of each pair, one series after the other.
    """

    sound: Bools | None
    counts: I64
    table: NDArray[Any]

    @property
    def names(self) -> Places:
        """The first number of each pair."""
        return self.table[::2].astype(np.intp)

    @property
    def values(self) -> Places:
        """The second number of each pair."""
        return self.table[1::2].astype(np.intp)


@frozen(eq=False)
class ReferenceRows:
    """Packed references as rows; and how long they are."""

    rows: NDArray[np.uint8]
    lengths: I64

    def are(self, refs: Blocks) -> bool:
        """Tell whether packed references have the same bytes."""
        return np.array_equal(self.lengths, refs.lengths) and np.array_equal(self.rows, read_rows(refs).rows)


def steps(refs: Blocks) -> Sequence[Blocks]:
    """Return references in parts that are read in one step each; one that is long makes rows of all in its part that are as long."""
    parts = -(-rows_bytes(refs) // AT_ONCE_BYTES)
    if parts <= 1:
        return (refs,)
    size = -(-len(refs) // parts)
    return [refs.slice(i, i + size) for i in range(0, len(refs), size)]


def rows_bytes(refs: Blocks) -> int:
    """Return the size of references as rows."""
    return len(refs) * _width(refs)


def read_rows(refs: Blocks) -> ReferenceRows:
    """Return the references, before each of which is a byte below 0x80, as rows; of those that are too long only the beginning."""
    width = _width(refs)
    overlapping = np.ndarray((len(refs.data) - width + 1,), f"V{width}", refs.data, 0, (1,))
    rows = overlapping[refs.starts - 1].view(np.uint64).reshape(-1, width // _WORD_BYTES)
    rows |= _behind(width).take(refs.lengths, axis=0, mode="clip")
    return ReferenceRows(rows.view(np.uint8), refs.lengths)


def read_numbers(refs: Blocks, symbols: int) -> Numbers:
    """Read packed references to so many symbols, each of which has a byte below 0x80 before it.

    It takes memory as if all were as long as the longest, some 20 times as much; see `steps`.
    """
    references = read_rows(refs)
    rows, lengths = references.rows, references.lengths
    ends = rows < _ENDS_BELOW
    ends[:, 0] = False
    counts = _ends_of_rows(ends)
    raw, is_end = rows.reshape(-1), ends.reshape(-1)
    values = _short_numbers(raw)
    numbers: NDArray[Any] = values.compress(is_end)
    # Else there are others than of one and two bytes, or some are cut.
    is_short = int(lengths.sum()) == len(numbers) + int(np.count_nonzero(numbers >= _ENDS_BELOW))
    if is_short and np.count_nonzero(counts) == len(counts) and not np.bitwise_or.reduce(counts) & 1:
        return Numbers(None, counts >> 1, numbers)
    whole = _whole(references)
    if not is_short:
        numbers = _with_long_ones(values, raw, is_end, symbols).compress(is_end)
    sound = whole & (counts > 0) & ((counts & 1) == 0)
    if np.count_nonzero(sound) == len(sound):
        return Numbers(None, counts >> 1, numbers)
    return Numbers(sound, counts[sound] >> 1, numbers[np.repeat(sound, counts)])


def _width(refs: Blocks) -> int:
    longest = min(int(refs.lengths.max(initial=0)), REFS_BYTES_MAX)
    return -(-(longest + 1) // _WORD_BYTES) * _WORD_BYTES


@lru_cache(32)
def _behind(width: int) -> NDArray[np.uint64]:
    return np.ascontiguousarray(_BEHIND[:, :width]).view(np.uint64)


def _ends_of_rows(ends: Bools) -> I64:
    """Return how many bytes of each row are set."""
    words = ends.view(np.uint64)
    total = words[:, 0].copy()
    for i in range(1, words.shape[1]):
        total += words[:, i]
    total *= _BYTES_SUM
    total >>= _UPPERMOST
    return total.view(np.int64)


def _short_numbers(raw: NDArray[np.uint8]) -> U16:
    """Return for each byte but the first the number that ends with it, if it has up to two bytes.

    Of one byte: itself.  Of two: 128 times the last one, and the one before without its upper bit.
    """
    values = raw.astype(np.uint16)
    goes_on = values[:-1] >> 7
    more = values[1:] * np.uint16(127)
    more += values[:-1]
    more -= np.uint16(128)
    more *= goes_on
    values[1:] += more
    return values


def _with_long_ones(values: U16, raw: NDArray[np.uint8], ends: Bools, symbols: int) -> I64:
    """Return the number that ends with each byte, up to three bytes long; for longer ones `symbols`, which is out of range.

    values: as `_short_numbers` returns them.
    """
    goes_on = raw >= _ENDS_BELOW
    at = (ends[2:] & goes_on[1:-1] & goes_on[:-2]).nonzero()[0] + 2
    high, before, third, fourth = (raw[at - i].astype(np.int64) for i in range(4))
    found = values.astype(np.int64)
    found[at] = np.where(fourth < 0x80, high << 14 | (before & 0x7F) << 7 | third & 0x7F, symbols)
    return found


def _whole(references: ReferenceRows) -> Bools:
    """Tell which rows hold all of their references, and end with the end of a number."""
    short = references.lengths <= REFS_BYTES_MAX
    at = np.minimum(references.lengths, REFS_BYTES_MAX)
    return short & (references.rows[np.arange(len(short)), at] < _ENDS_BELOW)
