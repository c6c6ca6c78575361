"""Bytes and samples of each metric: those of every page shared out among its series.

A page holds neighbouring series in label order, mostly of one metric, so that equal shares are close to the truth.  What
a segment says never changes and is remembered with it.  Compressed chunks in memory are shared out in the same way; rows
that are being written are counted exactly.  The index is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..model.cardinality import MetricSize
from ..model.labels import NAME
from ..model.matchers import name_is
from .census import NO_METRIC, Census
from .head_view import HeadView
from .page_cache import PageCache
from .segment_reader import SegmentReader

ROW_SAMPLE_BYTES: Final = 12
"""Bytes of a sample in a row: a time of four, a value of eight."""
METRIC_BYTES: Final = 120
"""What the figures of one metric cost in memory, roughly."""

F64 = NDArray[np.float64]


@frozen(eq=False)
class SegmentSizes:
    """The metrics of a segment, and the figures of each."""

    names: Sequence[str]
    series: NDArray[np.int64]
    samples: F64
    bytes: F64


@define(eq=False)
class _Total:
    """The figures of all metrics, by the number of the metric."""

    numbers: dict[str, int] = field(factory=dict)
    series: NDArray[np.int64] = field(factory=lambda: np.zeros(64, np.int64))
    samples: F64 = field(factory=lambda: np.zeros(64))
    bytes: F64 = field(factory=lambda: np.zeros(64))

    def add(self, sizes: SegmentSizes) -> None:
        """Add the figures of one place; the series of several places may be the same."""
        numbers = self.numbers
        at = np.fromiter((numbers.setdefault(n, len(numbers)) for n in sizes.names), np.int64, len(sizes.names))
        if len(numbers) > len(self.series):
            size = 2 * len(numbers)
            for column in ("series", "samples", "bytes"):
                old = getattr(self, column)
                grown = np.zeros(size, old.dtype)
                grown[: len(old)] = old
                setattr(self, column, grown)
        self.series[at] = np.maximum(self.series[at], sizes.series)
        self.samples[at] += sizes.samples
        self.bytes[at] += sizes.bytes

    def largest(self, top: int) -> tuple[MetricSize, ...]:
        """Return the metrics with most bytes, equal ones by name."""
        names = list(self.numbers)
        rows = np.argsort(-self.bytes[: len(names)], kind="stable")[:top].tolist()
        found = [
            MetricSize(names[i], int(self.series[i]), round(float(self.samples[i])), round(float(self.bytes[i])))
            for i in rows
        ]
        return tuple(sorted(found, key=lambda m: (-m.bytes, m.name)))


def largest_metrics(
    census: Census, view: HeadView, readers: Iterable[SegmentReader], cache: PageCache, top: int
) -> tuple[MetricSize, ...]:
    """Return the metrics with most bytes in memory and segments; `census` has just counted.

    The series of a metric are the most that it has in any one place.
    """
    total = _Total()
    for reader in readers:
        total.add(cache.get((reader.owner, "metric sizes"), lambda r=reader: _remembered(r)))  # type: ignore[misc]
    total.add(_of_head(census, view))
    return total.largest(top)


def segment_sizes(reader: SegmentReader) -> SegmentSizes:
    """Return what each metric takes up in a segment; series without a name are left out."""
    names = reader.label_values(NAME)
    count = reader.info.series_count
    metric_of = np.full(count, len(names))
    for i, name in enumerate(names):
        metric_of[reader.select([name_is(name)])] = i
    pages = reader.pages
    samples, sizes = np.zeros(count + 1), np.zeros(count + 1)
    for column, figures in ((samples, pages.samples), (sizes, pages.lengths)):
        shares = figures / pages.counts  # of each series of a page; summed up over the pages that begin and end
        np.add.at(column, pages.firsts, shares)
        np.subtract.at(column, pages.firsts + pages.counts, shares)
    size = len(names) + 1
    samples, sizes = (_sums(metric_of, np.cumsum(c)[:-1], size)[:-1] for c in (samples, sizes))
    return SegmentSizes(names, np.bincount(metric_of, minlength=size)[:-1], samples, sizes)


def _remembered(reader: SegmentReader) -> tuple[SegmentSizes, int]:
    sizes = segment_sizes(reader)
    return sizes, METRIC_BYTES * len(sizes.names)


def _of_head(census: Census, view: HeadView) -> SegmentSizes:
    """Return what each metric takes up in memory."""
    rows, used = view.rows, view.rows.used
    counts = rows.counts[:used].astype(np.float64)
    samples = _by_series(
        [(rows.refs[:used], counts), *((c.refs, _shares(c.sample_count, c.refs)) for c in view.chunks)]
    )
    sizes = _by_series(
        [(rows.refs[:used], counts * ROW_SAMPLE_BYTES), *((c.refs, _shares(c.nbytes, c.refs)) for c in view.chunks)]
    )
    live = np.flatnonzero(samples).astype(np.uint32)
    metrics = census.metrics_of(live)
    live, metrics = live[metrics != NO_METRIC], metrics[metrics != NO_METRIC]
    pairs, at = np.unique(metrics, return_inverse=True)
    names = [census.registry.pair(p)[1] for p in pairs.tolist()]
    size = len(names)
    return SegmentSizes(
        names,
        np.bincount(at, minlength=size),
        _sums(at, samples[live], size),
        _sums(at, sizes[live], size),
    )


def _by_series(parts: Iterable[tuple[NDArray[np.uint32], F64]]) -> F64:
    """Return the sums by series."""
    out: F64 = np.zeros(0)
    for refs, figures in parts:
        sums = _sums(refs, figures)
        if len(sums) > len(out):
            out, sums = sums, out
        out[: len(sums)] += sums
    return out


def _shares(figure: int, refs: NDArray[np.uint32]) -> F64:
    return np.full(len(refs), figure / max(len(refs), 1))


def _sums(at: NDArray[Any], figures: F64, size: int = 0) -> F64:
    return np.bincount(at, figures, size).astype(np.float64, copy=False)
