"""Windows over series that all have the same timestamps, as those of one target do: one row of bounds for all series.

Samples are a matrix then, and a window is a pair of its columns.  Where the windows move on evenly, the first and the
last samples of all of them are slices of the matrix, which costs neither an index nor a search.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen

from ..model.columns import SeriesColumns
from .blocks import Floats, Indexes
from .grid import Grid

_EMPTY: Final = np.zeros(0)


@frozen(eq=False)
class EvenWindows:
    """The samples of window `t` are the columns `low[t]` .. `high[t] - 1` of the matrix.

    matrix: float64[S, N].  times_ms: int64[N].  low, high: int64[T].
    """

    matrix: Floats
    times_ms: Indexes
    low: Indexes
    high: Indexes

    def first(self) -> Indexes:
        """Return the column of the first sample of each window; any valid one where there is none."""
        return np.minimum(self.low, len(self.times_ms) - 1)

    def last(self) -> Indexes:
        """Return the column of the last sample of each window; any valid one where there is none."""
        return np.maximum(self.high - 1, 0)

    def reduce(self, ufunc: np.ufunc, values: Floats, fill: float) -> Floats:
        """Return `ufunc` reduced over each window, float64[S, T]; values: flat, one for each sample of the matrix."""
        samples = len(self.times_ms)
        pairs = np.empty(2 * len(self.low), np.int64)
        pairs[0::2], pairs[1::2] = self.low, self.high
        padded = np.empty((len(self.matrix), samples + 1))
        padded[:, :samples] = values.reshape(-1, samples)
        padded[:, samples] = fill
        out: Floats = ufunc.reduceat(padded, np.minimum(pairs, samples), axis=1)[:, 0::2]
        if (self.high <= self.low).any():
            out[:, self.high <= self.low] = fill
        return out


def even_windows(columns: SeriesColumns, grid: Grid, range_ms: int, steps: int) -> EvenWindows | None:
    """Return the windows at the moments of a grid, None where the series do not share their timestamps.

    steps: as many windows there shall be; a grid of one moment stands for all of them.
    """
    shared = columns.shared
    if shared is None or len(shared) != 1 or not len(shared.times_ms):
        return None
    ends = grid.times()
    low = shared.times_ms.searchsorted(ends - range_ms, "right")
    high = shared.times_ms.searchsorted(ends, "right")
    if grid.steps < steps:
        low, high = np.repeat(low, steps), np.repeat(high, steps)
    return EvenWindows(columns.values.reshape(-1, len(shared.times_ms)), shared.times_ms, low, high)


def columns_at(matrix: Floats, columns: Indexes) -> Floats:
    """Return some columns of a matrix: a view of it where they lie evenly."""
    count = len(columns)
    if count > 1:
        step = int(columns[1]) - int(columns[0])
        if step > 0 and bool((columns[1:] - columns[:-1] == step).all()):
            return matrix[:, int(columns[0]) : int(columns[-1]) + 1 : step]
    return matrix.take(columns, axis=1)
