"""Change of histograms over `anchored` and `smoothed` windows, and `smoothed` instant selectors.

The borders of a window are histograms: those of samples, or interpolated between two.  Source: prometheus
promql/functions.go (extendedHistogramRate, interpolateHistograms, correctForCounterResetsHistogram; 3.14).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from ...model.columns import SeriesColumns
from ...model.histograms import ResetHint, handles, numbers_of
from ...model.labels import Labels, metric_name
from ..arrays import Floats, Indexes, Mask
from ..blocks import Block
from ..grid import Grid
from ..instants import newest
from ..nodes import Expr
from ..windows import counts_until, without_histograms, without_stale
from .arithmetic import added, are_resets, compacted, divided, scaled, with_hints
from .codec import decoded
from .rates import kinds_of, less, plus, restored
from .table import Table
from .totals import replaced
from .windows import Compute, Found, NativeWindows, of_floats

if TYPE_CHECKING:
    from ..evaluate import Evaluation

Note = Callable[[str], None]


@frozen(eq=False)
class _Edges:
    """Of some windows: the first sample that they see, the samples at or around their borders, the borders (ms)."""

    low: Indexes
    first: Indexes
    last: Indexes
    starts: Indexes
    ends: Indexes

    def take(self, which: Mask) -> _Edges:
        """Return those of some windows."""
        parts = (self.low, self.first, self.last, self.starts, self.ends)
        return _Edges(*(x[which] for x in parts))


def between(first: Table, second: Table, share: Floats, starts_over: Mask, note: Note) -> tuple[Table, Mask]:
    """Return (histograms at a share of the way from the first to the second ones, where these do not go together).

    starts_over: where a counter was reset between and counts from 0.
    """
    difference = added(second, first, sign=-1.0)
    way = scaled(difference.table, share)
    sums = added(way, first)
    used = ~starts_over & ~difference.incompatible & (share != 0) & (share != 1)
    if (difference.reconciled & used).any():
        note("subtraction")
        note("addition")
    made = replaced(sums.table, np.flatnonzero(starts_over), scaled(second, share).take(np.flatnonzero(starts_over)))
    made = replaced(made, np.flatnonzero(share == 0), first.take(np.flatnonzero(share == 0)))
    made = replaced(made, np.flatnonzero(share == 1), second.take(np.flatnonzero(share == 1)))
    return made, difference.incompatible & ~starts_over & (share != 0) & (share != 1)


def extended_change(native: NativeWindows, compute: Compute, *, counter: bool, per_second: bool) -> Found:
    """Return the change over anchored or smoothed windows."""
    cells, edges, natives = _edges(native)
    found = of_floats(native, compute)
    found.present = found.present & (natives == 0)
    if len(cells):
        _put(native, found, cells, edges, counter=counter, per_second=per_second)
    return found


def _edges(native: NativeWindows) -> tuple[Indexes, _Edges, Indexes]:
    """Return (windows of histograms alone, their edges, int64[S, T] how many histograms extended windows see)."""
    w = native.windows
    smoothed = w.modifier == "smoothed"
    low, high = _reach(native, smoothed=smoothed)
    kind = np.concatenate(([0], np.cumsum(native.numbers >= 0)))
    natives = kind[high] - kind[low]
    mixed = (natives > 0) & (natives < high - low)
    native.note(native.evaluation.annotations.mixed_range, mixed)
    starts, ends = (np.broadcast_to(x, low.shape) for x in (w.starts, w.ends))
    first = np.maximum(np.minimum(w.low - 1, high - 2), low)
    last = high - 1
    if smoothed:
        exact = (w.high > low) & (_stamped(native, w.high - 1) == ends)
        last = np.minimum(w.high - exact, high - 1)
    usable = (natives > 0) & ~mixed & (_stamped(native, last) > starts)
    if smoothed:
        usable &= _stamped(native, first) <= ends
    cells = np.flatnonzero(usable)
    return cells, _Edges(*(x.flat[cells] for x in (low, first, last, starts, ends))), natives


def _reach(native: NativeWindows, *, smoothed: bool) -> tuple[Indexes, Indexes]:
    """Return (first, one past the last) of the samples that extended windows see."""
    w = native.windows
    base = w.columns.offsets[:-1, None]
    shape = w.low.shape
    low = counts_until(w.columns, w.grid.shifted(w.range_ms + w.lookback_ms)) + base
    high = counts_until(w.columns, w.grid.shifted(-w.lookback_ms)) + base if smoothed else w.high
    if low.shape != shape:
        low, high = np.repeat(low, shape[1], axis=1), np.broadcast_to(high, shape)
    return low, high


def _stamped(native: NativeWindows, samples: Indexes) -> Indexes:
    times = native.windows.times
    return times[np.clip(samples, 0, len(times) - 1)]


def _put(
    native: NativeWindows, found: Found, cells: Indexes, edges: _Edges, *, counter: bool, per_second: bool
) -> None:
    notes = native.evaluation.annotations
    cells, edges, left, right = _borders(native, cells, edges, counter=counter)
    if not len(cells):
        return
    if not counter:
        gauge = (left.hints() == int(ResetHint.GAUGE)) & (right.hints() == int(ResetHint.GAUGE))
        native.note_cells(notes.not_a_gauge_histogram, cells[~gauge])
    table = less(native, right, np.arange(len(cells)), left)
    if counter:
        table = _corrected(native, table, left, right, edges)
    if per_second:
        table = divided(table, np.full(len(cells), native.windows.range_ms / 1000))
    found.put(cells, compacted(with_hints(table, ResetHint.GAUGE)))


def _borders(
    native: NativeWindows, cells: Indexes, edges: _Edges, *, counter: bool
) -> tuple[Indexes, _Edges, Table, Table]:
    """Return (windows whose histograms go together, their edges, the histograms at both borders)."""
    notes, kinds, times = native.evaluation.annotations, kinds_of(native), native.windows.times
    fits = kinds.switches[edges.last + 1] == kinds.switches[edges.first + 1]
    native.note_cells(notes.mixed_schemas, cells[~fits])
    if counter:
        gauges = kinds.gauges[edges.last + 1] > kinds.gauges[edges.first]
        native.note_cells(notes.not_a_counter_histogram, cells[fits & gauges])
    cells, e = cells[fits], edges.take(fits)
    smoothed = native.windows.modifier == "smoothed"
    from_before = smoothed & (times[e.first] < e.starts)
    to_behind = smoothed & (e.last > e.low) & (times[e.last] > e.ends)
    left = _border(native, e.first, e.first + 1, e.starts, from_before, e.first, counter=counter)
    right = _border(native, e.last - 1, e.last, e.ends, to_behind, e.last, counter=counter)
    return cells, e, left, right


def _border(
    native: NativeWindows, one: Indexes, two: Indexes, at: Indexes, some: Mask, plain: Indexes, *, counter: bool
) -> Table:
    """Return the histograms of samples `plain`, of `some` those interpolated between two samples."""
    table = native.of(plain)
    which = np.flatnonzero(some)
    if not len(which):
        return table
    one, two, times = one[which], two[which], native.windows.times
    share = (at[which] - times[one]) / (times[two] - times[one])
    starts_over = native.resets()[two] if counter else np.zeros(len(which), np.bool_)

    def note(how: str) -> None:
        native.evaluation.annotations.reconciled(how, native.expr)

    made, _ = between(native.of(one), native.of(two), share, starts_over, note)
    return replaced(table, which, made)


def _corrected(native: NativeWindows, table: Table, left: Table, right: Table, edges: _Edges) -> Table:
    """Return changes plus what counters lost in resets between the borders."""
    resets, first, last = native.resets(), edges.first, edges.last
    from_before = (native.windows.modifier == "smoothed") & (native.windows.times[first] < edges.starts)
    # A border that was interpolated across a reset has it in already.
    skip = from_before & resets[np.minimum(first + 1, len(resets) - 1)]
    previous = replaced(left, np.flatnonzero(skip), native.of(first[skip] + 1))
    begin, end = first + 1 + skip, last - 1
    inner = np.flatnonzero(begin <= end)
    fell = inner[are_resets(native.of(begin[inner]), previous.take(inner))]
    table = plus(native, table, fell, previous.take(fell))
    table = restored(native, table, begin + 1, end)
    previous = replaced(previous, inner, native.of(end[inner]))
    some = np.flatnonzero(begin <= end + 1)
    fell = some[are_resets(right.take(some), previous.take(some))]
    return plus(native, table, fell, previous.take(fell))


def bordered(native: NativeWindows) -> tuple[Indexes, Table, Table]:
    """Return (series with histograms alone in their one window, the histograms at its start and end)."""
    cells, edges, _ = _edges(native)
    cells, _, left, right = _borders(native, cells, edges, counter=False)
    return cells, left, right


def smoothed_instants(
    evaluation: Evaluation,
    labels: Sequence[Labels],
    columns: SeriesColumns,
    grid: Grid,
    lookback_ms: int | Indexes,
    at: Expr,
) -> Block:
    """Return the values at each moment, interpolated between the samples around it."""
    columns = without_stale(columns)
    assert columns.histograms is not None
    notes = evaluation.annotations
    reach = int(np.max(lookback_ms))
    base = columns.offsets[:-1, None]
    low, high = (counts_until(columns, grid.shifted(by)) + base for by in (reach, -reach))
    numbers = numbers_of(columns.values)
    kind = np.concatenate(([0], np.cumsum(numbers >= 0)))
    natives = kind[high] - kind[low]
    mixed = (natives > 0) & (natives < high - low)
    for row in np.flatnonzero(mixed.any(axis=1)).tolist():
        notes.mixed_range(metric_name(labels[row]), at)
    values, _, present = newest(without_histograms(columns), grid, lookback_ms, smoothed=True)
    values, present = values.copy(), present & (natives == 0)
    after = counts_until(columns, grid) + base
    cells = np.flatnonzero((natives > 0) & ~mixed & (after > low))
    if not len(cells):
        return Block(0, values, present)
    moments = np.broadcast_to(grid.times(), low.shape).flat[cells]
    before = after.flat[cells] - 1
    then = np.minimum(before + 1, high.flat[cells] - 1)
    table = decoded(columns.histograms)
    one, two, times = table.take(numbers[before]), table.take(numbers[then]), columns.timestamps_ms
    span = np.maximum(times[then] - times[before], 1)
    share = np.where(then > before, (moments - times[before]) / span, 0.0)
    counters = one.hints() != int(ResetHint.GAUGE)
    starts_over = counters & are_resets(two, one) & (one.customs() == two.customs())
    made, odd = between(one, two, share, starts_over, lambda how: notes.reconciled(how, at))
    for row in np.unique(cells[odd] // low.shape[1]).tolist():
        notes.mixed_schemas(metric_name(labels[row]), at)
    cells, made = cells[~odd], made.take(np.flatnonzero(~odd))
    values.flat[cells] = handles(0, len(cells))
    present.flat[cells] = True
    return Block(0, values, present, made)
