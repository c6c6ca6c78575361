"""Functions of histograms.  On classic ones (`le` buckets as float series): quantile and fraction, as upstream.

Histograms with equal bounds are worked on together, all steps at once; only where buckets come and go is the work
split by which of them are there.  Source of the formulas: prometheus promql/quantile.go (BucketQuantile,
BucketFraction, 3.14).  Functions of native histograms yield nothing for floats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from ...model.labels import Labels, drop, get, metric_name
from ..blocks import Floats, Indexes, Mask, Value, Vector, compact, nothing, vector_of
from ..buckets import Repairs, fractions, quantiles
from ..numbers_text import format_openmetrics
from ..plan import Node
from .registry import Kind, function
from .relabel import with_label

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode

_LE = frozenset(("le",))


def _native_only(evaluation: Evaluation, call: CallNode) -> Value:
    return nothing(call.steps)


for _name in ("avg", "count", "sum", "stddev", "stdvar"):
    function(f"histogram_{_name}", Kind.GENERAL)(_native_only)


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


def _classic(evaluation: Evaluation, vector: Vector, at: Node) -> list[_Classic]:
    """Return the histograms in a vector, those of equal bounds together; warns of series without a usable bound."""
    vector, block = compact(vector)
    evaluation.budget.hold(block.values.size)
    found: dict[Labels, list[tuple[float, int]]] = {}
    for row, labels in enumerate(vector.labels):
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
    return evaluation.dropped(
        vector_of(labels, np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts]))
    )


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
    parts = []
    for classic in _classic(evaluation, evaluation.vector(call.arguments[1]), call.arguments[1]):
        parts.append((classic.labels, *_of_each(classic, compute)))
    return _result(evaluation, parts, call.steps)


@function("histogram_quantiles", Kind.GENERAL)
def histogram_quantiles(evaluation: Evaluation, call: CallNode) -> Value:
    """Several quantiles of each histogram; the quantile becomes a label."""
    label = evaluation.text(call.arguments[1])
    parts = []
    wanted = [(evaluation.scalar(a), a) for a in call.arguments[2:]]
    for quantile, argument in wanted:
        _check_quantile(evaluation, quantile, argument)
    for classic in _classic(evaluation, evaluation.vector(call.arguments[0]), call.arguments[0]):
        for quantile, _ in wanted:
            values, present = _of_each(classic, _quantile_of(evaluation, call, quantile, call.arguments[1]))
            for q in np.unique(quantile).tolist():
                here = present & ((quantile == q) | (np.isnan(quantile) & (q != q)))
                text = format_openmetrics(q)
                parts.append(([with_label(x, label, text) for x in classic.labels], values, here))
    return _result(evaluation, parts, call.steps)


@function("histogram_fraction", Kind.GENERAL)
def histogram_fraction(evaluation: Evaluation, call: CallNode) -> Value:
    """The share of observations between two bounds."""
    lower, upper = evaluation.scalar(call.arguments[0]), evaluation.scalar(call.arguments[1])

    def compute(_: _Classic, __: int, steps: Indexes, bounds: Floats, counts: Floats) -> Floats:
        return fractions(lower[steps], upper[steps], bounds, counts)

    parts = []
    for classic in _classic(evaluation, evaluation.vector(call.arguments[2]), call.arguments[2]):
        parts.append((classic.labels, *_of_each(classic, compute)))
    return _result(evaluation, parts, call.steps)
