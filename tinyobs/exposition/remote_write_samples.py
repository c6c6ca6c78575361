"""The samples at the ends of encoded TimeSeries, read as columns.

Nearly every series of a request is its labels followed by one sample, and nearly every sample ends in one of two
shapes, because a current timestamp in milliseconds takes six bytes and a value of zero is left out:

    12 10 09 <value, 8 bytes little-endian> 10 <timestamp, 6 bytes varint>      18 bytes
    12 07 10 <timestamp, 6 bytes varint>                                         9 bytes

A series whose last bytes have such a shape *and* whose other bytes are a known label block is exactly that block and
one sample, since a label block ends where it says; everything else takes the general way in `remote_write.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

FULL_BYTES: Final = 18
ZERO_BYTES: Final = 9
_TIME_BYTES: Final = 6


@frozen(eq=False)
class Tails:
    """For each series: sample_bytes (0 where the shape is another), value and timestamp."""

    sample_bytes: NDArray[np.uint8]
    values: NDArray[np.float64]
    timestamps_ms: NDArray[np.int64]


def read_tails(series: Sequence[bytes]) -> Tails:
    """Return the last samples of encoded series."""
    padded = b"".join(map(bytes.__getitem__, series, repeat(slice(-FULL_BYTES, None))))
    if len(padded) != FULL_BYTES * len(series):
        padded = b"".join([s[-FULL_BYTES:].rjust(FULL_BYTES, b"\0") for s in series])
    tails = np.frombuffer(padded, np.uint8).reshape(-1, FULL_BYTES)
    times = tails[:, -_TIME_BYTES:]
    timed = (tails[:, -_TIME_BYTES - 1] == 0x10) & _is_varint(times)
    full = timed & (tails[:, 0] == 0x12) & (tails[:, 1] == FULL_BYTES - 2) & (tails[:, 2] == 0x09)
    zero = timed & (tails[:, 9] == 0x12) & (tails[:, 10] == ZERO_BYTES - 2) & ~full
    values = tails[:, 3:11].copy().view("<f8").reshape(-1)
    values[zero] = 0.0
    sizes = (full * np.uint8(FULL_BYTES) + zero * np.uint8(ZERO_BYTES)).astype(np.uint8)
    return Tails(sizes, values, _varints(times))


def _is_varint(columns: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where `columns` (n by 6) has the continuation bit in all bytes but the last."""
    eight = np.zeros((len(columns), 8), np.uint8)
    eight[:, :_TIME_BYTES] = columns
    bits = eight.view("<u8").reshape(-1) & np.uint64(0x8080_8080_8080)
    found: NDArray[np.bool_] = bits == np.uint64(0x0080_8080_8080)
    return found


def _varints(columns: NDArray[np.uint8]) -> NDArray[np.int64]:
    total = np.zeros(len(columns), np.int64)
    for i in range(_TIME_BYTES):
        total |= (columns[:, i] & 0x7F).astype(np.int64) << (7 * i)
    return total
