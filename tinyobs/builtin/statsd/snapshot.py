"""The samples of all series at one moment, made of copies: away from the event loop while lines go on coming."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...model.batch import Batch
from ...model.histograms import Histograms, handles
from ...model.metadata import MetricMetadata
from ...model.staleness import STALE_NAN
from .buckets import Entries, histograms_of, quantiles_of
from .mapper import Family
from .series import F64, I64, SeriesTable

ORIGIN: Final = "statsd"
SUMMARY_SCHEMA: Final = 7
"""The buckets that quantiles come from: a quantile is off by 0.3 % at most."""

U32 = NDArray[np.uint32]
Part = tuple[U32, F64, I64]
"""Refs, values and starts of samples."""


class ClassicCounts:
    """Counts of histograms that have the same bounds: a row for each series."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = np.array(bounds)
        self.numbers: I64 = np.empty(0, np.int64)
        """The series of each row, ascending."""
        self.counts: F64 = np.empty((0, len(bounds) + 1))
        """float64[R, B+1], by bucket."""
        self.refs: U32 = np.empty((0, len(bounds) + 3), np.uint32)
        """uint32[R, B+3]: buckets, sum, count."""

    def add(self, table: SeriesTable, numbers: I64, values: F64, weights: F64) -> None:
        """Count observations."""
        new = np.setdiff1d(numbers, self.numbers)
        if len(new):
            at = np.searchsorted(self.numbers, new)
            self.numbers = np.insert(self.numbers, at, new)
            self.counts = np.insert(self.counts, at, 0.0, axis=0)
            self.refs = np.insert(self.refs, at, np.stack([table.refs[n] for n in new.tolist()]), axis=0)
        rows = np.searchsorted(self.numbers, numbers)
        np.add.at(self.counts, (rows, np.searchsorted(self.bounds, values)), weights)

    def forget(self, numbers: I64) -> None:
        """Remove the rows of series."""
        kept = ~np.isin(self.numbers, numbers)
        self.numbers, self.counts, self.refs = self.numbers[kept], self.counts[kept], self.refs[kept]

    def copy(self) -> ClassicCounts:
        """Return a copy whose counts do not change."""
        found = ClassicCounts(tuple(self.bounds))
        found.numbers, found.counts, found.refs = self.numbers, self.counts.copy(), self.refs
        return found


@frozen(kw_only=True, eq=False)
class Snapshot:
    """Columns over all numbers of series, as in `SeriesTable`, and what is counted in buckets.

    summaries: (quantiles, refs uint32[S, Q+2], series, entries).  stale: refs of series that end.
    """

    at_ms: int
    families: NDArray[np.int8]
    refs: U32
    values: F64
    counts: F64
    starts_ms: I64
    schemas: NDArray[np.int8]
    native: Entries
    classic: Sequence[ClassicCounts]
    summaries: Sequence[tuple[tuple[float, ...], U32, I64, Entries]]
    stale: U32
    metadata: Mapping[str, MetricMetadata]

    def batch(self) -> Batch:
        """Return the samples."""
        series = np.flatnonzero(self.families == Family.NATIVE)
        table: Histograms | None = None
        if len(series):
            table = histograms_of(self.native, series, self.schemas[series], self.values[series])
        parts = [*self._simple(), *self._classic(), *self._summaries()]
        if table is not None:
            parts.append((self.refs[series], handles(0, len(series)), self.starts_ms[series]))
        ended = np.setdiff1d(self.stale, np.concatenate([p[0] for p in parts])) if len(self.stale) else self.stale
        parts.append((ended, np.full(len(ended), STALE_NAN), np.zeros(len(ended), np.int64)))
        refs, values, starts = (np.concatenate(column) for column in zip(*parts, strict=True))
        times = np.full(len(refs), self.at_ms, np.int64)
        return Batch(
            refs, times, values, ORIGIN, metadata=self.metadata, histograms=table, starts_ms=starts, source=ORIGIN
        )

    def _simple(self) -> Iterator[Part]:
        counters = self.families == Family.COUNTER
        yield self.refs[counters], self.values[counters], self.starts_ms[counters]
        gauges = (self.families == Family.GAUGE) | (self.families == Family.SET)
        yield self.refs[gauges], self.values[gauges], np.zeros(int(gauges.sum()), np.int64)

    def _classic(self) -> Iterator[Part]:
        for rows in self.classic:
            counts = np.cumsum(np.rint(rows.counts), axis=1)
            values = np.column_stack([counts, self.values[rows.numbers], counts[:, -1]])
            starts = np.repeat(self.starts_ms[rows.numbers], values.shape[1])
            yield rows.refs.ravel(), values.ravel(), starts

    def _summaries(self) -> Iterator[Part]:
        for quantiles, refs, numbers, entries in self.summaries:
            known, found = quantiles_of(entries, SUMMARY_SCHEMA, quantiles)
            values = np.full((len(numbers), len(quantiles)), np.nan)
            here = np.isin(numbers, known)
            values[here] = found[np.searchsorted(known, numbers[here])]
            values = np.column_stack([values, self.values[numbers], np.rint(self.counts[numbers])])
            starts = np.column_stack([np.zeros((len(numbers), len(quantiles)), np.int64), self.starts_ms[numbers]])
            yield refs.ravel(), values.ravel(), np.column_stack([starts, starts[:, -1:]]).ravel()
