"""Sets of series that queries ask for again and again: a panel, an alerting rule, a list of label values.

What fulfils matchers changes only when a series is born, so it is remembered, and with it what follows: label order,
label sets, distinct labels.  A set is one object as long as it has the same series, so that others may remember things
by it.  All of it lies in the page cache, counted by its bytes.

Not here: how matchers are evaluated (`matching.py`), samples (`head_view.py`, `segment_reader.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from ..model.labels import Labels
from ..model.matchers import Matcher
from ..model.registry import SeriesRegistry
from .page_cache import PageCache
from .registry_labels import RegistryLabels
from .segment_reader import SegmentReader
from .series_index import TAIL_MAX, SeriesIndex

Numbers = NDArray[np.uint32]

LABELS_BYTES: Final = 180
"""What a label set costs in memory, roughly: the measure by which the cache counts them; pairs are shared."""
PAIR_BYTES: Final = 40
"""What a distinct label value costs in a list of values; its text is shared with the registry."""
ENTRY_BYTES: Final = 500
"""What an entry of the cache costs besides its content."""


SHARE_MAX: Final = 4
"""The label sets of a selection are kept if they take up no more than the cache's budget divided by this."""


@frozen(eq=False)
class SeriesSet:
    """Series by number, distinct; equal to no other set, so that it can be a key."""

    numbers: Numbers


@frozen(eq=False)
class NamedSeries:
    """Series in label order with their label sets; equal to no other, so that it can be a key."""

    numbers: Numbers
    labels: Sequence[Labels]


@define(eq=False)
class _Matched:
    """The series below `known` that fulfil matchers.  `known` only grows, when no series in between fulfils them."""

    series: SeriesSet
    known: int


@frozen(eq=False)
class HeadSeries:
    """Sets of series of the registry, of which samples may be in the head."""

    registry: SeriesRegistry
    index: SeriesIndex
    cache: PageCache

    def matched(self, matchers: Sequence[Matcher]) -> SeriesSet:
        """Return the series for which every matcher holds, ascending."""
        key = (self.index, "matched", tuple(matchers))
        total = len(self.registry)
        found: _Matched | None = self.cache.peek(key)
        if found is not None and total - found.known <= TAIL_MAX:
            born = [r for r in range(found.known, total) if self.index.fulfils(r, matchers)]
            if not born:
                found.known = max(found.known, total)
                return found.series
            numbers = np.concatenate((found.series.numbers, np.array(born, np.uint32)))
        else:
            numbers = self.index.match(matchers)
            numbers = numbers[: int(np.searchsorted(numbers, total))]  # younger ones are looked at the next time
            if found is not None and np.array_equal(numbers, found.series.numbers):
                found.known = max(found.known, total)
                return found.series
        found = _Matched(SeriesSet(numbers), total)
        self.cache.put(key, found, numbers.nbytes + ENTRY_BYTES)
        return found.series

    def chosen(self, series: SeriesSet, chosen: NDArray[np.bool_]) -> SeriesSet:
        """Return those series where `chosen` is set."""
        if chosen.all():
            return series

        def make() -> tuple[SeriesSet, int]:
            numbers = series.numbers[chosen]
            return SeriesSet(numbers), numbers.nbytes + len(chosen) + ENTRY_BYTES

        return self.cache.get((series, "chosen", chosen.tobytes()), make)

    def named(self, series: SeriesSet) -> NamedSeries:
        """Return the series in label order, with their label sets."""

        def make() -> tuple[NamedSeries, int]:
            numbers = series.numbers[self.index.order(series.numbers)]
            labels = RegistryLabels(self.registry, numbers)
            return NamedSeries(numbers, list(labels) if is_small else labels), _size(len(numbers))

        is_small = is_kept(len(series.numbers), self.cache)
        if not is_small:
            return make()[0]
        return self.cache.get((series, "named"), make)

    def pairs(self, series: SeriesSet) -> dict[str, list[str]]:
        """Return for each label name on the series its distinct values, in no order."""

        def make() -> tuple[dict[str, list[str]], int]:
            _, ids = self.registry.pairs_of(series.numbers)
            out: dict[str, list[str]] = {}
            used = np.flatnonzero(np.bincount(ids, minlength=1)).tolist()
            for name, value in map(self.registry.pair, used):
                out.setdefault(name, []).append(value)
            return out, PAIR_BYTES * len(used) + ENTRY_BYTES

        return self.cache.get((series, "pairs"), make)


@frozen(eq=False)
class SegmentSeries:
    """Sets of series of one segment, which never change."""

    reader: SegmentReader
    cache: PageCache

    def named(self, matchers: Sequence[Matcher]) -> NamedSeries:
        """Return the series for which every matcher holds, with their label sets."""

        def make() -> tuple[NamedSeries, int]:
            return NamedSeries(numbers, self.reader.labels(numbers)), _size(len(numbers))

        key = (self.reader.owner, "named", tuple(matchers))
        found: NamedSeries | None = self.cache.peek(key)
        if found is not None:
            return found
        numbers = self.reader.select(matchers)
        return self.cache.get(key, make) if is_kept(len(numbers), self.cache) else make()[0]

    def label_names(self, matchers: Sequence[Matcher]) -> list[str]:
        """Return the sorted label names on series for which every matcher holds."""

        def make() -> tuple[list[str], int]:
            names = self.reader.label_names(self.reader.select(matchers) if matchers else None)
            return names, PAIR_BYTES * len(names) + ENTRY_BYTES

        return self.cache.get((self.reader.owner, "label names", tuple(matchers)), make)

    def label_values(self, name: str, matchers: Sequence[Matcher]) -> list[str]:
        """Return the sorted values of a label on series for which every matcher holds."""

        def make() -> tuple[list[str], int]:
            values = self.reader.label_values(name, self.reader.select(matchers) if matchers else None)
            return values, PAIR_BYTES * len(values) + ENTRY_BYTES

        return self.cache.get((self.reader.owner, "label values", name, tuple(matchers)), make)


def is_kept(series: int, cache: PageCache) -> bool:
    """Tell whether so many series are kept with their label sets; others are made anew for each query."""
    return _size(series) * SHARE_MAX <= cache.bytes_max


def _size(series: int) -> int:
    return (LABELS_BYTES + 12) * series + ENTRY_BYTES
