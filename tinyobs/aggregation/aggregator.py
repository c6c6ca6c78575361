"""One rule at work: takes columns of samples, and gives the series of a finished interval.

Samples that are not a number are left out; a staleness marker among them says that its series has ended.  A group whose
series have all ended puts nothing out until one comes back; groups and counters are forgotten when nothing came for
`staleness_interval`.  With windows, samples that are newer than the window under way wait for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ..model.batch import Batch
from ..model.growing import grown
from ..model.histograms import Histograms, is_handle, joined, numbers_of
from ..model.labels import Labels
from ..model.registry import SeriesRegistry
from ..model.staleness import is_stale
from .arrays import F64, I64
from .counters import NEVER, ROWS_MAX, Counters
from .flush_times import FlushTimes
from .histogram_outputs import HistogramSamples
from .make_outputs import make_outputs
from .natives import Natives, takes_histograms
from .newest import Newest
from .output import Column, OfCounters, OfSamples, Output, Samples
from .output_series import OutputSeries
from .rows import Rows
from .rule import AggregationRule
from .series_table import NO_MATCH, NO_ROOM, SeriesTable
from .value_outputs import Count, CountSeries

ORIGIN: Final = "stream_aggregation"
HISTOGRAM: Final = "histogram"
"""The reason under which native histograms are counted that some output, or none, can be made of."""
DELAY_QUANTILE: Final = 0.95
LAGS_MAX: Final = 4096
FORGET_MIN: Final = 1024
"""Forgotten input series or groups that are kept in the tables before these are cleaned up."""


@define
class Counts:
    """What became of samples."""

    matched: int = 0
    """Samples that were taken."""
    ignored: dict[str, int] = field(factory=dict)
    """Samples that were left out, by reason."""
    output: int = 0
    flushes: int = 0
    late_flushes: int = 0
    flush_seconds: float = 0.0

    def ignore(self, reason: str, count: int) -> None:
        """Count samples that were left out."""
        if count:
            self.ignored[reason] = self.ignored.get(reason, 0) + count


class Aggregator:
    """The state of one rule.  One thread at a time calls; times are milliseconds of the wall clock."""

    def __init__(
        self,
        rule: AggregationRule,
        registry: SeriesRegistry,
        start_ms: int,
        labels_of: Callable[[int], Labels] | None = None,
    ) -> None:
        """labels_of: see `SeriesTable`; by default the labels of the registry."""
        self.rule = rule
        self.counts = Counts()
        self.table = SeriesTable(rule, registry, labels_of or registry.labels)
        self.times = FlushTimes(rule, start_ms)
        self._series = OutputSeries(rule, registry, self.table.group_labels)
        self._outputs = make_outputs(rule)
        self.counters = Counters() if any(isinstance(o, OfCounters) for o in self._outputs) else None
        self.takes_histograms = any(takes_histograms(o) for o in rule.outputs)
        self.natives: Natives | None = None
        self._newest = Newest() if rule.dedup_interval_ms else None
        self._group_deadlines: I64 = np.zeros(0, np.int64)
        self._input_deadlines: I64 = np.zeros(0, np.int64)
        self._fresh: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._ended: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._any_ended = False
        self._waiting: list[Rows] = []
        self._lags: list[float] = []
        self._counts_firsts_from = start_ms + rule.ignore_first_sample_interval_ms
        self._intervals_ignored = rule.ignore_first_intervals

    # -- samples -----------------------------------------------------------------------------------------------

    def matches(self, refs: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Return which series the rule takes, those included that it drops itself."""
        found = self.table.find(refs)
        taken: NDArray[np.bool_] = (found != NO_MATCH) & (found != NO_ROOM)
        return taken

    def take(
        self, refs: NDArray[np.uint32], times: I64, values: F64, now_ms: int, histograms: Histograms | None = None
    ) -> None:
        """Take samples of any series, in the order in which they came; those of others are passed over.

        histograms: what handles among the values stand for.
        """
        found = self.table.find(refs)
        self.counts.ignore("no_room", int(np.count_nonzero(found == NO_ROOM)))
        mine = found >= 0
        if not mine.any():
            return
        rows = Rows(found.astype(np.int64), times, values, histograms)
        self._grow()
        rows = self._without_markers(rows if mine.all() else rows.take(mine))
        rule = self.rule
        if rule.ignore_old_samples or rule.enable_windows:
            rows = self._left(rows, rows.times >= self.times.oldest_ms, "too_old")
        if len(rows):
            self.counts.matched += len(rows)
            self._place(rows, now_ms)

    @property
    def due_ms(self) -> int:
        """When `tick` is to be called: a little late where samples of a window come late."""
        return self.times.tick_ms + self._delay_ms()

    def tick(self, now_ms: int) -> Batch | None:
        """Finish what is due; return the series of a finished interval, None where it is not finished, or not told."""
        due = self.times.tick(now_ms)
        self._lags.clear()
        if self._newest is not None:
            self._add(self._newest.take(), now_ms, due.dedup_ms + self.rule.staleness_interval_ms)
        out = None if due.flush_ms is None else self._flush(due.flush_ms)
        waiting, self._waiting = self._waiting, []
        for rows in waiting:
            self._push(rows, now_ms)
        if due.flush_ms is None:
            return None
        if self._intervals_ignored:
            self._intervals_ignored -= 1
            return None
        return self._told(out)

    def finish(self, now_ms: int) -> Batch | None:
        """Return the series of the interval under way where the rule says so; the process ends."""
        if not self.rule.flush_on_shutdown or self._intervals_ignored:
            return None
        if self._newest is not None:
            self._add(self._newest.take(), now_ms, now_ms + self.rule.staleness_interval_ms)
        for rows in self._waiting:
            self._push(rows, now_ms)
        return self._told(self._flush(self.times.last_ms(now_ms)))

    def timed(self, result: Callable[[Aggregator], Batch | None]) -> Batch | None:
        """Return what `tick` or `finish` gives, and note how long it took."""
        began = time.monotonic()
        try:
            return result(self)
        finally:
            took = time.monotonic() - began
            self.counts.flushes += 1
            self.counts.flush_seconds += took
            self.counts.late_flushes += took * 1000 > self.rule.interval_ms

    # -- private -----------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        groups, inputs = self.table.groups, self.table.inputs
        self._group_deadlines = grown(self._group_deadlines, groups, NEVER)
        self._fresh = grown(self._fresh, groups)
        self._input_deadlines = grown(self._input_deadlines, inputs, NEVER)
        self._ended = grown(self._ended, inputs)
        for output in self._outputs:
            output.grow(groups, inputs)
        if self.counters is not None:
            self.counters.grow(inputs)
        if self._newest is not None:
            self._newest.grow(inputs)
        if self.natives is not None:
            self.natives.grow(groups, inputs)

    def _end(self, inputs: I64) -> None:
        self._ended[inputs] = True
        self._any_ended |= len(inputs) > 0

    def _without_markers(self, rows: Rows) -> Rows:
        """Return the rows that are numbers or histograms; note which series have ended."""
        good = ~np.isnan(rows.values)
        if good.all():
            return rows
        stale = is_stale(rows.values)
        if rows.histograms is not None:
            numbers = numbers_of(rows.values)
            ended = is_stale(np.append(rows.histograms.sums(), 0.0)[numbers])
            good, stale = good | (numbers >= 0) & ~ended, stale | ended
        self._end(rows.inputs[stale])
        return self._left(rows, good, "nan")

    def _left(self, rows: Rows, good: NDArray[np.bool_], reason: str) -> Rows:
        """Return some rows, and count the others as left out."""
        if good.all():
            return rows
        self.counts.ignore(reason, int(np.count_nonzero(~good)))
        return rows.take(good)

    def _place(self, rows: Rows, now_ms: int) -> None:
        """Let samples of the window under way go on, and newer ones wait."""
        if self.rule.enable_windows:
            if len(self._lags) < LAGS_MAX:
                self._lags.append(float(now_ms - rows.times.min()))
            newer = rows.times > self.times.end_ms
            if newer.any():
                self._waiting.append(rows.take(newer))
                rows = rows.take(~newer)
        self._push(rows, now_ms)

    def _push(self, rows: Rows, now_ms: int) -> None:
        if self._any_ended:
            self._ended[rows.inputs] = False
        deadline_ms = now_ms + self.rule.staleness_interval_ms
        if self._newest is not None:
            self._input_deadlines[rows.inputs] = deadline_ms
            self.counts.ignore("duplicate", self._newest.add(rows))
            return
        self._add(rows, now_ms, deadline_ms)

    def _add(self, rows: Rows, now_ms: int, deadline_ms: int) -> None:
        """Let samples into the outputs."""
        for some in rows.pieces(ROWS_MAX):
            if some.histograms is not None:
                native = is_handle(some.values)
                if native.any():
                    self._add_natives(some.take(native), now_ms, deadline_ms)
                    some = some.take(~native)
            if self.natives is not None:
                fits = self.natives.are_floats(self.table.group_of_input[some.inputs])
                some = self._left(some, fits, "mixed")
            if len(some):
                self._add_floats(some, now_ms, deadline_ms)

    def _add_floats(self, rows: Rows, now_ms: int, deadline_ms: int) -> None:
        samples = self._noted(rows, deadline_ms)
        with np.errstate(invalid="ignore", over="ignore"):
            for output in self._outputs:
                if isinstance(output, OfSamples):
                    output.add(samples)
            if self.counters is not None:
                growth = self.counters.add(samples.groups, rows.inputs, rows.times, rows.values, now_ms, deadline_ms)
                for output in self._outputs:
                    if isinstance(output, OfCounters):
                        output.add(growth, now_ms >= self._counts_firsts_from)

    def _add_natives(self, rows: Rows, now_ms: int, deadline_ms: int) -> None:
        """Let native histograms into those outputs that are made of them."""
        if self.natives is None:
            self.natives = Natives(self.rule)
            self._grow()
        assert rows.histograms is not None
        groups = self.table.group_of_input[rows.inputs]
        table = rows.histograms.take(numbers_of(rows.values))
        fits = self.natives.fitting(groups, table, self._group_deadlines == NEVER)
        has_room = self.natives.with_room(rows.inputs, table)
        rows, table = self._left(rows, fits, "mixed"), table.take(np.flatnonzero(fits & has_room))
        rows = self._left(rows, has_room[fits], "no_room")
        if not len(rows):
            return
        if not all(takes_histograms(o) for o in self.rule.outputs):
            self.counts.ignore(HISTOGRAM, len(rows))
        samples = self._noted(rows, deadline_ms)
        for output in self._outputs:
            if isinstance(output, Count | CountSeries):
                output.add(samples)
        found = HistogramSamples(samples.groups, rows.inputs, rows.times, table)
        with np.errstate(invalid="ignore", over="ignore"):
            self.natives.add(found, now_ms, deadline_ms, now_ms >= self._counts_firsts_from)

    def _noted(self, rows: Rows, deadline_ms: int) -> Samples:
        """Return samples with their groups, which live on."""
        groups = self.table.group_of_input[rows.inputs]
        self._group_deadlines[groups], self._input_deadlines[rows.inputs] = deadline_ms, deadline_ms
        self._fresh[groups] = True
        return Samples(groups, rows.inputs, rows.times, rows.values)

    def _flush(self, flush_ms: int) -> Batch:
        """Put out the interval that ends, and forget what is stale."""
        self._grow()
        groups, inputs = self.table.groups, self.table.inputs
        deadlines = self._group_deadlines[:groups]
        alive = np.flatnonzero((deadlines >= flush_ms) & ~self._paused())
        of = self.table.group_of_input[:inputs]
        columns: list[tuple[Column, NDArray[np.uint32]]] = []
        with np.errstate(invalid="ignore", over="ignore"):
            for output in self._outputs:
                for column in output.columns(self._of_floats(alive, output), of):
                    columns.append(self._series.of(column))
            if self.natives is not None:
                columns.extend(self._series.of(column) for column in self.natives.columns(alive, of))
        self._fresh[:] = False
        self._forget(flush_ms)
        return _batch(columns, flush_ms)

    def _of_floats(self, groups: I64, output: Output) -> I64:
        """Return the groups that an output is asked for: those of histograms are counted, and else have outputs of their own."""
        if self.natives is None or isinstance(output, Count | CountSeries):
            return groups
        return groups[self.natives.are_floats(groups)]

    def _paused(self) -> NDArray[np.bool_]:
        """Return by group whether all of its series have ended, and nothing came in this interval."""
        groups, inputs = self.table.groups, self.table.inputs
        if not self._any_ended:
            return np.zeros(groups, np.bool_)
        living = (self._input_deadlines[:inputs] != NEVER) & ~self._ended[:inputs]
        counts = np.bincount(self.table.group_of_input[np.flatnonzero(living)], minlength=groups)
        paused: NDArray[np.bool_] = (counts == 0) & ~self._fresh[:groups]
        return paused

    def _forget(self, flush_ms: int) -> None:
        groups, inputs = self.table.groups, self.table.inputs
        gone = np.flatnonzero((self._group_deadlines[:groups] < flush_ms) & (self._group_deadlines[:groups] != NEVER))
        lost = np.flatnonzero((self._input_deadlines[:inputs] < flush_ms) & (self._input_deadlines[:inputs] != NEVER))
        if len(gone):
            for output in self._outputs:
                output.forget(gone)
            self._group_deadlines[gone] = NEVER
        if len(lost):
            if self.counters is not None:
                self.counters.forget(lost)
            self._input_deadlines[lost], self._ended[lost] = NEVER, False
            self._any_ended = bool(self._ended.any())
        if self.natives is not None and (len(gone) or len(lost)):
            self.natives.forget(gone, lost)
        dead = inputs - int(np.count_nonzero(self._input_deadlines[:inputs] != NEVER))
        if dead > max(FORGET_MIN, inputs // 2) and not self._waiting:
            self._clean_up()
        elif self.rule.series_max and inputs < self.rule.series_max:
            self.table.look_again()

    def _clean_up(self) -> None:
        """Give the numbers of what is forgotten to others."""
        inputs = np.flatnonzero(self._input_deadlines[: self.table.inputs] != NEVER)
        groups = np.unique(self.table.group_of_input[inputs])
        for output in self._outputs:
            output.keep(groups, inputs)
        if self.counters is not None:
            self.counters.keep(inputs)
        if self._newest is not None:
            self._newest.keep(inputs)
        if self.natives is not None:
            self.natives.keep(groups, inputs)
        self._group_deadlines, self._fresh = self._group_deadlines[groups], self._fresh[groups]
        self._input_deadlines, self._ended = self._input_deadlines[inputs], self._ended[inputs]
        self._series.keep(groups)
        self.table.keep(inputs, groups)
        self.table.look_again()

    def _told(self, out: Batch | None) -> Batch | None:
        self.counts.output += 0 if out is None else len(out)
        return out if out is not None and len(out) else None

    def _delay_ms(self) -> int:
        lags = list(self._lags)
        if not self.rule.enable_windows or not lags:
            return 0
        return int(min(max(np.quantile(lags, DELAY_QUANTILE), 0), self.rule.interval_ms))


def _batch(columns: list[tuple[Column, NDArray[np.uint32]]], flush_ms: int) -> Batch:
    if not columns:
        return Batch(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0), ORIGIN)
    refs = np.concatenate([refs for _, refs in columns])
    values, histograms = joined([(c.values, c.histograms) for c, _ in columns])
    return Batch(refs, np.full(len(refs), flush_ms, np.int64), values, ORIGIN, histograms=histograms)
