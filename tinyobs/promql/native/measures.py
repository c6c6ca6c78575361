"""Numbers told from histograms: quantiles, fractions, variances.

All buckets of a batch stand in ascending order (negative, zero, positive), with their bounds for each histogram, since
the zero bucket may differ.  Within a bucket observations are spread so that a finer histogram would be filled evenly:
on a logarithmic scale, or linearly in zero and custom buckets.  Source: prometheus promql/quantile.go
(HistogramQuantile, HistogramFraction), promql/functions.go (histogramVariance; 3.14).
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from ..arrays import Floats, Mask
from ..sums import sums_of_rows
from .batch import COUNT, SUM, ZERO, Batch
from .table import Table


@frozen(eq=False)
class Ladder:
    """The buckets of N histograms in ascending order; all float64[N, K].  linear: bool[N, K], how to interpolate."""

    lower: Floats
    upper: Floats
    counts: Floats
    linear: Mask


def ladder(b: Batch) -> Ladder:
    """Return the buckets of a batch; the zero bucket ends at 0 where there are buckets on one side only."""
    n = len(b)
    zero_count = np.where(b.data[:, ZERO : ZERO + 1] > 0, b.data[:, ZERO : ZERO + 1], 0.0)
    counts = np.concatenate((b.negatives()[:, ::-1], zero_count, b.positives()), axis=1)
    low, high = b.positive_limits()
    if b.custom:
        counts = b.positives()
        shape = counts.shape
        return Ladder(np.broadcast_to(low, shape), np.broadcast_to(high, shape), counts, np.ones(shape, np.bool_))
    below, above = (x[::-1] for x in b.negative_limits())
    threshold = b.thresholds[:, None]
    only_positive = b.sides[:, 1:] & ~b.sides[:, :1]
    only_negative = b.sides[:, :1] & ~b.sides[:, 1:]
    zero = np.where(only_positive, 0.0, -threshold), np.where(only_negative, 0.0, threshold)
    lower = np.concatenate((np.broadcast_to(below, (n, len(below))), zero[0], np.maximum(low, threshold)), axis=1)
    upper = np.concatenate((np.minimum(above, -threshold), zero[1], np.broadcast_to(high, (n, len(high)))), axis=1)
    linear = np.zeros(counts.shape, np.bool_)
    linear[:, len(below)] = True
    return Ladder(lower, upper, counts, linear)


@frozen(eq=False)
class Quantiles:
    """float64[H] quantiles; hidden, skewed: where NaN among the observations make the result NaN, or too high."""

    values: Floats
    hidden: Mask
    skewed: Mask


def quantiles(table: Table, wanted: Floats) -> Quantiles:
    """Return the quantile `wanted` (float64[H]) of each histogram."""
    values, hidden, skewed = np.zeros(len(table)), np.zeros(len(table), np.bool_), np.zeros(len(table), np.bool_)
    for numbers, batch in table.parts():
        with np.errstate(all="ignore"):
            values[numbers], hidden[numbers], skewed[numbers] = _quantiles(batch, wanted[numbers])
    return Quantiles(values, hidden, skewed)


def _quantiles(b: Batch, q: Floats) -> tuple[Floats, Mask, Mask]:
    rungs = ladder(b)
    total, nan_sum = b.data[:, COUNT], np.isnan(b.data[:, SUM])
    if not rungs.counts.shape[1]:
        nothing = np.zeros((len(b), 1))
        rungs = Ladder(nothing, nothing, nothing, np.ones((len(b), 1), np.bool_))
    forward = nan_sum | (q < 0.5)
    rank = np.where(forward, q, 1 - q) * total
    ahead = np.cumsum(rungs.counts, axis=1)
    behind = np.cumsum(rungs.counts[:, ::-1], axis=1)[:, ::-1]
    populated = rungs.counts != 0
    places = np.arange(rungs.counts.shape[1])
    # The first bucket from the near end whose count reaches the rank; the last one there is, where none does.
    hits = populated & np.where(forward[:, None], ahead >= rank[:, None], behind >= rank[:, None])
    order = np.where(forward[:, None], places, -places)
    far = np.where(populated, order, -len(places) - 1).max(axis=1)
    first = np.where(hits, order, len(places) + 1).min(axis=1)
    at = np.abs(np.where(hits.any(axis=1), first, np.where(populated.any(axis=1), far, 0)))

    def pick(columns: Floats) -> Floats:
        found: Floats = np.take_along_axis(columns, at[:, None], axis=1)[:, 0]
        return found

    lower, upper, inside = pick(rungs.lower), pick(rungs.upper), pick(rungs.counts)
    bare = ~populated.any(axis=1)
    lower[bare] = upper[bare] = 0.0
    reached = np.minimum(np.where(forward, pick(ahead), pick(behind)), total)
    missed = reached < rank
    fraction = np.where(forward, rank - (reached - inside), reached - rank) / inside
    low = np.where(b.custom & (lower == -np.inf), 0.0, lower)
    straight = low + (upper - low) * fraction
    found = np.where(pick(rungs.linear.astype(np.float64)) != 0, straight, _logarithmic(lower, upper, fraction))
    found = np.where(missed, np.where(nan_sum, np.nan, upper), found)
    early = np.zeros(len(b), np.bool_)
    if b.custom:
        early = ((lower == -np.inf) & (upper <= 0)) | ((lower != -np.inf) & (upper == np.inf))
        found = np.where(early, np.where(lower == -np.inf, upper, lower), found)
    usual = (q >= 0) & (q <= 1) & (total != 0)
    found = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, np.where(usual, found, np.nan)))
    hidden = usual & ~early & missed & nan_sum
    skewed = usual & ~early & ~missed & nan_sum & (np.minimum(rungs.counts.sum(axis=1), total) < total)
    return found, hidden, skewed


def _logarithmic(lower: Floats, upper: Floats, fraction: Floats) -> Floats:
    low, high = np.log2(np.abs(lower)), np.log2(np.abs(upper))
    positive = np.exp2(low + (high - low) * fraction)
    return np.where(lower > 0, positive, -np.exp2(high + (low - high) * (1 - fraction)))


def fractions(table: Table, lower: Floats, upper: Floats) -> tuple[Floats, Mask]:
    """Return (the share of observations between two limits, where NaN among them are left out); each [H]."""
    values, left_out = np.zeros(len(table)), np.zeros(len(table), np.bool_)
    for numbers, b in table.parts():
        a, z, total = lower[numbers], upper[numbers], b.data[:, COUNT]
        with np.errstate(all="ignore"):
            rungs = ladder(b)
            nan_sum, counted = np.isnan(b.data[:, SUM]), rungs.counts.sum(axis=1)
            known = np.where(nan_sum, counted, total)
            share = (_rank(rungs, z, known) - _rank(rungs, a, known)) / total
        usual = (total != 0) & ~np.isnan(a) & ~np.isnan(z)
        values[numbers] = np.where(usual, np.where(a >= z, 0.0, share), np.nan)
        left_out[numbers] = usual & (a < z) & nan_sum & (counted < total)
    return values, left_out


def _rank(rungs: Ladder, limit: Floats, known: Floats) -> Floats:
    """Return how many observations lie below a limit."""
    at = limit[:, None]
    # The lowest custom bucket begins at 0 if that is in it.  Else, reaching from -Inf, it lies before any limit in it as
    # a whole, as one that ends at +Inf lies behind.
    lower = np.where((rungs.lower == -np.inf) & (rungs.upper > 0), 0.0, rungs.lower)
    inside = (lower < at) & (rungs.upper > at)
    straight = (at - lower) / (rungs.upper - lower)
    straight = np.where(lower == -np.inf, 1.0, straight)
    low, high, v = (np.log2(np.abs(x)) for x in (lower, rungs.upper, at))
    curved = np.where(at > 0, (v - low) / (high - low), 1 - (v - high) / (low - high))
    share = np.where(inside, np.where(rungs.linear, straight, curved), np.where(lower >= at, 0.0, 1.0))
    rank = np.where(rungs.counts == 0, 0.0, rungs.counts * share).sum(axis=1)
    settled = ((rungs.counts != 0) & (inside | (lower >= at))).any(axis=1)
    return np.where(settled, np.minimum(rank, known), known)


def variances(table: Table) -> Floats:
    """Return the variance of the observations of each histogram, estimated."""
    out = np.zeros(len(table))
    for numbers, b in table.parts():
        with np.errstate(all="ignore"):
            rungs = ladder(b)
            mean = b.data[:, SUM] / b.data[:, COUNT]
            middle = np.sqrt(rungs.upper * rungs.lower)
            middle = np.where(rungs.upper < 0, -middle, middle)
            across = (rungs.lower <= 0) & (rungs.upper >= 0)
            middle = (rungs.upper + rungs.lower) / 2 if b.custom else np.where(across, 0.0, middle)
            distance = middle - mean[:, None]
            terms = np.where(rungs.counts == 0, 0.0, rungs.counts * distance * distance)
            if not terms.shape[1]:
                terms = np.zeros((len(b), 1))
            total, rest = sums_of_rows(terms.T)
            out[numbers] = (total + rest) / b.data[:, COUNT]
    return out
