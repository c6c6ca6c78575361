"""Outputs that need the samples of an interval themselves: quantiles and the number of different values.

Samples are kept as they come, and thinned out when many have come: repeated values for `unique_samples`, and for
`quantiles` all but `SAMPLES_MAX` of a group, chosen with equal chances (those with the smallest of random numbers that
each sample is given).  So both have a bound for each group, and quantiles are exact up to that many samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from .arrays import F64, I64, sorted_by_group
from .output import Column, OfSamples, Samples
from .rule import phi_text
from .value_outputs import Extreme

SAMPLES_MAX: Final = 1000
"""Samples of a group and an interval that quantiles are made of, as in VictoriaMetrics."""
THIN_OUT_MIN: Final = 1 << 19
"""Samples that are kept before they are thinned out for the first time."""


class Quantiles(OfSamples):
    """`quantiles(...)`: the sample at the rank nearest to phi; 0 and 1 are the extremes of all samples."""

    def __init__(
        self, phis: tuple[float, ...], samples_max: int = SAMPLES_MAX, thin_out_min: int = THIN_OUT_MIN
    ) -> None:
        self._phis = phis
        self._samples_max = samples_max
        self._min, self._max = Extreme("min"), Extreme("max")
        self._kept = _Kept(thin_out_min)
        self._chance = np.random.Generator(np.random.PCG64(1))

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._min.grow(groups, inputs)
        self._max.grow(groups, inputs)

    def add(self, samples: Samples) -> None:
        """Keep samples."""
        if any(phi <= 0 for phi in self._phis):
            self._min.add(samples)
        if any(phi >= 1 for phi in self._phis):
            self._max.add(samples)
        if self._kept.put(samples.groups, samples.values, self._chance.random(len(samples.groups))):
            self._kept.replace(*self._thinned())

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the quantiles of groups that have samples."""
        of, values, _ = self._thinned()
        of, values = sorted_by_group(of, values)
        found, starts, counts = np.unique(of, return_index=True, return_counts=True)
        lowest = {c.output: c for e in (self._min, self._max) for c in e.columns(found, group_of_input)}
        for phi in dict.fromkeys(self._phis):
            if phi <= 0 or phi >= 1:
                at = lowest["min" if phi <= 0 else "max"].values
            else:
                ranks = np.minimum((phi * (counts - 1) + 0.5).astype(np.int64), counts - 1)
                at = values[starts + ranks]
            yield Column("quantiles", found, at, ("quantile", phi_text(phi)))
        self._kept.clear()

    def forget(self, groups: I64) -> None:
        """Do nothing: a group that is forgotten has had no samples for long."""

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups; called when nothing is kept here."""
        self._min.keep(groups, inputs)
        self._max.keep(groups, inputs)

    def _thinned(self) -> tuple[I64, F64, F64]:
        """Return (groups, values, chances), `samples_max` of each group at most."""
        groups, values, chances = self._kept.all()
        counts = np.bincount(groups) if len(groups) else np.zeros(0, np.int64)
        if not (counts > self._samples_max).any():
            return groups, values, chances
        order = np.lexsort((chances, groups))
        groups, values, chances = groups[order], values[order], chances[order]
        counts = counts[counts > 0]
        ranks = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
        few = ranks < self._samples_max
        return groups[few], values[few], chances[few]


class UniqueSamples(OfSamples):
    """`unique_samples`: how many different values there were."""

    def __init__(self, thin_out_min: int = THIN_OUT_MIN) -> None:
        self._kept = _Kept(thin_out_min)

    def add(self, samples: Samples) -> None:
        """Keep samples."""
        if self._kept.put(samples.groups, samples.values + 0.0):
            self._kept.replace(*self._distinct(), None)

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the counts of groups that have samples."""
        of, _ = self._distinct()
        found, counts = np.unique(of, return_counts=True)
        yield Column("unique_samples", found, counts.astype(np.float64))
        self._kept.clear()

    def forget(self, groups: I64) -> None:
        """Do nothing: a group that is forgotten has had no samples for long."""

    def keep(self, groups: I64, inputs: I64) -> None:
        """Do nothing; called when nothing is kept here."""

    def _distinct(self) -> tuple[I64, F64]:
        groups, values, _ = self._kept.all()
        groups, values = sorted_by_group(groups, values)
        new = np.ones(len(groups), np.bool_)
        new[1:] = (groups[1:] != groups[:-1]) | (values[1:] != values[:-1])
        return groups[new], values[new]


class _Kept:
    """Samples in pieces, with a number for each where that is needed."""

    def __init__(self, thin_out_min: int) -> None:
        self._min = thin_out_min
        self.clear()

    def clear(self) -> None:
        """Let all go."""
        self._groups: list[I64] = []
        self._values: list[F64] = []
        self._more: list[F64] = []
        self._count, self._limit = 0, self._min

    def put(self, groups: I64, values: F64, more: F64 | None = None) -> bool:
        """Keep samples; tell whether there are many now."""
        self._groups.append(groups)
        self._values.append(values)
        if more is not None:
            self._more.append(more)
        self._count += len(groups)
        return self._count > self._limit

    def all(self) -> tuple[I64, F64, F64]:
        """Return all."""
        nothing = np.zeros(0)
        return (
            np.concatenate([np.zeros(0, np.int64), *self._groups]),
            np.concatenate([nothing, *self._values]),
            np.concatenate([nothing, *self._more]),
        )

    def replace(self, groups: I64, values: F64, more: F64 | None) -> None:
        """Keep these instead; so many again may come before there are many."""
        self.clear()
        self.put(groups, values, more)
        self._limit = max(2 * self._count, self._min)
