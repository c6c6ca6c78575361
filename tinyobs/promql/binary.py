"""Binary operations: scalars with anything, and the set operators.  Matching of vectors is in `matching.py`.

Source of the semantics: prometheus promql/engine.go (VectorscalarBinop, VectorAnd, VectorOr, VectorUnless).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import nodes
from .blocks import Block, Floats, Mask, Scalar, Value, Vector, compact, mapped, unified, vector_of
from .keys import signatures
from .matching import matched
from .native.binary import Operand, combined
from .native.table import merged
from .operators import COMPARISONS, SETS, TRIMS, arithmetic, comparison

if TYPE_CHECKING:
    from .evaluate import Evaluation
    from .plan import BinaryNode


def operated(evaluation: Evaluation, node: BinaryNode) -> Value:
    """Return the value of a binary operation."""
    expr = node.expr
    assert isinstance(expr, nodes.Binary)
    left, right = evaluation.evaluate(node.left), evaluation.evaluate(node.right)
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return _scalars(expr.op, left.values, right.values)
    if isinstance(right, Scalar):
        assert isinstance(left, Vector)
        return _with_scalar(evaluation, expr, left, right.values, swapped=False)
    if isinstance(left, Scalar):
        assert isinstance(right, Vector)
        return _with_scalar(evaluation, expr, right, left.values, swapped=True)
    assert isinstance(left, Vector)
    assert isinstance(right, Vector)
    if expr.op in SETS:
        return _set_operation(evaluation, expr, left, right)
    return matched(evaluation, expr, left, right)


def _scalars(op: str, left: Floats, right: Floats) -> Scalar:
    if op in COMPARISONS:
        return Scalar(comparison(op, left, right).astype(np.float64))
    return Scalar(arithmetic(op, left, right))


def _with_scalar(evaluation: Evaluation, expr: nodes.Binary, vector: Vector, scalar: Floats, *, swapped: bool) -> Value:
    op = expr.op
    flag = expr.bool_modifier

    def change(block: Block) -> Block:
        left, right = (scalar, block.values) if swapped else (block.values, scalar)
        if block.histograms is not None or op in TRIMS:
            operands = Operand(block.values, block.histograms), Operand(scalar)
            here = operands[::-1] if swapped else operands
            return combined(evaluation, expr, block.first, *here, block.present, operands[0])
        if op not in COMPARISONS:
            return Block(block.first, arithmetic(op, left, right), block.present)
        holds = comparison(op, left, right)
        if flag:
            return Block(block.first, holds.astype(np.float64), block.present)
        return Block(block.first, block.values, block.present & holds)

    found = mapped(vector, vector.labels, change, vector.drop)
    return found if op in TRIMS or (op in COMPARISONS and not flag) else evaluation.dropped(found)


def _set_operation(evaluation: Evaluation, expr: nodes.Binary, left: Vector, right: Vector) -> Vector:
    matching = expr.matching or nodes.Matching(nodes.Cardinality.MANY_TO_MANY)
    if expr.op == "or":
        return _union(evaluation, matching, left, right)
    keys_left, keys_right, count = signatures(left.labels, right.labels, matching)
    seen = np.zeros((count, left.steps), np.bool_)
    for block in right.blocks():
        np.logical_or.at(seen, keys_right[block.first : block.first + len(block)], block.present)
    if expr.op == "unless":
        seen = ~seen

    def change(block: Block) -> Block:
        wanted = seen[keys_left[block.first : block.first + len(block)]]
        return Block(block.first, block.values, block.present & wanted, block.histograms)

    return mapped(left, left.labels, change, left.drop)


def _union(evaluation: Evaluation, matching: nodes.Matching, left: Vector, right: Vector) -> Vector:
    a, block_a = compact(left)
    b, block_b = compact(right)
    evaluation.budget.hold(block_a.size + block_b.size)
    keys_a, keys_b, count = signatures(a.labels, b.labels, matching)
    seen = _any_of(block_a.present, keys_a, count)
    added = block_b.present & ~seen[keys_b]
    values, table = merged([(x.values, x.histograms) for x in (block_a, block_b)])
    present = np.concatenate((block_a.present, added))
    return unified(vector_of([*a.labels, *b.labels], np.concatenate(values), present, _joined(a, b), table))


def _any_of(present: Mask, keys: np.ndarray, count: int) -> Mask:
    """Return bool[count, T]: where any row of a key is present."""
    seen = np.zeros((count, present.shape[1]), np.bool_)
    np.logical_or.at(seen, keys, present)
    return seen


def _joined(a: Vector, b: Vector) -> Mask | None:
    if a.drop is None and b.drop is None:
        return None
    flags = [np.zeros(len(v), np.bool_) if v.drop is None else v.drop for v in (a, b)]
    return np.concatenate(flags)
