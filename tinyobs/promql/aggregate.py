"""Aggregations: grouping, and the operators that fold blocks into groups.

A fold keeps arrays of [groups, steps]; the matrix of its input never exists as a whole.  `quantile` and the operators
that pick series (`aggregate_picks.py`) need all rows of a group and say so.  Source of the semantics: prometheus
promql/engine.go (aggregation, 3.14): sums are compensated, a mean whose sum overflows is taken of scaled samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import define, evolve, field

from . import nodes
from .aggregate_picks import counted_values, picked, quantiled
from .blocks import Floats, Indexes, Mask, Value, Vector, nothing, vector_of
from .grouping import flags_of_groups, grouped
from .native.folding import HistogramFold
from .sums import OVERFLOW_SCALE, finished, sums_of_groups, two_sum

if TYPE_CHECKING:
    from .evaluate import Evaluation
    from .plan import AggregateNode


def aggregated(evaluation: Evaluation, node: AggregateNode) -> Value:
    """Return the value of an aggregation."""
    expr = node.expr
    assert isinstance(expr, nodes.Aggregate)
    if expr.op == "count_values":
        return counted_values(evaluation, node)
    if expr.op in ("topk", "bottomk", "limitk", "limit_ratio"):
        return picked(evaluation, node)
    if expr.op == "quantile":
        return quantiled(evaluation, node)
    vector = evaluation.vector(node.inner)
    groups, labels = grouped(vector.labels, expr)
    if not labels:
        return nothing(node.steps)
    evaluation.budget.hold(len(labels) * node.steps)
    fold = FOLDS[expr.op](len(labels), node.steps)
    histograms = HistogramFold(evaluation, expr, vector.labels, len(labels), node.steps)
    _fill(fold, evaluation, vector, groups, histograms)
    values = fold.finish()
    if isinstance(fold, Sum) and (over := fold.overflown()).any():
        scaled = type(fold)(len(labels), node.steps, scale=OVERFLOW_SCALE)
        _fill(scaled, evaluation, vector, groups, evolve(histograms, scale=OVERFLOW_SCALE))
        with np.errstate(over="ignore"):
            values = np.where(over, scaled.finish() / OVERFLOW_SCALE, values)
    present, table = fold.count > 0, None
    if histograms.found:
        small = None
        if histograms.overflown():
            small = evolve(histograms, scale=OVERFLOW_SCALE)
            _fill(type(fold)(len(labels), node.steps), evaluation, vector, groups, small)
        values, present, table = histograms.finish(values, present, small)
    return vector_of(labels, values, present, flags_of_groups(vector, groups, len(labels)), table)


def _fill(fold: Fold, evaluation: Evaluation, vector: Vector, groups: Indexes, histograms: HistogramFold) -> None:
    for block in vector.blocks():
        evaluation.budget.poll()
        if not len(block):
            continue
        mine = groups[block.first : block.first + len(block)]
        if block.histograms is not None:
            block = histograms.take(block, mine)
        values, present = block.values, block.present
        if (mine[1:] < mine[:-1]).any():
            order = np.argsort(mine, kind="stable")
            mine, values, present = mine[order], values[order], present[order]
        starts = np.concatenate(([0], np.flatnonzero(mine[1:] != mine[:-1]) + 1))
        with np.errstate(all="ignore"):
            fold.add(mine[starts], starts, values, present)


@define(eq=False)
class Fold:
    """The state of an operator over [G, T]; this one only counts."""

    groups: int
    steps: int
    scale: float = 1.0
    count: Indexes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.count = np.zeros((self.groups, self.steps), np.int64)
        self.prepare()

    def prepare(self) -> None:
        """Make the arrays of the operator."""

    def add(self, groups: Indexes, starts: Indexes, values: Floats, present: Mask) -> None:
        """Take in rows: those of `groups[i]` are `starts[i]` .. `starts[i+1] - 1`; a block names a group once."""
        self.count[groups] += np.add.reduceat(present, starts, axis=0, dtype=np.int64)

    def finish(self) -> Floats:
        """Return float64[G, T]; where `count` is 0 it means nothing."""
        return self.count.astype(np.float64)


class Count(Fold):
    """`count`."""


class Group(Fold):
    """`group`: always 1."""

    def finish(self) -> Floats:
        """Return ones."""
        return np.ones((self.groups, self.steps))


@define(eq=False)
class Sum(Fold):
    """`sum`, compensated."""

    total: Floats = field(init=False)
    rest: Floats = field(init=False)
    largest: Floats = field(init=False)

    def prepare(self) -> None:
        """Start from nothing."""
        self.total = np.zeros((self.groups, self.steps))
        self.rest = np.zeros((self.groups, self.steps))
        self.largest = np.zeros((self.groups, self.steps))

    def add(self, groups: Indexes, starts: Indexes, values: Floats, present: Mask) -> None:
        """Add the present values; once a sum is not finite, see how large they get."""
        Fold.add(self, groups, starts, values, present)
        used = values if present.all() else np.where(present, values, 0.0)
        if self.scale != 1.0:
            used = used * self.scale
        added, lost = sums_of_groups(used, starts)
        total, error = two_sum(self.total[groups], added)
        rest = self.rest[groups] + lost + error
        rest[np.isinf(total)] = 0.0
        self.total[groups], self.rest[groups] = total, rest
        if not np.isfinite(total).all():
            largest = np.maximum.reduceat(np.where(present, np.abs(values), 0.0), starts, axis=0)
            self.largest[groups] = np.maximum(self.largest[groups], largest)

    def overflown(self) -> Mask:
        """Return where the sum is not finite although every sample is."""
        return ~np.isfinite(self.total) & np.isfinite(self.largest)

    def finish(self) -> Floats:
        """Return the sums."""
        return finished(self.total, self.rest)


class Mean(Sum):
    """`avg`."""

    def finish(self) -> Floats:
        """Return the means."""
        count = np.maximum(self.count, 1)
        with np.errstate(all="ignore"):
            return np.where(np.isinf(self.total), self.total, self.total / count + self.rest / count)


@define(eq=False)
class Extreme(Fold):
    """`max`, and with `least` in a subclass `min`: a NaN counts only among NaNs."""

    best: Floats = field(init=False)

    def ufunc(self) -> np.ufunc:
        """Return what picks the better of two."""
        return np.fmax

    def prepare(self) -> None:
        """Start from NaN, which every number replaces."""
        self.best = np.full((self.groups, self.steps), np.nan)

    def add(self, groups: Indexes, starts: Indexes, values: Floats, present: Mask) -> None:
        """Take the better of what is there and what comes."""
        Fold.add(self, groups, starts, values, present)
        ufunc = self.ufunc()
        found = ufunc.reduceat(np.where(present, values, np.nan), starts, axis=0)
        self.best[groups] = ufunc(self.best[groups], found)

    def finish(self) -> Floats:
        """Return the best."""
        return self.best


class Least(Extreme):
    """`min`."""

    def ufunc(self) -> np.ufunc:
        """Return what picks the smaller of two."""
        return np.fmin


@define(eq=False)
class Variance(Fold):
    """`stdvar`: mean and sum of squared distances, combined block by block (Chan, Golub, LeVeque 1979)."""

    mean: Floats = field(init=False)
    squares: Floats = field(init=False)

    def prepare(self) -> None:
        """Start from nothing."""
        self.mean = np.zeros((self.groups, self.steps))
        self.squares = np.zeros((self.groups, self.steps))

    def add(self, groups: Indexes, starts: Indexes, values: Floats, present: Mask) -> None:
        """Combine what is there with the block's own mean and squares."""
        before = self.count[groups]
        Fold.add(self, groups, starts, values, present)
        after = self.count[groups]
        here = after - before
        lengths = np.diff(starts, append=len(values))
        # Relative to one of them, equal values have a variance of exactly 0.
        origin = np.fmin.reduceat(np.where(present, values, np.nan), starts, axis=0)
        moved = np.where(present, values - np.repeat(origin, lengths, axis=0), 0.0)
        middle = finished(*sums_of_groups(moved, starts)) / np.maximum(here, 1)
        mean = origin + middle
        distance = np.where(present, moved - np.repeat(middle, lengths, axis=0), 0.0)
        squares = np.add.reduceat(distance * distance, starts, axis=0)
        gap = np.where(before > 0, mean - self.mean[groups], 0.0)
        old, share = self.mean[groups], here / np.maximum(after, 1)
        some = here > 0
        self.mean[groups] = np.where(some, np.where(before > 0, old + gap * share, mean), old)
        self.squares[groups] += np.where(some, squares + gap * gap * before * share, 0.0)

    def finish(self) -> Floats:
        """Return the variances."""
        return self.squares / np.maximum(self.count, 1)


class Deviation(Variance):
    """`stddev`."""

    def finish(self) -> Floats:
        """Return the square roots of the variances."""
        return np.sqrt(Variance.finish(self))


FOLDS: dict[str, type[Fold]] = {
    "count": Count,
    "group": Group,
    "sum": Sum,
    "avg": Mean,
    "max": Extreme,
    "min": Least,
    "stdvar": Variance,
    "stddev": Deviation,
}
"""The operators that fold."""
