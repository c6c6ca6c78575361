"""Outputs of one or a few numbers for each group: counts, sums, means, extremes, the last value, the spread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.growing import grown
from .arrays import F64, I64, touched
from .counters import NEVER
from .output import Column, OfSamples, Samples

EXACT_MAX: Final = float(1 << 53)
"""Running sums begin anew when they are so large that they lose ones."""


class Count(OfSamples):
    """`count_samples`."""

    def __init__(self) -> None:
        self._counts: I64 = np.zeros(0, np.int64)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._counts = grown(self._counts, groups)

    def add(self, samples: Samples) -> None:
        """Count samples."""
        np.add.at(self._counts, samples.groups, 1)

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the counts of groups that have any."""
        groups = groups[self._counts[groups] > 0]
        yield Column("count_samples", groups, self._counts[groups].astype(np.float64))
        self._counts[groups] = 0

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._counts[groups] = 0

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._counts = self._counts[groups]


class CountSeries(OfSamples):
    """`count_series`: input series that had a sample in the interval."""

    def __init__(self) -> None:
        self._seen: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._seen = grown(self._seen, inputs)

    def add(self, samples: Samples) -> None:
        """Note series."""
        self._seen[samples.inputs] = True

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the counts of groups that have any."""
        counts = np.bincount(group_of_input[np.flatnonzero(self._seen[: len(group_of_input)])])
        counts = grown(counts, int(groups.max(initial=-1)) + 1)
        groups = groups[counts[groups] > 0]
        yield Column("count_series", groups, counts[groups].astype(np.float64))
        self._seen[:] = False

    def forget(self, groups: I64) -> None:
        """Do nothing: a group that is forgotten has had no series for long."""

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep series."""
        self._seen = self._seen[inputs]


class Sum(OfSamples):
    """`sum_samples`: put out as long as the group lives, 0 when nothing came."""

    def __init__(self) -> None:
        self._sums: F64 = np.zeros(0)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._sums = grown(self._sums, groups)

    def add(self, samples: Samples) -> None:
        """Add samples."""
        np.add.at(self._sums, samples.groups, samples.values)

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the sums."""
        yield Column("sum_samples", groups, self._sums[groups])
        self._sums[groups] = 0.0

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._sums[groups] = 0.0

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._sums = self._sums[groups]


class RunningSum(Sum):
    """`sum_samples_total`: never reset while the group lives, but for sums that are large, infinite or no number."""

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the sums."""
        sums = self._sums[groups]
        yield Column("sum_samples_total", groups, sums)
        self._sums[groups[~(np.abs(sums) < EXACT_MAX)]] = 0.0


class Average(OfSamples):
    """`avg`."""

    def __init__(self) -> None:
        self._counts: I64 = np.zeros(0, np.int64)
        self._sums: F64 = np.zeros(0)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._counts, self._sums = grown(self._counts, groups), grown(self._sums, groups)

    def add(self, samples: Samples) -> None:
        """Add samples."""
        np.add.at(self._counts, samples.groups, 1)
        np.add.at(self._sums, samples.groups, samples.values)

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the means of groups that have samples."""
        groups = groups[self._counts[groups] > 0]
        yield Column("avg", groups, self._sums[groups] / self._counts[groups])
        self.forget(groups)

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._counts[groups], self._sums[groups] = 0, 0.0

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._counts, self._sums = self._counts[groups], self._sums[groups]


class Extreme(OfSamples):
    """`min` and `max`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._better = np.minimum if name == "min" else np.maximum
        self._none = np.inf if name == "min" else -np.inf
        self._found: F64 = np.zeros(0)
        self._has: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._found, self._has = grown(self._found, groups, self._none), grown(self._has, groups)

    def add(self, samples: Samples) -> None:
        """Look at samples."""
        self._better.at(self._found, samples.groups, samples.values)
        self._has[samples.groups] = True

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the extremes of groups that have samples."""
        groups = groups[self._has[groups]]
        yield Column(self._name, groups, self._found[groups])
        self.forget(groups)

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._found[groups], self._has[groups] = self._none, False

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._found, self._has = self._found[groups], self._has[groups]


class Last(OfSamples):
    """`last`: the value of the newest sample, of several with that time the one that came last."""

    def __init__(self) -> None:
        self._values: F64 = np.zeros(0)
        self._times: I64 = np.zeros(0, np.int64)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._values, self._times = grown(self._values, groups), grown(self._times, groups, NEVER)

    def add(self, samples: Samples) -> None:
        """Look at samples."""
        groups, times, values = samples.groups, samples.times, samples.values
        if (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            groups, times, values = groups[order], times[order], values[order]
        newer = times >= self._times[groups]
        groups = groups[newer]
        # Of several samples of a group the last one stays, which is what assignment to repeated places does.
        self._values[groups], self._times[groups] = values[newer], times[newer]

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the values of groups that have samples."""
        groups = groups[self._times[groups] != NEVER]
        yield Column("last", groups, self._values[groups])
        self.forget(groups)

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._times[groups] = NEVER

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._values, self._times = self._values[groups], self._times[groups]


class Spread(OfSamples):
    """`stddev` and `stdvar` of the population.

    Samples that come together are summed up by themselves, and then joined with those before by the formula of Chan,
    Golub and LeVeque, which loses no digits where values are large and close together.
    """

    def __init__(self, outputs: tuple[str, ...]) -> None:
        """outputs: which of the two."""
        self._outputs = outputs
        self._counts: F64 = np.zeros(0)
        self._means: F64 = np.zeros(0)
        self._squares: F64 = np.zeros(0)

    def grow(self, groups: int, inputs: int) -> None:
        """Make room."""
        self._counts, self._means = grown(self._counts, groups), grown(self._means, groups)
        self._squares = grown(self._squares, groups)

    def add(self, samples: Samples) -> None:
        """Join samples with those before."""
        at = touched(samples.groups, len(self._counts))
        places = np.searchsorted(at, samples.groups)
        counts = np.bincount(places, minlength=len(at)).astype(np.float64)
        means = np.bincount(places, samples.values, len(at)) / counts
        squares = np.bincount(places, (samples.values - means[places]) ** 2, len(at))
        before, apart = self._counts[at], means - self._means[at]
        together = before + counts
        self._means[at] += apart * counts / together
        self._squares[at] += squares + apart * apart * before * counts / together
        self._counts[at] = together

    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield the spread of groups that have samples."""
        groups = groups[self._counts[groups] > 0]
        variances = self._squares[groups] / self._counts[groups]
        for name in self._outputs:
            yield Column(name, groups, np.sqrt(variances) if name == "stddev" else variances)
        self.forget(groups)

    def forget(self, groups: I64) -> None:
        """Reset groups."""
        self._counts[groups] = self._means[groups] = self._squares[groups] = 0.0

    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep groups."""
        self._counts, self._means = self._counts[groups], self._means[groups]
        self._squares = self._squares[groups]
