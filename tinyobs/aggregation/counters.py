"""What counters grew by: the last value of each input series, resets, samples out of order.

A sample older than one that was taken of its series is skipped, and so is an infinite value: what it grew by would be in the
sum of all for ever.  A value below the last one begins at zero.  What the first sample of a series counts for is left to the outputs.  Samples may come several at a time for one series; they are
worked off in order without a loop.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.growing import grown
from .arrays import F64, I64

NEVER: Final = -(1 << 62)
_TIME_MAX: Final = 1 << 42
ROWS_MAX: Final = 1 << 19
"""Samples at one time, so that the running maxima below fit 64 bits."""


@frozen(eq=False)
class Growth:
    """Samples of counters that were taken, those of each series in order.

    groups, inputs: int64[n].  deltas: float64[n], growth since the sample before, 0 for first ones.  firsts: bool[n].
    """

    groups: I64
    inputs: I64
    times: I64
    values: F64
    deltas: F64
    firsts: NDArray[np.bool_]


class Counters:
    """The last sample of each input series."""

    def __init__(self) -> None:
        self._values: F64 = np.zeros(0)
        self._times: I64 = np.zeros(0, np.int64)
        self._deadlines: I64 = np.zeros(0, np.int64)
        self.resets = 0
        self.out_of_order = 0

    def grow(self, inputs: int) -> None:
        """Make room for so many input series."""
        self._values = grown(self._values, inputs)
        self._times = grown(self._times, inputs, NEVER)
        self._deadlines = grown(self._deadlines, inputs, NEVER)

    def forget(self, inputs: I64) -> None:
        """Let the next samples of these series be their first."""
        self._times[inputs] = NEVER

    def keep(self, inputs: I64) -> None:
        """Keep only these series, which are numbered anew in this order."""
        self._values, self._times = self._values[inputs], self._times[inputs]
        self._deadlines = self._deadlines[inputs]

    def add(self, groups: I64, inputs: I64, times: I64, values: F64, now_ms: int, deadline_ms: int) -> Growth:
        """Take samples in the order in which they came, `ROWS_MAX` at most."""
        finite = np.isfinite(values)
        if not finite.all():
            groups, inputs, times, values = groups[finite], inputs[finite], times[finite], values[finite]
        ascending = bool((inputs[1:] > inputs[:-1]).all())
        if not ascending:
            order = np.argsort(inputs, kind="stable")
            groups, inputs, times, values = groups[order], inputs[order], times[order], values[order]
        before = self._times[inputs]
        before[self._deadlines[inputs] < now_ms] = NEVER
        taken = times >= before if ascending else in_order(inputs, times, before)
        if not taken.all():
            self.out_of_order += int(len(taken) - np.count_nonzero(taken))
            at = np.flatnonzero(taken)
            groups, inputs, times, values, before = groups[at], inputs[at], times[at], values[at], before[at]
        starts = np.ones(len(inputs), np.bool_)
        starts[1:] = inputs[1:] != inputs[:-1]
        previous = np.empty(len(values))
        previous[1:] = values[:-1]
        previous[starts] = self._values[inputs[starts]]
        firsts = starts & (before == NEVER)
        deltas = values - previous
        resets = deltas < 0
        deltas[resets] = values[resets]
        deltas[firsts] = 0.0
        self.resets += int(np.count_nonzero(resets & ~firsts))
        # Of several the last one stays, which is what assignment to repeated places does.
        self._values[inputs], self._times[inputs], self._deadlines[inputs] = values, times, deadline_ms
        return Growth(groups, inputs, times, values, deltas, firsts)


def in_order(inputs: I64, times: I64, before: I64) -> NDArray[np.bool_]:
    """Return which samples are not older than all before them of their series; rows are sorted by series."""
    runs = np.zeros(len(inputs), np.int64)
    np.cumsum(inputs[1:] != inputs[:-1], out=runs[1:])
    newest = np.clip(np.maximum(times, before), -_TIME_MAX, _TIME_MAX)
    newest -= newest.min(initial=_TIME_MAX)
    span = int(newest.max(initial=0)) + 1
    so_far = np.maximum.accumulate(newest + runs * span)
    in_order: NDArray[np.bool_] = (times >= before) & (newest + runs * span >= so_far)
    return in_order
