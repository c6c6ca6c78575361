"""Finding series of the registry by their labels, while new ones keep coming.

The registry only grows, so the index is a list of immutable parts over successive ranges of refs and a short tail that
is searched one by one.  A reader that finds the tail long makes a part of it; maintenance adds them to the first one, and
gives new series their places in label order.  What is known stays: only new series are read.

Thread safety: parts are replaced as a whole under a lock; matching works on what it found there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.labels import get
from ..model.matchers import Matcher
from ..model.registry import SeriesRegistry
from .index import LabelIndex
from .label_order import label_ranks, with_newcomers

TAIL_MAX: Final = 512
"""Series searched one by one before they get an index of their own."""
PARTS_MAX: Final = 6
"""Parts above which those behind the first are made one at once."""
GROWTH: Final = 8
"""Index and order are brought up to date when a share of 1/GROWTH of the series is new."""
FEW: Final = 256
"""Up to a share of 1/FEW, new series get their places in label order one by one."""
SORTED_MAX: Final = 20_000
"""Series that are brought into order by their labels; where they are more and not all have ranks, all get one."""


@frozen(eq=False)
class _Parts:
    """Indexes over successive ranges of refs; `firsts[i]` is the first ref of `indexes[i]`."""

    firsts: tuple[int, ...] = ()
    indexes: tuple[LabelIndex, ...] = ()
    covered: int = 0


class RegistryPairs(Sequence[tuple[str, str]]):
    """The pairs of a registry as a sequence, without a copy."""

    def __init__(self, registry: SeriesRegistry) -> None:
        self._registry = registry
        self._count = registry.pair_count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i):  # type: ignore[no-untyped-def]
        return self._registry.pair(i)


class SeriesIndex:
    """The label index over all series of a registry."""

    def __init__(self, registry: SeriesRegistry) -> None:
        self._registry = registry
        self._lock, self._ranking = threading.Lock(), threading.Lock()
        self._parts = _Parts()
        self.ranks: NDArray[np.uint32] = np.empty(0, np.uint32)
        """Place in label order of the refs 0 .. len-1; the refs born since have none yet."""

    def match(self, matchers: Sequence[Matcher]) -> NDArray[np.uint32]:
        """Return the refs of the series for which every matcher holds, ascending."""
        parts, total = self._fresh_parts()
        found = [i.match(matchers) + np.uint32(f) for f, i in zip(parts.firsts, parts.indexes, strict=True)]
        tail = [r for r in range(parts.covered, total) if self.fulfils(r, matchers)]
        found.append(np.array(tail, np.uint32))
        return np.concatenate(found)

    def fulfils(self, ref: int, matchers: Sequence[Matcher]) -> bool:
        """Tell whether every matcher holds for one series."""
        labels = self._registry.labels(ref)
        return all(m.matches(get(labels, m.name)) for m in matchers)

    def tidy(self, *, force: bool = False) -> bool:
        """Unite the parts, or rank the series, when enough has changed; tell whether it did, as more may be left."""
        total, parts = len(self._registry), self._parts
        united = parts.indexes[0].series_count if parts.indexes else 0
        if _is_due(united, total, force):
            self._unite(united, total)
            return True
        if _is_due(len(self.ranks), total, force):
            self._rank(total)
            return True
        return False

    def order(self, refs: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return the permutation that brings series into label order."""
        ranks = self.ranks
        if not len(refs) or int(refs.max()) < len(ranks):
            return np.argsort(ranks[refs])
        if len(refs) > SORTED_MAX:
            self._rank(len(self._registry))
            return np.argsort(self.ranks[refs])
        labels = [self._registry.labels(r) for r in refs.tolist()]
        return np.array(sorted(range(len(labels)), key=labels.__getitem__), np.int64)

    def _unite(self, united: int, total: int) -> None:
        """Let the first part, which covers `united` series, cover `total`."""
        index = self._built(united, total)
        if united:
            index = self._parts.indexes[0].followed_by(index, RegistryPairs(self._registry))
        with self._lock:
            self._parts = _Parts((0,), (index,), total)

    def _rank(self, total: int) -> None:
        """Rank the series below `total` at least."""
        registry = self._registry
        with self._ranking:
            if total <= len(self.ranks):  # somebody else was quicker
                return
            if (total - len(self.ranks)) * FEW <= total:
                self.ranks = with_newcomers(self.ranks, total, registry.labels)
            else:
                self.ranks = label_ranks(RegistryPairs(registry), total, registry.flat_pairs)

    def _built(self, first: int, last: int) -> LabelIndex:
        starts, ids = self._registry.flat_pairs(first, last)
        return LabelIndex.build(RegistryPairs(self._registry), starts, ids)  # pairs made after `ids`: has all of them

    def _fresh_parts(self) -> tuple[_Parts, int]:
        total = len(self._registry)
        parts = self._parts
        if total - parts.covered <= TAIL_MAX:
            return parts, total
        with self._lock:
            parts = self._parts
            if total - parts.covered > TAIL_MAX:
                kept = len(parts.indexes) if len(parts.indexes) < PARTS_MAX else 1
                first = parts.firsts[kept] if kept < len(parts.firsts) else parts.covered
                index = self._built(first, total)
                parts = _Parts((*parts.firsts[:kept], first), (*parts.indexes[:kept], index), total)
                self._parts = parts
        return parts, max(total, parts.covered)


def _is_due(known: int, total: int, force: bool) -> bool:
    return total > known and (force or total - known >= max(TAIL_MAX, known // GROWTH))
