"""Samples of many series as columns: what queriers return and results are made of.

A `SeriesColumns` holds `S` series and `N` samples in compressed-row form: the samples of series `i` are
`timestamps_ms[offsets[i]:offsets[i+1]]` and the same slice of `values`, ascending in time without repetition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from .histograms import Histograms, joined
from .labels import Labels
from .ragged import take_rows


@frozen(eq=False)
class SharedTimes:
    """Timestamps of rows that share columns of them, as the series of one target do: row `i` has column `of_row[i]`.

    of_row: int64[S].  Column `c` is `times_ms[offsets[c]:offsets[c+1]]`, ascending.
    """

    of_row: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.of_row.nbytes + self.times_ms.nbytes + self.offsets.nbytes

    def spread(self) -> NDArray[np.int64]:
        """Return the timestamps of all rows, one row after the other."""
        if len(self) == 1:
            return np.tile(self.times_ms, len(self.of_row))
        return take_rows(self.times_ms, self.offsets, self.of_row)

    def rows(self, first: int, last: int) -> SharedTimes:
        """Return those of the rows `first` .. `last - 1`."""
        return SharedTimes(self.of_row[first:last], self.times_ms, self.offsets)


@frozen(eq=False)
class SeriesColumns:
    """Samples of several series.

    labels: S label sets.  offsets: int64[S+1], from 0 to N.  timestamps_ms: int64[N]; may be given as columns that
    series share, and is then spread when it is asked for.  values: float64[N], where a
    native histogram has its handle (`histograms.py`).  histograms: what handles stand for, None without any.
    starts_ms: int64[N], since when a sample counts, 0 where not known; None when nowhere is.
    weights: float64[N], how many raw samples a sample stands for, where that was asked for (`SelectHints`); None when
    it is one for all.
    """

    labels: Sequence[Labels]
    offsets: NDArray[np.int64]
    _timestamps_ms: NDArray[np.int64] | SharedTimes
    values: NDArray[np.float64]
    histograms: Histograms | None = None
    starts_ms: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    _spread: NDArray[np.int64] | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def timestamps_ms(self) -> NDArray[np.int64]:
        """Timestamps of all samples, int64[N]."""
        if not isinstance(self._timestamps_ms, SharedTimes):
            return self._timestamps_ms
        if self._spread is None:
            object.__setattr__(self, "_spread", self._timestamps_ms.spread())
        assert self._spread is not None
        return self._spread

    @property
    def shared(self) -> SharedTimes | None:
        """The columns of timestamps that series share, where they are known."""
        return self._timestamps_ms if isinstance(self._timestamps_ms, SharedTimes) else None

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.values)

    def rows(self, first: int, last: int) -> SeriesColumns:
        """Return the series `first` .. `last - 1` (views, not copies)."""
        a, b = int(self.offsets[first]), int(self.offsets[last])
        shared = self._timestamps_ms
        return SeriesColumns(
            self.labels[first:last],
            self.offsets[first : last + 1] - a,
            shared.rows(first, last) if isinstance(shared, SharedTimes) else shared[a:b],
            self.values[a:b],
            self.histograms,
            None if self.starts_ms is None else self.starts_ms[a:b],
            None if self.weights is None else self.weights[a:b],
        )

    def one(self, i: int) -> tuple[Labels, NDArray[np.int64], NDArray[np.float64]]:
        """Return labels, timestamps and values of series `i` (views, not copies)."""
        a, b = int(self.offsets[i]), int(self.offsets[i + 1])
        return self.labels[i], self.timestamps_ms[a:b], self.values[a:b]


def empty() -> SeriesColumns:
    """Return columns without a series."""
    return SeriesColumns((), np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def concatenate(parts: Sequence[SeriesColumns]) -> SeriesColumns:
    """Return the series of all parts, one part after the other; the parts share no series."""
    if not parts:
        return empty()
    if len(parts) == 1:
        return parts[0]
    labels: list[Labels] = []
    counts = []
    for p in parts:
        labels.extend(p.labels)
        counts.append(np.diff(p.offsets))
    offsets = np.zeros(len(labels) + 1, np.int64)
    np.cumsum(np.concatenate(counts), out=offsets[1:])
    values, histograms = joined([(p.values, p.histograms) for p in parts])
    times = np.concatenate([p.timestamps_ms for p in parts])
    starts = starts_of([(p.starts_ms, p.samples) for p in parts])
    weights = None
    if any(p.weights is not None for p in parts):
        weights = np.concatenate([np.ones(p.samples) if p.weights is None else p.weights for p in parts])
    return SeriesColumns(labels, offsets, times, values, histograms, starts, weights)


def starts_of(columns: Sequence[tuple[NDArray[np.int64] | None, int]]) -> NDArray[np.int64] | None:
    """Return columns of start times, given with their lengths, as one; None when none knows any."""
    if all(starts is None for starts, _ in columns):
        return None
    return np.concatenate([np.zeros(n, np.int64) if starts is None else starts for starts, n in columns])
