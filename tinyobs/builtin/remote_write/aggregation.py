"""Stream aggregation before one destination: rules between what is read from its log and its queues.

The rules see series as they would be sent, with external labels and after `write_relabel_configs`.  What they put out has
numbers of its own in the registry, under labels with one more (`MARK`) that is not sent: a series that is stored may have
the very same labels and be sent under others.
What the rules have taken counts as dealt with, so that its place in the log moves on: an interval that is under way when the
process dies is lost, as state in memory is.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import trio
from numpy.typing import NDArray

from ...abc import Clock
from ...aggregation.aggregator import Aggregator
from ...aggregation.engine import AggregationPlan, Engine
from ...exposition.remote_write_rows import SendRows
from ...model.batch import Batch
from ...model.growing import grown
from ...model.labels import Labels, drop, from_pairs
from ...model.registry import SeriesRegistry, encode_block

MARK: Final = "__aggregated_for__"
LOOK_EVERY_SECONDS: Final = 10.0
"""Longest sleep, so that a clock that was set is noticed."""
_UNKNOWN: Final = -1


class Aggregation:
    """The rules of one destination.  Used in the event loop; `lock` is held while samples are taken or put out."""

    def __init__(
        self,
        name: str,
        plan: AggregationPlan,
        external: Sequence[tuple[str, str]],
        registry: SeriesRegistry,
        clock: Clock,
        sent_labels: Callable[[int], Labels | None],
        announce: Callable[[int, Labels, bytes], None],
    ) -> None:
        """sent_labels: of a series that is stored.  announce: is told of each series that is put out, in the event loop."""
        self.lock = trio.Lock()
        self.engine = Engine(plan, registry, clock.now_ms(), lambda ref: sent_labels(ref) or ())
        self._mark = (MARK, name)
        self._external = tuple(external)
        self._registry, self._clock, self._announce = registry, clock, announce
        self._own: NDArray[np.int64] = np.zeros(0, np.int64)
        self._hashes: dict[int, int] = {}

    def take(self, batch: Batch) -> NDArray[np.bool_] | None:
        """Let the rules take samples that would be sent; return which are sent beside their aggregates, None for all."""
        return self.engine.take(batch, self._clock.now_ms())

    def sent_labels(self, ref: int) -> Labels | None:
        """Return the labels of a series that is put out, None for another."""
        return drop(self._registry.labels(ref), {MARK}) if ref in self._hashes else None

    def shards(self, refs: NDArray[np.uint32], count: int) -> NDArray[np.int64]:
        """Return the shard of each series that is put out, of so many."""
        return np.array([self._hashes[ref] % count for ref in refs.tolist()], np.int64)

    async def wait_due(self) -> Sequence[Aggregator]:
        """Return the rules that have something to do, when there are any."""
        while True:
            due = self.engine.due_ms()
            seconds = LOOK_EVERY_SECONDS if due is None else (due - self._clock.now_ms()) / 1000
            await trio.sleep(min(max(seconds, 0.0), LOOK_EVERY_SECONDS))
            found = self.engine.due(self._clock.now_ms())
            if found:
                return found

    async def results(
        self, aggregators: Sequence[Aggregator], result: Callable[[Aggregator, int], Batch | None]
    ) -> list[SendRows]:
        """Return what rules put out, to be sent."""
        found = []
        async with self.lock:
            for aggregator in aggregators:
                rows, new = await trio.to_thread.run_sync(self._rows, aggregator, result)
                for series in new:  # here, where requests are encoded: encoders know nothing of threads
                    self._announce(*series)
                if rows is not None:
                    found.append(rows)
        return found

    def _rows(
        self, aggregator: Aggregator, result: Callable[[Aggregator, int], Batch | None]
    ) -> tuple[SendRows | None, list[tuple[int, Labels, bytes]]]:
        """Return what a rule puts out, in a worker thread, and the series that are to be announced."""
        batch = aggregator.timed(lambda a: result(a, self._clock.now_ms()))
        if batch is None:
            return None, []
        new: list[tuple[int, Labels, bytes]] = []
        self._own = grown(self._own, int(batch.refs.max()) + 1, _UNKNOWN)
        for ref in np.unique(batch.refs[self._own[batch.refs] == _UNKNOWN]).tolist():
            labels = from_pairs((*self._external, *self._registry.labels(ref)))
            own = self._own[ref] = self._registry.intern(from_pairs((*labels, self._mark)), gated=False)
            block = encode_block(labels)
            self._hashes[own] = zlib.crc32(block)
            new.append((own, labels, block))
        refs = self._own[batch.refs].astype(np.uint32)
        return SendRows(refs, batch.timestamps_ms, batch.values, None, batch.histograms), new
