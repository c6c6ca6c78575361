"""Reading: a consistent view over the head and the segments.

A querier is made of a `HeadView` and the segments that were live at the same moment; nothing in either changes.
Sources stand in order of age, so that of two samples with the same series and time the one written later is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from attrs import define
from numpy.typing import NDArray

from ..abc import Querier, Selection
from ..errors import StorageError
from ..model.columns import SeriesColumns
from ..model.labels import Labels
from ..model.matchers import Matcher
from ..model.registry import SeriesRegistry
from .assemble import Part, assemble
from .head_rows import Runs
from .head_view import HeadView
from .segment_reader import SegmentReader
from .series_index import SeriesIndex

Numbers = NDArray[np.uint32]


@define(eq=False)
class _Source:
    """Series found in one place: their labels in order, and how to read some of them."""

    labels: Sequence[Labels]
    read: Callable[[int, int], list[Part]]
    """(first, last) -> runs of these series, numbered from 0."""
    places: NDArray[np.int64] | None = None
    """Place of each series in the selection; None where they are the same."""


class EngineSelection(Selection):
    """Series found in several places, merged by label set."""

    def __init__(self, sources: list[_Source], mint_ms: int, maxt_ms: int) -> None:
        self._sources, self._mint_ms, self._maxt_ms = sources, mint_ms, maxt_ms
        if not sources:
            self.labels = ()
        elif all(s.labels == sources[0].labels for s in sources[1:]):
            self.labels = sources[0].labels
        else:
            self.labels = sorted(set().union(*(s.labels for s in sources)))
            place = {labels: i for i, labels in enumerate(self.labels)}
            for s in sources:
                s.places = np.fromiter((place[labels] for labels in s.labels), np.int64, len(s.labels))

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
        return SeriesColumns(self.labels[first:last], runs.offsets, runs.times_ms, runs.values)


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
    ) -> None:
        self.mint_ms, self.maxt_ms = mint_ms, maxt_ms
        self._registry, self._index = registry, index
        self._view: HeadView | None = view
        self._readers = tuple(r for r in readers if r.info.maxt_ms >= mint_ms and r.info.mint_ms <= maxt_ms)

    def select(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, check: Callable[[], None] | None = None
    ) -> EngineSelection:
        """Return the series for which every matcher holds."""
        mint_ms, maxt_ms = max(mint_ms, self.mint_ms), min(maxt_ms, self.maxt_ms)
        view = self._open_view()
        sources = []
        for reader in self._readers:
            if reader.info.maxt_ms >= mint_ms and reader.info.mint_ms <= maxt_ms:
                if check is not None:
                    check()
                numbers = reader.select(matchers)
                if len(numbers):
                    sources.append(_segment_source(reader, numbers, mint_ms, maxt_ms))
        if view.covers(mint_ms, maxt_ms):
            if check is not None:
                check()
            refs = self._head_refs(view, matchers, mint_ms)
            if len(refs):
                refs = refs[self._index.order(refs)]
                labels = [self._registry.labels(r) for r in refs.tolist()]
                sources.append(_Source(labels, view.find(refs, mint_ms, maxt_ms).read))
        return EngineSelection(sources, mint_ms, maxt_ms)

    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted names of labels on series that fulfil the matchers."""
        view, found = self._open_view(), set[str]()
        for r in self._readers:
            found.update(r.label_names(r.select(matchers) if matchers else None))
        if view.covers(self.mint_ms, self.maxt_ms):
            found.update(n for n, _ in self._head_pairs(self._head_refs(view, matchers, self.mint_ms)))
        return sorted(found)

    def label_values(self, name: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted values of one label on series that fulfil the matchers."""
        view, found = self._open_view(), set[str]()
        for r in self._readers:
            found.update(r.label_values(name, r.select(matchers) if matchers else None))
        if view.covers(self.mint_ms, self.maxt_ms):
            pairs = self._head_pairs(self._head_refs(view, matchers, self.mint_ms))
            found.update(v for n, v in pairs if n == name)
        return sorted(found)

    def close(self) -> None:
        """Release the view; idempotent."""
        self._view, self._readers = None, ()

    def _open_view(self) -> HeadView:
        if self._view is None:
            raise StorageError("the querier is closed")
        return self._view

    def _head_refs(self, view: HeadView, matchers: Sequence[Matcher], mint_ms: int) -> Numbers:
        return view.seen_since(self._index.match(matchers), mint_ms)

    def _head_pairs(self, refs: Numbers) -> list[tuple[str, str]]:
        """Return the distinct label pairs of series."""
        _, ids = self._registry.pairs_of(refs)
        return [self._registry.pair(i) for i in np.unique(ids).tolist()]


def _segment_source(reader: SegmentReader, numbers: Numbers, mint_ms: int, maxt_ms: int) -> _Source:
    def read(first: int, last: int) -> list[Part]:
        columns = reader.read(numbers[first:last], mint_ms, maxt_ms)
        return [(np.arange(last - first), Runs(columns.offsets, columns.timestamps_ms, columns.values))]

    return _Source(reader.labels(numbers), read)
