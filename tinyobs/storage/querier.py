"""Reading: a consistent view over the head and the segments.

A querier is made of a `HeadView` and the segments that were live at the same moment; nothing in either changes.
Sources stand in order of age, so that of two samples with the same series and time the one written later is returned.
What is remembered between queries (`series_sets.py`, `chunk_memory.py`) follows from what is read here, never the
other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..abc import Querier
from ..errors import CorruptionError, StorageError
from ..model.labels import Labels
from ..model.matchers import Matcher
from ..model.registry import SeriesRegistry
from ..model.rollup import OTHERWISE, READS
from ..model.select_hints import SelectHints
from .chunk_memory import Reading
from .head_view import HeadView
from .page_cache import PageCache
from .segment_reader import SegmentReader
from .selection import EngineSelection, Source, clipped, head_source, segment_source
from .series_index import SeriesIndex
from .series_sets import HeadSeries, SegmentSeries, SeriesSet
from .tier_selection import outliving, tier_sources
from .tiers import Choice, TierView, choose


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
        on_damage: Callable[[CorruptionError], None] = lambda error: None,
        tiers: TierView | None = None,
    ) -> None:
        self.mint_ms, self.maxt_ms = mint_ms, maxt_ms
        self._on_damage = on_damage
        self._cache = PageCache(0) if view.cache is None else view.cache
        self._series = HeadSeries(registry, index, self._cache)
        self._view: HeadView | None = view
        self._tiers = tiers
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
        self._open_view()
        reading = Reading(self._cache, check)
        if self._tiers is not None and hints is not None:
            choice = choose(self._tiers, hints, mint_ms, maxt_ms)
            if choice.resolution_ms:
                return self._select_of_tiers(self._tiers, choice, hints, matchers, (mint_ms, maxt_ms), reading)
        return EngineSelection(self._raw_sources(matchers, mint_ms, maxt_ms, reading), mint_ms, maxt_ms, self._cache)

    def _raw_sources(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, reading: Reading) -> list[Source]:
        view = self._open_view()
        sources = []
        for reader in self._readers:
            if reader.info.maxt_ms >= mint_ms and reader.info.mint_ms <= maxt_ms:
                reading.poll()
                series = SegmentSeries(reader, self._cache).named(matchers)
                if len(series.numbers):
                    sources.append(segment_source(reader, series, mint_ms, maxt_ms, reading))
        if view.covers(mint_ms, maxt_ms):
            reading.poll()
            seen = self._seen(view, matchers, mint_ms)
            if len(seen.numbers):
                sources.append(head_source(view, self._series.named(seen), mint_ms, maxt_ms, reading))
        return sources

    def _select_of_tiers(
        self,
        tiers: TierView,
        choice: Choice,
        hints: SelectHints,
        matchers: Sequence[Matcher],
        span: tuple[int, int],
        reading: Reading,
    ) -> EngineSelection:
        reads = READS.get(hints.function, OTHERWISE)
        sources: list[Source] = []
        used = 0
        for s in choice.stretches:
            if s.width:
                found = tier_sources(tiers, s, reads, matchers, reading)
                used = max(used, s.width if found else 0)
            else:
                low, high = s.after_ms + 1, s.until_ms
                found = [clipped(x, low, high) for x in self._raw_sources(matchers, low, high, reading)]
            sources += found
        begin = min(span[0], choice.stretches[0].after_ms + 1)
        selection = EngineSelection(sources, begin, span[1], PageCache(0), weighted=reads.weighted and used > 0)
        selection.resolution_ms, selection.rounding = used, choice.rounding if used else None
        return selection

    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted names of labels on series that fulfil the matchers."""
        view = self._open_view()
        parts = [SegmentSeries(r, self._cache).label_names(matchers) for r in self._named()]
        if view.covers(self.mint_ms, self.maxt_ms):
            parts.append(list(self._series.pairs(self._seen(view, matchers, self.mint_ms))))
        return _sorted_union(parts)

    def label_values(self, name: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted values of one label on series that fulfil the matchers."""
        view = self._open_view()
        parts = [SegmentSeries(r, self._cache).label_values(name, matchers) for r in self._named()]
        if view.covers(self.mint_ms, self.maxt_ms):
            parts.append(self._series.pairs(self._seen(view, matchers, self.mint_ms)).get(name, []))
        return _sorted_union(parts)

    def series(self, matchers: Sequence[Matcher]) -> Sequence[Labels]:
        """Return the label sets that fulfil the matchers and have data near the querier's range, sorted."""
        found = self.select(matchers, self.mint_ms, self.maxt_ms).labels
        if self._tiers is None:
            return found
        more = [SegmentSeries(r, self._cache).named(matchers).labels for r in self._named()[len(self._readers) :]]
        return sorted(set(found).union(*more))

    def _named(self) -> tuple[SegmentReader, ...]:
        """Return the segments whose series belong to the range: of tiers those that outlived their raw samples."""
        if self._tiers is None:
            return self._readers
        return (*self._readers, *outliving(self._tiers, self.mint_ms, self.maxt_ms))

    def close(self) -> None:
        """Release the view; idempotent."""
        self._view, self._readers = None, ()

    def __exit__(self, *exc: object) -> None:
        """Close, noting damage that ended the work with the view."""
        if isinstance(exc[1], CorruptionError):
            self._on_damage(exc[1])
        self.close()

    def _open_view(self) -> HeadView:
        if self._view is None:
            raise StorageError("the querier is closed")
        return self._view

    def _seen(self, view: HeadView, matchers: Sequence[Matcher], mint_ms: int) -> SeriesSet:
        """Return the series of the head that fulfil the matchers and may have samples from `mint_ms` on."""
        series = self._series.matched(matchers)
        return self._series.chosen(series, view.seen_since(series.numbers, mint_ms))


def _sorted_union(parts: Sequence[Sequence[str]]) -> list[str]:
    return sorted(set().union(*parts))
