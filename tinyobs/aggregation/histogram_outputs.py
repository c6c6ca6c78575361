"""Outputs made of native histograms: sums, means, the newest, what counters grew by, rates, quantiles of observations.

What comes is kept in words and added up when much has come or an interval ends, many histograms at one time, with the arithmetic
of PromQL.  Histograms of one group go together (`natives.py` sees to that).
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.growing import grown
from ..model.histograms import NO_HISTOGRAMS, Histograms, ResetHint, handles, stacked
from ..promql.native.arithmetic import divided
from ..promql.native.codec import decoded
from ..promql.native.measures import quantiles
from ..promql.native.table import Table
from .arrays import I64
from .counters import NEVER
from .histogram_growth import sums_of_runs, words_of
from .kept_histograms import KeptHistograms
from .output import Column, Output
from .rule import phi_text

_MERGE_WORDS: Final = 1 << 20
"""Words of histograms that wait before they are added up, 8 MiB."""


@frozen(eq=False)
class HistogramSamples:
    """Histograms as they came, with the numbers of their groups and input series."""

    groups: I64
    inputs: I64
    times: I64
    histograms: Histograms


@frozen(eq=False)
class HistogramGrowth:
    """Histograms of counters that were taken, those of each series in order.

    deltas: growth since the one before, nothing for first ones.  firsts: bool[n].  samples: the histograms themselves.
    """

    samples: HistogramSamples
    deltas: Histograms
    firsts: NDArray[np.bool_]


class HistogramOutput(Output):
    """An output that keeps histograms."""

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Bytes of the histograms that are kept."""


class OfHistograms(HistogramOutput):
    """An output that is made of histograms as they come."""

    @abc.abstractmethod
    def add(self, samples: HistogramSamples) -> None:
        """Take samples, in the order in which they came."""


class OfHistogramGrowth(HistogramOutput):
    """An output that is made of what counters grew by."""

    @abc.abstractmethod
    def add(self, growth: HistogramGrowth, counts_firsts: bool) -> None:
        """Take the growth; counts_firsts: whether the first sample of a series counts in full where that is wanted."""


class Sums:
    """Sums of histograms by number."""

    def __init__(self) -> None:
        self.kept = KeptHistograms()
        self._waiting: list[tuple[I64, Histograms]] = []
        self._words = 0

    @property
    def nbytes(self) -> int:
        """Bytes of sums, and of what waits to be added."""
        return self.kept.nbytes + 8 * self._words

    def put(self, numbers: I64, histograms: Histograms) -> None:
        """Add histograms."""
        if len(numbers):
            self._waiting.append((numbers, histograms))
            self._words += len(histograms.words)
            if self._words > _MERGE_WORDS:
                self.merge()

    def merge(self) -> None:
        """Add up what waits."""
        if not self._waiting:
            return
        numbers = np.concatenate([n for n, _ in self._waiting])
        held = np.unique(numbers)
        held = held[self.kept.holds(held)]
        tables = [self.kept.take(held), *(h for _, h in self._waiting)]
        numbers = np.concatenate((held, numbers))
        order = np.argsort(numbers, kind="stable")
        begins = np.flatnonzero(np.append(True, np.diff(numbers[order]) > 0))
        found = sums_of_runs(decoded(stacked(tables)).take(order), begins)
        self.kept.put(numbers[order][begins], words_of(found, ResetHint.UNKNOWN))
        self._waiting, self._words = [], 0

    def of(self, numbers: I64) -> tuple[I64, Table]:
        """Return those of some numbers that have a sum, and the sums."""
        self.merge()
        some = numbers[self.kept.holds(numbers)]
        return some, decoded(self.kept.take(some))

    def forget(self, numbers: I64) -> None:
        """Have no sums of some numbers, whatever waits for them included."""
        self.merge()
        self.kept.drop(numbers)

    def keep(self, numbers: I64) -> None:
        """Keep only these numbers, which become 0, 1, 2 ... in this order."""
        self.merge()
        self.kept.keep(numbers)


class SumsOfSamples(OfHistograms):
    """`sum_samples`, `avg` and `sum_samples_total`; outputs: which of the first two, or the last alone."""

    def __init__(self, outputs: tuple[str, ...]) -> None:
        self._outputs, self._is_running = outputs, outputs == ("sum_samples_total",)
        self._sums = Sums()
        self._counts: I64 = np.zeros(0, np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of the sums."""
        return self._sums.nbytes

    def add(self, samples: HistogramSamples) -> None:
        """Add samples."""
        groups = samples.groups
        self._counts = grown(self._counts, int(groups.max(initial=-1)) + 1)
        np.add.at(self._counts, groups, 1)
        self._sums.put(groups, samples.histograms)

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the sums and means of groups that have samples."""
        groups, table = self._sums.of(groups)
        for name in self._outputs:
            made = divided(table, self._counts[groups].astype(np.float64)) if name == "avg" else table
            yield column(name, groups, words_of(made, ResetHint.UNKNOWN if self._is_running else ResetHint.GAUGE))
        if not self._is_running:
            self.forget(groups)

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._sums.forget(groups)
        self._counts = grown(self._counts, int(groups.max(initial=-1)) + 1)
        self._counts[groups] = 0

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._sums.keep(groups)
        self._counts = grown(self._counts, int(groups.max(initial=-1)) + 1)[groups]


class NewestHistogram(OfHistograms):
    """`last`: the newest histogram, of several with that time the one that came last."""

    def __init__(self) -> None:
        self._kept = KeptHistograms()
        self._times: I64 = np.zeros(0, np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of the histograms."""
        return self._kept.nbytes

    def add(self, samples: HistogramSamples) -> None:
        """Look at samples."""
        groups, times = samples.groups, samples.times
        self._times = grown(self._times, int(groups.max(initial=-1)) + 1, NEVER)
        order = np.lexsort((times, groups))
        last = order[np.append(np.diff(groups[order]) > 0, True)]
        newer = last[times[last] >= self._times[groups[last]]]
        self._times[groups[newer]] = times[newer]
        self._kept.put(groups[newer], samples.histograms.take(newer))

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the histograms of groups that have samples."""
        groups = groups[self._kept.holds(groups)]
        found = self._kept.take(groups)
        gauge = found.reset_hints() == ResetHint.GAUGE
        yield column("last", groups, found.with_reset_hints(np.where(gauge, int(ResetHint.GAUGE), 0)))
        self.forget(groups)

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._times = grown(self._times, int(groups.max(initial=-1)) + 1, NEVER)
        self._times[groups] = NEVER
        self._kept.drop(groups)

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._kept.keep(groups)
        self._times = grown(self._times, int(groups.max(initial=-1)) + 1, NEVER)[groups]


class HistogramTotal(OfHistogramGrowth):
    """`total`, `increase`, and both as Prometheus counts: there the first sample of a series only says where it stands."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_running = name.startswith("total")
        self._takes_firsts = not name.endswith("_prometheus")
        self._sums = Sums()

    @property
    def nbytes(self) -> int:
        """Bytes of the sums."""
        return self._sums.nbytes

    def add(self, growth: HistogramGrowth, counts_firsts: bool) -> None:
        """Add the growth of series, and their first histograms in full once the start is over."""
        found = growth.deltas
        if self._takes_firsts and counts_firsts and growth.firsts.any():
            n = len(found)
            places = np.where(growth.firsts, np.arange(n, 2 * n), np.arange(n))
            found = stacked([found, growth.samples.histograms]).take(places)
        self._sums.put(growth.samples.groups, found)

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the sums."""
        groups, table = self._sums.of(groups)
        yield column(self._name, groups, words_of(table, ResetHint.UNKNOWN if self._is_running else ResetHint.GAUGE))
        if not self._is_running:
            self._sums.forget(groups)

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._sums.forget(groups)

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._sums.keep(groups)


class HistogramRates(OfHistogramGrowth):
    """`rate_sum` and `rate_avg`: of each series from its last sample of the interval before to its last of this one."""

    def __init__(self, outputs: tuple[str, ...]) -> None:
        """outputs: which of the two."""
        self._outputs = outputs
        self._begins: I64 = np.zeros(0, np.int64)
        self._ends: I64 = np.zeros(0, np.int64)
        self._growth = Sums()

    @property
    def nbytes(self) -> int:
        """Bytes of the growth of all series."""
        return self._growth.nbytes

    def add(self, growth: HistogramGrowth, counts_firsts: bool) -> None:
        """Add the growth of series."""
        inputs, times, new = growth.samples.inputs, growth.samples.times, growth.firsts
        self._grow(int(inputs.max(initial=-1)) + 1)
        self._begins[inputs[new]] = times[new]
        if new.any():
            self._growth.merge()
            self._growth.kept.drop(inputs[new])
        self._growth.put(inputs, growth.deltas)
        self._ends[inputs] = times

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the rates of groups in which time passed for any series."""
        self._grow(len(group_of_input))
        at = np.flatnonzero(self._ends != NEVER)
        moved, table = self._growth.of(at[self._ends[at] > self._begins[at]])
        moved, table = _of_groups(moved, table, np.isin(group_of_input[moved], groups))
        if len(moved):
            rates = divided(table, (self._ends[moved] - self._begins[moved]) / 1000)
            order = np.argsort(group_of_input[moved], kind="stable")
            found, begins, counts = np.unique(group_of_input[moved][order], return_index=True, return_counts=True)
            sums = sums_of_runs(rates.take(order), begins)
            for name in self._outputs:
                made = divided(sums, counts.astype(np.float64)) if name == "rate_avg" else sums
                yield column(name, found, words_of(made, ResetHint.GAUGE))
        self._begins[at], self._ends[at] = self._ends[at], NEVER
        self._growth.merge()
        self._growth.kept.drop(at)

    def forget(self, groups: I64) -> None:
        """Do nothing: a series whose group is forgotten begins with a first sample."""

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep series."""
        self._grow(int(inputs.max(initial=-1)) + 1)
        self._begins, self._ends = self._begins[inputs], self._ends[inputs]
        self._growth.merge()
        self._growth.kept.keep(inputs)

    def _grow(self, size: int) -> None:
        self._begins, self._ends = grown(self._begins, size, NEVER), grown(self._ends, size, NEVER)


class QuantilesOfObservations(OfHistogramGrowth):
    """`quantiles(...)`: of all that was observed in the interval; of gauges, of the samples added up."""

    def __init__(self, phis: tuple[float, ...]) -> None:
        self._phis = phis
        self._sums = Sums()

    @property
    def nbytes(self) -> int:
        """Bytes of the sums."""
        return self._sums.nbytes

    def add(self, growth: HistogramGrowth, counts_firsts: bool) -> None:
        """Add the growth of counters, and gauges as they are."""
        n = len(growth.deltas)
        gauge = growth.samples.histograms.reset_hints() == ResetHint.GAUGE
        places = np.where(gauge, np.arange(n, 2 * n), np.arange(n))
        self._sums.put(growth.samples.groups, stacked([growth.deltas, growth.samples.histograms]).take(places))

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the quantiles of groups for which anything was observed."""
        groups, table = self._sums.of(groups)
        some, observed = _of_groups(groups, table, table.counts() > 0)
        for phi in dict.fromkeys(self._phis):
            values = quantiles(observed, np.full(len(some), phi)).values
            yield Column("quantiles", some, values, ("quantile", phi_text(phi)))
        self._sums.forget(groups)

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._sums.forget(groups)

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._sums.keep(groups)


def column(name: str, groups: I64, found: Histograms) -> Column:
    """Return a column of histograms."""
    return Column(name, groups, handles(0, len(groups)), None, found if len(groups) else NO_HISTOGRAMS)


def _of_groups(numbers: I64, table: Table, which: NDArray[np.bool_]) -> tuple[I64, Table]:
    return numbers[which], table.take(np.flatnonzero(which))
