"""How many series carry each label pair: counted once when a series is born, so that it can be asked live.

Columns by pair (label name, bytes) and by series (metric) grow with the registry, and the counts over all series with
them.  The counts over some series are the counts over all less those of the others, or counted afresh, whichever is
less work.  A million series take about a second the first time, and some ten milliseconds later.

Not here: what is shown of the counts (`reporting.py`), bytes of samples (`metric_sizes.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..model.cardinality import Ranking
from ..model.labels import NAME
from ..model.registry import SeriesRegistry

SERIES_AT_ONCE: Final = 1 << 15
"""Series counted in one step: a few milliseconds in which other threads wait."""
TIES_MAX: Final = 10_000
"""So many entries of equal size are listed by name; of more, those that came first are taken."""
NO_METRIC: Final = 0xFFFFFFFF
"""The metric of a series without a name."""

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]


@frozen(eq=False)
class PairColumns:
    """What is known of the first P pairs.  name_ids: int64[P].  widths: int64[P], UTF-8 bytes of the values."""

    names: tuple[str, ...]
    name_widths: I64
    name_ids: I64
    widths: I64


@define(eq=False)
class Census:
    """Counts over the series of a registry.  Thread-safe; one asks at a time."""

    registry: SeriesRegistry
    metrics: U32 = field(init=False, factory=lambda: np.empty(0, np.uint32))
    """uint32[S]: the pair that is the metric of each series, `NO_METRIC` for none."""
    _names: dict[str, int] = field(init=False, factory=dict)
    _name_ids: I64 = field(init=False, factory=lambda: np.empty(0, np.int64))
    _widths: I64 = field(init=False, factory=lambda: np.empty(0, np.int64))
    _counts: I64 = field(init=False, factory=lambda: np.empty(0, np.int64))
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def count(self, chosen: NDArray[np.bool_] | None) -> tuple[PairColumns, I64]:
        """Return the pairs, and on how many series each is.

        chosen: bool[S] of the first S series, younger ones count as not chosen; None for all.
        """
        with self._lock:
            self._grow()
            counts = self._counts
            if chosen is not None:
                mask = np.zeros(len(self.metrics), np.bool_)
                shared = min(len(mask), len(chosen))
                mask[:shared] = chosen[:shared]
                few = np.flatnonzero(mask)
                if 2 * len(few) < len(mask):
                    counts = self._counted(few.astype(np.uint32))
                else:
                    counts = counts - self._counted(np.flatnonzero(~mask).astype(np.uint32))
            widths = np.fromiter((_width(n) for n in self._names), np.int64, len(self._names))
            return PairColumns(tuple(self._names), widths, self._name_ids, self._widths), counts

    def metrics_of(self, refs: U32) -> U32:
        """Return the metrics of series, as pairs; those born since the last count have none."""
        known = self.metrics
        out = np.full(len(refs), NO_METRIC, np.uint32)
        inside = refs < len(known)
        out[inside] = known[refs[inside]]
        return out

    # -- private -----------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Count the series that were born since."""
        first, total = len(self.metrics), len(self.registry)
        if first == total:
            return
        added = np.full(total - first, NO_METRIC, np.uint32)
        refs = np.arange(first, total, dtype=np.uint32)
        counts = np.zeros(len(self._counts), np.int64)
        for at, starts, ids in self._pieces(refs):
            self._learn_pairs(int(ids.max(initial=0)) + 1)
            counts = _plus(counts, np.bincount(ids))
            named = np.flatnonzero(self._name_ids[ids] == self._names.get(NAME, -1))
            added[at + np.searchsorted(starts, named, side="right") - 1] = ids[named]
        self._learn_pairs(self.registry.pair_count)
        self._counts = _plus(_plus(np.zeros(len(self._name_ids), np.int64), self._counts), counts)
        self.metrics = np.concatenate((self.metrics, added))

    def _counted(self, refs: U32) -> I64:
        counts = np.zeros(len(self._counts), np.int64)
        for _, _, ids in self._pieces(refs):
            counts += np.bincount(ids, minlength=len(counts))
        return counts

    def _pieces(self, refs: U32) -> Iterator[tuple[int, I64, U32]]:
        """Yield (position, starts, pair ids) of some series at a time."""
        for at in range(0, len(refs), SERIES_AT_ONCE):
            starts, ids = self.registry.pairs_of(refs[at : at + SERIES_AT_ONCE])
            yield at, starts[:-1].astype(np.int64), ids

    def _learn_pairs(self, total: int) -> None:
        first = len(self._name_ids)
        if total <= first:
            return
        pair, names = self.registry.pair, self._names
        found = [pair(i) for i in range(first, total)]
        ids = np.fromiter((names.setdefault(n, len(names)) for n, _ in found), np.int64, len(found))
        widths = np.fromiter((_width(v) for _, v in found), np.int64, len(found))
        self._name_ids, self._widths = np.concatenate((self._name_ids, ids)), np.concatenate((self._widths, widths))


def largest_pairs(registry: SeriesRegistry, ids: I64, counts: I64, top: int, *, value_only: bool = False) -> Ranking:
    """Return the `top` largest of some pairs, as `name=value` or by their values alone; equal ones by name."""
    if not len(ids):
        return ()
    if len(ids) > top:
        least = np.partition(counts, len(counts) - top)[len(counts) - top]
        above, ties = np.flatnonzero(counts > least), np.flatnonzero(counts == least)
        kept = np.concatenate((above, ties[:TIES_MAX]))
        ids, counts = ids[kept], counts[kept]
    named = [(registry.pair(i), n) for i, n in zip(ids.tolist(), counts.tolist(), strict=True)]
    texts = [(value if value_only else f"{name}={value}", n) for (name, value), n in named]
    return tuple(sorted(texts, key=lambda entry: (-entry[1], entry[0]))[:top])


def _plus(a: I64, b: I64) -> I64:
    """Return the sum of counts over the first pairs, the longer one's length."""
    if len(a) < len(b):
        a, b = b, a
    out = a.copy()
    out[: len(b)] += b
    return out


def _width(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
