"""Runs: samples of several series, one run after the other, as they travel between head, segments and queriers.

Everything that permutes, cuts or joins samples does it here, so that histograms and start times stay with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.columns import SeriesColumns, SharedTimes, starts_of
from ..model.histograms import Histograms, is_handle, joined, numbers_of, renumbered
from ..model.labels import Labels
from ..model.ragged import offsets_of
from .samples import WORDS_PER_SAMPLE

I64 = NDArray[np.int64]


@frozen(eq=False)
class Runs:
    """Samples of several rows, one row after the other: row `i` has `[offsets[i]:offsets[i+1]]`.

    values: where a native histogram stands, its handle.  histograms: what handles stand for; it may hold others too.
    starts_ms: since when a sample counts, 0 where not known; None when nowhere is.
    """

    offsets: I64
    _times_ms: I64 | SharedTimes
    values: NDArray[np.float64]
    histograms: Histograms | None = None
    starts_ms: I64 | None = None

    @property
    def times_ms(self) -> I64:
        """Timestamps of all samples; spread anew for each call where rows share columns of them."""
        return self._times_ms.spread() if isinstance(self._times_ms, SharedTimes) else self._times_ms

    @property
    def shared(self) -> SharedTimes | None:
        """The columns of timestamps that rows share, where they are known."""
        return self._times_ms if isinstance(self._times_ms, SharedTimes) else None

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        more = 0 if self.histograms is None else self.histograms.nbytes
        more += 0 if self.starts_ms is None else self.starts_ms.nbytes
        return int(self.offsets.nbytes + self._times_ms.nbytes + self.values.nbytes) + more

    def take(self, offsets: I64, at: I64 | NDArray[np.bool_] | slice) -> Runs:
        """Return the samples at some positions, in rows with other offsets."""
        starts = None if self.starts_ms is None else self.starts_ms[at]
        return Runs(offsets, self.times_ms[at], self.values[at], self.histograms, starts)

    def with_offsets(self, offsets: I64) -> Runs:
        """Return the same samples in other rows."""
        return Runs(offsets, self._times_ms, self.values, self.histograms, self.starts_ms)

    def rows(self, first: int, last: int) -> Runs:
        """Return the rows `first` .. `last - 1` (views, not copies)."""
        offsets = self.offsets[first : last + 1]
        a, b = int(offsets[0]), int(offsets[-1])
        return self.take(offsets - a if a else offsets, slice(a, b))

    def compact(self) -> Runs:
        """Return the same with none but the histograms that stand among the samples, in their order."""
        if self.histograms is None:
            return self
        values, numbers = renumbered(self.values)
        if np.array_equal(numbers, np.arange(len(self.histograms))):
            return self
        table = self.histograms.take(numbers) if len(numbers) else None
        return Runs(self.offsets, self._times_ms, values, table, self.starts_ms)

    def costs(self) -> I64:
        """Return like `offsets` the running sum over rows of what reading costs, counted in samples."""
        costs = self.sample_costs()
        return self.offsets if costs is None else costs[self.offsets]

    def sample_costs(self) -> I64 | None:
        """Return the same over samples, as int64[N+1]; None where each costs one."""
        if self.histograms is None:
            return None
        at = np.flatnonzero(is_handle(self.values))
        each = np.ones(len(self.values), np.int64)
        each[at] += np.diff(self.histograms.offsets)[numbers_of(self.values[at])] // WORDS_PER_SAMPLE
        return offsets_of(each)

    def columns(self, labels: Sequence[Labels]) -> SeriesColumns:
        """Return the rows as those of the series with these label sets."""
        return SeriesColumns(labels, self.offsets, self._times_ms, self.values, self.histograms, self.starts_ms)

    def freeze(self) -> None:
        """Make the arrays read-only: many queries share them."""
        if not isinstance(self._times_ms, SharedTimes):
            self._times_ms.flags.writeable = False
        self.values.flags.writeable = False
        if self.starts_ms is not None:
            self.starts_ms.flags.writeable = False


def empty_runs(rows: int) -> Runs:
    """Return rows without samples."""
    return Runs(np.zeros(rows + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def runs_of(columns: SeriesColumns) -> Runs:
    """Return the samples of columns, without their labels."""
    times = columns.timestamps_ms if columns.shared is None else columns.shared
    return Runs(columns.offsets, times, columns.values, columns.histograms, columns.starts_ms)


def concatenate_runs(parts: Sequence[Runs]) -> Runs:
    """Return the rows of all parts, one part after the other; the offsets of each begin at 0."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(p.offsets) for p in parts])
    times = np.concatenate([p.times_ms for p in parts])
    values, histograms = joined([(p.values, p.histograms) for p in parts])
    starts = starts_of([(p.starts_ms, len(p.times_ms)) for p in parts])
    return Runs(offsets_of(lengths), times, values, histograms, starts)
