"""What was sent so far, and the samples that it makes at one moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import numpy as np
from attrs import define
from numpy.typing import NDArray

from ...model.labels import metric_name
from ...model.metadata import MetricMetadata, MetricType
from ...model.registry import SeriesRegistry
from .buckets import BucketCounts, Entries, keys_of
from .mapper import Definition, Family
from .series import F64, I64, SeriesTable
from .snapshot import SUMMARY_SCHEMA, ClassicCounts, Snapshot

K = TypeVar("K")

PENDING_MAX: Final = 16_384
"""Observations that wait to be sorted into buckets."""

_TYPES: Final = {
    Family.COUNTER: MetricType.COUNTER,
    Family.GAUGE: MetricType.GAUGE,
    Family.SET: MetricType.GAUGE,
    Family.NATIVE: MetricType.HISTOGRAM,
    Family.CLASSIC: MetricType.HISTOGRAM,
    Family.SUMMARY: MetricType.SUMMARY,
}


@define(eq=False)
class _Window:
    """Observations of summaries with one age, in slices of time, the newest last."""

    slice_ms: int
    slices: deque[tuple[int, BucketCounts]]

    def at(self, now_ms: int) -> BucketCounts:
        """Return the slice of now."""
        self.turn(now_ms)
        return self.slices[-1][1]

    def turn(self, now_ms: int) -> None:
        """Begin a new slice where it is time; the oldest goes."""
        if not self.slices or now_ms >= self.slices[-1][0] + self.slice_ms:
            self.slices.append((now_ms, BucketCounts()))
        oldest_ms = now_ms - self.slice_ms * (self.slices.maxlen or 1)
        while self.slices[0][0] <= oldest_ms and len(self.slices) > 1:
            self.slices.popleft()

    def entries(self, now_ms: int) -> Entries:
        """Return all of it."""
        self.turn(now_ms)
        together = BucketCounts()
        parts = [counts for _, counts in self.slices if len(counts.keys)]
        if parts:
            together.add(np.concatenate([p.keys for p in parts]), np.concatenate([p.counts for p in parts]))
        return together.entries()


class State:
    """All series and what they count."""

    def __init__(self, registry: SeriesRegistry, series_max: int, set_values_max: int) -> None:
        self.table = SeriesTable(registry, series_max)
        self._native = BucketCounts()
        self._classic: dict[tuple[float, ...], ClassicCounts] = {}
        self._windows: dict[tuple[int, int], _Window] = {}
        self._sets: dict[int, set[bytes]] = {}
        self._set_values_max, self._set_values = set_values_max, 0
        self._pending: list[tuple[I64, F64, F64]] = []
        self._pending_count = 0
        self._described: dict[str, MetricMetadata] = {}
        self._stale: list[NDArray[np.uint32]] = []

    # -- what comes in -----------------------------------------------------------------------------------------

    def count(self, series: I64, values: F64) -> None:
        """Add to counters."""
        np.add.at(self.table.values, series, values)

    def measure(self, series: I64, values: F64, is_relative: NDArray[np.bool_]) -> None:
        """Set gauges, or change them by a value, in order."""
        if not is_relative.any():
            self.table.values[series] = values  # of several for one gauge the last stays
            return
        held = self.table.values
        for number, value, adds in zip(series.tolist(), values.tolist(), is_relative.tolist(), strict=True):
            held[number] = held[number] + value if adds else value

    def collect(self, number: int, value: bytes) -> bool:
        """Add a value to a set; False when there are too many."""
        values = self._sets.setdefault(number, set())
        if value not in values:
            if self._set_values >= self._set_values_max:
                return False
            values.add(value)
            self._set_values += 1
        return True

    def observe(self, series: I64, values: F64, weights: F64, now_ms: int) -> None:
        """Add observations to histograms and summaries."""
        np.add.at(self.table.values, series, values * weights)
        np.add.at(self.table.counts, series, weights)
        self._pending.append((series, values, weights))
        self._pending_count += len(series)
        if self._pending_count >= PENDING_MAX:
            self.settle(now_ms)

    def settle(self, now_ms: int) -> None:
        """Sort what waits into buckets."""
        if not self._pending:
            return
        series, values, weights = (np.concatenate(column) for column in zip(*self._pending, strict=True))
        self._pending, self._pending_count = [], 0
        table = self.table
        families = table.families[series]
        for family in np.unique(families).tolist():
            mine = families == family
            numbers, observed, counts = series[mine], values[mine], weights[mine]
            if family == Family.NATIVE:
                self._native.add(keys_of(numbers, observed, table.schemas[numbers]), counts)
                self._native.limit(table.schemas, table.buckets_max)
            elif family == Family.CLASSIC:
                self._sort_classic(numbers, observed, counts)
            elif family == Family.SUMMARY:
                self._sort_summaries(numbers, observed, counts, now_ms)

    def _sort_classic(self, numbers: I64, values: F64, weights: F64) -> None:
        self.table.intern()
        for bounds, mine in self._by_definition(numbers, lambda d: d.bounds):
            if bounds not in self._classic:
                self._classic[bounds] = ClassicCounts(bounds)
            self._classic[bounds].add(self.table, numbers[mine], values[mine], weights[mine])

    def _sort_summaries(self, numbers: I64, values: F64, weights: F64, now_ms: int) -> None:
        for key, mine in self._by_definition(numbers, _window_of):
            if key not in self._windows:
                self._windows[key] = _Window(max(key[0] // key[1], 1), deque(maxlen=key[1]))
            schemas = np.full(int(mine.sum()), SUMMARY_SCHEMA, np.int8)
            self._windows[key].at(now_ms).add(keys_of(numbers[mine], values[mine], schemas), weights[mine])

    def _by_definition(self, numbers: I64, key: Callable[[Definition], K]) -> Iterator[tuple[K, NDArray[np.bool_]]]:
        """Yield (key, mask) for the groups of series whose definitions have one key."""
        found, place = np.unique(numbers, return_inverse=True)
        definitions = self.table.definitions
        keys = [key(d) for n in found.tolist() if (d := definitions[n]) is not None]
        for one in dict.fromkeys(keys):
            yield one, np.array([k == one for k in keys])[place]

    # -- what goes out -----------------------------------------------------------------------------------------

    def expire(self, now_ms: int) -> I64:
        """Forget series whose time is over; the next samples end them with markers.  Returns their numbers."""
        numbers = self.table.expired(now_ms)
        if len(numbers):
            self.settle(now_ms)
            self.table.intern()
            self._stale += [self.table.refs[n] for n in numbers.tolist()]
            self._native.forget(numbers)
            for matrix in self._classic.values():
                matrix.forget(numbers)
            for window in self._windows.values():
                for _, counts in window.slices:
                    counts.forget(numbers)
            for n in numbers.tolist():
                self._set_values -= len(self._sets.pop(n, ()))
            self.table.release(numbers)
        return numbers

    def all_refs(self) -> NDArray[np.uint32]:
        """Return the refs of all series that are stored."""
        self.table.intern()
        return np.concatenate([*self.table.refs, *self._stale, np.empty(0, np.uint32)])

    def mark_stale(self, refs: NDArray[np.uint32]) -> None:
        """End series with the next samples."""
        self._stale.append(refs)

    def describe_again(self) -> None:
        """Let the next samples come with all metadata: the last ones were lost."""
        self._described.clear()
        self.table.fresh = [n for n, definition in enumerate(self.table.definitions) if definition is not None]

    def snapshot(self, at_ms: int, now_ms: int) -> Snapshot:
        """Return what is to be stored as of now, with timestamp `at_ms`; sets begin anew."""
        self.settle(now_ms)
        table = self.table
        table.intern()
        for number in table.of_family(Family.SET).tolist():
            table.values[number] = len(self._sets.get(number, ()))
        self._sets, self._set_values = {}, 0
        stale, self._stale = np.concatenate([*self._stale, np.empty(0, np.uint32)]), []
        size = table.size
        size = table.size
        return Snapshot(
            at_ms=at_ms,
            families=table.families[:size].copy(),
            refs=table.first_refs[:size].copy(),
            values=table.values[:size].copy(),
            counts=table.counts[:size].copy(),
            starts_ms=np.minimum(table.starts_ms[:size], at_ms),
            schemas=table.schemas[:size].copy(),
            native=self._native.entries(),
            classic=[matrix.copy() for matrix in self._classic.values()],
            summaries=[
                (q, self._refs_of(numbers), numbers, entries) for q, numbers, entries in self._summaries(now_ms)
            ],
            stale=stale,
            metadata=self._news(),
        )

    def _summaries(self, now_ms: int) -> Iterator[tuple[tuple[float, ...], I64, Entries]]:
        """Yield (quantiles, series, entries) of summaries."""
        numbers = self.table.of_family(Family.SUMMARY)
        if len(numbers):
            windows = {key: window.entries(now_ms) for key, window in self._windows.items()}
            for (quantiles, key), mine in self._by_definition(numbers, lambda d: (d.quantiles, _window_of(d))):
                yield quantiles, numbers[mine], windows.get(key, BucketCounts().entries())

    def _refs_of(self, numbers: I64) -> NDArray[np.uint32]:
        """Return uint32[S, R], what is stored for series that have equally much."""
        return np.stack([self.table.refs[n] for n in numbers.tolist()])

    def _news(self) -> dict[str, MetricMetadata]:
        """Return the metadata of metrics that were not described yet."""
        news = {}
        for number in self.table.fresh:
            definition = self.table.definitions[number]
            if definition is not None:
                name = metric_name(self.table.labels[number])
                metadata = MetricMetadata(_TYPES[definition.family], definition.help)
                if self._described.get(name) != metadata:
                    self._described[name] = news[name] = metadata
        self.table.fresh.clear()
        return news


def _window_of(definition: Definition) -> tuple[int, int]:
    return definition.max_age_ms, definition.age_buckets
