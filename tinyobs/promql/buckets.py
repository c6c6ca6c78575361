"""Quantiles and fractions of classic histograms: cumulative counts under upper bounds.

Everything is done for H histograms of equal bounds and T steps at once; the loops run over the bounds.  Source:
prometheus promql/quantile.go (BucketQuantile, BucketFraction, ensureMonotonicAndIgnoreSmallDeltas; 3.14).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen

from .blocks import Floats, Indexes, Mask

SMALL_DELTA: Final = 1e-12
"""Counts that differ by no more than this share are equal: float arithmetic made the difference."""


@frozen(eq=False)
class Repairs:
    """Where counts fell from one bound to the next and were raised; all arrays are [H, T].

    count: int64, how many bounds.  smallest, largest: the bounds concerned.  difference: the largest fall.
    """

    count: Indexes
    smallest: Floats
    largest: Floats
    difference: Floats


def quantiles(quantile: Floats, bounds: Floats, counts: Floats) -> tuple[Floats, Repairs | None]:
    """Return (float64[H, T], what had to be repaired).

    quantile: float64[T].  bounds: float64[B], ascending, maybe repeated.  counts: float64[H, B, T], cumulative.
    NaN without a +Inf bound, without observations, or with one bound only; -Inf and +Inf outside 0 .. 1.
    """
    histograms, _, steps = counts.shape
    sound = (quantile >= 0) & (quantile <= 1)
    outside = np.where(quantile < 0, -np.inf, np.where(quantile > 1, np.inf, np.nan))
    if bounds[-1] != np.inf:
        return np.broadcast_to(np.where(sound, np.nan, outside), (histograms, steps)), None
    bounds, counts = _coalesced(bounds, counts)
    counts, repairs = _monotonic(bounds, counts, sound)
    if len(bounds) < 2:
        return np.broadcast_to(np.where(sound, np.nan, outside), (histograms, steps)), repairs
    with np.errstate(all="ignore"):
        found = _interpolated(quantile, bounds, counts)
    found[counts[:, -1] == 0] = np.nan
    return np.where(sound, found, outside), repairs


def _interpolated(quantile: Floats, bounds: Floats, counts: Floats) -> Floats:
    rank = quantile * counts[:, -1]
    last = len(bounds) - 1
    # The first bound, the last one left aside, whose count reaches the rank.
    reached = counts[:, :last] >= rank[:, None, :]
    bucket = np.where(reached.any(axis=1), reached.argmax(axis=1), last)
    previous = np.maximum(bucket - 1, 0)
    low = np.take_along_axis(counts, previous[:, None, :], axis=1)[:, 0]
    high = np.take_along_axis(counts, bucket[:, None, :], axis=1)[:, 0]
    first = bucket == 0
    start = np.where(first, 0.0, bounds[previous])
    below = np.where(first, 0.0, low)
    found = start + (bounds[bucket] - start) * ((rank - below) / (high - below))
    found = np.where(first & (bounds[0] <= 0), bounds[0], found)
    result: Floats = np.where(bucket == last, bounds[last - 1], found)
    return result


def _coalesced(bounds: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return bounds and counts with the counts of equal bounds added up."""
    starts = np.concatenate(([0], np.flatnonzero(bounds[1:] != bounds[:-1]) + 1))
    if len(starts) == len(bounds):
        return bounds, counts
    return bounds[starts], np.add.reduceat(counts, starts, axis=1)


def _monotonic(bounds: Floats, counts: Floats, sound: Mask) -> tuple[Floats, Repairs | None]:
    """Return counts that never fall, and the repairs that took (at `sound` steps); tiny differences are levelled."""
    before, after = counts[:, :-1], counts[:, 1:]
    if (after > before * (1 + 2 * SMALL_DELTA)).all() and (before >= 0).all():
        return counts, None
    return _raised(bounds, counts, sound) or _raised_by_steps(bounds, counts, sound)


def _raised(bounds: Floats, counts: Floats, sound: Mask) -> tuple[Floats, Repairs | None] | None:
    """Do the work of `_raised_by_steps` at once; None where a tiny difference would have to be levelled, or for NaN."""
    if not np.isfinite(counts).all():
        return None
    raised = np.maximum.accumulate(counts, axis=1)
    before, after = raised[:, :-1], counts[:, 1:]
    fall = before - after
    size = np.abs(fall)
    if ((size <= 4 * SMALL_DELTA * (np.abs(before) + np.abs(after)) + np.finfo(np.float64).tiny) & (size > 0)).any():
        return None
    fallen = (fall > 0) & sound
    number: Indexes = fallen.sum(axis=1)
    if not number.any():
        return raised, None
    some = number > 0
    smallest = np.where(some, bounds[1 + fallen.argmax(axis=1)], np.inf)
    largest = np.where(some, bounds[len(bounds) - 1 - fallen[:, ::-1].argmax(axis=1)], -np.inf)
    return raised, Repairs(number, smallest, largest, np.where(fallen, fall, 0.0).max(axis=1))


def _raised_by_steps(bounds: Floats, counts: Floats, sound: Mask) -> tuple[Floats, Repairs | None]:
    """Go from bound to bound as upstream does."""
    counts = counts.copy()
    shape = (counts.shape[0], counts.shape[2])
    number, difference = np.zeros(shape, np.int64), np.zeros(shape)
    smallest, largest = np.full(shape, np.inf), np.full(shape, -np.inf)
    previous = counts[:, 0]
    with np.errstate(all="ignore"):
        for i in range(1, len(bounds)):
            current = counts[:, i].copy()
            equal = _almost_equal(previous, current)
            fallen = (current < previous) & ~equal & sound
            number += fallen
            np.copyto(smallest, np.minimum(smallest, bounds[i]), where=fallen)
            np.copyto(largest, np.maximum(largest, bounds[i]), where=fallen)
            np.copyto(difference, np.maximum(difference, previous - current), where=fallen)
            previous = np.where(equal | (current < previous), previous, current)
            counts[:, i] = previous
    return counts, Repairs(number, smallest, largest, difference) if number.any() else None


def _almost_equal(a: Floats, b: Floats) -> Mask:
    total = np.minimum(np.abs(a) + np.abs(b), np.finfo(np.float64).max)
    tiny = np.finfo(np.float64).tiny
    difference = np.abs(a - b)
    close = np.where(
        (a == 0) | (b == 0) | (total < tiny), difference < SMALL_DELTA * tiny, difference / total < SMALL_DELTA
    )
    equal: Mask = (a == b) | close | (np.isnan(a) & np.isnan(b))
    return equal


def fractions(lower: Floats, upper: Floats, bounds: Floats, counts: Floats) -> Floats:
    """Return the share of observations between `lower` and `upper` (float64[T] each) as float64[H, T].

    NaN without a +Inf bound, without observations, or for NaN limits; 0 where `lower >= upper`.
    """
    histograms, _, steps = counts.shape
    if bounds[-1] != np.inf:
        return np.full((histograms, steps), np.nan)
    bounds, counts = _coalesced(bounds, counts)
    total = counts[:, -1]
    with np.errstate(all="ignore"):
        share = (_rank(upper, bounds, counts) - _rank(lower, bounds, counts)) / total
    share = np.where(lower >= upper, 0.0, share)
    return np.where((total == 0) | np.isnan(lower) | np.isnan(upper), np.nan, share)


def _rank(limit: Floats, bounds: Floats, counts: Floats) -> Floats:
    """Return how many observations lie below `limit`, float64[H, T]; linear within a bucket."""
    total = counts[:, -1]
    found = total.copy()
    settled = np.zeros(total.shape, np.bool_)
    rank = np.zeros_like(total)
    start = 0.0 if bounds[0] > 0 else -np.inf
    for i, end in enumerate(bounds.tolist()):
        at_start = ~settled & (start >= limit)
        np.copyto(found, rank, where=at_start)
        settled |= at_start
        inside = ~settled & (start < limit) & (end > limit)
        if start == -np.inf:
            between = counts[:, i]
        else:
            between = rank + (counts[:, i] - rank) * (limit - start) / (end - start)
        np.copyto(found, between, where=inside)
        settled |= inside
        start, rank = end, counts[:, i]
    return np.minimum(found, total)
