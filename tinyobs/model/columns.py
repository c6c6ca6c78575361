"""Samples of many series as columns: what queriers return and results are made of.

A `SeriesColumns` holds `S` series and `N` samples in compressed-row form: the samples of series `i` are
`timestamps_ms[offsets[i]:offsets[i+1]]` and the same slice of `values`, ascending in time without repetition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .histograms import Histograms, joined
from .labels import Labels


@frozen(eq=False)
class SeriesColumns:
    """Samples of several series.

    labels: S label sets.  offsets: int64[S+1], from 0 to N.  timestamps_ms: int64[N].  values: float64[N], where a
    native histogram has its handle (`histograms.py`).  histograms: what handles stand for, None without any.
    starts_ms: int64[N], since when a sample counts, 0 where not known; None when nowhere is.
    weights: float64[N], how many raw samples a sample stands for, where that was asked for (`SelectHints`); None when
    it is one for all.
    """

    labels: Sequence[Labels]
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    histograms: Histograms | None = None
    starts_ms: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.values)

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
