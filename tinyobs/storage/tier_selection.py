"""Reading a stretch of time from a tier: its segments as sources of a selection, in the form that a function needs.

Each aggregate of a tier is in segments of its own.  Some answers need two: minima and maxima are left out where the
edges imply them, and weights are made of the counts.  Which stretch to read: `tiers.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import define
from numpy.typing import NDArray

from ..model.labels import Labels
from ..model.matchers import Matcher
from ..model.ragged import offsets_of
from ..model.rollup import Aggregate, Reads
from .assemble import Part, assemble
from .chunk_memory import Reading
from .rollup import implied, positions_of, weights_of
from .runs import Runs, empty_runs, runs_of
from .segment_reader import SegmentReader
from .selection import EngineSelection, Source, WeightedRuns, clipped, segment_source
from .series_sets import NamedSeries, SegmentSeries
from .tiers import Stretch, TierView, aggregate_of, span_of


def outliving(view: TierView, mint_ms: int, maxt_ms: int) -> list[SegmentReader]:
    """Return segments of tiers that know of series in a range whose raw samples may be gone."""
    until = min(maxt_ms, view.whole_from_ms - 1)
    return [
        reader
        for entry, reader in view.pairs
        if aggregate_of(entry) is Aggregate.COUNT and span_of(entry)[1] >= mint_ms and span_of(entry)[0] < until
    ]


def tier_sources(
    view: TierView, stretch: Stretch, reads: Reads, matchers: Sequence[Matcher], reading: Reading
) -> list[Source]:
    """Return the sources of a stretch that a tier answers; none where it has no such series."""
    if reads.aggregate is Aggregate.EDGES and not reads.weighted:
        return _segments(view, stretch, Aggregate.EDGES, matchers, reading)
    is_extreme = reads.aggregate in (Aggregate.MIN, Aggregate.MAX)
    main = _Part.of(view, stretch, Aggregate.EDGES if is_extreme else reads.aggregate, matchers, reading)
    if not len(main.labels):
        return []
    if is_extreme:
        other = _Part.of(view, stretch, reads.aggregate, matchers, reading)
    else:
        other = (
            main if reads.aggregate is Aggregate.COUNT else _Part.of(view, stretch, Aggregate.COUNT, matchers, reading)
        )

    def read(first: int, last: int) -> list[Part]:
        runs = main.read(first, last)
        if is_extreme:
            parts = [implied(runs, reads.aggregate, stretch.width), other.rows(main.labels[first:last], first)]
            numbers = np.arange(last - first)
            runs = assemble([(numbers, p) for p in parts], last - first, stretch.after_ms, stretch.until_ms)
            return [(numbers, runs)]
        counts = runs if other is main else other.rows(main.labels[first:last], first)
        return [(np.arange(last - first), _weighted(runs, counts, reads.aggregate, stretch.width))]

    return [Source(NamedSeries(np.arange(len(main.labels), dtype=np.uint32), main.labels), read)]


def _weighted(runs: Runs, counts: Runs, aggregate: Aggregate, width_ms: int) -> WeightedRuns:
    if aggregate is Aggregate.EDGES:
        weights = weights_of(runs, counts, width_ms)
    else:  # both are stamped with the ends of buckets
        rows = np.repeat(np.arange(len(runs.offsets) - 1), np.diff(runs.offsets))
        at = positions_of(counts, rows, runs.times_ms)
        weights = np.where(at >= 0, counts.values[at], 1.0) if len(counts.values) else np.ones(len(at))
    return WeightedRuns(runs.offsets, runs.times_ms, runs.values, runs.histograms, runs.starts_ms, weights)


def _segments(
    view: TierView, stretch: Stretch, aggregate: Aggregate, matchers: Sequence[Matcher], reading: Reading
) -> list[Source]:
    """Return the segments of one aggregate that have something in a stretch."""
    low, high = stretch.after_ms + 1, stretch.until_ms
    sources = []
    for entry, reader in view.pairs:
        after, until = span_of(entry)
        if entry.tier_ms == stretch.width and aggregate_of(entry) is aggregate and after < high and until >= low:
            reading.poll()
            series = SegmentSeries(reader, reading.cache).named(matchers)
            if len(series.numbers):
                source = segment_source(reader, series, max(low, after + 1), min(high, until), reading)
                sources.append(clipped(source, max(low, after + 1), min(high, until)))
    return sources


@define(eq=False)
class _Part:
    """One aggregate over a stretch.  places: of other series sets that were asked for, where each series is."""

    _selection: EngineSelection
    labels: Sequence[Labels]
    _place: dict[Labels, int] | None = None

    @classmethod
    def of(
        cls, view: TierView, stretch: Stretch, aggregate: Aggregate, matchers: Sequence[Matcher], reading: Reading
    ) -> _Part:
        sources = _segments(view, stretch, aggregate, matchers, reading)
        selection = EngineSelection(sources, stretch.after_ms + 1, stretch.until_ms, reading.cache)
        return cls(selection, selection.labels)

    def read(self, first: int, last: int) -> Runs:
        """Return the rows of series by their numbers."""
        return runs_of(self._selection.read(first, last))

    def rows(self, labels: Sequence[Labels], near: int) -> Runs:
        """Return the rows of series by their labels, ascending; empty ones where there is no such series.

        near: where they are if this part has the same series as the one that asks.
        """
        if list(self.labels[near : near + len(labels)]) == list(labels):
            return self.read(near, near + len(labels))
        if self._place is None:
            self._place = {x: i for i, x in enumerate(self.labels)}
        places = np.fromiter((self._place.get(x, -1) for x in labels), np.int64, len(labels))
        known = places[places >= 0]
        if not len(known):
            return empty_runs(len(labels))
        low = int(known[0])
        return _picked(self.read(low, int(known[-1]) + 1), np.where(places >= 0, places - low, -1))


def _picked(runs: Runs, rows: NDArray[np.int64]) -> Runs:
    """Return some rows, ascending; -1 stands for an empty one."""
    keep = np.zeros(len(runs.offsets) - 1, np.bool_)
    keep[rows[rows >= 0]] = True
    lengths = np.diff(runs.offsets)
    counts = np.where(rows >= 0, lengths[rows], 0)
    return runs.take(offsets_of(counts), np.repeat(keep, lengths))
