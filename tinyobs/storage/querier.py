"""Reading: a consistent view over the head and the segments.

A querier is made of a `HeadView` and the segments that were live at the same moment; nothing in either changes.
Sources stand in order of age, so that of two samples with the same series and time the one written later is returned.
What is remembered between queries (`series_sets.py`, `chunk_memory.py`) follows from what is read here, never the
other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import define
from numpy.typing import NDArray

from ..abc import Querier, SelectHints, Selection
from ..errors import CorruptionError, StorageError
from ..model.columns import SeriesColumns
from ..model.labels import Labels
from ..model.matchers import Matcher
from ..model.registry import SeriesRegistry
from .assemble import Part, assemble
from .chunk_memory import Reading
from .head_view import HeadHits, HeadView, KeptRuns
from .page_cache import PageCache
from .runs import runs_of
from .segment_reader import SegmentReader
from .series_index import SeriesIndex
from .series_sets import ENTRY_BYTES, LABELS_BYTES, HeadSeries, NamedSeries, SegmentSeries, SeriesSet, is_kept

SEGMENT_SAMPLES_MAX: Final = 1 << 17
"""Samples of a selection in a segment up to which they stay decoded: two megabytes."""
STRETCH_MS: Final = 3_600_000
"""Samples of segments are kept decoded by whole hours, so that a query which moves on finds them again."""


@define(eq=False)
class _Source:
    """Series found in one place, and how to read some of them."""

    series: NamedSeries
    read: Callable[[int, int], list[Part]]
    """(first, last) -> runs of these series, numbered from 0."""
    places: NDArray[np.int64] | None = None
    """Place of each series in the selection; None where they are the same."""


@define(eq=False)
class _Union:
    """The series of several sources.  places: for each source, the place of each of its series; None if the same."""

    labels: Sequence[Labels]
    places: list[NDArray[np.int64] | None]


class EngineSelection(Selection):
    """Series found in several places, merged by label set."""

    def __init__(self, sources: list[_Source], mint_ms: int, maxt_ms: int, cache: PageCache) -> None:
        self._sources, self._mint_ms, self._maxt_ms = sources, mint_ms, maxt_ms
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

    def read(self, first: int, last: int) -> SeriesColumns:
        """Return the samples of series `first` .. `last - 1` in the selection's time range."""
        parts: list[Part] = []
        for s in self._sources:
            if s.places is None:
                parts += s.read(first, last)
                continue
            a, b = (int(i) for i in np.searchsorted(s.places, (first, last)))
            if b > a:
                parts += [(s.places[a + numbers] - first, runs) for numbers, runs in s.read(a, b)]
        runs = assemble(parts, last - first, self._mint_ms, self._maxt_ms)
        return runs.compact().columns(self.labels[first:last])


class EngineQuerier(Querier):
    """A view of the engine."""

    def __init__(
        self,
        view: HeadView,
        readers: Sequence[SegmentReader],
        registry: SeriesRegistry,
        index: SeriesIndex,
        mint_ms: int,
        maxt_ms: int,
        on_damage: Callable[[], None] = lambda: None,
    ) -> None:
        self.mint_ms, self.maxt_ms = mint_ms, maxt_ms
        self._on_damage = on_damage
        self._cache = PageCache(0) if view.cache is None else view.cache
        self._series = HeadSeries(registry, index, self._cache)
        self._view: HeadView | None = view
        self._readers = tuple([r for r in readers if r.info.maxt_ms >= mint_ms and r.info.mint_ms <= maxt_ms])

    def select(
        self,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        check: Callable[[], None] | None = None,
        hints: SelectHints | None = None,
    ) -> EngineSelection:
        """Return the series for which every matcher holds."""
        mint_ms, maxt_ms = max(mint_ms, self.mint_ms), min(maxt_ms, self.maxt_ms)
        view = self._open_view()
        reading = Reading(self._cache, check)
        sources = []
        for reader in self._readers:
            if reader.info.maxt_ms >= mint_ms and reader.info.mint_ms <= maxt_ms:
                reading.poll()
                series = SegmentSeries(reader, self._cache).named(matchers)
                if len(series.numbers):
                    sources.append(_segment_source(reader, series, mint_ms, maxt_ms, reading))
        if view.covers(mint_ms, maxt_ms):
            reading.poll()
            seen = self._seen(view, matchers, mint_ms)
            if len(seen.numbers):
                sources.append(_head_source(view, self._series.named(seen), mint_ms, maxt_ms, reading))
        return EngineSelection(sources, mint_ms, maxt_ms, self._cache)

    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted names of labels on series that fulfil the matchers."""
        view = self._open_view()
        parts = [SegmentSeries(r, self._cache).label_names(matchers) for r in self._readers]
        if view.covers(self.mint_ms, self.maxt_ms):
            parts.append(list(self._series.pairs(self._seen(view, matchers, self.mint_ms))))
        return _sorted_union(parts)

    def label_values(self, name: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted values of one label on series that fulfil the matchers."""
        view = self._open_view()
        parts = [SegmentSeries(r, self._cache).label_values(name, matchers) for r in self._readers]
        if view.covers(self.mint_ms, self.maxt_ms):
            parts.append(self._series.pairs(self._seen(view, matchers, self.mint_ms)).get(name, []))
        return _sorted_union(parts)

    def close(self) -> None:
        """Release the view; idempotent."""
        self._view, self._readers = None, ()

    def __exit__(self, *exc: object) -> None:
        """Close, noting damage that ended the work with the view."""
        if isinstance(exc[1], CorruptionError):
            self._on_damage()
        self.close()

    def _open_view(self) -> HeadView:
        if self._view is None:
            raise StorageError("the querier is closed")
        return self._view

    def _seen(self, view: HeadView, matchers: Sequence[Matcher], mint_ms: int) -> SeriesSet:
        """Return the series of the head that fulfil the matchers and may have samples from `mint_ms` on."""
        series = self._series.matched(matchers)
        return self._series.chosen(series, view.seen_since(series.numbers, mint_ms))


def _head_source(view: HeadView, series: NamedSeries, mint_ms: int, maxt_ms: int, reading: Reading) -> _Source:
    found: list[HeadHits] = []

    def read(first: int, last: int) -> list[Part]:
        if not found:  # whoever asks for labels only never gets here
            found.append(view.remembered(series, mint_ms, maxt_ms, reading))
        return found[0].read(first, last)

    return _Source(series, read)


def _segment_source(
    reader: SegmentReader, series: NamedSeries, mint_ms: int, maxt_ms: int, reading: Reading
) -> _Source:
    low = max(mint_ms // STRETCH_MS * STRETCH_MS, reader.info.mint_ms)
    high = min((maxt_ms // STRETCH_MS + 1) * STRETCH_MS, reader.info.maxt_ms)
    density = reader.info.sample_count / (reader.info.series_count * (reader.info.maxt_ms - reader.info.mint_ms + 1))
    small = density * len(series.numbers) * (high - low + 1) <= SEGMENT_SAMPLES_MAX
    small = small and is_kept(len(series.numbers), reading.cache)

    def whole() -> tuple[KeptRuns, int]:
        runs = runs_of(reader.read(series.numbers, low, high, series.labels, reading.check))
        return KeptRuns(runs), runs.nbytes + ENTRY_BYTES

    def read(first: int, last: int) -> list[Part]:
        if small:
            kept: KeptRuns = reading.cache.get((reader.owner, "samples", series, low, high), whole)
            part = kept.read(first, last)
            return [] if part is None else [part]
        columns = reader.read(series.numbers[first:last], mint_ms, maxt_ms, series.labels[first:last], reading.check)
        return [(np.arange(last - first), runs_of(columns))]

    return _Source(series, read)


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


def _sorted_union(parts: Sequence[Sequence[str]]) -> list[str]:
    return sorted(set().union(*parts))
