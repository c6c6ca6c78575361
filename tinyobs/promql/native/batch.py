"""Many float histograms of one layout: rows of a matrix, so that arithmetic is that of arrays.

A layout is a schema and, for custom buckets, their bounds.  Columns are count, sum, zero count, then negative and
positive buckets by ascending index; which buckets have a column is up to the batch, an absent bucket counts 0.  A
batch may carry the compensation of its sums beside (`rest`), which takes part in every linear step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from ...model.histogram_bounds import limits
from ...model.histograms import CUSTOM_SCHEMA, ResetHint
from ..arrays import Floats, Indexes, Mask

COUNT: Final = 0
SUM: Final = 1
ZERO: Final = 2
FIXED: Final = 3
"""Columns before those of buckets."""

Key = tuple[int, bytes]


@frozen(eq=False)
class Batch:
    """N histograms.

    schema: -53 for custom buckets.  bounds: float64, custom bounds.  negative, positive: int64, ascending indexes of the
    buckets that have columns.  data: float64[N, 3 + negative + positive].  thresholds: float64[N], ends of the zero
    buckets.  hints: int64[N], numbers of `ResetHint`.  sides: bool[N, 2], whether the histogram has negative, positive
    buckets at all (they may be empty).  rest: as data.
    """

    schema: int
    bounds: Floats
    negative: Indexes
    positive: Indexes
    data: Floats
    thresholds: Floats
    hints: Indexes
    sides: Mask
    rest: Floats | None = None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def custom(self) -> bool:
        """Whether buckets have custom bounds."""
        return self.schema == CUSTOM_SCHEMA

    @property
    def key(self) -> Key:
        """What batches of one layout have in common."""
        return self.schema, self.bounds.tobytes()

    def take(self, rows: Indexes) -> Batch:
        """Return some rows."""
        if len(rows) == len(self) and (rows == np.arange(len(rows))).all():
            return self
        return evolve(
            self,
            data=self.data[rows],
            thresholds=self.thresholds[rows],
            hints=self.hints[rows],
            sides=self.sides[rows],
            rest=None if self.rest is None else self.rest[rows],
        )

    def negatives(self) -> Floats:
        """Return the counts of negative buckets (a view)."""
        return self.data[:, FIXED : FIXED + len(self.negative)]

    def positives(self) -> Floats:
        """Return the counts of positive buckets (a view)."""
        return self.data[:, FIXED + len(self.negative) :]

    def positive_limits(self) -> tuple[Floats, Floats]:
        """Return (lower, upper) bounds of the positive buckets."""
        return limits(self.schema, self.bounds, self.positive, custom=self.custom)

    def negative_limits(self) -> tuple[Floats, Floats]:
        """Return (lower, upper) bounds of the negative buckets, which mirror positive ones."""
        lower, upper = limits(self.schema, self.bounds, self.negative, custom=False)
        return -upper, -lower

    def compacted(self) -> Batch:
        """Return the histograms without empty buckets."""
        sides = np.stack([(x != 0).any(axis=1) for x in (self.negatives(), self.positives())], axis=1)
        return evolve(self, sides=sides)

    def aligned(self, negative: Indexes, positive: Indexes) -> Batch:
        """Return the same histograms with columns for these buckets, among which theirs are."""
        if len(negative) == len(self.negative) and len(positive) == len(self.positive):
            return self
        places = np.concatenate(
            (
                np.arange(FIXED),
                FIXED + np.searchsorted(negative, self.negative),
                FIXED + len(negative) + np.searchsorted(positive, self.positive),
            )
        )
        return self._moved(negative, positive, places)

    def regrouped(self, schema: int, bounds: Floats, negative: Indexes, positive: Indexes) -> Batch:
        """Return histograms of a coarser layout: `negative` and `positive` say which bucket each bucket falls into."""
        to_negative, to_positive = np.unique(negative), np.unique(positive)
        places = np.concatenate(
            (
                np.arange(FIXED),
                FIXED + np.searchsorted(to_negative, negative),
                FIXED + len(to_negative) + np.searchsorted(to_positive, positive),
            )
        )
        moved = self._moved(to_negative, to_positive, places)
        return evolve(moved, schema=schema, bounds=bounds)

    def _moved(self, negative: Indexes, positive: Indexes, places: Indexes) -> Batch:
        width = FIXED + len(negative) + len(positive)
        return evolve(
            self,
            negative=negative,
            positive=positive,
            data=_moved(self.data, width, places),
            rest=None if self.rest is None else _moved(self.rest, width, places),
        )


def _moved(values: Floats, width: int, places: Indexes) -> Floats:
    """Return values added up in other columns: column `i` goes to `places[i]`."""
    out = np.zeros((len(values), width))
    if len(places) == len(np.unique(places)):
        out[:, places] = values
        return out
    for i, place in enumerate(places.tolist()):
        out[:, place] += values[:, i]
    return out


def common(indexes: Sequence[Indexes]) -> Indexes:
    """Return all indexes that occur, ascending."""
    first = indexes[0]
    if all(len(x) == len(first) and bool((x == first).all()) for x in indexes[1:]):
        return first
    return reduce(np.union1d, indexes)


def joined(batches: Sequence[Batch]) -> Batch:
    """Return the rows of batches of one layout as one batch."""
    if len(batches) == 1:
        return batches[0]
    negative, positive = common([b.negative for b in batches]), common([b.positive for b in batches])
    made = [b.aligned(negative, positive) for b in batches]
    rest = None
    if any(b.rest is not None for b in made):
        rest = np.concatenate([np.zeros_like(b.data) if b.rest is None else b.rest for b in made])
    return evolve(
        made[0],
        data=np.concatenate([b.data for b in made]),
        thresholds=np.concatenate([b.thresholds for b in made]),
        hints=np.concatenate([b.hints for b in made]),
        sides=np.concatenate([b.sides for b in made]),
        rest=rest,
    )


def gauges(count: int) -> NDArray[np.int64]:
    """Return the hint of gauges for so many histograms."""
    return np.full(count, int(ResetHint.GAUGE), np.int64)
