"""Samples seen through windows: for every series and step, which samples lie in `(t - range, t]`.

On a regular grid no search is needed.  Sample j first counts at step `ceil((t_j - start) / step)`, so the number of
samples at or before each step is a histogram of these step numbers, summed up along the steps.  A window is then two
indexes into the flat arrays of samples: `low` (first) and `high` (one past the last).  Sums, minima and maxima over
windows are `ufunc.reduceat`; functions that need the samples themselves get them gathered by equal window length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import define, evolve, field
from numpy.typing import NDArray

from ..model.columns import SeriesColumns
from ..model.histograms import is_handle
from ..model.rollup import Rounding
from ..model.staleness import is_stale
from .blocks import Floats, Indexes, Mask
from .even_windows import EvenWindows, even_windows
from .grid import Grid
from .sums import sums_of_rows

GATHERED_SAMPLES_MAX: Final = 1 << 20
"""Samples gathered at one time: bounds the temporaries of functions that look at every sample of every window."""
_EXACT_SAMPLES_MAX: Final = 1 << 18
"""Up to so many samples over all windows, sums are compensated without asking whether that matters."""


def counts_until(columns: SeriesColumns, grid: Grid) -> Indexes:
    """Return int64[S, T]: how many samples of each series are at or before each step of the grid."""
    series = len(columns)
    shared = columns.shared
    if shared is not None and len(shared) < series:
        # What the timestamps decide is decided once for each column of them.
        return _counts_until(shared.times_ms, shared.offsets, grid)[shared.of_row]
    return _counts_until(columns.timestamps_ms, columns.offsets, grid)


def _counts_until(times_ms: Indexes, offsets: Indexes, grid: Grid) -> Indexes:
    series, steps = len(offsets) - 1, grid.steps
    row = np.repeat(np.arange(series, dtype=np.int64) * (steps + 1), np.diff(offsets))
    first = times_ms - (grid.start_ms - grid.step_ms + 1)
    if grid.step_ms > 1:
        first //= grid.step_ms
    np.clip(first, 0, steps, out=first)
    first += row
    counts: Indexes = np.bincount(first, minlength=series * (steps + 1)).reshape(series, steps + 1)
    return counts[:, :steps].cumsum(axis=1)


def without_stale(columns: SeriesColumns) -> SeriesColumns:
    """Return the samples without staleness markers."""
    stale = is_stale(columns.values)
    return _where(columns, ~stale) if stale.any() else columns


def without_histograms(columns: SeriesColumns) -> SeriesColumns:
    """Return the samples that are floats."""
    return evolve(_where(columns, ~is_handle(columns.values)), histograms=None)


def _where(columns: SeriesColumns, keep: Mask) -> SeriesColumns:
    before = np.zeros(len(keep) + 1, np.int64)
    np.cumsum(keep, out=before[1:])
    return SeriesColumns(
        columns.labels,
        before[columns.offsets],
        columns.timestamps_ms[keep],
        columns.values[keep],
        columns.histograms,
        None if columns.starts_ms is None else columns.starts_ms[keep],
        None if columns.weights is None else columns.weights[keep],
    )


def counts_at(offsets: Indexes, stamps: Indexes, moments: Indexes) -> Indexes:
    """Return int64[S, T]: how many samples of each series are stamped at or before each of ascending moments."""
    series, steps = len(offsets) - 1, len(moments)
    first = np.searchsorted(moments, stamps, "left")
    first += np.repeat(np.arange(series, dtype=np.int64) * (steps + 1), np.diff(offsets))
    counts: Indexes = np.bincount(first, minlength=series * (steps + 1)).reshape(series, steps + 1)
    return counts[:, :steps].cumsum(axis=1)


@define(eq=False)
class Windows:
    """The windows of one block of series.

    columns: samples without staleness markers.  grid: the ends of the windows (offset and @ are already in it); one
    moment stands for all steps.  range_ms: their length.  moments: int64[T], the steps of the evaluation.  modifier,
    lookback_ms: what `anchored` and `smoothed` windows need beyond.  rounding: how windows that a downsampling tier
    does not have are rounded down; a window then has at least one of its buckets.
    starts, ends: int64[T].  low, high: int64[S, T], the samples of a window are `low` .. `high - 1`.
    """

    columns: SeriesColumns
    grid: Grid
    range_ms: int
    moments: Indexes
    modifier: str = ""
    lookback_ms: int = 0
    rounding: Rounding | None = None
    starts: Indexes = field(init=False)
    ends: Indexes = field(init=False)
    even: EvenWindows | None = field(init=False, default=None)
    _low: Indexes | None = field(init=False, default=None)
    _high: Indexes | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.ends = self.grid.times()
        self.starts = self.ends - self.range_ms
        steps = len(self.moments)
        if self.rounding is None and not self.modifier:
            self.even = even_windows(self.columns, self.grid, self.range_ms, steps)
        elif self.rounding is not None:
            self._round(self.rounding)
        if steps > self.grid.steps:
            self.starts, self.ends = np.repeat(self.starts, steps), np.repeat(self.ends, steps)

    @property
    def low(self) -> Indexes:
        """The first sample of each window, int64[S, T]."""
        if self._low is None:
            self._find()
        assert self._low is not None
        return self._low

    @property
    def high(self) -> Indexes:
        """One past the last sample of each window, int64[S, T]."""
        if self._high is None:
            self._find()
        assert self._high is not None
        return self._high

    @property
    def shape(self) -> tuple[int, int]:
        """Series and steps."""
        return len(self.columns), len(self.moments)

    def _find(self) -> None:
        if self.even is not None:
            low, high = self.even.low[None, :], self.even.high[None, :]
        else:
            low, high = bounds(self.columns, self.grid, self.range_ms)
        self._set(low, high)

    def _set(self, low: Indexes, high: Indexes) -> None:
        """Take over where windows begin and end, counted from the first sample of each series."""
        base, steps = self.columns.offsets[:-1, None], len(self.moments)
        low, high = base + low, base + high
        if low.shape[1] < steps:
            low, high = np.repeat(low, steps, axis=1), np.repeat(high, steps, axis=1)
        self._low, self._high = low, high

    def _round(self, rounding: Rounding) -> None:
        ranges = np.maximum(self.range_ms, rounding.width(self.ends))
        self.starts, self.ends = rounding.down(self.ends - ranges), rounding.down(self.ends)
        stamps = rounding.up(self.columns.timestamps_ms)
        low = counts_at(self.columns.offsets, stamps, self.starts)
        self._set(low, counts_at(self.columns.offsets, stamps, self.ends))

    @property
    def times(self) -> Indexes:
        """Timestamps of all samples, flat."""
        return self.columns.timestamps_ms

    @property
    def values(self) -> Floats:
        """Values of all samples, flat."""
        return self.columns.values

    @property
    def counts(self) -> Indexes:
        """The number of samples in each window, int64[S, T]."""
        if self.even is not None:
            return np.broadcast_to(self.even.high - self.even.low, self.shape)
        return self.high - self.low

    @property
    def present(self) -> Mask:
        """Where a window has a sample."""
        if self.even is not None:
            return np.broadcast_to(self.even.high > self.even.low, self.shape)
        return self.high > self.low

    @property
    def weights(self) -> Floats:
        """For how many samples those in each window stand, float64[S, T]: their number, unless they are of a tier."""
        if self.columns.weights is None:
            return self.counts.astype(np.float64)
        return self.reduce(np.add, self.columns.weights)

    @property
    def seconds(self) -> float | Floats:
        """The length of the windows in seconds."""
        return self.range_ms / 1000 if self.rounding is None else (self.ends - self.starts) / 1000.0

    def first(self) -> Indexes:
        """Return the index of the first sample of each window; anything valid where there is none."""
        return np.minimum(self.low, max(len(self.values) - 1, 0))

    def last(self) -> Indexes:
        """Return the index of the last sample of each window; anything valid where there is none."""
        return np.maximum(self.high - 1, 0)

    def reduce(self, ufunc: np.ufunc, values: Floats, fill: float = 0.0) -> Floats:
        """Return `ufunc` reduced over the samples of each window; `fill` where there is none."""
        if self.even is not None:
            return self.even.reduce(ufunc, values, fill)
        return reduce_between(ufunc, values, self.low, self.high, fill)

    def sum(self, values: Floats) -> tuple[Floats, Floats]:
        """Return (sum, compensation) of `values` over each window; the exact sum is very nearly their sum.

        Compensation is left out where many samples of one sign make it too small to matter (relative error < 1e-13).
        """
        total = int(self.counts.sum())
        if total > _EXACT_SAMPLES_MAX and len(values) and (values.min() >= 0 or values.max() <= 0):
            plain = self.reduce(np.add, values)
            return plain, np.zeros_like(plain)
        sums, rest = np.zeros(self.shape), np.zeros(self.shape)
        for cells, samples in self.gathered():
            s, c = sums_of_rows(values[samples].T)
            sums.flat[cells], rest.flat[cells] = s, c
        return sums, rest

    def gathered(self, least: int = 1) -> Iterator[tuple[Indexes, Indexes]]:
        """Yield windows by equal length, at least `least`: (cells int64[W], samples int64[W, length]).

        `cells` are positions in the flattened [S, T]; `samples` are indexes of samples, ascending in time.
        """
        counts = self.counts.ravel()
        low = self.low.ravel()
        for length in np.unique(counts).tolist():
            if length < least:
                continue
            cells = np.flatnonzero(counts == length)
            piece = max(1, GATHERED_SAMPLES_MAX // length)
            for at in range(0, len(cells), piece):
                some = cells[at : at + piece]
                yield some, low[some][:, None] + np.arange(length)


def bounds(columns: SeriesColumns, grid: Grid, range_ms: int) -> tuple[Indexes, Indexes]:
    """Return (at or before the start, at or before the end) of each window: counts of samples, int64[S, T]."""
    ahead, rest = divmod(range_ms, grid.step_ms)
    if rest == 0 and grid.steps > 1 and ahead <= 4 * grid.steps:
        # The start of a window is the end of an earlier one: one pass serves both.
        counts = counts_until(columns, Grid(grid.start_ms - range_ms, grid.step_ms, grid.steps + ahead))
        return counts[:, : grid.steps].copy(), counts[:, ahead:]
    return counts_until(columns, grid.shifted(range_ms)), counts_until(columns, grid)


def reduce_between(ufunc: np.ufunc, values: NDArray[np.float64], low: Indexes, high: Indexes, fill: float) -> Floats:
    """Return `ufunc` reduced over `values[low:high]` for each pair; `fill` where `low >= high`."""
    pairs = np.empty(2 * low.size, np.int64)
    pairs[0::2] = low.ravel()
    pairs[1::2] = high.ravel()
    padded = np.append(values, fill)
    out: Floats = ufunc.reduceat(padded, np.minimum(pairs, len(values)))[0::2].reshape(low.shape)
    out[high <= low] = fill
    return out
