"""Rows of floats that are decimal but for rounding: an integer over a power of ten, and how many floats that misses.

Sums that a program accumulates and numbers that it scaled (`milliseconds * 0.001`) have few decimal digits and an
error of a few units in the last place.  `floats.py` finds no scale for them, and their bits are noise.  Here such a row
becomes two rows of small integers: m, and the *correction*, the number of floats from m / 10^scale to the value, which
is the difference of their bits.  A row is taken when both together cost less than what it is stored as.

Not here: decimals that are exact (`floats.py`).  Format: `docs/format/page.md`, "Corrections".
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.ragged import offsets_of, put_rows, spread, take_rows
from .floats import BITS, NEAR, PATCHES_PER_ROW, SCALE_MAX, ScaledRows, fill, scale_by, unscale_by
from .integers import predict, sample

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

TRUSTED_SCALE: Final = 9
"""Rows of so many digits or fewer are taken for decimal; a larger scale may fit by chance and hide a smaller one."""
ROW_MIN: Final = 32
"""Rows of fewer samples are not worth two rows."""
GAIN_MIN: Final = 6.0
"""Bits a sample that corrections must save: the estimate is rough, and reading them takes time."""
CORRECTION_MAX: Final = 1 << 31
"""Values that are farther from a decimal are patched."""


def find_near_decimals(values: F64, offsets: I64, scaled: ScaledRows) -> tuple[ScaledRows, I64, I64]:
    """Return the rows with those that are nearly decimal replaced, and the corrections of these: (flat, offsets).

    scaled: what `to_integers` made of `values`; its integers are overwritten.  A replaced row has the scale `NEAR` + s.
    """
    counts = np.diff(offsets)
    rows = np.flatnonzero((scaled.scales > TRUSTED_SCALE) & (counts >= ROW_MIN))
    none = scaled, np.zeros(0, np.int64), np.zeros(1, np.int64)
    if not len(rows):
        return none
    scales = _choose(values, offsets[:-1][rows], counts[rows], scaled.integers)
    rows, scales = rows[scales != BITS], scales[scales != BITS]
    if not len(rows):
        return none
    flat, flat_offsets = take_rows(values, offsets, rows), offsets_of(counts[rows])
    integers, corrections = _split(flat, np.repeat(scales, counts[rows]))
    exact = np.isfinite(flat) & (np.abs(corrections) < CORRECTION_MAX)
    wrong = np.diff(np.concatenate([[0], np.cumsum(~exact)])[flat_offsets])
    kept = np.flatnonzero(wrong <= counts[rows] * PATCHES_PER_ROW)
    if len(kept) < len(rows):
        integers, corrections = (take_rows(a, flat_offsets, kept) for a in (integers, corrections))
        exact = take_rows(exact, flat_offsets, kept)
        rows, scales = rows[kept], scales[kept]
    fill(integers, exact)
    corrections[~exact] = 0
    return _replace(values, offsets, scaled, rows, scales, integers, exact), corrections, offsets_of(counts[rows])


def _choose(values: F64, starts: I64, counts: I64, integers: I64) -> NDArray[np.uint8]:
    """Return for each row the scale that costs least on a sample of it; `BITS` where none saves enough."""
    best = predict(*sample(integers, starts, counts))[2] - GAIN_MIN
    scales = np.full(len(starts), BITS, np.uint8)
    x, before = sample(values, starts, counts)
    for scale in range(SCALE_MAX + 1):
        powers = np.full(1, scale, np.uint8)
        now, past = _split(x, powers), _split(before, powers)
        cost = sum(predict(a, b)[2] for a, b in zip(now, past, strict=True))
        better = cost < best
        scales[better] = scale
        best = np.where(better, cost, best)
    return scales


def _split(values: F64, scales: NDArray[np.uint8]) -> tuple[I64, I64]:
    """Return integers and corrections; anything where a value is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        integers = scale_by(values, scales)
    return integers, values.view(np.int64) - unscale_by(integers, scales).view(np.int64)


def _replace(
    values: F64,
    offsets: I64,
    scaled: ScaledRows,
    rows: I64,
    scales: NDArray[np.uint8],
    integers: I64,
    exact: NDArray[np.bool_],
) -> ScaledRows:
    """Return `scaled` with some of its rows replaced."""
    at = spread(offsets[:-1][rows], np.diff(offsets)[rows])
    is_patched = np.zeros(len(values), np.bool_)
    is_patched[scaled.patched] = True
    is_patched[at] = ~exact
    patched = np.flatnonzero(is_patched)
    all_scales, all_integers = scaled.scales.copy(), scaled.integers
    all_scales[rows] = scales + NEAR
    put_rows(all_integers, offsets, rows, integers)
    return ScaledRows(all_integers, all_scales, patched, values.view(np.uint64)[patched])
