"""The discoveries of a pool: each runs one entry of a scrape config and keeps what it has found.

A discovery outlives its pool.  When a reload changes the pool and not the entry, the next pool takes the running
discovery over: nothing is asked anew, and what was found stays even where the source is down at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import structlog
import trio

from ...abc import Discoverer, DiscovererContext, Services, TargetGroup
from .statistics import PoolCounters

BACKOFF_FIRST_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 60.0
"""Pauses before a crashed discovery starts again."""

log = structlog.get_logger("scrape")


class Discovery:
    """One entry.  `run` is called once; `on_change` belongs to the pool that it works for."""

    def __init__(self, key: str, entry: Any, make: Callable[[], Discoverer], job: str, counters: PoolCounters) -> None:
        self.key, self.entry, self.job = key, entry, job
        self.mechanism = key.removesuffix("_sd_configs")
        self.groups: dict[str, TargetGroup] = {}
        """By source, those with targets."""
        self.has_told = False
        """Whether it has told of its targets, if only that there are none."""
        self.has_failed = False
        """Whether its discoverer could not even be made."""
        self.on_change: Callable[[], None] = lambda: None
        self._make, self._counters = make, counters
        self._discoverer: Discoverer | None = None
        self._scope: trio.CancelScope | None = None
        self._ended = trio.Event()

    @property
    def is_running(self) -> bool:
        """Whether `run` was called."""
        return self._scope is not None

    def statistics(self) -> Any:
        """Return the statistics of the discoverer that runs, None where there are none."""
        discoverer = self._discoverer
        return None if discoverer is None else discoverer.statistics()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Discover until `stop`; a crash is logged and another one starts, with the last good groups in place."""
        backoff = BACKOFF_FIRST_SECONDS
        try:
            with trio.CancelScope() as self._scope:
                task_status.started()
                while True:
                    await self._run_once()
                    await trio.sleep(backoff)
                    backoff = min(backoff * 2, BACKOFF_MAX_SECONDS)
        finally:
            self._retire()
            self._ended.set()

    async def _run_once(self) -> None:
        """Run a discoverer until it crashes, or returns, which it should not."""
        try:
            self.has_failed = True
            discoverer = self._discoverer = self._make()
            self.has_failed = False
            async with trio.open_nursery() as nursery:
                await nursery.start(discoverer.run, self._publish)
                self.has_told = True
                self.on_change()
            await trio.sleep_forever()
        except* Exception as errors:
            self.note_failure()
            log.error("discovery crashed", job=self.job, kind=self.key, exc_info=errors)
        self._retire()

    async def stop(self) -> None:
        """End it and keep its counters."""
        if self._scope is not None:
            self._scope.cancel()
            await self._ended.wait()

    def note_failure(self) -> None:
        """Count a failed attempt."""
        failures, key = self._counters.refresh_failures, (self.mechanism, self.job)
        failures[key] = failures.get(key, 0) + 1

    async def _publish(self, groups: Sequence[TargetGroup]) -> None:
        for group in groups:
            if group.targets:
                self.groups[group.source] = group
            else:
                self.groups.pop(group.source, None)
        self._counters.count(self._counters.updates, self.job)
        self.on_change()

    def _retire(self) -> None:
        """Keep the counters of a discoverer that is over."""
        statistics = self.statistics()
        self._discoverer = None
        if statistics is not None:
            self._counters.retire([statistics])


def discoveries_of(
    config: Any, services: Services, counters: PoolCounters, earlier: Iterable[Discovery] = ()
) -> tuple[list[Discovery], list[Discovery]]:
    """Return the discoveries of a scrape config, and those of `earlier` that it has no more use for.

    An earlier one is taken over where its entry is still there; the others are new and do not run yet.
    """
    left = list(earlier)
    found = []
    for key, entries in config.discovery:
        for index, entry in enumerate(entries):
            same = next((d for d in left if d.key == key and d.entry == entry), None)
            if same is not None:
                left.remove(same)
            found.append(same or _new(key, index, entry, config.job_name, services, counters))
    return found, left


def _new(key: str, index: int, entry: Any, job: str, services: Services, counters: PoolCounters) -> Discovery:
    def make() -> Discoverer:
        return services.discoverer_kinds()[key].make(entry, context)

    discovery = Discovery(key, entry, make, job, counters)
    context = DiscovererContext(
        job,
        index,
        services.config.folder,
        services.clock,
        discovery.note_failure,
        partial(counters.refreshes.observe, (discovery.mechanism, job)),
    )
    return discovery
