"""Buckets of classic histograms that are folded together though their bounds differ.

A bucket counts all that is at most its bound.  A member without a bucket of some bound has as many observations up to there as up
to its next lower one, so what that one grows by counts for the sums of all bounds from its own up to the next of the member.  Without
this the sum of a bound that few have would be below that of a lower one.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...model import labels as lb
from ...model.labels import Labels
from ...model.ragged import spread

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]


@frozen(eq=False)
class Buckets:
    """Of series by number: bounds, NaN for what is no bucket, and which histogram they are of, as a hash of the other labels."""

    bounds: F64
    histograms: U64


def bound_of(text: str) -> float:
    """Return the bound that a value of `le` says, NaN where it says none."""
    try:
        return float(text) if text else np.nan
    except ValueError:
        return np.nan


def histogram_of(labels: Labels) -> int:
    """Return what the buckets of one histogram have in common."""
    return sum(hash(pair) for pair in labels if pair[0] != "le") & 0xFFFF_FFFF_FFFF_FFFF


def bucket_of(labels: Labels) -> tuple[float, int]:
    """Return the bound of a series, NaN where it is no bucket, and its histogram."""
    return bound_of(lb.get(labels, "le")), histogram_of(labels)


class Fills:
    """For each member which sums it counts for: `targets[low]` .. `targets[high - 1]`, its own among them."""

    def __init__(self, members: Buckets, targets: Buckets, target_of: I64) -> None:
        """target_of: int64[members], the target of each member."""
        there = np.flatnonzero(~np.isnan(targets.bounds))
        order = there[np.lexsort((targets.bounds[there], targets.histograms[there]))]
        self._targets = order
        self._low, self._high = np.zeros(len(target_of), np.int64), np.zeros(len(target_of), np.int64)
        at = np.flatnonzero(~np.isnan(members.bounds) & ~np.isnan(targets.bounds[target_of]))
        at = at[np.lexsort((members.bounds[at], members.histograms[at]))]
        if not len(at):
            return
        bounds, of = members.bounds[at], members.histograms[at]
        levels = np.unique(np.concatenate([targets.bounds[order], bounds]))
        level = np.searchsorted(levels, bounds)
        above = np.full(len(at), len(levels))
        above[:-1] = np.where(of[1:] == of[:-1], level[1:], len(levels))
        _, group = np.unique(targets.histograms, return_inverse=True)
        codes = group[order] * (len(levels) + 1) + np.searchsorted(levels, targets.bounds[order])
        base = group[target_of[at]] * (len(levels) + 1)
        ranks = np.argsort(codes, kind="stable")
        self._targets, codes = order[ranks], codes[ranks]
        self._low[at], self._high[at] = np.searchsorted(codes, base + level), np.searchsorted(codes, base + above)

    def more(self, places: I64, own: I64) -> tuple[I64, I64]:
        """Return (rows, targets): which samples, given by member, count for which sums beside their own."""
        low, counts = self._low[places], self._high[places] - self._low[places]
        rows = np.repeat(np.arange(len(places)), counts)
        targets = self._targets[spread(low, counts)]
        other = targets != own[rows]
        return rows[other], targets[other]
