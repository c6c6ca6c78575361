"""A cache of what queries decode or look up, with a budget in bytes, least recently used out first.

One cache serves all segments and the head of an engine.  Two threads that miss the same key at once both make the value; nothing
waits on another's work.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from attrs import frozen

from ..model.read_counts import ReadCounts

T = TypeVar("T")

DEFAULT_BYTES_MAX: Final = 128 << 20
"""Budget where none is given."""


@frozen
class PageCacheStatistics:
    """Figures of a cache since it was made."""

    hits: int
    """Lookups answered from the cache."""
    misses: int
    """Lookups that had to read and decode."""
    entries: int
    """Parts held now."""
    bytes: int
    """Bytes held now."""


class Tally(threading.local):
    """Who counts what this thread reads, None for nobody (`Selection.count_reads`)."""

    counts: ReadCounts | None = None

    def page(self) -> None:
        """Count a page that is decoded."""
        if self.counts is not None:
            self.counts.pages += 1

    def hit(self) -> None:
        """Count something that was in the cache."""
        if self.counts is not None:
            self.counts.cache_hits += 1


TALLY: Final = Tally()


class PageCache:
    """Thread-safe.  Keys are tuples whose first item is the `owner` (a reader), so that an owner can leave."""

    def __init__(self, bytes_max: int = DEFAULT_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[Hashable, ...], tuple[Any, int]] = OrderedDict()
        self._bytes = self._hits = self._misses = 0

    def get(self, key: tuple[Hashable, ...], make: Callable[[], tuple[T, int]]) -> T:
        """Return the value of `key`; on a miss `make` returns (value, its bytes), and may raise."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                self._hits += 1
                TALLY.hit()
                found: T = entry[0]
                return found
            self._misses += 1
        value, size = make()
        with self._lock:
            if key not in self._entries and size <= self.bytes_max:
                self._entries[key] = (value, size)
                self._bytes += size
                while self._bytes > self.bytes_max:
                    self._bytes -= self._entries.popitem(last=False)[1][1]
        return value

    def peek(self, key: tuple[Hashable, ...]) -> Any:
        """Return the value of `key`, None where there is none."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            TALLY.hit()
            return entry[0]

    def put(self, key: tuple[Hashable, ...], value: object, size: int) -> None:
        """Keep a value in place of the one that `key` had; one above the budget is not kept."""
        with self._lock:
            before = self._entries.pop(key, None)
            if before is not None:
                self._bytes -= before[1]
            if size <= self.bytes_max:
                self._entries[key] = (value, size)
                self._bytes += size
                while self._bytes > self.bytes_max:
                    self._bytes -= self._entries.popitem(last=False)[1][1]

    def forget(self, owner: Hashable) -> None:
        """Drop everything of one owner."""
        with self._lock:
            for key in [k for k in self._entries if k[0] == owner]:
                self._bytes -= self._entries.pop(key)[1]

    def statistics(self) -> PageCacheStatistics:
        """Return the figures."""
        with self._lock:
            return PageCacheStatistics(self._hits, self._misses, len(self._entries), self._bytes)
