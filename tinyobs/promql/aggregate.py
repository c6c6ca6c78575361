"""Aggregations: grouping, and the operators that fold blocks into groups.

A fold keeps arrays of [groups, steps]; the matrix of its input never exists as a whole.  `quantile` and the operators
that pick series (`aggregate_picks.py`) need all rows of a group and say so.  Source of the semantics: prometheus
promql/engine.go (aggregation, 3.14): sums are compensated, a mean whose sum overflows is taken of scaled samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from attrs import define, evolve, field

from . import nodes
from .aggregate_picks import counted_values, picked, quantiled
from .blocks import Block, Floats, Indexes, Mask, Value, Vector, nothing, vector_of
from .grouping import flags_of_groups, groups_of
from .native.folding import HistogramFold
from .sums import OVERFLOW_SCALE, finished, sums_of_groups, two_sum

if TYPE_CHECKING:
    from .evaluate import Evaluation
    from .plan import AggregateNode


Parts: TypeAlias = tuple[Any, ...]
"""What a fold makes of the rows of one block: its counts int64[G, T] first."""


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
    groups, labels = groups_of(evaluation, vector, expr)
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
    """Fold all blocks of a vector in their order; what can be done for a block of floats alone is done beside others."""

    def folded(block: Block) -> tuple[Indexes, Parts]:
        return _folded(fold, block, groups[block.first : block.first + len(block)])

    def work(block: Block) -> Block | tuple[Indexes, Parts] | None:
        return None if not len(block) else block if block.histograms is not None else folded(block)

    for done in evaluation.each_block(vector, work):
        evaluation.budget.poll()
        if isinstance(done, Block):
            done = folded(histograms.take(done, groups[done.first : done.first + len(done)], fold.count > 0))
        if done is not None:
            with np.errstate(all="ignore"):
                fold.merge(*done)


def _folded(fold: Fold, block: Block, mine: Indexes) -> tuple[Indexes, Parts]:
    """Return (groups that a block has rows of, what the fold makes of them); mine: the group of each row."""
    values, present = block.values, block.present
    if (mine[1:] < mine[:-1]).any():
        order = np.argsort(mine, kind="stable")
        mine, values = mine[order], values[order]
        present = present[order] if present.strides[0] else present  # one row stands for all
    starts = np.concatenate(([0], np.flatnonzero(mine[1:] != mine[:-1]) + 1))
    with np.errstate(all="ignore"):
        return mine[starts], fold.reduce(starts, values, present)


def _count(starts: Indexes, present: Mask) -> Indexes:
    """Return int64[G, T]: how many rows of each group are present."""
    if not present.strides[0]:
        lengths = np.diff(starts, append=len(present))
        even: Indexes = lengths[:, None] * present[0]
        return even
    counts: Indexes = np.add.reduceat(present, starts, axis=0, dtype=np.int64)
    return counts


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

    def reduce(self, starts: Indexes, values: Floats, present: Mask) -> Parts:
        """Return what `merge` needs of the rows of a block, those of a group being `starts[i]` .. `starts[i+1] - 1`.

        Changes nothing: blocks are reduced side by side, in several threads.
        """
        return (_count(starts, present),)

    def merge(self, groups: Indexes, parts: Parts) -> None:
        """Take in what `reduce` made of the rows of some groups; a block names a group once."""
        self.count[groups] += parts[0]

    def finish(self) -> Floats:
        """Return float64[G, T]; where `count` is 0 it means nothing."""
        return self.count.astype(np.float64)


def _all_present(present: Mask) -> bool:
    return bool((present if present.strides[0] else present[:1]).all())


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

    def reduce(self, starts: Indexes, values: Floats, present: Mask) -> Parts:
        """Add the present values; where a sum is not finite, see how large they get."""
        used = values if _all_present(present) else np.where(present, values, 0.0)
        if self.scale != 1.0:
            used = used * self.scale
        added, lost = sums_of_groups(used, starts)
        largest = None
        if not np.isfinite(added).all():
            largest = np.maximum.reduceat(np.where(present, np.abs(values), 0.0), starts, axis=0)
        return _count(starts, present), added, lost, largest

    def merge(self, groups: Indexes, parts: Parts) -> None:
        """Add the sums of a block, keeping what rounding takes."""
        count, added, lost, largest = parts
        self.count[groups] += count
        total, error = two_sum(self.total[groups], added)
        rest = self.rest[groups] + lost + error
        rest[np.isinf(total)] = 0.0
        self.total[groups], self.rest[groups] = total, rest
        if largest is not None:
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

    def reduce(self, starts: Indexes, values: Floats, present: Mask) -> Parts:
        """Return the best of each group."""
        used = values if _all_present(present) else np.where(present, values, np.nan)
        return _count(starts, present), self.ufunc().reduceat(used, starts, axis=0)

    def merge(self, groups: Indexes, parts: Parts) -> None:
        """Take the better of what is there and what comes."""
        self.count[groups] += parts[0]
        self.best[groups] = self.ufunc()(self.best[groups], parts[1])

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

    def reduce(self, starts: Indexes, values: Floats, present: Mask) -> Parts:
        """Return mean and squares of the block's own groups."""
        here = _count(starts, present)
        lengths = np.diff(starts, append=len(values))
        # Relative to one of them, equal values have a variance of exactly 0.
        origin = np.fmin.reduceat(np.where(present, values, np.nan), starts, axis=0)
        moved = np.where(present, values - np.repeat(origin, lengths, axis=0), 0.0)
        middle = finished(*sums_of_groups(moved, starts)) / np.maximum(here, 1)
        mean = origin + middle
        distance = np.where(present, moved - np.repeat(middle, lengths, axis=0), 0.0)
        return here, mean, np.add.reduceat(distance * distance, starts, axis=0)

    def merge(self, groups: Indexes, parts: Parts) -> None:
        """Combine what is there with a block's own mean and squares."""
        here, mean, squares = parts
        before = self.count[groups]
        self.count[groups] += here
        after = self.count[groups]
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
