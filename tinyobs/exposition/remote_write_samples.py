"""The samples at the ends of encoded TimeSeries, read as columns.

Nearly every series of a request is its labels followed by one sample, and nearly every sample ends in one of two
shapes, because a current timestamp in milliseconds takes six bytes and a value of zero is left out:

    12 10 09 <value, 8 bytes little-endian> 10 <timestamp, 6 bytes varint>      18 bytes
    12 07 10 <timestamp, 6 bytes varint>                                         9 bytes

A series whose last bytes have such a shape *and* whose other bytes are a known label block is exactly that block and
one sample, since a label block ends where it says; everything else takes the general way in `remote_write.py`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.block_hash import Blocks

FULL_BYTES: Final = 18
ZERO_BYTES: Final = 9

_END_MASK: Final = np.uint64(0x8080_8080_8080_FF00)
_END: Final = np.uint64(0x0080_8080_8080_1000)
"""The last eight bytes, as a number: whatever, the tag of the time, five bytes of a varint and its last."""
_FULL_MASK: Final = np.uint64(0xFF_FFFF)
_FULL: Final = np.uint64(0x09_1012)
_ZERO_MASK: Final = np.uint64(0xFFFF)
_ZERO: Final = np.uint64(0x0712)

U64 = NDArray[np.uint64]


@frozen(eq=False)
class Tails:
    """For each series: sample_bytes (0 where the shape is another), value and timestamp."""

    sample_bytes: NDArray[np.uint8]
    values: NDArray[np.float64]
    timestamps_ms: NDArray[np.int64]


def read_tails(series: Blocks) -> Tails:
    """Return the last samples of encoded series."""
    # A series that ends before that has no room for a metric name beside its sample: whatever is read for it here, it
    # takes the general way.
    ends = np.maximum(series.starts + series.lengths, FULL_BYTES)
    anywhere = np.ndarray((len(series.data) - 7,), "<u8", series.data, 0, (1,))  # a number from any eight bytes
    last = anywhere[ends - 8]
    timed = (last & _END_MASK) == _END
    full = timed & (series.lengths >= FULL_BYTES)
    full &= (anywhere[ends - FULL_BYTES] & _FULL_MASK) == _FULL
    values = anywhere[ends - FULL_BYTES + 3].astype(np.uint64, copy=False).view(np.float64)
    sizes = full * np.uint8(FULL_BYTES)
    if not full.all():
        zero = timed & (series.lengths >= ZERO_BYTES) & ~full
        zero &= (anywhere[ends - ZERO_BYTES] & _ZERO_MASK) == _ZERO
        values[zero] = 0.0
        sizes += zero * np.uint8(ZERO_BYTES)
    return Tails(sizes, values, _varints(last))


def _varints(last: U64) -> NDArray[np.int64]:
    """Return the numbers in the upper six bytes, seven bits in each; most samples of a request have the same time."""
    if len(last) and (last[0] >> np.uint64(16) == last >> np.uint64(16)).all():
        return np.full(len(last), _varint(int(last[0])), np.int64)
    total = np.zeros(len(last), np.uint64)
    for i in range(6):
        total |= (last >> np.uint64(16 + 8 * i) & np.uint64(0x7F)) << np.uint64(7 * i)
    return total.view(np.int64)


def _varint(last: int) -> int:
    return sum((last >> 16 + 8 * i & 0x7F) << 7 * i for i in range(6))
