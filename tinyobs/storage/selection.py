"""A selection: series found in several places, merged by label set, and how each place is read.

Places stand in order of age, so that of two samples with the same series and time the one written later is returned.
Which places there are: `querier.py` (head and segments), `tier_selection.py` (downsampling tiers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

import numpy as np
from attrs import define, evolve, frozen
from numpy.typing import NDArray

from ..abc import Selection
from ..model.columns import SeriesColumns
from ..model.labels import Labels
from ..model.read_counts import ReadCounts
from .assemble import Part, assemble, clip
from .chunk_memory import Reading
from .head_view import HeadHits, HeadView, KeptRuns
from .page_cache import TALLY, PageCache
from .runs import Runs, runs_of
from .segment_reader import SegmentReader
from .series_sets import ENTRY_BYTES, LABELS_BYTES, NamedSeries, is_kept
from .strips import Piece, combined

SEGMENT_SAMPLES_MAX: Final = 1 << 20
"""Samples of a selection in a segment up to which they stay decoded: eight megabytes, as timestamps are shared."""
MANY_SERIES: Final = 1000
"""Fewer series never fill the cache."""
STRETCH_MS: Final = 3_600_000
"""Samples of segments are kept decoded by whole hours, so that a query which moves on finds them again."""


@frozen(eq=False)
class WeightedRuns(Runs):
    """Runs of a tier.  weights: float64, for how many samples each one stands."""

    weights: NDArray[np.float64] | None = None


@define(eq=False)
class Source:
    """Series found in one place, and how to read some of them."""

    series: NamedSeries
    read: Callable[[int, int], list[Part]]
    """(first, last) -> runs of these series, numbered from 0."""
    pieces: Callable[[int, int], list[Piece] | None] | None = None
    """The same as strips, where they can be had."""
    places: NDArray[np.int64] | None = None
    """Place of each series in the selection; None where they are the same."""


@define(eq=False)
class _Union:
    """The series of several sources.  places: for each source, the place of each of its series; None if the same."""

    labels: Sequence[Labels]
    places: list[NDArray[np.int64] | None]


class EngineSelection(Selection):
    """Series found in several places, merged by label set."""

    def __init__(
        self, sources: list[Source], mint_ms: int, maxt_ms: int, cache: PageCache, *, weighted: bool = False
    ) -> None:
        self._sources, self._mint_ms, self._maxt_ms, self._weighted = sources, mint_ms, maxt_ms, weighted
        self._counts: ReadCounts | None = None
        if len(sources) < 2:
            self.labels = sources[0].series.labels if sources else ()
            return
        series = tuple([s.series for s in sources])
        if is_kept(sum([len(s.labels) for s in series]), cache):
            union: _Union = cache.get((series[0], "union", series), lambda: _united(series))
        else:
            union = _united(series)[0]
        self.labels = union.labels
        for source, places in zip(sources, union.places, strict=True):
            source.places = places

    def count_reads(self) -> ReadCounts:
        """Return counts that go up with each `read` from now on."""
        self._counts = ReadCounts()
        return self._counts

    def read(self, first: int, last: int) -> SeriesColumns:
        """Return the samples of series `first` .. `last - 1` in the selection's time range."""
        if self._counts is None:
            return self._read(first, last)
        TALLY.counts = self._counts
        try:
            return self._read(first, last)
        finally:
            TALLY.counts = None

    def _read(self, first: int, last: int) -> SeriesColumns:
        if not self._weighted and (pieces := self._pieces(first, last)) is not None:
            found = combined(pieces, self.labels[first:last], self._mint_ms, self._maxt_ms)
            if found is not None:
                return found
        parts: list[Part] = []
        for s in self._sources:
            if s.places is None:
                parts += s.read(first, last)
                continue
            a, b = (int(i) for i in np.searchsorted(s.places, (first, last)))
            if b > a:
                parts += [(s.places[a + numbers] - first, runs) for numbers, runs in s.read(a, b)]
        runs = assemble(parts, last - first, self._mint_ms, self._maxt_ms)
        columns = runs.compact().columns(self.labels[first:last])
        if not self._weighted:
            return columns
        weights = assemble([(n, _weights_of(r)) for n, r in parts], last - first, self._mint_ms, self._maxt_ms)
        return evolve(columns, weights=weights.values)

    def _pieces(self, first: int, last: int) -> list[Piece] | None:
        """Return the samples of some series as strips; None where there is more than floats."""
        out: list[Piece] = []
        for s in self._sources:
            if s.pieces is None:
                return None
            a, b = (first, last) if s.places is None else s.places.searchsorted((first, last)).tolist()
            found = s.pieces(a, b) if b > a else []
            if found is None:
                return None
            if s.places is not None:
                found = [(s.places[a + places] - first, rows, strip) for places, rows, strip in found]
            out += found
        return out


def head_source(view: HeadView, series: NamedSeries, mint_ms: int, maxt_ms: int, reading: Reading) -> Source:
    """Return a source of samples in the head; `series` are by their numbers in the registry."""
    found: list[HeadHits] = []
    looking = Lock()

    def hits() -> HeadHits:
        with looking:  # parts of a query are read side by side
            if not found:  # whoever asks for labels only never gets here
                found.append(view.remembered(series, mint_ms, maxt_ms, reading))
        return found[0]

    if len(series.numbers) >= MANY_SERIES:
        reading.expected += len(series.numbers) * view.samples_a_series

    def pieces(first: int, last: int) -> list[Piece] | None:
        return hits().pieces(first, last, keep=reading.keeps_strips)

    return Source(series, lambda a, b: hits().read(a, b), pieces)


def segment_source(reader: SegmentReader, series: NamedSeries, mint_ms: int, maxt_ms: int, reading: Reading) -> Source:
    """Return a source of samples in a segment; few are kept decoded by whole stretches."""
    low = max(mint_ms // STRETCH_MS * STRETCH_MS, reader.info.mint_ms)
    high = min((maxt_ms // STRETCH_MS + 1) * STRETCH_MS, reader.info.maxt_ms)
    density = reader.info.sample_count / (reader.info.series_count * (reader.info.maxt_ms - reader.info.mint_ms + 1))
    reading.expected += density * len(series.numbers) * (high - low + 1)
    small = density * len(series.numbers) * (high - low + 1) <= SEGMENT_SAMPLES_MAX
    small = small and is_kept(len(series.numbers), reading.cache)

    def whole() -> tuple[KeptRuns, int]:
        pieces = reader.pieces(series.numbers, low, high, reading.check, keep=False)
        found = None if pieces is None else combined(pieces, series.labels, low, high)
        if found is None:
            found = reader.read(series.numbers, low, high, series.labels, reading.check)
        runs = runs_of(found)
        return KeptRuns(runs), runs.nbytes + ENTRY_BYTES

    def read(first: int, last: int) -> list[Part]:
        if small:
            kept: KeptRuns = reading.cache.get((reader.owner, "samples", series, low, high), whole)
            part = kept.read(first, last)
            return [] if part is None else [part]
        columns = reader.read(series.numbers[first:last], mint_ms, maxt_ms, series.labels[first:last], reading.check)
        return [(np.arange(last - first), runs_of(columns))]

    def pieces(first: int, last: int) -> list[Piece] | None:
        if small:
            kept: KeptRuns = reading.cache.get((reader.owner, "samples", series, low, high), whole)
            return kept.pieces(first, last, keep=True)
        return reader.pieces(series.numbers[first:last], mint_ms, maxt_ms, reading.check, keep=reading.keeps_strips)

    return Source(series, read, pieces)


def _united(series: Sequence[NamedSeries]) -> tuple[_Union, int]:
    """Return the union of series by their label sets, and its bytes."""
    labels = series[0].labels
    if all(s.labels == labels for s in series[1:]):
        return _Union(labels, [None] * len(series)), ENTRY_BYTES
    labels = sorted(set().union(*(s.labels for s in series)))
    place = {x: i for i, x in enumerate(labels)}
    places: list[NDArray[np.int64] | None] = [
        np.fromiter((place[x] for x in s.labels), np.int64, len(s.labels)) for s in series
    ]
    return _Union(labels, places), LABELS_BYTES * len(labels) * len(series) + ENTRY_BYTES


def clipped(source: Source, mint_ms: int, maxt_ms: int) -> Source:
    """Return a source of only those samples that lie in a range, both ends included."""

    def read(first: int, last: int) -> list[Part]:
        return [(numbers, clip(runs, mint_ms, maxt_ms)) for numbers, runs in source.read(first, last)]

    return Source(source.series, read)


def _weights_of(runs: Runs) -> Runs:
    """Return the weights of samples in the place of their values."""
    weights = runs.weights if isinstance(runs, WeightedRuns) else None
    return Runs(runs.offsets, runs.times_ms, np.ones(len(runs.times_ms)) if weights is None else weights)
