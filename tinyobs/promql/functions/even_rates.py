"""`rate`, `increase` and `delta` of series that all have the same timestamps.

The formula is that of `rates.py` (prometheus promql/functions.go, extrapolatedRate), step by step, so that results are
equal to the last bit.  What depends on time only is one row for all series; what is left for each point is a
difference, the look for resets, and one multiplication.
"""

from __future__ import annotations

import numpy as np

from ..blocks import Floats, Indexes, Mask
from ..even_windows import EvenWindows, columns_at
from ..windows import Windows, reduce_between


def even_change(windows: Windows, even: EvenWindows, *, counter: bool, per_second: bool) -> tuple[Floats, Mask]:
    """Return (change over each window float64[S, T], present bool[S, T])."""
    count = even.high - even.low
    usable = count >= 2
    first, last = even.first(), even.last()
    start = columns_at(even.matrix, first)
    risen: Floats = columns_at(even.matrix, last) - start
    if counter:
        _add_resets(even.matrix, first, last, risen)
    t1, t2 = even.times_ms[first], even.times_ms[last]
    sampled = (t2 - t1) / 1000.0
    between = sampled / (count - 1.0)
    to_start = (t1 - windows.starts) / 1000.0
    to_end = (windows.ends - t2) / 1000.0
    threshold, half = between * 1.1, between / 2
    np.copyto(to_start, half, where=to_start >= threshold)
    np.copyto(to_end, half, where=to_end >= threshold)
    to_end += sampled
    seconds = windows.range_ms / 1000 if per_second else 0.0
    factor = _factor(to_start, to_end, sampled, seconds)
    near_zero = _near_zero(start, risen, to_start / sampled) if counter else None
    if near_zero is None or not len(near_zero):
        risen *= factor
    else:
        # A counter that would have been below zero at the start of the window counts from where it was zero.
        step = near_zero % len(factor)
        rises = risen.flat[near_zero]
        to_zero = sampled[step] * (start.flat[near_zero] / rises)
        nearer = np.where(to_zero < to_start[step], to_zero, to_start[step])
        factors = _factor(nearer, to_end[step], sampled[step], seconds)
        risen *= factor
        risen.flat[near_zero] = rises * factors
    return risen, np.broadcast_to(usable, risen.shape)


def _factor(to_start: Floats, rest: Floats, sampled: Floats, seconds: float) -> Floats:
    """Return what the rise between first and last sample is multiplied by; seconds: of the range, 0 for no division."""
    factor: Floats = (rest + to_start) / sampled
    if seconds:
        factor /= seconds
    return factor


def _near_zero(start: Floats, risen: Floats, share: Floats) -> Indexes:
    """Return the points, by their place in the flattened array, where zero may lie within the extrapolation."""
    doubtful = start <= risen * (share * (1 + 1e-9))
    if not doubtful.any():
        return np.empty(0, np.int64)
    return np.flatnonzero(doubtful & (risen > 0) & (start >= 0))


def _add_resets(matrix: Floats, first: Indexes, last: Indexes, risen: Floats) -> None:
    """Add to each rise what was lost in resets after sample `first` up to `last`."""
    fell = matrix[:, 1:] < matrix[:, :-1]
    if not fell.any():
        return
    rows = np.flatnonzero(fell.any(axis=1))
    samples = matrix.shape[1]
    flat = matrix[rows].reshape(-1)
    before = np.flatnonzero(np.pad(fell[rows], ((0, 0), (0, 1))))
    number = np.zeros(len(flat), np.int64)
    number[before + 1] = 1
    np.cumsum(number, out=number)
    base = (np.arange(len(rows)) * samples)[:, None]
    low, high = number[base + first], number[base + last]
    where = np.flatnonzero(high > low)
    if len(where):
        lost = reduce_between(np.add, flat[before], low.flat[where], high.flat[where], 0.0)
        risen[rows[where // len(first)], where % len(first)] += lost
