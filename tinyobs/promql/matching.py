"""Operations between two vectors: one-to-one and many-to-one matching, `group_*`, `fill_*`, and their errors.

Rows meet as pairs (many, one); whether both are there is decided for all steps at once.  The checks are upstream's,
in its order and its words: a key twice on the "one" side, then a second match in one-to-one, then equal results.
Source: prometheus promql/engine.go (VectorBinop, resultMetric).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import define, frozen

from ..errors import QueryExecutionError
from ..model.labels import Labels, drop, get, is_legacy_label_name, keep
from . import nodes
from .blocks import RESERVED, Block, Floats, Indexes, Mask, Vector, compact, nothing, unified, vector_of
from .grouping import rows_of_groups
from .keys import key_function, numbered, signatures
from .native.binary import Operand, combined
from .nodes import Cardinality, Matching
from .operators import COMPARISONS, TRIMS, arithmetic, comparison
from .strings import quote

if TYPE_CHECKING:
    from .evaluate import Evaluation

_FILL = -1
"""In place of a row: the fill value."""


@frozen(eq=False)
class _Side:
    """One side of the operation, evaluated."""

    vector: Vector
    block: Block
    keys: Indexes
    fill: float | None

    def values(self, rows: Indexes, steps: int) -> Floats:
        """Return the values of rows, and of the fill."""
        fill = np.nan if self.fill is None else self.fill
        if not len(self.block):
            return np.full((len(rows), steps), fill)
        found: Floats = self.block.values[np.maximum(rows, 0)]
        found[rows == _FILL] = fill
        return found


@define(eq=False)
class _Pairs:
    """Which rows meet: rows of the many side and the one side, and at which steps."""

    many: list[Indexes]
    one: list[Indexes]
    present: list[Mask]

    def add(self, many: Indexes, one: Indexes, present: Mask) -> None:
        """Add pairs."""
        some = present.any(axis=1)
        self.many.append(many[some])
        self.one.append(one[some])
        self.present.append(present[some])


def matched(evaluation: Evaluation, expr: nodes.Binary, left: Vector, right: Vector) -> Vector:
    """Return `left op right`, series matched by labels."""
    matching = expr.matching or Matching()
    if (found := _streamed(evaluation, expr, matching, left, right)) is not None:
        return found
    a, block_a = compact(left)
    b, block_b = compact(right)
    evaluation.budget.hold(block_a.size + block_b.size)
    keys_a, keys_b, count = signatures(a.labels, b.labels, matching)
    swapped = matching.cardinality is Cardinality.ONE_TO_MANY
    many = _Side(a, block_a, keys_a, matching.fill_left)
    one = _Side(b, block_b, keys_b, matching.fill_right)
    if swapped:
        many, one = one, many
    _check_one_side(many, one, matching, count)
    pairs = _pairs(many, one, count, left.steps)
    rows_many, rows_one = np.concatenate(pairs.many), np.concatenate(pairs.one)
    if not len(rows_many):
        return nothing(left.steps)
    present = np.concatenate(pairs.present)
    labels = _result_labels(expr, matching, many.vector.labels, one.vector.labels, rows_many, rows_one)
    keys = _keys_of(many, one, rows_many, rows_one)
    _check_matches(matching, keys, present, [_bare(x) for x in labels] if expr.bool_modifier else labels)
    values_many = Operand(many.values(rows_many, left.steps), many.block.histograms)
    values_one = Operand(one.values(rows_one, left.steps), one.block.histograms)
    operands = (values_one, values_many) if swapped else (values_many, values_one)
    return _computed(evaluation, expr, labels, operands, present)


def _streamed(
    evaluation: Evaluation, expr: nodes.Binary, matching: Matching, left: Vector, right: Vector
) -> Vector | None:
    """Return the result where labels alone show that no check can fail, block by block of the many side; else None.

    That is when no key occurs twice on the one side, and none of the results' labels twice on the other.
    """
    if matching.fill_left is not None or matching.fill_right is not None:
        return None
    swapped = matching.cardinality is Cardinality.ONE_TO_MANY
    many, one = (right, left) if swapped else (left, right)
    keys_many, keys_one, count = signatures(many.labels, one.labels, matching)
    partner = np.full(count, _FILL)
    partner[keys_one] = np.arange(len(one))
    if len(np.unique(keys_one)) < len(keys_one):
        return None
    rows_one = partner[keys_many]
    rows_many = np.flatnonzero(rows_one != _FILL)
    if matching.cardinality is Cardinality.ONE_TO_ONE and len(np.unique(keys_many[rows_many])) < len(rows_many):
        return None
    labels = _result_labels(expr, matching, many.labels, one.labels, rows_many, rows_one[rows_many])
    if len({_bare(x) for x in labels} if expr.bool_modifier else set(labels)) < len(labels):
        return None
    whole = one.whole()
    evaluation.budget.hold(whole.size)

    def change(first: int, block: Block) -> Block:
        end = block.first + len(block)
        rows = rows_many[np.searchsorted(rows_many, block.first) : np.searchsorted(rows_many, end)]
        values = Operand(block.values[rows - block.first], block.histograms)
        partners = Operand(whole.values[rows_one[rows]], whole.histograms)
        present = block.present[rows - block.first] & whole.present[rows_one[rows]]
        return _combined(evaluation, expr, first, (partners, values) if swapped else (values, partners), present)

    def stream() -> Iterator[Block]:
        first = 0
        for block in many.blocks():
            made = change(first, block)
            first += len(made)
            yield made

    found = Vector(labels, many.steps, stream)
    return evaluation.dropped(found) if expr.bool_modifier else found


def _combined(
    evaluation: Evaluation, expr: nodes.Binary, first: int, operands: tuple[Operand, Operand], present: Mask
) -> Block:
    """Return the block of `left op right`."""
    left, right = operands
    if left.histograms is not None or right.histograms is not None or expr.op in TRIMS:
        return combined(evaluation, expr, first, left, right, present, left)
    if expr.op not in COMPARISONS:
        return Block(first, arithmetic(expr.op, left.values, right.values), present)
    holds = comparison(expr.op, left.values, right.values)
    if expr.bool_modifier:
        return Block(first, holds.astype(np.float64), present)
    return Block(first, left.values, present & holds)


def _computed(
    evaluation: Evaluation, expr: nodes.Binary, labels: list[Labels], operands: tuple[Operand, Operand], present: Mask
) -> Vector:
    block = _combined(evaluation, expr, 0, operands, present)
    found = vector_of(labels, block.values, block.present, histograms=block.histograms)
    return evaluation.dropped(found) if expr.bool_modifier else unified(found)


def _pairs(many: _Side, one: _Side, count: int, steps: int) -> _Pairs:
    pairs = _Pairs([], [], [])
    rows_of_key = rows_of_groups(one.keys, count)
    sizes = np.array([len(rows) for rows in rows_of_key], np.int64) if count else np.zeros(0, np.int64)
    for position in range(int(sizes.max(initial=0))):
        partner = np.array([int(r[position]) if len(r) > position else _FILL for r in rows_of_key], np.int64)
        with_partner = np.flatnonzero(partner[many.keys] != _FILL)
        ones = partner[many.keys[with_partner]]
        pairs.add(with_partner, ones, many.block.present[with_partner] & one.block.present[ones])
    if one.fill is not None and len(many.vector):
        alone = many.block.present & ~_seen(one, count, steps)[many.keys]
        pairs.add(np.arange(len(many.vector)), np.full(len(many.vector), _FILL), alone)
    if many.fill is not None and len(one.vector):
        alone = one.block.present & ~_seen(many, count, steps)[one.keys]
        pairs.add(np.full(len(one.vector), _FILL), np.arange(len(one.vector)), alone)
    if not pairs.many:
        pairs.add(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, steps), np.bool_))
    return pairs


def _seen(side: _Side, count: int, steps: int) -> Mask:
    seen = np.zeros((count, steps), np.bool_)
    np.logical_or.at(seen, side.keys, side.block.present)
    return seen


def _keys_of(many: _Side, one: _Side, rows_many: Indexes, rows_one: Indexes) -> Indexes:
    if not len(many.keys):
        return one.keys[rows_one]
    if not len(one.keys):
        return many.keys[rows_many]
    return np.where(rows_many == _FILL, one.keys[np.maximum(rows_one, 0)], many.keys[np.maximum(rows_many, 0)])


def _check_one_side(many: _Side, one: _Side, matching: Matching, count: int) -> None:
    """Raise when the one side has a key twice at a step (at which the operation takes place at all)."""
    if len(np.unique(one.keys)) == len(one.keys):
        return
    active = one.block.present.any(axis=0)
    if many.fill is None and one.fill is None:
        active &= many.block.present.any(axis=0)
    for rows in rows_of_groups(one.keys, count):
        if len(rows) < 2:
            continue
        here = one.block.present[rows] & active
        crowded = np.flatnonzero(here.sum(axis=0) > 1)
        if len(crowded):
            both = rows[np.flatnonzero(here[:, crowded[0]])[:2]].tolist()
            _raise_duplicate(matching, *sorted(one.vector.labels[row] for row in both))


def _raise_duplicate(matching: Matching, first: Labels, second: Labels) -> None:
    side = "left" if matching.cardinality is Cardinality.ONE_TO_MANY else "right"
    (group,) = key_function(matching)([first])
    raise QueryExecutionError(
        f"found duplicate series for the match group {braced(group)} on the {side} hand-side of the operation: "
        f"[{braced(first)}, {braced(second)}];many-to-many matching not allowed: matching labels must be unique on "
        f"one side"
    )


def braced(labels: Labels) -> str:
    """Return labels as errors show them: all in braces, the name among them."""
    names = [name if is_legacy_label_name(name) else quote(name) for name, _ in labels]
    return "{" + ", ".join(f"{name}={quote(value)}" for name, (_, value) in zip(names, labels, strict=True)) + "}"


def _check_matches(matching: Matching, keys: Indexes, present: Mask, labels: list[Labels]) -> None:
    """Raise when a key is matched twice at a step (one-to-one), or yields equal labels twice (many-to-one)."""
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        groups = keys
        message = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
    else:
        groups, _ = numbered(list(zip(keys.tolist(), labels, strict=True)))
        message = "multiple matches for labels: grouping labels must ensure unique matches"
    numbers, inverse = np.unique(groups, return_inverse=True)
    if len(numbers) == len(groups):
        return
    counts = np.zeros((len(numbers), present.shape[1]), np.int32)
    np.add.at(counts, inverse, present)
    if (counts > 1).any():
        raise QueryExecutionError(message)


def _bare(labels: Labels) -> Labels:
    return drop(labels, RESERVED)


def _result_labels(
    expr: nodes.Binary,
    matching: Matching,
    many: Sequence[Labels],
    one: Sequence[Labels],
    rows_many: Indexes,
    rows_one: Indexes,
) -> list[Labels]:
    """Return the labels of each pair's result."""
    key = key_function(matching)
    changes = expr.op not in COMPARISONS and expr.op not in TRIMS
    names = frozenset(matching.labels)
    one_to_one = matching.cardinality is Cardinality.ONE_TO_ONE
    out = []
    for i, j in zip(rows_many.tolist(), rows_one.tolist(), strict=True):
        left = key([one[j]])[0] if i == _FILL else many[i]
        right = key([many[i]])[0] if j == _FILL else one[j]
        labels = _bare(left) if changes else left
        if one_to_one:
            labels = keep(labels, names) if matching.on else drop(labels, names)
        if matching.include:
            kept = {k: v for k, v in labels if k not in matching.include}
            kept.update((k, v) for k in matching.include if (v := get(right, k)))
            labels = tuple(sorted(kept.items()))
        out.append(labels)
    return out
