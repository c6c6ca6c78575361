"""The shortest decimals of many floats at once, in NumPy: six times the speed of `repr` one by one.

`repr` gives the shortest decimal that reads back as the same float, and of several the nearest.  So does this, for
floats from 1e-6 up to 1e16 in plain notation; the few that it cannot decide for certain are given back undecided.

How.  A float x of decimal exponent e times 10^(16-e) lies between 10^16 and 10^17.  Both factors are exact floats, so
Dekker's product (Numerische Mathematik 18, 1971) gives the result exactly, as an integer and a fraction below one half.
Every decimal within half a unit in the last place of x, scaled alike, reads back as x.  That interval is at most 22
wide: it holds at most one multiple of 100, which is the answer if there is one, since shorter decimals are multiples
of 100 too; else the nearest multiple of 10, if inside; else the integer itself.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

LOWEST: Final = 1e-6
HIGHEST: Final = 1e16
"""The range of sizes that is written, the upper end excluded."""
TEXT_BYTES: Final = 25
"""Longest text: sign, "0.00000" and 17 digits."""

_DIGITS: Final = 17
_MARGIN: Final = 1e-6
"""Comparisons closer than this, in units of the 17th digit, are left undecided; their errors are below 1e-14."""
_SPLIT: Final = 134217729.0
_POWERS: Final = np.array([10.0**k for k in range(23)])
_FOUR_DIGITS: Final = np.array([f"{i:04}" for i in range(10_000)], "S4").view(np.uint32)
_COLUMNS: Final = np.arange(TEXT_BYTES, dtype=np.uint8)
_SHIFT: Final = 8
"""Makes exponents positive; the lowest is -7, a wrong estimate for 1e-6."""
_ZERO, _POINT = ord("0"), ord(".")


def texts(values: NDArray[np.float64]) -> tuple[NDArray[np.bytes_], NDArray[np.bool_]]:
    """Return (texts S25[n], decided bool[n]); a text means something only where it is decided."""
    size = np.abs(values)
    decided = (size >= LOWEST) & (size < HIGHEST)
    size = np.where(decided, size, 1.0)
    integers, exponents, certain = _shortest(size)
    decided &= certain
    text = _layout(integers, exponents, np.signbit(values))
    zero = (values == 0.0) & ~np.signbit(values)
    text[zero] = b"0"
    return text, decided | zero


def _shortest(size: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return (integers of 17 digits, decimal exponents of their first digits, where they are certain)."""
    exponents = np.floor(np.log10(size)).astype(np.int64)
    power = _POWERS[np.clip(_DIGITS - 1 - exponents, 0, 22)]
    high, low = _product(size, power)
    rounded = np.rint(low)
    whole = high.astype(np.int64) + rounded.astype(np.int64)
    fraction = low - rounded
    reach = np.spacing(size) * 0.5 * power
    # At a power of two the interval is lopsided; a wrong estimate of the exponent shows in the number of digits.
    certain = (np.abs(np.abs(fraction) - 0.5) > _MARGIN) & (np.frexp(size)[0] != 0.5)
    certain &= (whole >= 10**16) & (whole < 10**17)
    best = whole
    for unit in (10, 100):
        below = whole // unit
        above = (whole - below * unit).astype(np.float64) + fraction
        up = above > unit / 2
        distance = np.abs(np.where(up, unit - above, above))
        certain &= np.abs(distance - reach) > _MARGIN
        certain &= (np.abs(above - unit / 2) > _MARGIN) | (distance > reach)
        best = np.where(distance < reach, (below + up) * unit, best)
    return best, exponents, certain & (best < 10**17)


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (high, low): the product is exactly their sum."""
    high = a * b
    split = _SPLIT * a
    a_high = split - (split - a)
    a_low = a - a_high
    split = _SPLIT * b
    b_high = split - (split - b)
    b_low = b - b_high
    return high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low


def _layout(
    integers: NDArray[np.int64], exponents: NDArray[np.int64], negative: NDArray[np.bool_]
) -> NDArray[np.bytes_]:
    """Return the texts of the integers with their decimal points; those of one exponent and sign are laid out at once."""
    n = len(integers)
    words = np.empty((n, 5), np.uint32)
    rest = integers
    for i in range(4, -1, -1):
        shorter = rest // 10_000
        words[:, i] = _FOUR_DIGITS[rest - shorter * 10_000]
        rest = shorter
    digits = words.view(np.uint8).reshape(n, 20)[:, 20 - _DIGITS :]
    lengths = _DIGITS - (digits[:, ::-1] != _ZERO).argmax(axis=1)
    out = np.zeros((n, TEXT_BYTES), np.uint8)
    keys = (exponents + _SHIFT) * 2 + negative
    for key in np.flatnonzero(np.bincount(keys)).tolist():
        rows = np.flatnonzero(keys == key)
        out[rows] = _place(digits[rows], lengths[rows], (key >> 1) - _SHIFT, "-" if key & 1 else "")
    return out.view(f"S{TEXT_BYTES}").ravel()


def _place(digits: NDArray[np.uint8], lengths: NDArray[np.int64], exponent: int, sign: str) -> NDArray[np.uint8]:
    """Return rows of text for digits with their first one at 10^exponent; lengths: digits before the trailing zeros."""
    out = np.zeros((len(digits), TEXT_BYTES), np.uint8)
    head = np.frombuffer((sign + "0." + "0" * (-exponent - 1) if exponent < 0 else sign).encode(), np.uint8)
    out[:, : len(head)] = head
    before = exponent + 1 if exponent >= 0 else _DIGITS
    at = len(head)
    out[:, at : at + before] = digits[:, :before]
    ends = at + lengths
    if before < _DIGITS:
        out[:, at + before] = _POINT
        out[:, at + before + 1 : at + _DIGITS + 1] = digits[:, before:]
        ends = np.where(lengths > before, ends + 1, at + before)
    out *= ends.astype(np.uint8)[:, None] > _COLUMNS
    return out
