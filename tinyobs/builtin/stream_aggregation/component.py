"""The source that puts out the aggregates of finished intervals, by the clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
import trio

from ...abc import Component, Services, Source
from ...aggregation.aggregator import Aggregator
from ...errors import TinyObsError
from ...model.batch import Batch
from .shared import Shared, plan_of
from .statistics import StreamAggregationStatistics, statistics_of

LOOK_EVERY_SECONDS: Final = 10.0
"""Longest sleep, so that a clock that was set is noticed."""
AGAIN_SECONDS: Final = 1.0
"""Pause after results could not be stored."""
WAITING_MAX: Final = 64
"""Results that wait to be stored; beyond that the oldest are lost."""
FINISH_SECONDS: Final = 5.0
"""How long the last results may take at the end."""

log = structlog.get_logger("stream_aggregation")


class StreamAggregation(Source):
    """Looks when the next interval is over, and stores its results."""

    name = "stream_aggregation"

    def __init__(self, services: Services, shared: Shared) -> None:
        self._services, self._shared = services, shared
        self._waiting: deque[Batch] = deque()
        self._changed = trio.Event()
        self._storing = trio.Lock()
        """Results of intervals, and those of rules that a reload took away, are stored one after another."""
        self._lost = self._refused = 0
        self._is_troubled = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Work until cancelled; then store what rules put out at the end."""
        task_status.started()
        try:
            while True:
                await self._sleep()
                now = self._services.clock.now_ms()
                due = self._shared.engine.due(now)
                await self._put_out(due, lambda aggregator: aggregator.tick(self._services.clock.now_ms()))
        finally:
            with trio.move_on_after(FINISH_SECONDS, shield=True):
                await self._finish(self._shared.engine.aggregators)

    def restart(self) -> Component:
        """Return a source that goes on with the same rules."""
        return StreamAggregation(self._services, self._shared)

    async def reconfigure(self, config: Any) -> None:
        """Take over rules; those that stay keep their state, those that go put out what they have where they say so."""
        plan = plan_of(config)
        with self._shared.lock:
            gone = self._shared.engine.replan(plan, self._services.clock.now_ms())
        await self._finish(gone)
        self._changed.set()

    def statistics(self) -> StreamAggregationStatistics:
        """Return the counters of all rules."""
        with self._shared.lock:
            return statistics_of(self._shared.engine, self._lost, self._refused)

    async def _sleep(self) -> None:
        """Wait until a rule has something to do, or may have."""
        due, now = self._shared.engine.due_ms(), self._services.clock.now_ms()
        seconds = LOOK_EVERY_SECONDS if due is None else min((due - now) / 1000, LOOK_EVERY_SECONDS)
        if self._waiting:
            seconds = min(seconds, AGAIN_SECONDS)
        self._changed = trio.Event()
        with trio.move_on_after(max(seconds, 0.0)):
            await self._changed.wait()

    async def _finish(self, aggregators: Sequence[Aggregator]) -> None:
        await self._put_out(aggregators, lambda aggregator: aggregator.finish(self._services.clock.now_ms()))

    async def _put_out(self, aggregators: Sequence[Aggregator], result: Callable[[Aggregator], Batch | None]) -> None:
        """Store what rules give, and what could not be stored before."""
        for aggregator in aggregators:
            batch = await trio.to_thread.run_sync(self._timed, aggregator, result)
            if batch is not None:
                self._waiting.append(batch)
        async with self._storing:
            await self._store()

    async def _store(self) -> None:
        while len(self._waiting) > WAITING_MAX:
            self._lost += len(self._waiting.popleft())
        while self._waiting:
            try:
                stored = await self._services.append(self._waiting[0], may_wait=True)
            except TinyObsError as e:
                if not self._is_troubled:
                    log.warning("aggregates cannot be stored now", error=str(e), waiting=len(self._waiting))
                self._is_troubled = True
                return
            self._is_troubled = False
            self._refused += stored.refused_total
            self._waiting.popleft()

    def _timed(self, aggregator: Aggregator, result: Callable[[Aggregator], Batch | None]) -> Batch | None:
        """Let a rule work, in a worker thread, and note how long it took."""
        with self._shared.lock:
            return aggregator.timed(result)
