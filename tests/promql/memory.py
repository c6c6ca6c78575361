"""Series in memory behind the contracts of `tinyobs.abc`: what the PromQL tests query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from attrs import Factory, define, frozen

from tinyobs.abc import Querier, Selection
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import Histogram, handles, histograms_of, renumbered
from tinyobs.model.labels import Labels, get
from tinyobs.model.matchers import Matcher
from tinyobs.model.select_hints import SelectHints


@define
class MemoryStore:
    """A queryable over `series`: label set -> (timestamps int64, values float64).

    natives: the histograms that handles among the values stand for.
    """

    series: dict[Labels, tuple[np.ndarray, np.ndarray]]
    natives: list[Histogram] = Factory(list)
    starts: dict[Labels, dict[int, int]] = Factory(dict)
    """Since when samples count, by their time, in ms."""

    @classmethod
    def of(cls, data: Mapping[Labels, Sequence[tuple[int, float]]]) -> MemoryStore:
        """Return a store of (timestamp, value) pairs."""
        made = {}
        for labels, points in data.items():
            times = np.array([t for t, _ in points], np.int64)
            made[labels] = times, np.array([v for _, v in points], np.float64)
        return cls(made)

    def add(self, labels: Labels, samples: Sequence[tuple[int, float | Histogram]]) -> None:
        """Add samples; of a repeated time the last one stands."""
        points = [(t, self.handle(v) if isinstance(v, Histogram) else v) for t, v in samples]
        old = self.series.get(labels, (np.empty(0, np.int64), np.empty(0)))
        times = np.concatenate((old[0], np.array([t for t, _ in points], np.int64)))
        values = np.concatenate((old[1], np.array([v for _, v in points], np.float64)))
        last = {t: i for i, t in enumerate(times.tolist())}
        order = [last[t] for t in sorted(last)]
        self.series[labels] = times[order], values[order]

    def handle(self, histogram: Histogram) -> float:
        """Return what stands for a histogram among values."""
        self.natives.append(histogram)
        return float(handles(len(self.natives) - 1, len(self.natives))[0])

    def querier(self, mint_ms: int, maxt_ms: int) -> MemoryQuerier:
        """Return a view."""
        return MemoryQuerier(self, mint_ms, maxt_ms)


@define
class MemoryQuerier(Querier):
    """A view of a `MemoryStore`."""

    store: MemoryStore
    mint_ms: int
    maxt_ms: int

    def select(
        self,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        check: Callable[[], None] | None = None,
        hints: SelectHints | None = None,
    ) -> Selection:
        found = [x for x in sorted(self.store.series) if all(m.matches(get(x, m.name)) for m in matchers)]
        return MemorySelection(found, self.store, mint_ms, maxt_ms)

    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        return sorted({name for labels in self.store.series for name, _ in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        return sorted({get(labels, name) for labels in self.store.series} - {""})

    def close(self) -> None:
        pass


@frozen
class MemorySelection(Selection):
    """Selected series of a `MemoryStore`."""

    labels: list[Labels]
    store: MemoryStore
    mint_ms: int
    maxt_ms: int

    def read(self, first: int, last: int) -> SeriesColumns:
        times, values, offsets = [np.empty(0, np.int64)], [np.empty(0)], [0]
        for labels in self.labels[first:last]:
            t, v = self.store.series[labels]
            a, b = np.searchsorted(t, self.mint_ms, "left"), np.searchsorted(t, self.maxt_ms, "right")
            times.append(t[a:b])
            values.append(v[a:b])
            offsets.append(offsets[-1] + int(b - a))
        starts = None
        if self.store.starts:
            known = [self.store.starts.get(labels, {}) for labels in self.labels[first:last]]
            pairs = zip(known, times[1:], strict=True)
            starts = np.array([k.get(t, 0) for k, stamps in pairs for t in stamps.tolist()], np.int64)
        together, numbers = renumbered(np.concatenate(values))
        histograms = histograms_of([self.store.natives[i] for i in numbers.tolist()]) if len(numbers) else None
        return SeriesColumns(
            self.labels[first:last],
            np.array(offsets, np.int64),
            np.concatenate(times),
            together,
            histograms,
            starts,
        )
