"""Quantiles and fractions of histograms, native ones and classic ones (`le` buckets as float series).

Classic histograms with equal bounds are worked on together, all steps at once; only where buckets come and go is the
work split by which of them are there.  Source of the formulas: prometheus promql/quantile.go (BucketQuantile,
BucketFraction, 3.14).  Native histograms are measured in `native/measures.py`; where one meets a classic one of the same
labels, neither is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from ...model.histograms import is_handle, numbers_of
from ...model.labels import Labels, drop, get, metric_name
from ..blocks import Block, Floats, Indexes, Mask, Value, Vector, compact, floats_of, nothing, unified, vector_of
from ..buckets import Repairs, fractions, quantiles
from ..native import measures
from ..native.table import Table
from ..numbers_text import format_openmetrics
from ..plan import Node
from .registry import Kind, function
from .relabel import with_label

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode

_LE = frozenset(("le",))


@frozen(eq=False)
class _Classic:
    """Classic histograms of equal bounds.

    labels: H label sets, `le` and name still there where they were.  bounds: float64[B], ascending.
    counts: float64[H, B, T], cumulative.  present: bool[H, B, T].
    """

    labels: list[Labels]
    names: list[str]
    flags: list[bool]
    bounds: Floats
    counts: Floats
    present: Mask


@frozen(eq=False)
class _Native:
    """Native histograms: G label sets with their names for annotations, the table, which cells bool[G, T] they are at.

    numbers: int64[cells], in the order of the cells.
    """

    labels: list[Labels]
    names: list[str]
    present: Mask
    numbers: Indexes
    table: Table

    def part(self, found: Floats) -> tuple[list[Labels], Floats, Mask]:
        """Return one number for each histogram as a part of the result."""
        values = np.zeros(self.present.shape)
        values[self.present] = found
        return self.labels, values, self.present

    def spread(self, by_step: Floats) -> Floats:
        """Return a number of each step for each histogram."""
        return by_step[np.nonzero(self.present)[1]]

    def named(self, which: Mask) -> set[str]:
        """Return the names of the metrics that any of some histograms belongs to."""
        rows = np.nonzero(self.present)[0][which]
        return {self.names[row] for row in np.unique(rows).tolist()}


def _histograms(evaluation: Evaluation, vector: Vector, at: Node) -> tuple[list[_Classic], _Native | None]:
    """Return the histograms in a vector, native ones apart; warns where one collides with a classic one."""
    vector, block = compact(vector)
    evaluation.budget.hold(block.size)
    classic = _classic(evaluation, vector, floats_of(block), at)
    if block.histograms is None:
        return classic, None
    at_cells = block.present & is_handle(block.values)
    rows = np.flatnonzero(at_cells.any(axis=1))
    labels, present = [vector.labels[i] for i in rows.tolist()], at_cells[rows]
    names = [metric_name(x) if evaluation.delayed else "" for x in labels]
    number = {x: i for i, x in enumerate(labels)}
    for group in classic:
        for h, key in enumerate(group.labels):
            i = number.get(key)
            if i is not None and (both := present[i] & group.present[h].any(axis=0)).any():
                evaluation.annotations.mixed_classic(names[i], at.expr)
                present[i] &= ~both
                group.present[h] &= ~both
    numbers = numbers_of(block.values[rows][present])
    return classic, _Native(labels, names, present, numbers, block.histograms.take(numbers))


def _classic(evaluation: Evaluation, vector: Vector, block: Block, at: Node) -> list[_Classic]:
    """Return the classic histograms, those of equal bounds together; warns of series without a usable bound."""
    found: dict[Labels, list[tuple[float, int]]] = {}
    for row, labels in enumerate(vector.labels):
        if not block.present[row].any():
            continue
        text = get(labels, "le")
        bound = _bound(text)
        if bound is None:
            name = metric_name(labels) if evaluation.delayed else ""
            evaluation.annotations.bad_bucket_label(name, text, at.expr)
            continue
        found.setdefault(drop(labels, _LE), []).append((bound, row))
    alike: dict[tuple[float, ...], list[tuple[Labels, list[int]]]] = {}
    for labels, buckets in found.items():
        buckets.sort()
        alike.setdefault(tuple([b for b, _ in buckets]), []).append((labels, [row for _, row in buckets]))
    out = []
    for bounds, members in alike.items():
        rows = np.array([r for _, r in members], np.int64)
        names = [metric_name(labels) if evaluation.delayed else "" for labels, _ in members]
        flags = [vector.drop is not None and bool(vector.drop[r].any()) for _, r in members]
        whole = [labels for labels, _ in members]
        out.append(_Classic(whole, names, flags, np.array(bounds), block.values[rows], block.present[rows]))
    return out


def _bound(text: str) -> float | None:
    """Return the number in an `le` label as Go's ParseFloat reads it; None where it is none."""
    if not text or text != text.strip() or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


Compute = Callable[[_Classic, int, Indexes, Floats, Floats], Floats]


def _of_each(classic: _Classic, compute: Compute) -> tuple[Floats, Mask]:
    """Return (float64[H, T], present): `compute(classic, h, steps, bounds, counts)` for what is there.

    `h` is -1 when all histograms are done at once (counts float64[H, B, T]); else counts is float64[1, B', T'].
    """
    histograms, _, steps = classic.counts.shape
    values = np.zeros((histograms, steps))
    present: Mask = np.logical_or.reduce(classic.present, axis=1)
    everything = np.arange(steps)
    if classic.present.all():
        return compute(classic, -1, everything, classic.bounds, classic.counts), present
    for h in range(histograms):
        for mask, where in _patterns(classic.present[h]):
            counts = classic.counts[h][np.ix_(mask, where)][None]
            values[h, where] = compute(classic, h, where, classic.bounds[mask], counts)[0]
    return values, present


def _patterns(present: Mask) -> Iterator[tuple[Indexes, Indexes]]:
    """Yield (buckets, steps): at those steps exactly those buckets are there; steps without any are left out."""
    patterns, inverse = np.unique(present, axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    for i in range(patterns.shape[1]):
        buckets = np.flatnonzero(patterns[:, i])
        if len(buckets):
            yield buckets, np.flatnonzero(inverse == i)


def _result(evaluation: Evaluation, parts: list[tuple[list[Labels], Floats, Mask]], steps: int) -> Vector:
    parts = [part for part in parts if part[0]]
    if not parts:
        return nothing(steps)
    labels = [x for part in parts for x in part[0]]
    found = vector_of(labels, np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts]))
    return evaluation.dropped(unified(found))


def _quantile_of(evaluation: Evaluation, call: CallNode, quantile: Floats, at: Node) -> Compute:
    times = call.grid.times()

    def compute(classic: _Classic, h: int, steps: Indexes, bounds: Floats, counts: Floats) -> Floats:
        found, repairs = quantiles(quantile[steps], bounds, counts)
        if repairs is not None:
            _note(evaluation, repairs, classic.names if h < 0 else [classic.names[h]], times[steps], at)
        return found

    return compute


def _note(evaluation: Evaluation, repairs: Repairs, names: list[str], times: Indexes, at: Node) -> None:
    for h, name in enumerate(names):
        where = np.flatnonzero(repairs.count[h])
        if not len(where):
            continue
        evaluation.annotations.repaired_buckets(
            name,
            at.expr,
            (float(repairs.smallest[h, where].min()), float(repairs.largest[h, where].max())),
            float(repairs.difference[h, where].max()),
            (int(times[where[0]]), int(times[where[-1]])),
            len(where),
        )


def _check_quantile(evaluation: Evaluation, quantile: Floats, at: Node) -> None:
    for wrong in np.unique(quantile[~((quantile >= 0) & (quantile <= 1))]).tolist():
        evaluation.annotations.invalid_quantile(wrong, at.expr)


@function("histogram_quantile", Kind.GENERAL)
def histogram_quantile(evaluation: Evaluation, call: CallNode) -> Value:
    """The quantile of each histogram, linear within its bucket."""
    quantile = evaluation.scalar(call.arguments[0])
    _check_quantile(evaluation, quantile, call.arguments[0])
    compute = _quantile_of(evaluation, call, quantile, call.arguments[1])
    classics, native = _histograms(evaluation, evaluation.vector(call.arguments[1]), call.arguments[1])
    parts = [(classic.labels, *_of_each(classic, compute)) for classic in classics]
    if native is not None:
        parts.append(_native_quantile(evaluation, native, quantile, call.arguments[1]))
    return _result(evaluation, parts, call.steps)


def _native_quantile(
    evaluation: Evaluation, native: _Native, quantile: Floats, at: Node
) -> tuple[list[Labels], Floats, Mask]:
    found = measures.quantiles(native.table, native.spread(quantile))
    for which, outcome in ((found.hidden, "is NaN"), (found.skewed, "is skewed higher")):
        for name in native.named(which):
            what = f"histogram_quantile has NaN observations, result {outcome}"
            evaluation.annotations.nan_observations(what, name, at.expr)
    return native.part(found.values)


@function("histogram_quantiles", Kind.GENERAL)
def histogram_quantiles(evaluation: Evaluation, call: CallNode) -> Value:
    """Several quantiles of each histogram; the quantile becomes a label."""
    label = evaluation.text(call.arguments[1])
    parts = []
    wanted = [(evaluation.scalar(a), a) for a in call.arguments[2:]]
    for quantile, argument in wanted:
        _check_quantile(evaluation, quantile, argument)
    classics, native = _histograms(evaluation, evaluation.vector(call.arguments[0]), call.arguments[0])
    for quantile, _ in wanted:
        compute = _quantile_of(evaluation, call, quantile, call.arguments[0])
        found = [(classic.labels, *_of_each(classic, compute)) for classic in classics]
        if native is not None:
            found.append(_native_quantile(evaluation, native, quantile, call.arguments[0]))
        for labels, values, present in found:
            for q in np.unique(quantile).tolist():
                here = present & ((quantile == q) | (np.isnan(quantile) & (q != q)))
                text = format_openmetrics(q)
                parts.append(([with_label(x, label, text) for x in labels], values, here))
    return _result(evaluation, parts, call.steps)


@function("histogram_fraction", Kind.GENERAL)
def histogram_fraction(evaluation: Evaluation, call: CallNode) -> Value:
    """The share of observations between two bounds."""
    lower, upper = evaluation.scalar(call.arguments[0]), evaluation.scalar(call.arguments[1])

    def compute(_: _Classic, __: int, steps: Indexes, bounds: Floats, counts: Floats) -> Floats:
        return fractions(lower[steps], upper[steps], bounds, counts)

    classics, native = _histograms(evaluation, evaluation.vector(call.arguments[2]), call.arguments[2])
    parts = [(classic.labels, *_of_each(classic, compute)) for classic in classics]
    if native is not None:
        found, left_out = measures.fractions(native.table, native.spread(lower), native.spread(upper))
        for name in native.named(left_out):
            what = "histogram_fraction has NaN observations, which are excluded from all fractions"
            evaluation.annotations.nan_observations(what, name, call.arguments[2].expr)
        parts.append(native.part(found))
    return _result(evaluation, parts, call.steps)
