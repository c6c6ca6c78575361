"""References of remote write 2.0: the packed varints of all series of a request, read at once.

The references of each series become a row of bytes: the one before them, the references, and 0xff up to the width of the widest.
A number ends with each byte below 0x80, so the ends of all rows are found with one comparison.  Numbers of one and two bytes,
which is what there is in requests with up to 16384 symbols, are made of all bytes as if a number ended there, since that takes
less than picking out the bytes that count.
Not here: what the numbers refer to (`remote_write_v2_symbols.py`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.block_hash import Blocks

REFS_BYTES_MAX: Final = 246
"""Longest packed references that are read in bulk; longer ones take the general way."""

AT_ONCE_BYTES: Final = 1 << 20
"""Bytes of rows that are read in one step; more than requests of 10 000 series have."""
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

    sound: which series have some that could be read, in pairs; whether they are in range is not looked at.  counts: how many
    pairs each sound one has.  table: the two numbers of each pair, one series after the other.
    """

    sound: Bools
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

    def are(self, others: ReferenceRows) -> bool:
        """Tell whether others have the same bytes."""
        return np.array_equal(self.lengths, others.lengths) and np.array_equal(self.rows, others.rows)


def fits_at_once(refs: Blocks) -> bool:
    """Tell whether the references of so many series are read in one step."""
    return len(refs) * _longest(refs) <= AT_ONCE_BYTES


def read_rows(refs: Blocks) -> ReferenceRows:
    """Return the references, before each of which is a byte below 0x80, as rows; of those that are too long only the beginning."""
    width = -(-(_longest(refs) + 1) // _WORD_BYTES) * _WORD_BYTES
    overlapping = np.ndarray((len(refs.data) - width + 1,), f"V{width}", refs.data, 0, (1,))
    rows = overlapping[refs.starts - 1].view(np.uint64).reshape(-1, width // _WORD_BYTES)
    rows |= _behind(width).take(refs.lengths, axis=0, mode="clip")
    return ReferenceRows(rows.view(np.uint8), refs.lengths)


def read_numbers(refs: Blocks, symbols: int) -> Numbers:
    """Read packed references to so many symbols, each of which has a byte below 0x80 before it.

    They are read in steps, or one that is long would make rows of all others that are as long.
    """
    if fits_at_once(refs):
        return numbers_of_rows(read_rows(refs), symbols)
    step = AT_ONCE_BYTES // REFS_BYTES_MAX
    parts = [numbers_of_rows(read_rows(refs.slice(i, i + step)), symbols) for i in range(0, len(refs), step)]
    return Numbers(
        *(np.concatenate(columns) for columns in zip(*((p.sound, p.counts, p.table) for p in parts), strict=True))
    )


def numbers_of_rows(references: ReferenceRows, symbols: int) -> Numbers:
    """Read packed references to so many symbols."""
    rows, lengths = references.rows, references.lengths
    ends = rows < _ENDS_BELOW
    ends[:, 0] = False
    counts = _ends_of_rows(ends)
    numbers: NDArray[Any] = _short_numbers(rows.reshape(-1)).compress(ends.reshape(-1))
    # Else there are others than of one and two bytes, or some are cut.
    is_short = int(lengths.sum()) == len(numbers) + int(np.count_nonzero(numbers >= _ENDS_BELOW))
    if is_short and not (counts & 1).any() and counts.all():
        return Numbers(np.ones(len(counts), np.bool_), counts >> 1, numbers)
    whole = _whole(references)
    if not is_short:
        numbers = _with_long_ones(numbers, rows, ends, symbols)
    sound = whole & (counts > 0) & ((counts & 1) == 0)
    return Numbers(sound, counts[sound] >> 1, numbers[np.repeat(sound, counts)])


def _longest(refs: Blocks) -> int:
    return min(int(refs.lengths.max()), REFS_BYTES_MAX) if len(refs) else 0


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
    values[1:] += goes_on * (values[1:] * np.uint16(127) + values[:-1] - np.uint16(128))
    return values


def _with_long_ones(numbers: U16, rows: NDArray[np.uint8], ends: Bools, symbols: int) -> I64:
    """Return all numbers with those of three bytes as they are; for longer ones `symbols`, which is out of range.

    numbers: right where they have up to two bytes.
    """
    raw, last = rows.reshape(-1), ends.reshape(-1).nonzero()[0]
    goes_on = raw.take(last - 1) & raw.take(last - 2, mode="clip")
    long = (goes_on >= _ENDS_BELOW).nonzero()[0]
    high, before, third, fourth = (raw.take(last[long] - i, mode="clip").astype(np.int64) for i in range(4))
    found = numbers.astype(np.int64)
    found[long] = np.where(fourth < 0x80, high << 14 | (before & 0x7F) << 7 | third & 0x7F, symbols)
    return found


def _whole(references: ReferenceRows) -> Bools:
    """Tell which rows hold all of their references, and end with the end of a number."""
    short = references.lengths <= REFS_BYTES_MAX
    at = np.minimum(references.lengths, REFS_BYTES_MAX)
    return short & (references.rows[np.arange(len(short)), at] < _ENDS_BELOW)
