"""What was worked out for the labels of many series, remembered while queries come again.

Groups, names and keys depend on labels only, and the labels of a selection that is asked for again are the same object:
the storage keeps them.  So what was made of them is found by their identity, and what comes out is one object again,
which the next step finds in its turn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Any, Final, TypeVar

from attrs import Factory, define

from ..model.labels import Labels

T = TypeVar("T")

SERIES_MIN: Final = 32
"""Fewer label sets are worked through again sooner than found."""
SERIES_MAX: Final = 500_000
"""Label sets that are remembered in all, counted anew for each thing remembered: some ten bytes each."""


@define(eq=False)
class LabelMemory:
    """Thread-safe; forgets what was not asked for longest."""

    _entries: OrderedDict[tuple[int, Hashable], tuple[Sequence[Labels], Any]] = Factory(OrderedDict)
    _series: int = 0
    _lock: Lock = Factory(Lock)

    def get(self, labels: Sequence[Labels], what: Hashable, make: Callable[[Sequence[Labels]], T]) -> T:
        """Return `make(labels)`, remembered as `what`; neither the labels nor what is made of them may be changed."""
        if len(labels) < SERIES_MIN:
            return make(labels)
        key = (id(labels), what)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry[0] is labels:
                self._entries.move_to_end(key)
                found: T = entry[1]
                return found
        made = make(labels)
        with self._lock:
            if key not in self._entries:
                self._series += len(labels)
            self._entries[key] = labels, made  # holds the labels, so that no others get their identity
            while self._series > SERIES_MAX:
                self._series -= len(self._entries.popitem(last=False)[1][0])
        return made
