"""The newest sample before each step: what an instant selector yields.

A sample counts while it is younger than the lookback (`(t - lookback, t]`) and no staleness marker.  `smoothed`
selectors interpolate between the samples around a step instead.
"""

from __future__ import annotations

import numpy as np

from ..model.columns import SeriesColumns
from ..model.staleness import is_stale
from .blocks import Floats, Indexes, Mask
from .even_windows import columns_at
from .grid import Grid
from .windows import counts_until, without_stale


def newest(
    columns: SeriesColumns, grid: Grid, lookback_ms: int | Indexes, *, smoothed: bool = False
) -> tuple[Floats, Indexes, Mask]:
    """Return (values, their timestamps in ms, present), each [S, T]; where absent the first two mean nothing.

    lookback_ms: one for all steps, or int64[T].
    """
    if smoothed:
        return _smoothed(without_stale(columns), grid, lookback_ms)
    if (shared := columns.shared) is not None and len(shared) == 1 and columns.samples:
        return _newest_of_even(columns, shared.times_ms, grid, lookback_ms)
    index, present = newest_index(columns, grid, lookback_ms)
    if not columns.samples:
        return np.zeros(index.shape), index, present
    return columns.values[index], columns.timestamps_ms[index], present


def newest_index(columns: SeriesColumns, grid: Grid, lookback_ms: int | Indexes) -> tuple[Indexes, Mask]:
    """Return (index of the newest sample, present), each [S, T]; where absent the index means nothing."""
    shape = (len(columns), grid.steps)
    if not columns.samples:
        return np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    counts = counts_until(columns, grid)
    index = np.maximum(counts + (columns.offsets[:-1, None] - 1), 0)
    present = counts > 0
    present &= columns.timestamps_ms[index] > grid.times() - lookback_ms
    present &= ~is_stale(columns.values[index])
    return index, present


def _newest_of_even(
    columns: SeriesColumns, times_ms: Indexes, grid: Grid, lookback_ms: int | Indexes
) -> tuple[Floats, Indexes, Mask]:
    """Return the same for series that all have the same timestamps."""
    moments = grid.times()
    counts = times_ms.searchsorted(moments, "right")
    at = np.maximum(counts - 1, 0)
    values = columns_at(columns.values.reshape(-1, len(times_ms)), at)
    times = times_ms[at]
    usable = (counts > 0) & (times > moments - lookback_ms)
    stale = is_stale(values)
    present = usable & ~stale if stale.any() else np.broadcast_to(usable, values.shape)
    return values, np.broadcast_to(times, values.shape), present


def _smoothed(columns: SeriesColumns, grid: Grid, lookback_ms: int | Indexes) -> tuple[Floats, Indexes, Mask]:
    shape = (len(columns), grid.steps)
    moments = grid.times()
    times = np.broadcast_to(moments, shape)
    if not columns.samples:
        return np.zeros(shape), times, np.zeros(shape, np.bool_)
    after = counts_until(columns, grid) + columns.offsets[:-1, None]
    before = np.maximum(after - 1, 0)
    present = (after > columns.offsets[:-1, None]) & (columns.timestamps_ms[before] > moments - lookback_ms)
    has_next = after < columns.offsets[1:, None]
    after = np.minimum(after, columns.samples - 1)
    has_next &= columns.timestamps_ms[after] <= moments + lookback_ms
    t1, t2 = columns.timestamps_ms[before], columns.timestamps_ms[after]
    y1, y2 = columns.values[before], columns.values[after]
    has_next &= (t1 < moments) & (t2 > t1)
    with np.errstate(all="ignore"):
        between = y1 + (y2 - y1) * (moments - t1) / (t2 - t1)
    return np.where(has_next, between, y1), times, present
