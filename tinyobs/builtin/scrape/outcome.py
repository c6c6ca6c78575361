"""What one scrape came to, and the batch that it is stored as.  Pure.

From a parsed body to columns of refs: limits, times, start times, exemplars.  Source of the rules: prometheus
scrape/scrape.go (`scrapeLoopAppender.append`) and scrape/target.go (`limitAppender`, `bucketLimitAppender`, `maxSchemaAppender`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from attrs import define, evolve, field
from numpy.typing import NDArray

from ...errors import LimitExceeded
from ...exposition.scrape_parser import NO_TIMESTAMP, Parsed
from ...model.batch import Batch
from ...model.exemplars import Exemplar
from ...model.histogram_resolution import limited, reduced
from ...model.histograms import (
    CUSTOM_SCHEMA,
    Histogram,
    Histograms,
    handles,
    histograms_of,
    is_handle,
    joined,
    renumbered,
    stale_histogram,
)
from ...model.metadata import MetricMetadata
from ...model.staleness import STALE_NAN, is_stale
from .rules import LoopRules
from .series import DROPPED, Change, TargetSeries

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Refs = NDArray[np.uint32]


@define
class Outcome:
    """What one scrape came to."""

    refs: Refs
    times: I64
    values: F64
    change: Change
    scraped: int = 0
    kept: int = 0
    body_bytes: int = 0
    """Of the body; -1 where it was longer than `body_size_limit`."""
    error: str = ""
    limit: str = ""
    """The setting whose limit was exceeded."""
    metadata: Mapping[str, MetricMetadata] = field(factory=dict)
    histograms: Histograms | None = None
    starts: I64 | None = None
    exemplars: Sequence[Exemplar] = ()

    def batch(self, before: Change, report_refs: Refs, report: list[float], at_ms: int) -> Batch:
        """Return the samples, the markers for vanished series and the synthetic series as one batch.

        before: of the scrape before this one.
        """
        gone = self.change.gone
        extra = len(gone) + len(report)
        values, histograms = joined(
            [(self.values, self.histograms), markers(gone, before.native), (np.array(report), None)]
        )
        starts = self.starts
        return Batch(
            np.concatenate([self.refs, gone, report_refs]),
            np.concatenate([self.times, np.full(extra, at_ms, np.int64)]),
            values,
            "scrape",
            self.metadata,
            histograms=histograms,
            starts_ms=None if starts is None else np.concatenate([starts, np.zeros(extra, np.int64)]),
            exemplars=self.exemplars,
        )


def markers(refs: Refs, native: Refs) -> tuple[F64, Histograms | None]:
    """Return the staleness markers of series: histograms for those of `native`, floats for the others."""
    values = np.full(len(refs), STALE_NAN)
    at = np.flatnonzero(np.isin(refs, native)) if len(native) else ()
    if not len(at):
        return values, None
    values[at] = handles(0, len(at))
    return values, histograms_of([stale_histogram()] * len(at))


def end_batch(refs: Refs, native: Refs, at_ms: int) -> Batch:
    """Return the staleness markers of series that are gone for good."""
    values, histograms = markers(refs, native)
    return Batch(refs, np.full(len(refs), at_ms, np.int64), values, "scrape", histograms=histograms)


def failed(series: TargetSeries, error: str, limit: str = "", scraped: int = 0, body_bytes: int = 0) -> Outcome:
    """Return an outcome without samples: all series of the last scrape have vanished."""
    refs = np.empty(0, np.uint32)
    change = series.compare(refs)
    size = -1 if limit == "body_size_limit" else body_bytes
    return Outcome(refs, np.empty(0, np.int64), np.empty(0), change, scraped, 0, size, error, limit)


def outcome_of(parsed: Parsed, series: TargetSeries, rules: LoopRules, at_ms: int, size: int) -> Outcome:
    """Return what a body came to; raises `LimitExceeded`.

    Changes nothing but what `series` has learned.
    """
    found = series.refs(parsed.series, parsed.new, parsed.metadata)
    keep = found != DROPPED
    kept = int(np.count_nonzero(keep))
    if rules.sample_limit and kept > rules.sample_limit:
        raise LimitExceeded("sample_limit", "sample limit exceeded")
    refs, values = found[keep].astype(np.uint32), parsed.values[keep]
    histograms, native = None, refs[:0]
    if parsed.histograms is not None:
        native = refs[is_handle(values)]
        values, numbers = renumbered(values)
        histograms = _within_limits(parsed.histograms.take(numbers), rules) if len(numbers) else None
    times = np.full(kept, at_ms, np.int64)
    fresh = ~is_stale(values)
    if rules.honor_timestamps and parsed.timestamps_ms is not None:
        own = parsed.timestamps_ms[keep]
        explicit = own != NO_TIMESTAMP
        times[explicit] = own[explicit]
        if not rules.track_timestamps_staleness:
            fresh &= ~explicit
    return Outcome(
        refs,
        times,
        values,
        series.compare(refs[fresh], native),
        len(parsed.values),
        kept,
        size,
        metadata=dict(parsed.metadata),
        histograms=histograms,
        starts=None if parsed.starts_ms is None else parsed.starts_ms[keep],
        exemplars=sorted(_exemplars(parsed, series, refs, times), key=lambda e: e.timestamp_ms)
        if parsed.exemplars
        else (),
    )


def _within_limits(table: Histograms, rules: LoopRules) -> Histograms:
    """Return histograms no finer than the rules allow, with no more buckets; raises `LimitExceeded`."""
    schemas = table.schemas()
    due = (schemas > rules.schema_max) & (schemas != CUSTOM_SCHEMA)
    if rules.bucket_limit:
        due |= np.diff(table.buckets().offsets) > rules.bucket_limit
    if not due.any():
        return table
    made: list[Histogram] = []
    for number, is_due in enumerate(due.tolist()):
        histogram: Histogram | None = table.one(number)
        if is_due and histogram is not None:
            histogram = reduced(histogram, rules.schema_max)
            histogram = limited(histogram, rules.bucket_limit) if rules.bucket_limit else histogram
        if histogram is None:
            raise LimitExceeded("native_histogram_bucket_limit", "histogram bucket limit exceeded")
        made.append(histogram)
    return histograms_of(made)


def _exemplars(parsed: Parsed, series: TargetSeries, refs: Refs, times: I64) -> Iterator[Exemplar]:
    """Yield the exemplars of series that are kept.

    A series that has several comes with most of them again at the next scrape: those that are not newer are left out.
    """
    time_of = dict(zip(refs.tolist(), times.tolist(), strict=True)) if parsed.exemplars else {}
    several = len({e.series for e in parsed.exemplars}) < len(parsed.exemplars)
    counts: dict[int, int] = {}
    for e in parsed.exemplars if several else ():
        counts[e.series] = counts.get(e.series, 0) + 1
    for e in parsed.exemplars:
        ref = series.ref_of(e.series)
        if ref == DROPPED:
            continue
        at = e.timestamp_ms
        if at is None:
            yield Exemplar(ref, e.labels, e.value, time_of[ref], False)
        elif counts.get(e.series, 1) == 1 or series.is_newer_exemplar(ref, at):
            yield Exemplar(ref, e.labels, e.value, at)


class Zeros:
    """Samples of 0 at the start times of series, one for each start (`created-timestamp-zero-ingestion`).

    A start that is not newer than the scrape before tells nothing new of a series that was in it: some exporters compute theirs
    at every scrape, a little different each time.
    """

    def __init__(self) -> None:
        self._starts: dict[int, int] = {}
        self._before = 0
        self._last: tuple[Refs, I64] = np.empty(0, np.uint32), np.empty(0, np.int64)

    def batch(self, outcome: Outcome) -> Batch | None:
        """Return the zeros that are due before a scrape's samples, None for none."""
        starts, before = outcome.starts, self._before
        self._before = int(outcome.times.max(initial=before))
        if starts is None or (np.array_equal(starts, self._last[1]) and np.array_equal(outcome.refs, self._last[0])):
            return None
        self._last = outcome.refs, starts
        due = []
        for i in np.flatnonzero((starts > 0) & (starts < outcome.times)).tolist():
            ref, start = int(outcome.refs[i]), int(starts[i])
            known = self._starts.get(ref)
            if known is None or (start != known and start > before):
                due.append(i)
            self._starts[ref] = start
        if not due:
            return None
        values, numbers = renumbered(outcome.values[due])
        native = is_handle(values)
        table = None
        if outcome.histograms is not None and len(numbers):
            table = histograms_of([_empty(outcome.histograms.one(n)) for n in numbers.tolist()])
        return Batch(outcome.refs[due], starts[due], np.where(native, values, 0.0), "scrape", histograms=table)


def _empty(h: Histogram) -> Histogram:
    """Return a histogram of the same kind without observations."""
    zero = 0 if h.is_integer else 0.0
    bare = evolve(h, positive_spans=(), positive_buckets=(), negative_spans=(), negative_buckets=())
    return evolve(bare, zero_count=zero, count=zero, sum=0.0)
