"""Which rows lie beside each other, and where their planes are cut into frames: decided by the bytes they hold.

zstd's entropy coder writes a table of its own into each frame.  Rows whose bytes are distributed alike share a table at
no loss, unlike ones are better apart even for the price of another table.  That price is estimated from histograms of
bytes: the entropy, and what a frame costs besides.  Groups of rows are joined pair by pair, best first, as long as that
saves bytes; then, in each plane on its own, neighbouring frames.  Copies of a row (one measurement under two names)
have equal histograms, come together, and are found by zstd.

It takes a tenth of a second a million integers, so it is for data that stays.  A reader does not need to know any of it:
the class of a row is only a number to sort by.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.ragged import offsets_of, take_rows

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

GROUPS_MAX: Final = 64
"""Groups to begin with, as all pairs of them are compared; neighbours by magnitude, where there are more rows."""
GROUP_INTEGERS_MIN: Final = 1000
"""Integers of a group to begin with: a shorter histogram tells more of chance than of the rows."""
_FRAME_BYTES: Final = 40.0  # lengths of the frame, headers of zstd, and how far its tables lag behind the entropy
_CONSTANT_BYTES: Final = 9.0
_STORED_BYTES: Final = 8.0
_SYMBOL_BYTES: Final = 0.6
_LEAST_BYTES: Final = 0.02  # a byte that repeats is not free


def classes_of(integers: U64, offsets: I64, widths: I64, magnitudes: I64) -> I64:
    """Return for each row a class, int64[R] of 0..255, such that rows of one class and width belong together.

    widths: bytes (0..8) of the largest integer of each row.  magnitudes: bits of a typical one; only a first guess.
    """
    classes = np.zeros(len(widths), np.int64)
    rows = np.lexsort((magnitudes, widths))
    rows = rows[widths[rows] > 0]
    if not len(rows):
        return classes
    ends = offsets_of(np.diff(offsets)[rows])
    size = max(GROUP_INTEGERS_MIN, int(ends[-1]) // GROUPS_MAX + 1)
    number = widths[rows] * (int(ends[-1]) + 1) + ends[:-1] // size
    firsts = np.flatnonzero(np.diff(number, prepend=-1))
    group = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(rows)))
    columns = take_rows(integers, offsets, rows).view(np.uint8).reshape(-1, 8)
    limits = [*ends[firsts].tolist(), int(ends[-1])]
    labels = np.zeros(len(firsts), np.int64)
    for width in np.unique(widths[rows]).tolist():
        mine = np.flatnonzero(widths[rows[firsts]] == width)
        pieces = [columns[limits[g] : limits[g + 1], :width] for g in mine.tolist()]
        labels[mine] = _join(np.array([[_histogram(p[:, j]) for j in range(width)] for p in pieces], np.float32))
    classes[rows] = labels[group]
    return classes


def cut_frames(plane: U8, limits: list[int]) -> list[int]:
    """Return those of the ascending `limits` (0, ..., length) of like stretches at which frames are to be cut."""
    limits = list(limits)
    tables = [_histogram(plane[a:b]) for a, b in pairwise(limits)]
    costs = [float(_cost(t)) for t in tables]
    saved = [costs[i] + costs[i + 1] - float(_cost(tables[i] + tables[i + 1])) for i in range(len(tables) - 1)]
    while saved and max(saved) > 0:
        i = saved.index(max(saved))
        tables[i] = tables[i] + tables[i + 1]
        costs[i] = float(_cost(tables[i]))
        del tables[i + 1], costs[i + 1], limits[i + 1], saved[i]
        for k in (i - 1, i):
            if 0 <= k < len(saved):
                saved[k] = costs[k] + costs[k + 1] - float(_cost(tables[k] + tables[k + 1]))
    return limits


def _histogram(plane: U8) -> F32:
    return np.bincount(plane, minlength=256).astype(np.float32)


def _cost(histograms: F32) -> F32:
    """Return the estimated bytes of frames with these histograms: float32[..., 256] -> float32[...]."""
    total = histograms.sum(axis=-1)
    symbols = (histograms > 0).sum(axis=-1)
    spread = (histograms * np.log2(np.maximum(histograms, 1))).sum(axis=-1)
    packed = np.maximum((total * np.log2(np.maximum(total, 1)) - spread) / 8, total * _LEAST_BYTES)
    packed += symbols * np.float32(_SYMBOL_BYTES) + np.float32(_FRAME_BYTES)
    out: F32 = np.where(symbols < 2, np.float32(_CONSTANT_BYTES), np.minimum(packed, total + _STORED_BYTES))
    return out


def _join(histograms: F32) -> I64:
    """Return the number of the class of each group, float32[groups, planes, 256], by repeatedly joining a best pair."""
    count = len(histograms)
    costs = _cost(histograms).sum(axis=1)
    labels = np.arange(count)
    alive = np.ones(count, np.bool_)
    saved = np.full((count, count), -np.inf, np.float32)
    for i in range(count - 1):
        saved[i, i + 1 :] = costs[i] + costs[i + 1 :] - _cost(histograms[i] + histograms[i + 1 :]).sum(axis=1)
    while True:
        i, j = divmod(int(saved.argmax()), count)
        if saved[i, j] <= 0:
            return np.unique(labels, return_inverse=True)[1].astype(np.int64)
        histograms[i] += histograms[j]
        costs[i] = _cost(histograms[i]).sum()
        labels[labels == j] = i
        alive[j] = False
        saved[j], saved[:, j] = -np.inf, -np.inf
        rest = np.flatnonzero(alive)
        rest = rest[rest != i]
        gain = costs[i] + costs[rest] - _cost(histograms[i] + histograms[rest]).sum(axis=1)
        saved[np.minimum(rest, i), np.maximum(rest, i)] = gain
