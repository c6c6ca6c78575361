"""`</` and `>/`: histograms without the observations above, or below, a limit.

Buckets on the kept side stay, the one that the limit cuts is interpolated, the others go.  Count and sum are estimated
anew where any bucket changed.  An infinite bucket has no known distribution: it mostly goes as a whole.  Source:
prometheus model/histogram/float_histogram.go (TrimBuckets and what it calls; 3.14).
"""

from __future__ import annotations

import numpy as np
from attrs import evolve, frozen

from ..arrays import Floats, Mask
from .batch import COUNT, SUM, ZERO, Batch
from .table import Table, assembled


def trimmed(table: Table, at: Floats, *, upper: bool) -> Table:
    """Return histograms with what lies above (`upper`) or below the limits float64[H] cut off."""
    parts = []
    for numbers, batch in table.parts():
        with np.errstate(all="ignore"):
            parts.append((numbers, _trimmed(batch, at[numbers][:, None], upper=upper)))
    return assembled(len(table), parts)


@frozen(eq=False)
class _Side:
    """Buckets of one side: bounds float64[K], counts float64[N, K]."""

    lower: Floats
    upper: Floats
    counts: Floats
    positive: bool
    custom: bool

    def middle(self, lower: Floats, upper: Floats) -> Floats:
        """Return what stands for the observations between two bounds."""
        if self.custom:
            between = (lower + upper) / 2
        else:
            between = np.sqrt(np.abs(lower * upper)) * (1.0 if self.positive else -1.0)
        from_below = np.where(np.isinf(upper), 0.0, np.where(upper > 0, upper / 2, upper))
        return np.where(np.isinf(lower), from_below, np.where(np.isinf(upper), lower, between))

    def below(self, at: Floats) -> Floats:
        """Return how many observations of the bucket that a limit cuts lie below it."""
        if self.custom:
            share = (at - self.lower) / (self.upper - self.lower)
        else:
            low, high, v = (np.log2(np.abs(x)) for x in (self.lower, self.upper, at))
            share = (v - low) / (high - low) if self.positive else 1 - (v - high) / (low - high)
        return np.where(at <= self.lower, 0.0, np.where(at >= self.upper, self.counts, self.counts * share))

    def cut(self, at: Floats, *, upper: bool) -> tuple[Floats, Floats]:
        """Return (kept count, what stands for it) of the bucket that a limit cuts."""
        under = self.below(at)
        at = np.broadcast_to(at, self.counts.shape)
        if upper:
            kept, middle = under, self.middle(np.broadcast_to(self.lower, at.shape), at)
        else:
            kept, middle = self.counts - under, self.middle(at, np.broadcast_to(self.upper, at.shape))
        infinite = np.isinf(self.lower) | np.isinf(self.upper)
        if not infinite.any():
            return kept, middle
        odd_kept, odd_middle = self._infinite(at, upper=upper)
        return np.where(infinite, odd_kept, kept), np.where(infinite, odd_middle, middle)

    def _infinite(self, at: Floats, *, upper: bool) -> tuple[Floats, Floats]:
        """Return the same for buckets that are infinite on one side."""
        count, end = self.counts, self.upper
        nothing = np.zeros_like(count)
        finite_end = np.broadcast_to(np.where(np.isinf(end), 0.0, end), count.shape)
        finite_start = np.broadcast_to(np.where(np.isinf(self.lower), 0.0, self.lower), count.shape)
        from_zero = (end > 0) & (end != np.inf)
        if upper:
            cases = [(at > 0) & from_zero, (end <= 0) & (at == at)]
            first = np.select(cases, [count * at / end, count], nothing)
            first_middle = np.select(cases, [at / 2, at], finite_end)
            last, last_middle = nothing, finite_start
        else:
            within = (at >= 0) & (end > at) & (end != np.inf)
            first = np.where(at == -np.inf, count, np.where(within, count * (1 - at / end), nothing))
            first_middle = np.where(at == -np.inf, 0.0, np.where(within, (at + end) / 2, finite_end))
            beyond = at >= self.lower
            last, last_middle = np.where(beyond, count, nothing), np.where(beyond, at, finite_start)
        from_below = self.lower == -np.inf
        return np.where(from_below, first, last), np.where(from_below, first_middle, last_middle)

    def trimmed(self, at: Floats, *, upper: bool) -> tuple[Floats, Floats]:
        """Return (kept counts, their share of the sum), each [N, K]."""
        kept_whole = self.upper <= at if upper else self.lower >= at
        cut = ~kept_whole & (self.lower < at if upper else self.upper > at)
        some, middle = self.cut(at, upper=upper)
        whole = np.broadcast_to(self.middle(self.lower, self.upper), some.shape)
        kept = np.where(self.counts == 0, 0.0, np.where(kept_whole, self.counts, np.where(cut, some, 0.0)))
        return kept, np.where(kept == 0, 0.0, kept * np.where(kept_whole, whole, middle))


def _trimmed(b: Batch, at: Floats, *, upper: bool) -> Batch:
    positive = _Side(*b.positive_limits(), b.positives(), positive=True, custom=b.custom)
    negative = _Side(*b.negative_limits(), b.negatives(), positive=False, custom=b.custom)
    kept_positive, sum_positive = positive.trimmed(at, upper=upper)
    kept_negative, sum_negative = negative.trimmed(at, upper=upper)
    populated = [(side.counts != 0).any(axis=1) for side in (negative, positive)]
    kept_zero, zero_middle = _zero(b, at[:, 0], populated, upper=upper)
    data = np.concatenate((b.data[:, :ZERO], kept_zero[:, None], kept_negative, kept_positive), axis=1)
    changed = (data[:, ZERO:] != b.data[:, ZERO:]).any(axis=1)
    total = sum_positive.sum(axis=1) + sum_negative.sum(axis=1) + np.where(kept_zero == 0, 0, zero_middle * kept_zero)
    data[:, COUNT] = np.where(changed, data[:, ZERO:].sum(axis=1), b.data[:, COUNT])
    data[:, SUM] = np.where(changed, total, b.data[:, SUM])
    made = evolve(b, data=data)
    return evolve(made, sides=np.where(changed[:, None], made.compacted().sides, b.sides))


def _zero(b: Batch, at: Floats, populated: list[Mask], *, upper: bool) -> tuple[Floats, Floats]:
    """Return (kept count, what stands for it) of the zero buckets."""
    has_negative, has_positive = populated
    start = np.where(has_positive & ~has_negative, 0.0, -b.thresholds)
    end = np.where(has_negative & ~has_positive, 0.0, b.thresholds)
    count = b.data[:, ZERO]
    middle = (start + end) / 2
    if upper:
        share, rest, all_of, none_of = (at - start) / (end - start), (start + at) / 2, at >= end, at <= start
    else:
        share, rest, all_of, none_of = (end - at) / (end - start), (at + end) / 2, at <= start, at >= end
    # The comparison that upstream makes first decides where the bucket has no width.
    first, second = (none_of, all_of) if upper else (all_of, none_of)
    outcome = (0.0, count) if upper else (count, 0.0)
    kept = np.where(first, outcome[0], np.where(second, outcome[1], count * share))
    return np.where(count > 0, kept, count), np.where(all_of, middle, rest)
