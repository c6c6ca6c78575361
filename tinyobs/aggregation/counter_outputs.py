"""Outputs made of the growth of counters: totals, increases, rates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..model.growing import grown
from .arrays import F64, I64
from .counters import NEVER, Growth
from .output import Column, OfCounters
from .value_outputs import EXACT_MAX


class Total(OfCounters):
    """`total`, `increase`, and both as Prometheus counts: there the first sample of a series only says where it stands."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_running = name.startswith("total")
        self._takes_firsts = not name.endswith("_prometheus")
        self._sums: F64 = np.zeros(0)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._sums = grown(self._sums, groups)

    def add(self, growth: Growth, counts_firsts: bool) -> None:
        """Add the growth of series, and their first values in full once the start is over."""
        np.add.at(self._sums, growth.groups, growth.deltas)
        if counts_firsts and self._takes_firsts and growth.firsts.any():
            np.add.at(self._sums, growth.groups[growth.firsts], growth.values[growth.firsts])

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the sums."""
        sums = self._sums[groups]
        yield Column(self._name, groups, sums)
        self._sums[groups[np.abs(sums) >= EXACT_MAX] if self._is_running else groups] = 0.0

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._sums[groups] = 0.0

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._sums = self._sums[groups]


class Rates(OfCounters):
    """`rate_sum` and `rate_avg`: of each series from its last sample of the interval before to its last of this one."""

    def __init__(self, outputs: tuple[str, ...]) -> None:
        """outputs: which of the two."""
        self._outputs = outputs
        self._begins: I64 = np.zeros(0, np.int64)
        self._ends: I64 = np.zeros(0, np.int64)
        self._growth: F64 = np.zeros(0)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._begins, self._ends = grown(self._begins, inputs, NEVER), grown(self._ends, inputs, NEVER)
        self._growth = grown(self._growth, inputs)

    def add(self, growth: Growth, counts_firsts: bool) -> None:
        """Add the growth of series."""
        new = growth.firsts
        if new.any():
            self._begins[growth.inputs[new]] = growth.times[new]
            self._growth[growth.inputs[new]] = 0.0
        np.add.at(self._growth, growth.inputs, growth.deltas)
        self._ends[growth.inputs] = growth.times

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the rates of groups in which time passed for any series."""
        at = np.flatnonzero(self._ends[: len(group_of_input)] != NEVER)
        seconds = (self._ends[at] - self._begins[at]) / 1000
        moved = seconds > 0
        rates = self._growth[at[moved]] / seconds[moved]
        size = int(groups.max(initial=-1)) + 1
        of = group_of_input[at[moved]]
        sums, counts = np.bincount(of, rates, size), np.bincount(of, minlength=size)
        groups = groups[counts[groups] > 0]
        for name in self._outputs:
            yield Column(name, groups, sums[groups] / (counts[groups] if name == "rate_avg" else 1))
        self._begins[at], self._ends[at], self._growth[at] = self._ends[at], NEVER, 0.0

    def forget(self, groups: I64) -> None:
        """Do nothing: a series whose group is forgotten begins with a first sample."""

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep series."""
        self._begins, self._ends, self._growth = self._begins[inputs], self._ends[inputs], self._growth[inputs]
