"""Rows of float64 as rows of int64 and back, every bit kept.

Most measurements are decimal numbers with few digits: a row whose values are all `m / 10^scale` for integers `m` is
stored as those integers, with the least `scale` that does.  It is taken only when decoding gives the very same bits.
Single values that do not fit (the staleness marker at the end of a series, NaN, -0.0) are *patched*: their bits are
stored beside the row.  A row of anything else is stored as its bits, read as int64: neighbouring floats of one sign
are neighbouring integers, so prediction works there as well.

A division is used because m / 10^scale, both exact (scale <= 22), is by IEEE 754 the float nearest to that decimal,
the same that a parser of the decimal text returns.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.ragged import put_rows, spread, take_rows

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

BITS: Final = 255
"""The scale of a row that is stored as the bits of its values."""
NEAR: Final = 32
"""What is added to the scale of a row of `near_decimals.py`, whose decimals are not exact."""
SCALE_MAX: Final = 15
"""Largest power of ten tried; 10^22 is the largest that float64 holds exactly."""
PATCHES_PER_ROW: Final = 1 / 16
"""Part of a row that may be patched before the row is stored as bits."""
_SAMPLED: Final = 8
_POWERS: Final = np.array([10.0**e for e in range(SCALE_MAX + 1)])


@frozen(eq=False)
class ScaledRows:
    """Float rows as integers.

    integers: int64[N].  scales: uint8[R].  patched: int64[P], ascending positions in `integers` whose value is not
    said by the integer; patches: uint64[P], the bits of those values.
    """

    integers: I64
    scales: NDArray[np.uint8]
    patched: I64
    patches: NDArray[np.uint64]


def to_integers(values: F64, offsets: I64) -> ScaledRows:
    """Return the rows `values[offsets[i]:offsets[i+1]]` as integers; offsets: int64[R+1] from 0 to N."""
    counts = np.diff(offsets)
    scales = np.zeros(len(counts), np.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        integers = values.astype(np.int64)
        exact = integers.astype(np.float64).view(np.int64) == values.view(np.int64)
        hard = _rows_with(~exact, offsets)
        if len(hard):
            scales[hard] = _guess(values, offsets[:-1][hard], counts[hard])
            _rescale(values, offsets, scales, hard[(scales[hard] > 0) & (scales[hard] != BITS)], integers, exact)
            _widen(values, offsets, scales, hard[scales[hard] != BITS], integers, exact)
    if len(hard):
        _give_up(values, offsets, scales, integers, exact)
    patched = np.flatnonzero(~exact)
    if len(patched):
        fill(integers, exact)
    return ScaledRows(integers, scales, patched, values.view(np.uint64)[patched])


def to_floats(integers: I64, scales: NDArray[np.uint8], counts: I64) -> F64:
    """Return the values of integer rows, patches not yet applied."""
    as_bits = scales == BITS
    powers = _POWERS[np.where(as_bits, 0, scales & (NEAR - 1))]
    values = integers.astype(np.float64)
    if (powers == powers[:1]).all():
        if len(powers) and powers[0] != 1.0:
            values /= powers[0]
    else:
        values /= np.repeat(powers, counts)
    if as_bits.any():
        np.copyto(values, integers.view(np.float64), where=np.repeat(as_bits, counts))
    return values


def scale_by(values: F64, scales: NDArray[np.uint8]) -> I64:
    """Return the integers nearest to values * 10^scale; anything where that is no int64."""
    scaled = values * _POWERS[scales]
    out: I64 = np.rint(scaled, out=scaled).astype(np.int64)
    return out


def unscale_by(integers: I64, scales: NDArray[np.uint8]) -> F64:
    """Return integers / 10^scale as `to_floats` computes it."""
    out = integers.astype(np.float64)
    out /= _POWERS[scales]
    return out


def fill(integers: I64, good: NDArray[np.bool_]) -> None:
    """Overwrite what is patched with the integer before it, which costs least to store."""
    at = np.where(good, np.arange(len(integers)), 0)
    np.maximum.accumulate(at, out=at)
    integers[~good] = integers[at[~good]]


def _rows_with(where: NDArray[np.bool_], offsets: I64) -> I64:
    """Return the rows in which `where` holds somewhere."""
    at = np.flatnonzero(where)
    rows: I64 = np.unique(np.searchsorted(offsets, at, side="right") - 1) if len(at) else at
    return rows


def _rescale(
    values: F64, offsets: I64, scales: NDArray[np.uint8], rows: I64, integers: I64, exact: NDArray[np.bool_]
) -> None:
    """Write values * 10^scale of some rows to `integers`, and to `exact` where decoding gives the same bits."""
    powers = np.repeat(_POWERS[scales[rows]], np.diff(offsets)[rows])
    mine = take_rows(values, offsets, rows)
    scaled = mine * powers
    whole = np.rint(scaled, out=scaled).astype(np.int64)
    put_rows(integers, offsets, rows, whole)
    back = whole.astype(np.float64)
    back /= powers
    put_rows(exact, offsets, rows, back.view(np.int64) == mine.view(np.int64))


def _give_up(values: F64, offsets: I64, scales: NDArray[np.uint8], integers: I64, exact: NDArray[np.bool_]) -> None:
    """Store rows as bits that would need too many patches, in place."""
    wrong = np.diff(np.concatenate([[0], np.cumsum(~exact)])[offsets])
    rows = np.flatnonzero((wrong > np.diff(offsets) * PATCHES_PER_ROW) | (scales == BITS))
    scales[rows] = BITS
    put_rows(integers, offsets, rows, take_rows(values.view(np.int64), offsets, rows))
    exact[spread(offsets[:-1][rows], np.diff(offsets)[rows])] = True


def _guess(values: F64, starts: I64, counts: I64) -> NDArray[np.uint8]:
    """Return per non-empty row the least scale that fits a sample of its finite values; `BITS` where none does."""
    at = (counts - 1) * np.arange(_SAMPLED)[:, None] // (_SAMPLED - 1)
    at += starts
    sample = values[at]
    scales = np.full(len(starts), BITS, np.uint8)
    open_ = np.arange(len(starts))
    for scale, power in enumerate(_POWERS):
        integers = np.rint(sample * power)
        integers /= power
        fits = integers == sample
        if not fits.all():
            fits |= ~np.isfinite(sample)
        fitting = fits.all(axis=0)
        scales[open_[fitting]] = scale
        open_, sample = open_[~fitting], sample[:, ~fitting]
        if not len(open_):
            break
    return scales


def _least_scales(values: F64) -> NDArray[np.uint8]:
    """Return for each value the least scale that holds it exactly; `BITS` where there is none."""
    least = np.full(len(values), BITS, np.uint8)
    open_ = np.arange(len(values))
    for scale in range(SCALE_MAX + 1):
        rest = values[open_]
        integers = np.rint(rest * _POWERS[scale]).astype(np.int64)
        fits = (integers / _POWERS[scale]).view(np.int64) == rest.view(np.int64)
        least[open_[fits]] = scale
        open_ = open_[~fits]
        if not len(open_):
            break
        if scale == 0:
            open_ = open_[np.isfinite(values[open_])]
    return least


def _widen(
    values: F64, offsets: I64, scales: NDArray[np.uint8], rows: I64, integers: I64, exact: NDArray[np.bool_]
) -> None:
    """Raise the scale of rows where the sample did not show all digits, in place."""
    at = spread(offsets[:-1][rows], np.diff(offsets)[rows])
    wrong = at[~exact[at]]
    if not len(wrong):
        return
    of = np.searchsorted(offsets, wrong, side="right") - 1
    least = _least_scales(values[wrong])
    decimal = least != BITS
    before = scales.copy()
    np.maximum.at(scales, of[decimal], least[decimal])
    _rescale(values, offsets, scales, np.flatnonzero(scales > before), integers, exact)
