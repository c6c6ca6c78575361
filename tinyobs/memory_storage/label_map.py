"""Which series carry which labels: a dictionary of dictionaries, the simplest index there is.

Matchers are evaluated against distinct values, never against series.  A matcher that the empty string fulfils also
selects series without the label, so what does *not* match is taken out.  One lock; matching holds it.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ..model.labels import Labels
from ..model.matchers import Matcher
from ..model.registry import SeriesRegistry

U32 = NDArray[np.uint32]


@define(eq=False)
class LabelMap:
    """The labels of the series that were ever added."""

    registry: SeriesRegistry
    _known: NDArray[np.bool_] = field(init=False, factory=lambda: np.zeros(1024, np.bool_))
    _carriers: dict[str, dict[str, array[int]]] = field(init=False, factory=dict)
    _count: int = field(init=False, default=0)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def __len__(self) -> int:
        return self._count

    def add(self, refs: U32) -> int:
        """Add distinct series, where they are new; return how many are."""
        with self._lock:
            size = int(refs.max(initial=0)) + 1
            if size > len(self._known):
                self._known = np.concatenate((self._known, np.zeros(max(size, len(self._known)), np.bool_)))
            fresh = refs[~self._known[refs]]
            self._known[fresh] = True
            self._count += len(fresh)
            for ref in fresh.tolist():
                for name, value in self.registry.labels(ref):
                    self._carriers.setdefault(name, {}).setdefault(value, array("I")).append(ref)
            return len(fresh)

    def match(self, matchers: Sequence[Matcher]) -> U32:
        """Return the ascending refs of the series for which every matcher holds."""
        with self._lock:
            chosen = self._known.copy()
            for m in matchers:
                values = self._carriers.get(m.name, {})
                hits = [carriers for value, carriers in values.items() if m.matches(value) is not m.matches_empty()]
                mask = np.zeros(len(chosen), np.bool_)
                for carriers in hits:
                    mask[np.array(carriers)] = True
                chosen &= ~mask if m.matches_empty() else mask
            return np.flatnonzero(chosen).astype(np.uint32)

    def match_any(self, matcher_sets: Iterable[Sequence[Matcher]]) -> U32:
        """Return the ascending refs of the series that fulfil any set of matchers."""
        found = [self.match(matchers) for matchers in matcher_sets]
        return np.unique(np.concatenate([np.empty(0, np.uint32), *found]))

    def in_order(self, refs: U32) -> tuple[list[Labels], U32]:
        """Return series sorted by their label sets: (label sets, refs)."""
        found = sorted((self.registry.labels(r), r) for r in refs.tolist())
        return [labels for labels, _ in found], np.array([r for _, r in found], np.uint32)
