"""Change of histograms over a range: `rate`, `increase`, `delta`, `irate`, `idelta`.

The result is a gauge: the last histogram less the first one, and what was lost in resets between added again; then
extrapolated as for floats.  Source: prometheus promql/functions.go (extrapolatedRate, histogramRate, instantValue;
3.14).
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from ...model.histograms import ResetHint
from ..arrays import Floats, Indexes, Mask
from ..functions.start_times import any_within, begun_within, overlapping
from ..windows import reduce_between
from .arithmetic import added, compacted, divided, reduced, scaled, with_hints
from .table import Table, assembled
from .totals import replaced
from .windows import Compute, Found, NativeWindows, unmixed


@frozen(eq=False)
class Kinds:
    """What matters of the histograms among samples: int64[N + 1] each, how many there are before each sample.

    gauges: gauges.  switches: changes between exponential and custom buckets from one to the next.
    """

    gauges: Indexes
    switches: Indexes

    def gauge(self, samples: Indexes) -> Mask:
        """Return which samples are gauges."""
        return self.gauges[samples + 1] > self.gauges[samples]


def kinds_of(native: NativeWindows) -> Kinds:
    """Return the kinds of the histograms."""
    at = np.maximum(native.numbers, 0)
    there = native.numbers >= 0
    gauge = there & (native.table.hints()[at] == int(ResetHint.GAUGE))
    custom = native.table.customs()[at]
    switch = np.zeros(len(at), np.bool_)
    switch[1:] = custom[1:] != custom[:-1]
    return Kinds(*(np.concatenate(([0], np.cumsum(x))) for x in (gauge, switch)))


def change(native: NativeWindows, compute: Compute, *, counter: bool, per_second: bool) -> Found:
    """Return the change over each window."""
    found = unmixed(native, compute)
    begun, began_ms = _begun(native, counter=counter)
    pure = (native.natives > 0) & (native.floats.counts == 0)
    if counter:
        _note_overlaps(native, pure)
    cells = np.flatnonzero(pure & (native.natives > 1))
    if len(cells):
        cells, table = _differences(native, cells, counter=counter)
        cells, table = _from_zero(native, cells, table, begun.flat[cells])
        factors = _factors(native, cells, table, counter=counter)
        found.put(cells, _extrapolated(native, cells, table, factors, begun, began_ms, per_second=per_second))
    cells = np.flatnonzero(pure & (native.natives == 1) & begun)
    if len(cells):
        table, ones = native.of(native.windows.low.flat[cells]), np.ones(len(cells))
        found.put(cells, _extrapolated(native, cells, table, ones, begun, began_ms, per_second=per_second))
    return found


def _begun(native: NativeWindows, *, counter: bool) -> tuple[Mask, Floats]:
    """Return (windows inside which the counter of the first sample began, when in ms), where start times are known."""
    if not counter or native.windows.columns.starts_ms is None:
        return np.zeros(native.natives.shape, np.bool_), np.zeros(native.natives.shape)
    return begun_within(native.windows)


def _note_overlaps(native: NativeWindows, pure: Mask) -> None:
    marks = overlapping(native.windows.columns)
    if marks is not None and marks.any():
        where = pure & any_within(marks, native.windows.first(), native.windows.last())
        native.note(native.evaluation.annotations.overlapping_start, where)


def _from_zero(native: NativeWindows, cells: Indexes, table: Table, begun: Mask) -> tuple[Indexes, Table]:
    """Return changes that include the first sample, where the counter began inside the window."""
    which = np.flatnonzero(begun)
    first = native.of(native.windows.low.flat[cells[which]])
    odd = first.customs() != table.customs()[which]
    native.note_cells(native.evaluation.annotations.mixed_schemas, cells[which[odd]])
    table = plus(native, table, which[~odd], first.take(np.flatnonzero(~odd)))
    keep = np.setdiff1d(np.arange(len(cells)), which[odd])
    return cells[keep], table.take(keep)


def _extrapolated(
    native: NativeWindows,
    cells: Indexes,
    table: Table,
    factors: Floats,
    begun: Mask,
    began_ms: Floats,
    *,
    per_second: bool,
) -> Table:
    """Return changes that stand for whole windows; those of counters that began inside are known from there on."""
    w = native.windows
    last = w.high.flat[cells] - 1
    known = (w.times[last] - began_ms.flat[cells]) / 1000.0
    with np.errstate(all="ignore"):
        between = (w.times[last] - w.times[w.low.flat[cells]]) / 1000.0 / (last - w.low.flat[cells])
        to_end = (w.ends[cells % w.low.shape[1]] - w.times[last]) / 1000.0
        to_end = np.where(to_end >= between * 1.1, between / 2, to_end)
        # One sample says nothing about the distance of samples: no extrapolation.
        to_end = np.where(native.natives.flat[cells] == 1, 0.0, to_end)
        factors = np.where(begun.flat[cells], (known + to_end) / known, factors)
    seconds = np.broadcast_to(w.seconds, w.ends.shape)[cells % w.low.shape[1]]
    if per_second:
        factors = factors / seconds
    elif w.rounding is not None:
        factors = factors * (w.range_ms / 1000 / seconds)
    return scaled(table, factors)


def _differences(native: NativeWindows, cells: Indexes, *, counter: bool) -> tuple[Indexes, Table]:
    """Return (windows whose histograms go together, how these changed over them)."""
    notes, windows, kinds = native.evaluation.annotations, native.windows, kinds_of(native)
    first, last = windows.low.flat[cells], windows.high.flat[cells] - 1
    resets = native.resets()
    # A first sample that a reset follows does not matter at all.
    void = resets[first + 1] if counter else np.zeros(len(cells), np.bool_)
    begin = first + void
    custom = native.of(begin).customs()
    fits = custom == native.of(last).customs()
    if counter:
        fits &= kinds.switches[last + 1] == kinds.switches[begin + 1]
        gauges = kinds.gauges[last + 1] > kinds.gauges[first]
        native.note_cells(notes.not_a_counter_histogram, cells[fits & gauges])
    else:
        gauges = kinds.gauge(first) & kinds.gauge(last)
        native.note_cells(notes.not_a_gauge_histogram, cells[fits & ~gauges])
    native.note_cells(notes.mixed_schemas, cells[~fits])
    cells, first, last, void, begin, custom = (x[fits] for x in (cells, first, last, void, begin, custom))
    table = native.of(last)
    table = _coarsened(table, _coarsest(native, begin, last, every=counter))
    base = scaled(native.of(begin), np.where(void, 0.0, 1.0))
    table = less(native, table, np.flatnonzero(~void | custom), base)
    if counter:
        table = restored(native, table, begin + 1, last)
    return cells, compacted(with_hints(table, ResetHint.GAUGE))


def less(native: NativeWindows, table: Table, which: Indexes, base: Table) -> Table:
    """Return the histograms `which` less those of `base`."""
    sums = added(table.take(which), base.take(which), sign=-1.0)
    if sums.reconciled.any():
        native.evaluation.annotations.reconciled("subtraction", native.expr)
    return replaced(table, which, sums.table) if len(which) else table


def plus(native: NativeWindows, table: Table, which: Indexes, more: Table) -> Table:
    """Return the histograms `which` plus `more`."""
    if not len(which):
        return table
    sums = added(table.take(which), more)
    if sums.reconciled.any():
        native.evaluation.annotations.reconciled("addition", native.expr)
    return replaced(table, which, sums.table)


def restored(native: NativeWindows, table: Table, begin: Indexes, last: Indexes) -> Table:
    """Return changes plus the histograms before each reset at samples `begin` .. `last`."""
    at = np.flatnonzero(native.resets())
    low, high = np.searchsorted(at, begin), np.searchsorted(at, last, side="right")
    counts = np.maximum(high - low, 0)
    for k in range(int(counts.max(initial=0))):
        which = np.flatnonzero(counts > k)
        table = plus(native, table, which, native.of(at[low[which] + k] - 1))
    return table


def _coarsest(native: NativeWindows, begin: Indexes, last: Indexes, *, every: bool) -> Indexes:
    """Return the lower schema of the histograms `begin` and `last`, or the lowest of `every` one between."""
    schemas = native.table.schemas()[np.maximum(native.numbers, 0)].astype(np.float64)
    if not every:
        return np.minimum(schemas[begin], schemas[last]).astype(np.int64)
    return reduce_between(np.minimum, schemas, begin, last + 1, 0.0).astype(np.int64)


def _coarsened(table: Table, schemas: Indexes) -> Table:
    if (table.schemas() == schemas).all():
        return table
    parts = []
    for numbers, batch in table.parts():
        for schema in np.unique(schemas[numbers]).tolist():
            some = np.flatnonzero(schemas[numbers] == schema)
            parts.append((numbers[some], reduced(batch.take(some), schema)))
    return assembled(len(table), parts)


def _factors(native: NativeWindows, cells: Indexes, table: Table, *, counter: bool) -> Floats:
    """Return by what changes are multiplied, so that they stand for the whole window."""
    w = native.windows
    steps = cells % w.low.shape[1]
    first, last = w.low.flat[cells], w.high.flat[cells] - 1
    with np.errstate(all="ignore"):
        sampled = (w.times[last] - w.times[first]) / 1000.0
        between = sampled / (w.weights.flat[cells] - 1)
        to_start, to_end = (w.times[first] - w.starts[steps]) / 1000.0, (w.ends[steps] - w.times[last]) / 1000.0
        to_start = np.where(to_start >= between * 1.1, between / 2, to_start)
        if counter:
            had, grown = native.of(first).counts(), table.counts()
            to_zero = sampled * (had / grown)
            to_start = np.where((grown > 0) & (had >= 0) & (to_zero < to_start), to_zero, to_start)
        to_end = np.where(to_end >= between * 1.1, between / 2, to_end)
        factors: Floats = (sampled + to_start + to_end) / sampled
        return factors


def last_step(native: NativeWindows, compute: Compute, *, counter: bool) -> Found:
    """Return the change between the last two samples of each window, per second for counters."""
    notes, w = native.evaluation.annotations, native.windows
    values, present = compute(w)
    last = w.last()
    kind = native.numbers >= 0
    now, before = kind[last], kind[np.maximum(last - 1, 0)]
    native.note(notes.mixed_range, present & (now != before))
    found = Found(values, present & ~now & ~before, [], [])
    cells = np.flatnonzero(present & now & before)
    if not len(cells):
        return found
    at = last.flat[cells]
    kinds = kinds_of(native)
    one, other = kinds.gauge(at), kinds.gauge(at - 1)
    if counter:
        native.note_cells(notes.not_a_counter_histogram, cells[one | other])
    else:
        native.note_cells(notes.not_a_gauge_histogram, cells[~(one & other)])
    table = native.of(at)
    subtracted = ~native.resets()[at] if counter else np.ones(len(cells), np.bool_)
    odd = subtracted & (native.of(at - 1).customs() != table.customs())
    native.note_cells(notes.mixed_schemas, cells[odd])
    table = less(native, table, np.flatnonzero(subtracted & ~odd), native.of(at - 1))
    table = compacted(with_hints(table, ResetHint.GAUGE))
    if counter:
        table = divided(table, (w.times[at] - w.times[at - 1]) / 1000.0)
    found.put(cells[~odd], table.take(np.flatnonzero(~odd)))
    return found
