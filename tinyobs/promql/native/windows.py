"""Functions over ranges in which histograms occur.

A function takes floats alone (then histograms beside floats are left out, with an info), all samples alike, or
histograms in a way of its own (`rates.py`, and sums here).  A series may have floats and histograms; windows that hold
both are dropped by sums and rates, with a warning.  Source: prometheus promql/functions.go (3.14).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from attrs import define, evolve, field

from ...model.histograms import handles, is_handle, numbers_of
from ...model.labels import Labels, metric_name
from ...model.ragged import offsets_of, spread
from ..arrays import Floats, Indexes, Mask
from ..blocks import Block
from ..functions.start_times import started_anew
from ..nodes import Expr
from ..windows import Windows, without_histograms
from .arithmetic import are_equal, are_resets, finished
from .codec import decoded
from .samples import neighbours
from .table import Table, concatenated
from .totals import Totals, means, totals

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode

Compute = Callable[[Windows], tuple[Floats, Mask]]
_PIECE: Final = 1 << 15
"""Histograms that are added up at one time."""


@define(eq=False)
class NativeWindows:
    """The windows of a block of series among whose samples histograms are.

    expr: at which upstream's annotations point.  windows: of all samples.  floats: of floats alone.  table: the histograms; numbers: int64[N], which of them a sample
    is, -1 for a float.  natives: int64[S, T], the number of histograms in each window.
    """

    evaluation: Evaluation
    expr: Expr
    labels: Sequence[Labels]
    windows: Windows
    floats: Windows = field(init=False)
    table: Table = field(init=False)
    numbers: Indexes = field(init=False)
    natives: Indexes = field(init=False)
    _resets: Mask | None = None

    def __attrs_post_init__(self) -> None:
        columns = self.windows.columns
        assert columns.histograms is not None
        self.floats = evolve(self.windows, columns=without_histograms(columns))
        self.table = decoded(columns.histograms)
        self.numbers = numbers_of(columns.values)
        self.natives = self.windows.counts - self.floats.counts

    def note(self, add: Callable[[str, Expr], None], where: Mask) -> None:
        """Add an annotation for each metric that has a window in `where` (bool[S, T])."""
        for row in np.flatnonzero(where.any(axis=1)).tolist():
            add(metric_name(self.labels[row]), self.expr)

    def note_cells(self, add: Callable[[str, Expr], None], cells: Indexes) -> None:
        """Add an annotation for each metric that has one of some windows."""
        where = np.zeros(self.natives.shape, np.bool_)
        where.flat[cells] = True
        self.note(add, where)

    def note_mixed(self) -> None:
        """Warn of windows with floats and histograms."""
        mixed = (self.natives > 0) & (self.floats.counts > 0)
        self.note(self.evaluation.annotations.mixed_range, mixed)

    def of(self, samples: Indexes) -> Table:
        """Return the histograms of some samples."""
        return self.table.take(self.numbers[samples])

    def resets(self) -> Mask:
        """Return bool[N]: whether a histogram follows another one and a counter reset lies between."""
        if self._resets is None:
            before, now = neighbours(self.windows.columns)
            self._resets = np.zeros(len(self.numbers), np.bool_)
            self._resets[now] = are_resets(self.of(now), self.of(before))
            anew = None if self.windows.modifier else started_anew(self.windows.columns)
            if anew is not None:
                self._resets[now] |= anew[before]
        return self._resets


@define(eq=False)
class Found:
    """What a function yields: floats where windows have some, histograms at some cells."""

    values: Floats
    present: Mask
    tables: list[Table]
    cells: list[Indexes]

    def put(self, cells: Indexes, table: Table) -> None:
        """Add histograms, one for each cell."""
        self.cells.append(cells)
        self.tables.append(table)

    def block(self, first: int) -> Block:
        """Return the block."""
        count = sum(len(t) for t in self.tables)
        if not count:
            return Block(first, self.values, self.present)
        values, present = np.array(self.values), np.array(self.present)
        cells = np.concatenate(self.cells)
        values.flat[cells] = handles(0, count)
        present.flat[cells] = True
        return Block(first, values, present, concatenated(self.tables))


Own = Callable[[NativeWindows, Compute], Found]


def computed(
    evaluation: Evaluation, call: CallNode, labels: Sequence[Labels], first: int, windows: Windows, compute: Compute
) -> Block:
    """Return what a function yields for windows with histograms; `compute` is how it treats floats."""
    native = NativeWindows(evaluation, call.place, labels[first : first + len(windows.columns)], windows)
    own = OWN.get(call.function.name)
    return (own or _ignoring)(native, compute).block(first)


def of_floats(native: NativeWindows, compute: Compute) -> Found:
    """Return what a function yields for the floats of each window."""
    if not len(native.floats.values):
        shape = native.natives.shape
        return Found(np.zeros(shape), np.zeros(shape, np.bool_), [], [])
    return Found(*compute(native.floats), [], [])


def unmixed(native: NativeWindows, compute: Compute) -> Found:
    """Return the same without windows that have histograms too, of which a warning tells."""
    native.note_mixed()
    found = of_floats(native, compute)
    found.present = found.present & (native.natives == 0)
    return found


def _ignoring(native: NativeWindows, compute: Compute) -> Found:
    mixed = (native.natives > 0) & (native.floats.counts > 0)
    native.note(native.evaluation.annotations.ignored_in_range, mixed)
    return of_floats(native, compute)


def _alike(native: NativeWindows, compute: Compute) -> Found:
    return Found(*compute(native.windows), [], [])


def _picking(native: NativeWindows, compute: Compute) -> Found:
    """Return one sample of each window; values keep their handles."""
    values, present = compute(native.windows)
    cells = np.flatnonzero(present & is_handle(values))
    return Found(values, present, [native.table.take(numbers_of(values.flat[cells]))], [cells])


def _sum(native: NativeWindows, compute: Compute) -> Found:
    found = unmixed(native, compute)
    for cells, made in _runs(native, totals):
        found.put(cells, finished(made))
    return found


def _mean(native: NativeWindows, compute: Compute) -> Found:
    found = unmixed(native, compute)
    for cells, made in _runs(native, means):
        found.put(cells, made)
    return found


def _runs(native: NativeWindows, fold: Callable[[Table, Indexes], Totals]) -> Iterator[tuple[Indexes, Table]]:
    """Yield (cells, what `fold` makes of their histograms) of windows with nothing else; adds the annotations."""
    notes, windows = native.evaluation.annotations, native.windows
    cells = np.flatnonzero((native.natives > 0) & (native.floats.counts == 0))
    counts = native.natives.flat[cells]
    pieces = np.cumsum(counts) // _PIECE
    for piece in np.unique(pieces).tolist():
        native.evaluation.budget.poll()
        some = np.flatnonzero(pieces == piece)
        samples = spread(windows.low.flat[cells[some]], counts[some])
        made = fold(native.of(samples), offsets_of(counts[some])[:-1])
        fits = made.incompatible < 0
        native.note_cells(notes.mixed_schemas, cells[some[~fits]])
        if (made.resets & made.keeps & fits).any():
            notes.collision("aggregation", native.expr)
        if (made.reconciled & fits).any():
            notes.reconciled("aggregation", native.expr)
        yield cells[some[fits]], made.table.take(np.flatnonzero(fits))


def _resets(native: NativeWindows, _: Compute) -> Found:
    values = native.windows.values
    fallen = values[1:] < values[:-1]
    anew = None if native.windows.modifier else started_anew(native.windows.columns)
    return _stepped(native, fallen if anew is None else fallen | anew, native.resets()[1:])


def _changes(native: NativeWindows, _: Compute) -> Found:
    values = native.windows.values
    before, now = neighbours(native.windows.columns)
    other = np.zeros(len(values), np.bool_)
    other[now] = ~are_equal(native.of(now), native.of(before))
    a, b = values[:-1], values[1:]
    return _stepped(native, (a != b) & ~(np.isnan(a) & np.isnan(b)), other[1:])


def _stepped(native: NativeWindows, among_floats: Mask, among_histograms: Mask) -> Found:
    from ..functions.rates import count_steps

    kind = native.numbers >= 0
    both, one = kind[1:] & kind[:-1], kind[1:] != kind[:-1]
    different = np.where(both, among_histograms, one | among_floats)
    return Found(*count_steps(native.windows, different), [], [])


def _rate(*, counter: bool, per_second: bool) -> Own:
    """Return how a function of change treats histograms."""

    def own(native: NativeWindows, compute: Compute) -> Found:
        from . import extended, rates

        by = extended.extended_change if native.windows.modifier else rates.change
        return by(native, compute, counter=counter, per_second=per_second)

    return own


def _last_step(*, counter: bool) -> Own:
    """Return how `irate` or `idelta` treats histograms."""

    def own(native: NativeWindows, compute: Compute) -> Found:
        from .rates import last_step

        return last_step(native, compute, counter=counter)

    return own


OWN: dict[str, Own] = {
    "count_over_time": _alike,
    "present_over_time": _alike,
    "absent_over_time": _alike,
    "ts_of_first_over_time": _alike,
    "ts_of_last_over_time": _alike,
    "first_over_time": _picking,
    "last_over_time": _picking,
    "sum_over_time": _sum,
    "avg_over_time": _mean,
    "resets": _resets,
    "changes": _changes,
    "rate": _rate(counter=True, per_second=True),
    "increase": _rate(counter=True, per_second=False),
    "delta": _rate(counter=False, per_second=False),
    "irate": _last_step(counter=True),
    "idelta": _last_step(counter=False),
}
"""How functions treat histograms, where that is not leaving them out."""
