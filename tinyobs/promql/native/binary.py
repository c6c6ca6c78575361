"""Operators where one side or both are histograms.

Pairs of operands are told apart by what they are; those of two floats are left to the caller.  An operator that does
not take what it got drops the pair, and an info says so: one a step, the last.  Source: prometheus promql/engine.go
(vectorElemBinop, VectorBinop, VectorscalarBinop; 3.14).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from attrs import define, frozen

from ...model.histograms import ResetHint, handles, is_handle, numbers_of
from ..arrays import Floats, Indexes, Mask
from ..blocks import Block
from ..nodes import Binary
from ..operators import COMPARISONS, TRIMS, arithmetic, comparison
from .arithmetic import added, are_equal, compacted, divided, scaled, with_hints
from .table import Table, concatenated
from .trim import trimmed

if TYPE_CHECKING:
    from ..evaluate import Evaluation

_WORDS: Final = {"+": "addition", "-": "subtraction"}


@frozen(eq=False)
class Operand:
    """One side: values float64[s, T] (a scalar: [T]), and what handles in them stand for."""

    values: Floats
    histograms: Table | None = None

    def kinds(self, shape: tuple[int, ...]) -> Mask:
        """Return where the values are histograms."""
        if self.histograms is None:
            return np.zeros(shape, np.bool_)
        return is_handle(np.broadcast_to(self.values, shape))

    def of(self, cells: Indexes, shape: tuple[int, ...]) -> Table:
        """Return the histograms at some cells."""
        assert self.histograms is not None
        return self.histograms.take(numbers_of(np.broadcast_to(self.values, shape).flat[cells]))

    def floats(self, cells: Indexes, shape: tuple[int, ...]) -> Floats:
        """Return the numbers at some cells."""
        found: Floats = np.broadcast_to(self.values, shape).flat[cells]
        return found


@define(eq=False)
class _Outcome:
    """Results that are put together: cells with their histograms, and what was said of each step."""

    evaluation: Evaluation
    expr: Binary
    steps: int
    values: Floats
    present: Mask
    cells: list[Indexes]
    tables: list[Table]
    last: dict[int, tuple[int, str]]

    def put(self, cells: Indexes, table: Table) -> None:
        """Add histograms."""
        self.cells.append(cells)
        self.tables.append(table)

    def say(self, what: str, cells: Indexes) -> None:
        """Note something of some pairs; of a step, the last pair's stands."""
        for cell in cells.tolist():
            row, step = divmod(cell, self.steps)
            if self.last.get(step, (-1, ""))[0] <= row:
                self.last[step] = row, what

    def block(self, first: int) -> Block:
        """Return the block, and add the annotations."""
        notes, op = self.evaluation.annotations, self.expr.op
        for what in {what for _, what in self.last.values()}:
            if what == "layout":
                notes.incompatible_layouts(op, self.expr)
            elif what == "collision":
                notes.collision(_WORDS[op], self.expr)
            elif what == "reconciled":
                notes.reconciled(_WORDS[op], self.expr)
            else:
                left, right = what.split()
                notes.incompatible_types(left, op, right, self.expr)
        if not self.cells:
            return Block(first, self.values, self.present)
        cells = np.concatenate(self.cells)
        self.values.flat[cells] = handles(0, len(cells))
        self.present.flat[cells] = True
        return Block(first, self.values, self.present, concatenated(self.tables))


def combined(
    evaluation: Evaluation, expr: Binary, first: int, left: Operand, right: Operand, present: Mask, kept: Operand
) -> Block:
    """Return the block of `left op right`; `kept` is the side whose samples a comparison lets through."""
    shape = present.shape
    kinds_left, kinds_right = left.kinds(shape) & present, right.kinds(shape) & present
    plain = present & ~kinds_left & ~kinds_right
    out = _Outcome(evaluation, expr, shape[1], *_of_floats(expr, left, right, plain, kept), [], [], {})
    both = np.flatnonzero(kinds_left & kinds_right)
    one = np.flatnonzero(kinds_left & ~kinds_right), np.flatnonzero(kinds_right & ~kinds_left)
    if expr.op in TRIMS:
        out.say("float float", np.flatnonzero(plain))
    if len(one[0]):
        _histogram_with_float(out, one[0], left.of(one[0], shape), right.floats(one[0], shape))
    if len(one[1]):
        if expr.op == "*":
            table = scaled(right.of(one[1], shape), left.floats(one[1], shape))
            out.put(one[1], compacted(table))
        else:
            out.say("float histogram", one[1])
    if len(both):
        _two_histograms(out, both, left.of(both, shape), right.of(both, shape))
    return out.block(first)


def _of_floats(expr: Binary, left: Operand, right: Operand, plain: Mask, kept: Operand) -> tuple[Floats, Mask]:
    """Return (values, present) of pairs of floats."""
    if expr.op in TRIMS:
        return np.zeros(plain.shape), np.zeros(plain.shape, np.bool_)
    a, b = (np.where(plain, np.broadcast_to(x.values, plain.shape), 0.0) for x in (left, right))
    if expr.op not in COMPARISONS:
        return arithmetic(expr.op, a, b), plain
    holds = comparison(expr.op, a, b)
    if expr.bool_modifier:
        return holds.astype(np.float64), plain
    return np.array(np.broadcast_to(kept.values, plain.shape)), plain & holds


def _histogram_with_float(out: _Outcome, cells: Indexes, table: Table, numbers: Floats) -> None:
    op = out.expr.op
    if op == "*":
        out.put(cells, compacted(scaled(table, numbers)))
    elif op == "/":
        out.put(cells, compacted(divided(table, numbers)))
    elif op in TRIMS:
        out.put(cells, trimmed(table, numbers, upper=op == "</"))
    else:
        out.say("histogram float", cells)


def _two_histograms(out: _Outcome, cells: Indexes, left: Table, right: Table) -> None:
    op = out.expr.op
    if op in _WORDS:
        sums = added(left, right, sign=1.0 if op == "+" else -1.0)
        table = sums.table if op == "+" else with_hints(sums.table, ResetHint.GAUGE)
        out.say("layout", cells[sums.incompatible])
        out.say("reconciled", cells[sums.reconciled])
        out.say("collision", cells[sums.collision])
        good = np.flatnonzero(~sums.incompatible & ~sums.collision)
        out.put(cells[good], compacted(table.take(good)))
    elif op in ("==", "!="):
        holds = are_equal(left, right) == (op == "==")
        if out.expr.bool_modifier:
            out.values.flat[cells], out.present.flat[cells] = holds.astype(np.float64), True
        else:
            some = np.flatnonzero(holds)
            out.put(cells[some], left.take(some))
    else:
        out.say("histogram histogram", cells)
