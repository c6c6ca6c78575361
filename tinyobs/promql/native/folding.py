"""Aggregations over vectors in which histograms occur.

`sum` and `avg` add histograms up, block by block; `count` and `group` count them; the other operators leave them out
and say so.  A group that has floats and histograms at a step has no result there.  Source: prometheus promql/engine.go
(aggregation; 3.14).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from attrs import define, field

from ...model.histograms import handles, is_handle, numbers_of
from ...model.labels import Labels, metric_name
from ..arrays import Floats, Indexes, Mask
from ..blocks import Block, floats_of
from ..nodes import Aggregate
from ..sums import OVERFLOW_SCALE
from .arithmetic import added, compacted, divided, finished, scaled
from .table import EMPTY, Table, concatenated
from .totals import are_finite, replaced, totals

if TYPE_CHECKING:
    from ..evaluate import Evaluation

_ALIKE: Final = ("count", "group", "limitk", "limit_ratio", "count_values")
_ADDING: Final = ("sum", "avg")


def left_out(evaluation: Evaluation, expr: Aggregate, block: Block) -> Block:
    """Return a block without the histograms, with an info if there were any, unless the operator takes them."""
    if block.histograms is None or expr.op in _ALIKE:
        return block
    if (block.present & is_handle(block.values)).any():
        evaluation.annotations.ignored_in_aggregation(expr.op, expr.expr)
    return floats_of(block)


@define(eq=False)
class HistogramFold:
    """The histograms of groups so far.

    labels: of all series, for warnings.  groups: how many.  cells: int64[G, T], the number of the sum in the table, -1
    without one.  counts: int64[G, T], histograms added up.  broken: bool[G, T], some do not go together.  mixed: bool[G, T],
    floats came before that.
    """

    evaluation: Evaluation
    expr: Aggregate
    labels: Sequence[Labels]
    groups: int
    steps: int
    scale: float = 1.0
    cells: Indexes = field(init=False)
    counts: Indexes = field(init=False)
    broken: Mask = field(init=False)
    mixed: Mask = field(init=False)
    resets: Mask = field(init=False)
    keeps: Mask = field(init=False)
    table: Table = field(default=EMPTY, init=False)

    def __attrs_post_init__(self) -> None:
        shape = (self.groups, self.steps)
        self.cells = np.full(shape, -1, np.int64)
        self.counts = np.zeros(shape, np.int64)
        self.broken, self.mixed, self.resets, self.keeps = (np.zeros(shape, np.bool_) for _ in range(4))

    def take(self, block: Block, groups: Indexes, floats: Mask) -> Block:
        """Take in the histograms of a block and return the rest.

        groups: those of the rows.  floats: bool[G, T], where groups had floats before.
        """
        if self.expr.op not in _ADDING or block.histograms is None:
            return left_out(self.evaluation, self.expr, block)
        native = is_handle(block.values)
        rows, steps = np.nonzero(block.present & native)
        if len(rows):
            before = self._floats_before(block.present & ~native, groups, floats)
            cell = groups[rows] * self.steps + steps
            self.counts += np.bincount(cell, minlength=self.counts.size).reshape(self.counts.shape)
            # Once a group began with a float, upstream looks at its histograms no more.
            first = np.full(self.counts.size, len(block), np.int64)
            np.minimum.at(first, cell, rows)
            late = (self.cells.flat[cell] < 0) & (before.flat[cell] < first[cell])
            rows, steps, cell = rows[~late], steps[~late], cell[~late]
            order = np.lexsort((rows, cell))
            table = block.histograms.take(numbers_of(block.values[rows, steps])[order])
            if self.scale != 1.0:
                table = scaled(table, np.full(len(table), self.scale))
            if len(table):
                self._add(table, cell[order], rows[order], block.first, before)
        return floats_of(block)

    def _floats_before(self, present: Mask, groups: Indexes, floats: Mask) -> Indexes:
        """Return int64[G, T], the first row of each group that has a float, -1 for those of earlier blocks."""
        first = np.full(self.counts.shape, len(present), np.int64)
        rows, steps = np.nonzero(present)
        np.minimum.at(first, (groups[rows], steps), rows)
        return np.where(floats, -1, first)

    def _add(self, table: Table, cell: Indexes, rows: Indexes, offset: int, floats: Indexes) -> None:
        notes, at = self.evaluation.annotations, self.expr.expr
        starts = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
        made = totals(table, starts)
        cells = cell[starts]
        self.resets.flat[cells] |= made.resets
        self.keeps.flat[cells] |= made.keeps
        odd = made.incompatible >= 0
        culprits = made.incompatible[odd]
        self.broken.flat[cells[odd]] = True
        reconciled = made.reconciled[~odd].any()
        held = self.cells.flat[cells]
        old = np.flatnonzero(held >= 0)
        if len(old):
            sums = added(self.table.take(held[old]), made.table.take(old), compensated=True)
            self.broken.flat[cells[old[sums.incompatible]]] = True
            culprits = np.concatenate((culprits, starts[old[sums.incompatible]]))
            reconciled |= sums.reconciled.any()
            self.table = replaced(self.table, held[old], sums.table)
        new = np.flatnonzero(held < 0)
        if len(new):
            self.cells.flat[cells[new]] = len(self.table) + np.arange(len(new))
            before = self.table.size
            self.table = concatenated((self.table, made.table.take(new)))
            self.evaluation.budget.hold(self.table.size - before)
        # From the histogram on that does not fit, upstream looks at nothing more of the group.
        self.mixed.flat[cell[culprits]] |= floats.flat[cell[culprits]] < rows[culprits]
        for row in np.unique(rows[culprits]).tolist():
            notes.mixed_schemas(metric_name(self.labels[row + offset]), at)
        if reconciled:
            notes.reconciled("aggregation", at)

    @property
    def found(self) -> bool:
        """Whether any histogram came."""
        return bool(self.counts.any())

    def overflown(self) -> bool:
        """Whether a mean has to be taken of scaled histograms."""
        return self.expr.op == "avg" and not are_finite(self.table).all()

    def finish(self, values: Floats, present: Mask, small: HistogramFold | None = None) -> tuple[Floats, Mask, Table]:
        """Return (values, present, table) of the groups: their floats, and where there are none, their histograms.

        small: the same of scaled histograms.
        """
        notes, at = self.evaluation.annotations, self.expr.expr
        mixed = present & (self.counts > 0)
        if (mixed & (~self.broken | self.mixed)).any():
            notes.mixed_aggregation(at)
        good = (self.counts > 0) & ~present & ~self.broken
        if (good & self.resets & self.keeps).any():
            notes.collision("aggregation", at)
        cells = np.flatnonzero(good)
        table = self._finished(cells)
        if small is not None:
            over = np.flatnonzero(~are_finite(table))
            again = small._finished(cells[over])
            table = replaced(table, over, scaled(again, np.full(len(over), 1 / OVERFLOW_SCALE)))
        values = np.array(values)
        values.flat[cells] = handles(0, len(cells))
        return values, (present & ~mixed) | good, compacted(table)

    def _finished(self, cells: Indexes) -> Table:
        table = self.table.take(self.cells.flat[cells])
        if self.expr.op == "avg":
            table = divided(table, self.counts.flat[cells].astype(np.float64))
        return finished(table)
