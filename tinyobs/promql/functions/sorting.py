"""`sort` and its relatives: they order the result of an instant query and warn in a range query.

NaN comes last either way.  Labels compare in natural order: runs of digits by their value.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from ...model.labels import get
from ..blocks import Indexes, Value, Vector, compact, floats_in, vector_of
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode

_CHUNK = re.compile(r"\d+|\D+")
_INEFFECTIVE = "sort is ineffective for range queries since results are always ordered by labels"


def _unsorted(evaluation: Evaluation, call: CallNode) -> Vector | None:
    """Return the argument as it is, with a warning, where sorting has no effect: in a range query."""
    if not evaluation.times.step_ms:
        return None
    evaluation.annotations.warn(_INEFFECTIVE, call.expr)
    return evaluation.vector(call.arguments[0])


def _by_value(evaluation: Evaluation, call: CallNode, sign: float) -> Value:
    found = _unsorted(evaluation, call)
    if found is not None or call.steps != 1:
        return floats_in(found or evaluation.vector(call.arguments[0]))
    vector, block = compact(evaluation.floats(call.arguments[0]))
    return _in_order(vector, np.argsort(block.values[:, 0] * sign, kind="stable"))


def _in_order(vector: Vector, order: Indexes) -> Vector:
    block = vector.whole()
    labels = [vector.labels[i] for i in order.tolist()]
    return vector_of(labels, block.values[order], block.present[order], vector.dropped(order), block.histograms)


@function("sort", Kind.GENERAL)
def sort(evaluation: Evaluation, call: CallNode) -> Value:
    """Smallest value first."""
    return _by_value(evaluation, call, 1.0)


@function("sort_desc", Kind.GENERAL)
def sort_desc(evaluation: Evaluation, call: CallNode) -> Value:
    """Largest value first."""
    return _by_value(evaluation, call, -1.0)


@function("sort_by_label", Kind.GENERAL)
def sort_by_label(evaluation: Evaluation, call: CallNode) -> Value:
    """By the given labels, then by all, ascending."""
    return _by_label(evaluation, call, descending=False)


@function("sort_by_label_desc", Kind.GENERAL)
def sort_by_label_desc(evaluation: Evaluation, call: CallNode) -> Value:
    """By the given labels, then by all, descending."""
    return _by_label(evaluation, call, descending=True)


def _by_label(evaluation: Evaluation, call: CallNode, *, descending: bool) -> Value:
    found = _unsorted(evaluation, call)
    if found is not None:
        return found
    names = [evaluation.text(a) for a in call.arguments[1:]]
    vector, _ = compact(evaluation.vector(call.arguments[0]))

    def compare(i: int, j: int) -> int:
        a, b = vector.labels[i], vector.labels[j]
        for name in names:
            x, y = get(a, name), get(b, name)
            if x != y:
                return -1 if _natural_less(x, y) else 1
        return -1 if a < b else int(a > b)

    order = sorted(range(len(vector)), key=functools.cmp_to_key(compare), reverse=descending)
    return _in_order(vector, np.array(order, np.int64))


def _natural_less(a: str, b: str) -> bool:
    """Tell whether `a` comes before `b`: chunk by chunk, digits by value, a shorter number of equal value first."""
    chunks_a, chunks_b = _CHUNK.findall(a), _CHUNK.findall(b)
    for x, y in zip(chunks_a, chunks_b, strict=False):
        if x == y:
            continue
        if x.isdigit() and y.isdigit() and x.isascii() and y.isascii():
            if int(x) != int(y):
                return int(x) < int(y)
            return len(x) < len(y)
        return bool(x < y)
    return len(chunks_a) < len(chunks_b)
