"""Makes counters of histograms that are sent as deltas: what each flush says was added is summed up.

The Go SDK sends what was observed since its last flush and then begins anew, so that several processes may send the same
series and a lost flush loses no more than itself.  As they are, `rate()` would see a counter that is reset all the time.
The sums live in memory.  Each begins with a sample of 0 a millisecond before its first, so that `rate()` counts the first
flush, and after a restart sees one reset and nothing else.  Decision: docs/decisions/0093-deltas-become-counters.md.
"""

from __future__ import annotations

import threading
from typing import Final

import numpy as np
from attrs import define
from numpy.typing import NDArray

from ...exposition.v1_metrics import FORGET_MS, SWEEP_MS, Decoded
from ...model.batch import Batch
from ...model.labels import NAME, Labels
from ...model.registry import SeriesRegistry

ORIGIN: Final = "v1"


@define(slots=True)
class _Sum:
    """value: all that was added.  time_ms: of the last sample.  count: for a bucket `+Inf`, the sum of `_count`."""

    value: float
    time_ms: int
    count: int = -1


class Deltas:
    """The sums of all series of deltas.  Called in the writer's thread, which decides the order; `undo` in any."""

    def __init__(self, registry: SeriesRegistry) -> None:
        self._registry = registry
        self._sums: dict[int, _Sum] = {}
        self._lock = threading.Lock()
        self._sweep_at_ms = 0

    def __len__(self) -> int:
        return len(self._sums)

    def batch(self, decoded: Decoded, now_ms: int) -> Batch:
        """Add the deltas of a push, and return what is to be stored."""
        refs, times, values = decoded.refs, decoded.times_ms, decoded.values
        if len(decoded.deltas):
            with self._lock:
                self._sweep(now_ms)
                refs, times, values = self._summed(decoded)
        keep = newest_of_each(refs, times)
        return Batch(refs[keep], times[keep], values[keep], ORIGIN, decoded.metadata)

    def undo(self, decoded: Decoded) -> None:
        """Take away again what could not be stored."""
        with self._lock:
            at = decoded.deltas
            for ref, value in zip(decoded.refs[at].tolist(), decoded.values[at].tolist(), strict=True):
                if ref in self._sums:
                    self._sums[ref].value -= value

    def _summed(self, decoded: Decoded) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]]:
        at = decoded.deltas
        times, values = decoded.times_ms.copy(), decoded.values.copy()
        born: list[tuple[int, int]] = []
        sums: list[_Sum] = []
        for ref, time_ms, value in zip(decoded.refs[at].tolist(), times[at].tolist(), values[at].tolist(), strict=True):
            found = self._sums.get(ref)
            if found is None:
                found = self._sums[ref] = _Sum(0.0, time_ms - 1, self._count_of(ref))
                born.append((ref, time_ms - 1))
            found.value += value
            found.time_ms = max(time_ms, found.time_ms + 1)
            sums.append(found)
        times[at] = [s.time_ms for s in sums]
        values[at] = [self._shown(s) for s in sums]
        if not born:
            return decoded.refs, times, values
        return (
            np.concatenate((np.array([ref for ref, _ in born], np.uint32), decoded.refs)),
            np.concatenate((np.array([time_ms for _, time_ms in born], np.int64), times)),
            np.concatenate((np.zeros(len(born)), values)),
        )

    def _shown(self, found: _Sum) -> float:
        """Return the sum; a bucket `+Inf` has all that was counted, though the SDK calls its bound of 10 so."""
        whole = self._sums.get(found.count) if found.count >= 0 else None
        return found.value if whole is None else max(found.value, whole.value)

    def _count_of(self, ref: int) -> int:
        """Return the ref of the `_count` that belongs to a bucket `+Inf`, -1 for other series."""
        labels = dict(self._registry.labels(ref))
        name = labels[NAME]
        if labels.pop("le", "") != "+Inf" or not name.endswith("_bucket"):
            return -1
        labels[NAME] = name.removesuffix("_bucket") + "_count"
        count: Labels = tuple(sorted(labels.items()))
        return self._registry.intern(count, gated=False)

    def _sweep(self, now_ms: int) -> None:
        """Forget series of which nothing came for long."""
        if now_ms < self._sweep_at_ms:
            return
        self._sweep_at_ms = now_ms + SWEEP_MS
        before = now_ms - FORGET_MS
        self._sums = {ref: s for ref, s in self._sums.items() if s.time_ms >= before}


def newest_of_each(refs: NDArray[np.uint32], times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of the last sample for each series and time, in order of time for each series.

    The Go SDK sends a sample for each increment, many of them in one millisecond.
    """
    order = np.lexsort((times_ms, refs))
    last = np.ones(len(order), np.bool_)
    ordered_refs, ordered_times = refs[order], times_ms[order]
    last[:-1] = (ordered_refs[1:] != ordered_refs[:-1]) | (ordered_times[1:] != ordered_times[:-1])
    return order[last]
