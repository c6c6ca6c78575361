"""Samples of many series as columns: what queriers return and results are made of.

A `SeriesColumns` holds `S` series and `N` samples in compressed-row form: the samples of series `i` are
`timestamps_ms[offsets[i]:offsets[i+1]]` and the same slice of `values`, ascending in time without repetition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .labels import Labels


@frozen(eq=False)
class SeriesColumns:
    """Samples of several series.

    labels: S label sets.  offsets: int64[S+1], from 0 to N.  timestamps_ms: int64[N].  values: float64[N].
    """

    labels: Sequence[Labels]
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]

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
    return SeriesColumns(
        labels,
        offsets,
        np.concatenate([p.timestamps_ms for p in parts]),
        np.concatenate([p.values for p in parts]),
    )
