"""The sums of folded native histograms: of increases for counters, of last values for gauges, as `folds.py` has them for floats.

What a target is says its first histogram: a gauge or a counter, with exponential or with custom buckets.  Members with buckets of
the other kind do not go together with it, and are refused.  A marker of staleness is no histogram and changes no counter: it is
only looked at whether anybody is left.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...aggregation.histogram_growth import increases, nothing_of, running_sums, sums_of_runs, whole_of, words_of
from ...aggregation.kept_histograms import KeptHistograms
from ...model.histograms import CUSTOM_SCHEMA, NO_HISTOGRAMS, Histograms, ResetHint, handles, joined, stacked
from ...model.staleness import STALE_NAN
from ...promql.native.codec import decoded
from ...promql.native.table import Table, concatenated
from .folds import GONE_MS, NO_SUMS, Folds, Sums, is_first
from .members import NEVER

_UNKNOWN: Final = -1

I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


@frozen(eq=False)
class HistogramSums:
    """Samples of targets, with the histograms that their handles stand for.

    misfits: the targets of samples whose buckets are of another kind than theirs.  no_room: how many samples there was no room for.
    """

    sums: Sums
    histograms: Histograms
    misfits: I64
    no_room: int


@frozen(eq=False)
class _Rows:
    """Samples by member and time; numbers: of their histograms, -1 for markers of staleness; starts: 0 where not known."""

    places: I64
    times: I64
    numbers: I64
    starts: I64
    targets: I64

    def take(self, which: I64 | Bools) -> _Rows:
        return _Rows(*(x[which] for x in (self.places, self.times, self.numbers, self.starts, self.targets)))


class HistogramFolds:
    """The sums of histograms, by the numbers of the targets.  bytes_max: that histograms may take, of members and of sums."""

    def __init__(self, folds: Folds) -> None:
        self._folds, self._members = folds, folds.members
        self.bytes_max = 0
        self._totals = KeptHistograms()
        self._is_gauge: NDArray[np.int8] = np.zeros(0, np.int8)
        self._is_custom: NDArray[np.int8] = np.zeros(0, np.int8)

    @property
    def nbytes(self) -> int:
        """Bytes of all histograms that are remembered."""
        return self._members.histograms.nbytes + self._totals.nbytes

    def forget(self, kept: I64) -> None:
        """Keep only these targets, which are numbered anew in this order."""
        self._grow(int(kept.max(initial=-1)) + 1)
        self._totals.keep(kept)
        self._is_gauge, self._is_custom = self._is_gauge[kept], self._is_custom[kept]

    def fold(self, places: I64, times: I64, numbers: I64, table: Histograms, starts: I64 | None) -> HistogramSums:
        """Take in samples of members, by their places; return the samples of their targets.

        numbers: of the histograms in the table, -1 for markers of staleness.
        """
        fresh = self._members.fresh(places, times)
        places = places[fresh]
        began = np.zeros(len(fresh), np.int64) if starts is None else starts[fresh]
        targets = self._members.targets[places].astype(np.int64)
        rows = _Rows(places, times[fresh], numbers[fresh], began, targets)
        rows, misfits = self._fitting(rows, table)
        rows, no_room = self._with_room(rows, table)
        if not len(rows.places):
            return HistogramSums(NO_SUMS, NO_HISTOGRAMS, misfits, no_room)
        self._folds.set_starts(rows.targets, rows.times)
        gauges = self._is_gauge[rows.targets] == 1
        parts = [self._counters(rows.take(~gauges), table), self._gauges(rows.take(gauges), table)]
        return HistogramSums(*_together(parts), misfits, no_room)

    # -- what is taken ---------------------------------------------------------------------------------------------

    def _fitting(self, rows: _Rows, table: Histograms) -> tuple[_Rows, I64]:
        """Return the rows that go together with their targets, and the targets of others; new ones are as their first row is."""
        self._grow(len(self._folds.targets))
        at = np.flatnonzero(rows.numbers >= 0)
        custom = (table.schemas() == CUSTOM_SCHEMA)[rows.numbers[at]]
        new = np.flatnonzero(self._is_custom[rows.targets[at]] == _UNKNOWN)
        if len(new):
            found, first = np.unique(rows.targets[at[new]], return_index=True)
            self._is_custom[found] = custom[new[first]]
            self._is_gauge[found] = (table.reset_hints() == ResetHint.GAUGE)[rows.numbers[at[new[first]]]]
        misfits = at[custom != self._is_custom[rows.targets[at]]]
        if not len(misfits):
            return rows, misfits
        return rows.take(np.delete(np.arange(len(rows.places)), misfits)), rows.targets[misfits]

    def _with_room(self, rows: _Rows, table: Histograms) -> tuple[_Rows, int]:
        """Return the rows for which there is room, and for how many there is none."""
        sizes = np.append(8 * np.diff(table.offsets), 0)[rows.numbers]
        grow = np.maximum(sizes - self._members.histograms.sizes(rows.places), 0)
        good = (grow == 0) | (np.cumsum(grow) <= self.bytes_max - self.nbytes)
        return (rows, 0) if good.all() else (rows.take(good), int(np.count_nonzero(~good)))

    # -- counters --------------------------------------------------------------------------------------------------

    def _counters(self, rows: _Rows, table: Histograms) -> tuple[Sums, Histograms]:
        native = rows.take(rows.numbers >= 0)
        told = NO_SUMS, NO_HISTOGRAMS
        if len(native.places):
            deltas = self._increases(native, table)
            order = np.lexsort((native.times, native.targets))
            targets, times = native.targets[order], native.times[order]
            begins = np.flatnonzero(is_first(targets) | is_first(times))
            sums = sums_of_runs(deltas.take(order), begins)
            found = self._running(sums, targets[begins])
            told = self._told(targets[begins], times[begins], found, is_counter=True)
        self._note(rows, table)
        return _together([told, (self._ended(rows), NO_HISTOGRAMS)])

    def _increases(self, rows: _Rows, table: Histograms) -> Table:
        """Return by how much each sample is more than the one before of its member."""
        kept, first = self._members.histograms, is_first(rows.places)
        known = np.flatnonzero(first & kept.holds(rows.places))
        before = np.where(first, _UNKNOWN, np.roll(rows.numbers, 1))
        before[known] = len(table) + np.arange(len(known))
        both = stacked([table, kept.take(rows.places[known])])
        later = np.flatnonzero(before >= 0)
        new = np.flatnonzero(before < 0)
        made, _ = increases(table.take(rows.numbers[later]), both.take(before[later]))
        # Whoever is known to have begun after its sum counts from the beginning; of others it is only known where they stand.
        began = (rows.starts > 0) & (rows.starts >= self._folds.starts_ms[rows.targets])
        whole, bare = new[began[new]], new[~began[new]]
        parts = made, whole_of(table.take(rows.numbers[whole])), nothing_of(table.take(rows.numbers[bare]))
        return concatenated(parts).take(np.argsort(np.concatenate([later, whole, bare])))

    def _running(self, sums: Table, targets: I64) -> Histograms:
        """Return what totals come to with sums of increases, by target and time, and remember the last of each."""
        first = np.flatnonzero(is_first(targets))
        old = first[self._totals.holds(targets[first])]
        both = concatenated((sums, decoded(self._totals.take(targets[old]))))
        # The total so far is put before the first sum of its target.
        order = np.argsort(np.concatenate([np.arange(len(targets)), old - 0.5]))
        of = np.concatenate([targets, targets[old]])[order]
        found = words_of(running_sums(both.take(order), np.flatnonzero(is_first(of))), ResetHint.UNKNOWN)
        found = found.take(np.flatnonzero(order < len(targets)))
        last = np.append(targets[1:] != targets[:-1], True)
        self._totals.put(targets[last], found.take(np.flatnonzero(last)))
        return found

    def _ended(self, rows: _Rows) -> Sums:
        """Return markers for the sums of counters that nobody is left of."""
        targets = np.unique(rows.targets[rows.numbers < 0])
        if not len(targets):
            return NO_SUMS
        newest = np.full(len(self._folds.targets), NEVER)
        np.maximum.at(newest, rows.targets, rows.times)
        wanted = np.zeros(len(newest), np.bool_)
        wanted[targets] = True
        _, live = self._members.sums(wanted, np.full(len(newest), NEVER))
        targets = targets[live[targets] == 0]
        later = self._folds.later(targets, newest[targets])
        targets = targets[later]
        return Sums(targets, newest[targets], np.full(len(targets), STALE_NAN), self._folds.starts_ms[targets])

    # -- gauges ----------------------------------------------------------------------------------------------------

    def _gauges(self, rows: _Rows, table: Histograms) -> tuple[Sums, Histograms]:
        """Take in samples time by time, and sum up all that are live after each."""
        order = np.lexsort((rows.times, rows.targets))
        rows = rows.take(order)
        steps = _ranks(rows.targets, rows.times)
        parts = [(NO_SUMS, NO_HISTOGRAMS)]
        for step in range(int(steps.max(initial=-1)) + 1):
            some = rows.take(steps == step)
            self._note(some.take(np.argsort(some.places, kind="stable")), table)
            at = np.flatnonzero(is_first(some.targets))
            parts.append(self._live_sums(some.targets[at], some.times[at]))
        return _together(parts)

    def _live_sums(self, targets: I64, times: I64) -> tuple[Sums, Histograms]:
        """Return the sums of the last samples of the members of targets, ascending."""
        wanted = np.zeros(len(self._folds.targets), np.bool_)
        wanted[targets] = True
        since = np.full(len(wanted), NEVER)
        since[targets] = times - GONE_MS
        living = self._members.living(wanted, since)
        living = living[self._members.histograms.holds(living)]
        of = self._members.targets[living].astype(np.int64)
        order = np.argsort(of, kind="stable")
        living, of = living[order], of[order]
        begins = np.flatnonzero(is_first(of))
        found = NO_HISTOGRAMS
        if len(living):
            found = words_of(sums_of_runs(decoded(self._members.histograms.take(living)), begins), ResetHint.GAUGE)
        some = np.isin(targets, of)
        told = self._told(of[begins], times[some], found, is_counter=False)
        gone, at = targets[~some], times[~some]
        later = self._folds.later(gone, at)
        gone, at = gone[later], at[later]
        return _together(
            [told, (Sums(gone, at, np.full(len(gone), STALE_NAN), np.zeros(len(gone), np.int64)), NO_HISTOGRAMS)]
        )

    # -- both ------------------------------------------------------------------------------------------------------

    def _note(self, rows: _Rows, table: Histograms) -> None:
        """Remember the last sample of each member."""
        m = self._members
        last = np.append(rows.places[1:] != rows.places[:-1], True)[: len(rows.places)]
        m.times_ms[rows.places[last]], m.live[rows.places[last]] = rows.times[last], rows.numbers[last] >= 0
        native = rows.take(rows.numbers >= 0)
        last = np.append(native.places[1:] != native.places[:-1], True)[: len(native.places)]
        m.histograms.put(native.places[last], table.take(native.numbers[last]))

    def _told(self, targets: I64, times: I64, found: Histograms, *, is_counter: bool) -> tuple[Sums, Histograms]:
        """Return the samples that are later than all before."""
        at = np.flatnonzero(self._folds.later(targets, times))
        targets = targets[at]
        starts = self._folds.starts_ms[targets] if is_counter else np.zeros(len(at), np.int64)
        return Sums(targets, times[at], handles(0, len(at)), starts), found.take(at)

    def _grow(self, size: int) -> None:
        for name in ("_is_gauge", "_is_custom"):
            column = getattr(self, name)
            if len(column) < size:
                setattr(self, name, np.concatenate([column, np.full(2 * size - len(column), _UNKNOWN, np.int8)]))


def _ranks(targets: I64, times: I64) -> I64:
    """Return which of the times of its target each row has, from 0; rows are by target and time."""
    if not len(targets):
        return targets
    new = is_first(targets)
    running = np.cumsum(new | is_first(times))
    ranks: I64 = running - running[new][np.cumsum(new) - 1]
    return ranks


def _together(parts: list[tuple[Sums, Histograms]]) -> tuple[Sums, Histograms]:
    """Return samples with their tables as one."""
    sums = [s for s, _ in parts]
    values, table = joined([(s.values, h) for s, h in parts])
    columns = (np.concatenate([getattr(s, name) for s in sums]) for name in ("targets", "timestamps_ms", "starts_ms"))
    targets, times, starts = columns
    return Sums(targets, times, values, starts), table or NO_HISTOGRAMS
