"""Aggregations that need the rows of a group together: `quantile`, `count_values`, and those that pick series.

`topk` and `bottomk` choose by a partition of each step's values.  Where values tie at the border, or NaN takes part,
which series stays depends on the order in which upstream's heap saw them: there the heap itself is replayed.
Source: prometheus promql/engine.go (aggregationK, aggregationCountValues).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import QueryExecutionError
from ..model.labels import NAME, Labels, drop, from_pairs, keep
from . import nodes
from .blocks import Block, Floats, Indexes, Mask, Vector, compact, nothing, vector_of
from .grouping import flags_of_groups, groups_of, rows_of_groups
from .heap import ordered, survivors
from .native.folding import left_out
from .native.text import distinct_values
from .numbers_text import format_g
from .numerals import format_number
from .quantiles import quantiles_of_rows
from .sampling import offset_of
from .strings import quote

if TYPE_CHECKING:
    from .evaluate import Evaluation
    from .plan import AggregateNode

_SIZE_MAX: Final = 2.0**63 - 1024
"""The k of `topk` must be below: the largest float that an int64 holds."""


def _held(evaluation: Evaluation, node: AggregateNode) -> tuple[Vector, Block]:
    assert isinstance(node.expr, nodes.Aggregate)
    vector, block = compact(evaluation.vector(node.inner))
    evaluation.budget.hold(block.size)
    return vector, left_out(evaluation, node.expr, block)


def quantiled(evaluation: Evaluation, node: AggregateNode) -> Vector:
    """Return the quantile of each group; warns of one outside 0 .. 1."""
    assert isinstance(node.expr, nodes.Aggregate)
    assert node.parameter is not None
    quantile = evaluation.scalar(node.parameter)
    at = node.parameter.expr
    if np.isnan(quantile).any():
        evaluation.annotations.invalid_quantile(float("nan"), at)
    for extreme in (np.fmax.reduce(quantile), np.fmin.reduce(quantile)):
        if extreme > 1 or extreme < 0:
            evaluation.annotations.invalid_quantile(float(extreme), at)
    vector, block = _held(evaluation, node)
    groups, labels = groups_of(evaluation, vector, node.expr)
    values = np.empty((len(labels), node.steps))
    present = np.zeros(values.shape, np.bool_)
    for g, rows in enumerate(rows_of_groups(groups, len(labels))):
        evaluation.budget.poll()
        here = block.present[rows]
        values[g] = quantiles_of_rows(block.values[rows].T, quantile, here.T)
        present[g] = here.any(axis=0)
    return vector_of(labels, values, present, flags_of_groups(vector, groups, len(labels)))


def counted_values(evaluation: Evaluation, node: AggregateNode) -> Vector:
    """Return how many series of a group have each value; the value becomes a label."""
    expr = node.expr
    assert isinstance(expr, nodes.Aggregate)
    assert node.parameter is not None
    name = evaluation.text(node.parameter)
    try:
        if not name or not name.encode():
            raise QueryExecutionError(f"invalid label name {quote(name)}")
    except UnicodeEncodeError:
        raise QueryExecutionError(f"invalid label name {quote(name)}") from None
    vector, block = _held(evaluation, node)
    names = frozenset(expr.grouping) | ({NAME} if expr.without else {name})
    counts: dict[Labels, Floats] = {}
    # Values are told apart by their bits: -0 is not 0 here, and all NaN are one.
    bits, texts = distinct_values(block)
    for row, labels in enumerate(vector.labels):
        present = block.present[row]
        for value in np.unique(bits[row, present]):
            text = texts.get(int(value)) or format_number(float(value.view(np.float64)))
            full = from_pairs((*labels, (name, text)))
            key = drop(full, names) if expr.without else keep(full, names)
            same = present & (bits[row] == value)
            old = counts.get(key)
            counts[key] = same.astype(np.float64) if old is None else old + same
    if not counts:
        return nothing(node.steps)
    order = sorted(counts)
    found = np.stack([counts[key] for key in order])
    return vector_of(order, found, found > 0)


def picked(evaluation: Evaluation, node: AggregateNode) -> Vector:
    """Return the series that `topk`, `bottomk`, `limitk` or `limit_ratio` let through, at the steps they do."""
    expr = node.expr
    assert isinstance(expr, nodes.Aggregate)
    assert node.parameter is not None
    parameter = evaluation.scalar(node.parameter)
    # The vector comes first: its errors and annotations count even where nothing is let through.
    vector, block = _held(evaluation, node)
    if expr.op == "limit_ratio":
        parameter = _checked_ratio(evaluation, node, parameter)
    elif not _checked_size(parameter):
        return nothing(node.steps)
    groups, labels = groups_of(evaluation, vector, expr)
    chosen = np.zeros(block.present.shape, np.bool_)
    order: list[int] = []
    for rows in rows_of_groups(groups, len(labels)):
        evaluation.budget.poll()
        if expr.op == "limit_ratio":
            offsets = np.array([offset_of(vector.labels[i]) for i in rows.tolist()])[:, None]
            taken = np.where(parameter >= 0, offsets < parameter, offsets >= 1.0 + parameter)
        elif expr.op == "limitk":
            taken = np.cumsum(block.present[rows], axis=0) <= np.trunc(parameter)
        else:
            taken = _best(block.values[rows], block.present[rows], parameter, largest=expr.op == "topk")
        chosen[rows] = taken & block.present[rows]
        if node.steps == 1:
            order += _instant_order(expr.op, rows[chosen[rows, 0]], block.values[:, 0])
    if node.steps > 1:
        order = np.flatnonzero(chosen.any(axis=1)).tolist()
    index = np.array(order, np.int64)
    names, drop_flags = [vector.labels[i] for i in order], vector.dropped(index)
    return vector_of(names, block.values[index], chosen[index], drop_flags, block.histograms)


def _instant_order(op: str, rows: Indexes, values: Floats) -> list[int]:
    """Return the chosen rows of an instant query in the order of the result."""
    if op not in ("topk", "bottomk"):
        return list(rows.tolist())
    sign = -1.0 if op == "topk" else 1.0
    here = values[rows]
    if len(np.unique(here)) == len(here):
        return list(rows[np.argsort(here * sign, kind="stable")].tolist())
    heap = survivors(here.tolist(), len(rows), largest=op == "topk")
    return [int(rows[i]) for i in ordered(heap, here.tolist(), largest=op == "topk")]


def _checked_size(parameter: Floats) -> bool:
    """Check the k of topk and its like; False where it never lets anything through."""
    if np.isnan(parameter).any():
        raise QueryExecutionError("Parameter value is NaN")
    if not len(parameter) or parameter.max() < 1:
        return False
    least, most = float(parameter.min()), float(parameter.max())
    if least <= -(2.0**63):
        raise QueryExecutionError(f"Scalar value {format_g(least)} underflows int64")
    if most >= _SIZE_MAX:
        raise QueryExecutionError(f"Scalar value {format_g(most)} overflows int64")
    return True


def _checked_ratio(evaluation: Evaluation, node: AggregateNode, parameter: Floats) -> Floats:
    assert node.parameter is not None
    if np.isnan(parameter).any():
        raise QueryExecutionError("Ratio value is NaN")
    for extreme, bound in ((parameter.max(), 1.0), (parameter.min(), -1.0)):
        if extreme * bound > 1:
            evaluation.annotations.invalid_ratio(float(extreme), bound, node.parameter.expr)
    clipped = np.clip(parameter, -1.0, 1.0)
    # A ratio of 0 lets nothing through, although 0 >= 0 would be the rule of positive ones.
    return np.where(clipped == 0, 0.0, clipped)


def _best(values: Floats, present: Mask, parameter: Floats, *, largest: bool) -> Mask:
    """Return which of the rows are among the k best at each step."""
    taken = np.zeros(present.shape, np.bool_)
    sizes = np.minimum(np.trunc(parameter), len(values)).astype(np.int64)
    keys = np.where(present, -values if largest else values, np.nan)
    available: Indexes = present.sum(axis=0)
    nans: Mask = np.logical_or.reduce(np.isnan(values) & present, axis=0)
    for k in np.unique(sizes).tolist():
        steps = np.flatnonzero(sizes == k)
        if k < 1:
            continue
        border = np.partition(np.ascontiguousarray(keys[:, steps].T), k - 1, axis=1)[:, k - 1]
        some = present[:, steps] & ((available[steps] <= k) | (keys[:, steps] <= border))
        taken[:, steps] = some
        unclear = steps[(available[steps] > k) & (nans[steps] | (some.sum(axis=0) != k))]
        for step in unclear.tolist():
            rows = np.flatnonzero(present[:, step])
            taken[:, step] = False
            taken[rows[survivors(values[rows, step].tolist(), k, largest=largest)], step] = True
    return taken
