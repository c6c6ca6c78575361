"""Timestamp columns that many rows share: found once, stored once.

All series of one target are stamped alike, so the rows of a page have few distinct timestamp columns.  Rows are
compared by a 64-bit sum of their timestamps with fixed random weights, and then in full: a collision, made on purpose
or not, costs space and never correctness.  How a column itself is stored is the matter of `integers.py`; a regular
one takes no byte per timestamp.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.ragged import offsets_of, spread, take_rows

I64 = NDArray[np.int64]

_WEIGHTS_SEED: Final = 20_231_101
_MIX_FIRST: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_COUNT: Final = np.uint64(0xC2B2AE3D27D4EB4F)


def share(timestamps: I64, offsets: I64) -> tuple[I64, I64, I64]:
    """Return (column of each row int64[R], timestamps of the distinct columns, their offsets int64[C+1])."""
    counts = np.diff(offsets)
    rows = len(counts)
    if not rows:
        return counts, timestamps, offsets
    n = int(counts[0])
    if n and (counts == n).all() and (timestamps.reshape(-1, n) == timestamps[:n]).all():
        return np.zeros(rows, np.int64), timestamps[:n], np.array([0, n])
    _, examples, columns = np.unique(_signatures(timestamps, offsets), return_index=True, return_inverse=True)
    same = examples[columns]
    if (counts[same] != counts).any() or (timestamps[spread(offsets[:-1][same], counts)] != timestamps).any():
        return np.arange(rows), timestamps, offsets
    return columns.astype(np.int64), take_rows(timestamps, offsets, examples), offsets_of(counts[examples])


def _signatures(timestamps: I64, offsets: I64) -> NDArray[np.uint64]:
    """Return uint64[R]: a hash of each row."""
    counts = np.diff(offsets)
    weights = np.random.default_rng(_WEIGHTS_SEED).integers(1, 1 << 63, int(counts.max()), dtype=np.uint64)
    filled = np.flatnonzero(counts)
    starts = offsets[:-1][filled]
    out = counts.astype(np.uint64) * _MIX_COUNT
    if len(filled):
        positions = spread(np.zeros(len(counts), np.int64), counts)
        products = timestamps.view(np.uint64) * weights[positions]
        out[filled] += np.add.reduceat(products, starts) + timestamps[starts].view(np.uint64) * _MIX_FIRST
    return out
