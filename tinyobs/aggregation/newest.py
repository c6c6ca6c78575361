"""Deduplication by time: of the samples of a series in an interval the newest one, of several with its time the largest.

Source of the rule: VictoriaMetrics, -dedup.minScrapeInterval and lib/streamaggr/dedup.go.
"""

from __future__ import annotations

import numpy as np

from ..model.growing import grown
from ..model.histograms import Histograms, handles, is_handle, numbers_of
from .arrays import F64, I64
from .counters import NEVER
from .kept_histograms import KeptHistograms
from .rows import Rows


class Newest:
    """The newest sample of each input series since the last call of `take`."""

    def __init__(self) -> None:
        self._values: F64 = np.zeros(0)
        self._times: I64 = np.zeros(0, np.int64)
        self._histograms = KeptHistograms()

    def grow(self, inputs: int) -> None:
        """Make room."""
        self._values, self._times = grown(self._values, inputs), grown(self._times, inputs, NEVER)

    def add(self, rows: Rows) -> int:
        """Look at samples; return how many were or made others superfluous."""
        sizes = _sizes(rows.values, rows.histograms)
        order = np.lexsort((sizes, rows.times, rows.inputs))
        inputs = rows.inputs[order]
        last = order[np.append(inputs[1:] != inputs[:-1], True)]
        inputs, times = rows.inputs[last], rows.times[last]
        before = self._times[inputs]
        better = (times > before) | ((times == before) & (sizes[last] > self._values[inputs]))
        self._put(inputs[better], rows.take(last[better]))
        return len(order) - int(np.count_nonzero(before == NEVER))

    def take(self) -> Rows:
        """Return what is there, and begin anew."""
        inputs = np.flatnonzero(self._times != NEVER)
        values, native = self._values[inputs], self._histograms.holds(inputs)
        found = None
        if native.any():
            values[native] = handles(0, int(native.sum()))
            found = self._histograms.take(inputs[native])
            self._histograms.drop(inputs[native])
        rows = Rows(inputs, self._times[inputs], values, found)
        self._times[inputs] = NEVER
        return rows

    def _put(self, inputs: I64, rows: Rows) -> None:
        native = is_handle(rows.values)
        self._values[inputs], self._times[inputs] = _sizes(rows.values, rows.histograms), rows.times
        self._histograms.drop(inputs[~native])
        if rows.histograms is not None:
            self._histograms.put(inputs[native], rows.histograms.take(numbers_of(rows.values[native])))

    def keep(self, inputs: I64) -> None:
        """Keep only these series, which are numbered anew in this order."""
        self._values, self._times = self._values[inputs], self._times[inputs]
        self._histograms.keep(inputs)


def _sizes(values: F64, table: Histograms | None) -> F64:
    """Return what is compared where times are equal: values, and of histograms the number of observations."""
    numbers = numbers_of(values)
    if table is None or (numbers < 0).all():
        return values
    return np.where(numbers >= 0, table.counts()[numbers], values)
