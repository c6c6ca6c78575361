"""Series that come and go, hour by hour: how many, and of which metrics.

A series is created when the registry numbers it for the first time since the start of the process; its numbers ascend,
so a note of how many there were tells which they are.  A series is gone when its newest sample is of an interval and
there was no other for `GONE_AFTER_MS` behind it; one that comes back later may be gone a second time.  Notes are taken
every ten minutes, by the writer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..model.cardinality import ChurnHour, Ranking
from ..model.registry import SeriesRegistry
from .census import NO_METRIC, Census, largest_pairs

HOUR_MS: Final = 3_600_000
INTERVAL_MS: Final = 600_000
"""Time between two notes."""
GONE_AFTER_MS: Final = 300_000
"""How long a series must be without samples."""
NOTES_MAX: Final = 24 * HOUR_MS // INTERVAL_MS
"""Notes that are kept: a day."""
GONE_SERIES_MAX: Final = 4 << 20
"""Series that notes hold (16 MB); beyond it the oldest notes go."""

U32 = NDArray[np.uint32]


@frozen(eq=False)
class _Note:
    """Of the interval before `end_ms`: series numbers first .. last-1 were created in it, those of `gone` ended."""

    end_ms: int
    first: int
    last: int
    gone: U32


@define(eq=False)
class ChurnLog:
    """The notes of a day.  `note` is called by the writer thread, `hours` by any."""

    registry: SeriesRegistry
    _notes: deque[_Note] = field(init=False, factory=lambda: deque(maxlen=NOTES_MAX))
    _end_ms: int = field(init=False, default=0)
    _known: int = field(init=False, default=0)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def note(self, now_ms: int, newest: Callable[[], NDArray[np.int64]]) -> None:
        """Take a note when an interval is over.  newest: gives int64[S], the newest time of each series."""
        if not self._end_ms or now_ms < self._end_ms - INTERVAL_MS:  # the first time, or the clock went back
            self._end_ms, self._known = (now_ms // INTERVAL_MS + 1) * INTERVAL_MS, len(self.registry)
            return
        if now_ms < self._end_ms + GONE_AFTER_MS:
            return
        end_ms = (now_ms - GONE_AFTER_MS) // INTERVAL_MS * INTERVAL_MS
        times = newest()
        gone = np.flatnonzero((times >= self._end_ms - INTERVAL_MS) & (times < end_ms)).astype(np.uint32)
        total = len(self.registry)
        with self._lock:
            self._notes.append(_Note(end_ms, self._known, total, gone))
            held = sum(len(n.gone) for n in self._notes)
            while held > GONE_SERIES_MAX and len(self._notes) > 1:
                held -= len(self._notes.popleft().gone)
            self._end_ms, self._known = end_ms + INTERVAL_MS, total

    def hours(self, census: Census, top: int) -> tuple[ChurnHour, ...]:
        """Return the hours of which there are notes, the newest first; `census` has just counted."""
        with self._lock:
            notes = [*self._notes, _Note(self._end_ms, self._known, len(self.registry), np.empty(0, np.uint32))]
        by_hour: dict[int, list[_Note]] = {}
        for n in notes:
            by_hour.setdefault((n.end_ms - 1) // HOUR_MS * HOUR_MS, []).append(n)
        return tuple(_hour(start, by_hour[start], census, top) for start in sorted(by_hour, reverse=True))


def _hour(start_ms: int, notes: list[_Note], census: Census, top: int) -> ChurnHour:
    created = [np.arange(n.first, n.last, dtype=np.uint32) for n in notes]
    gone = [n.gone for n in notes]
    return ChurnHour(
        start_ms,
        sum(map(len, created)),
        sum(map(len, gone)),
        _by_metric(iter(created), census, top),
        _by_metric(iter(gone), census, top),
    )


def _by_metric(parts: Iterator[U32], census: Census, top: int) -> Ranking:
    metrics = census.metrics_of(np.concatenate([np.empty(0, np.uint32), *parts]))
    pairs, counts = np.unique(metrics[metrics != NO_METRIC], return_counts=True)
    return largest_pairs(census.registry, pairs.astype(np.int64), counts, top, value_only=True)
