"""Compensated sums, vectorised: as good as the Kahan-Neumaier summation of Prometheus, in log n array operations.

Rows are added pairwise (a tree); every addition keeps its rounding error (Knuth's TwoSum) in a second array, which is
added up alongside.  Infinite sums drop their compensation, as upstream's kahansum does.  The order of additions differs
from upstream's: where only some orders overflow, the caller adds scaled values (`OVERFLOW_SCALE`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .arrays import Floats, Indexes

OVERFLOW_SCALE: Final = 2.0**-64
"""Samples are multiplied by this, and sums divided again, where partial sums overflow."""


PLAIN_ROWS_MIN: Final = 64
"""Rows from which on values of one sign are added without compensation: the relative error stays below 1e-12."""
_LOOP_GROUPS_MAX: Final = 64


def plain_sums(values: Floats, starts: Indexes) -> Floats:
    """Return the sums over runs of rows (see `sums_of_groups`) as NumPy adds them."""
    if len(starts) > _LOOP_GROUPS_MAX:
        many: Floats = np.add.reduceat(values, starts, axis=0)
        return many
    ends = [*starts[1:].tolist(), len(values)]
    out = np.empty((len(starts), values.shape[1]))
    for i, (a, b) in enumerate(zip(starts.tolist(), ends, strict=True)):
        np.add.reduce(values[a:b], axis=0, out=out[i])
    return out


def two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return (a + b rounded, the error of that); the error is 0 where the sum is not finite."""
    s = a + b
    t = s - a
    error = (a - (s - t)) + (b - t)
    if not np.isfinite(s).all():
        error = np.where(np.isfinite(s), error, 0.0)
    return s, error


def sums_of_rows(values: Floats) -> tuple[Floats, Floats]:
    """Return (sum, compensation) over the rows of float64[n, T] or [n, G, T], n >= 1; each has one axis less."""
    s, c = values, np.zeros_like(values)
    while len(s) > 1:
        even = len(s) // 2 * 2
        total, error = two_sum(s[0:even:2], s[1:even:2])
        error += c[0:even:2] + c[1:even:2]
        error[np.isinf(total)] = 0.0
        if even < len(s):
            total, error = np.concatenate((total, s[even:])), np.concatenate((error, c[even:]))
        s, c = total, error
    return s[0], c[0]


def sums_of_groups(values: Floats, starts: Indexes) -> tuple[Floats, Floats]:
    """Return (sum, compensation) over runs of rows: run g is rows `starts[g]` .. `starts[g+1] - 1`; each [G, T].

    `starts` ascends strictly from 0; the last run ends with the rows.
    """
    if len(values) >= PLAIN_ROWS_MIN and bool(values.min() >= 0):
        plain = plain_sums(values, starts)
        return plain, np.zeros_like(plain)
    each, odd = divmod(len(values), len(starts))
    if not odd and (starts == np.arange(0, len(values), each)).all():
        return sums_of_rows(values.reshape(len(starts), each, -1).swapaxes(0, 1))
    s, c = values, np.zeros_like(values)
    while len(s) > len(starts):
        lengths = np.diff(starts, append=len(s))
        rank = np.arange(len(s)) - np.repeat(starts, lengths)
        left = np.flatnonzero(rank % 2 == 0)
        paired = rank[left] + 1 < np.repeat(lengths, (lengths + 1) // 2)
        total, error = s[left], c[left]
        i = left[paired]
        added, lost = two_sum(total[paired], s[i + 1])
        lost += error[paired] + c[i + 1]
        lost[np.isinf(added)] = 0.0
        total[paired], error[paired] = added, lost
        s, c = total, error
        starts = np.concatenate(([0], np.cumsum((lengths + 1) // 2)[:-1]))
    return s, c


def finished(total: Floats, compensation: Floats) -> Floats:
    """Return the sum with its compensation; infinite sums stay."""
    return np.where(np.isinf(total), total, total + compensation)


def kahan_step(value: Floats, total: Floats, compensation: Floats) -> tuple[Floats, Floats]:
    """Return (sum, compensation) after one more value: one step of the Kahan-Neumaier summation, as upstream does it."""
    t = total + value
    larger = np.abs(total) >= np.abs(value)
    lost = np.where(larger, (total - t) + value, (value - t) + total)
    return t, np.where(np.isinf(t), 0.0, compensation + lost)
