"""A scrape pool: the targets of one scrape config, found by discoveries and scraped each by a loop of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Final

import structlog
import trio
from attrs import frozen

from ...abc import Services, TargetGroup
from ...http_client import Client, Shared
from ...model.schedule import beat_ms
from .cluster import Cluster
from .discoveries import Discovery
from .failure_log import FailureLog
from .group_memo import GroupMemo
from .loop import ScrapeLoop
from .rules import LoopRules
from .statistics import PoolCounters
from .targets import Found, PoolDefaults, Target
from .trial import TrialPool

SYNC_EVERY_SECONDS: Final = 5.0
"""Changes from discovery are gathered this long before they are applied; the first waits that long for all to tell."""

log = structlog.get_logger("scrape")


@frozen
class _Running:
    loop: ScrapeLoop
    client: Client
    scope: trio.CancelScope


class ScrapePool:
    """The targets of one job.  `run` is called once; `stop` hands the loops over to a successor or ends them."""

    def __init__(
        self,
        config: Any,
        defaults: PoolDefaults,
        rules: LoopRules,
        services: Services,
        counters: PoolCounters,
        seed: str,
        inherited: Mapping[Target, ScrapeLoop] | None = None,
        failure_log: FailureLog | None = None,
        discoveries: Sequence[Discovery] = (),
    ) -> None:
        """discoveries: run beside the pool; they may be older than it and outlive it."""
        self.config = config
        self.name: str = defaults.job
        self.found = Found([], [], 0, [])
        """What the last sync made of the discovered groups."""
        self._shared = Shared(config.http)
        self._failure_log = failure_log if config.scrape_failure_log_file else None
        self.discoveries = discoveries
        self._defaults, self._rules = defaults, rules
        self._memo = GroupMemo(defaults, config.keep_dropped_targets)
        self._services, self._counters, self._seed = services, counters, seed
        self._inherited = dict(inherited or {})
        self._running: dict[Target, _Running] = {}
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    @property
    def loops(self) -> list[ScrapeLoop]:
        """The loops of all active targets."""
        return [r.loop for r in list(self._running.values())]

    @property
    def cluster(self) -> Cluster | None:
        """The cluster that the targets are shared in, None where there is none."""
        return self._defaults.cluster

    def client_for(self, target: Target) -> Client:
        """Return a client for a target; one each: its connection stays open, and no target waits for another."""
        return Client(shared=self._shared, unix_socket=target.unix_socket)

    def trial_pool(self) -> TrialPool:
        """Return what scrapes for trial need."""
        return TrialPool(self._defaults, self._rules, self.client_for)

    @property
    def groups(self) -> list[TargetGroup]:
        """What discovery has found, before relabelling."""
        return [group for discovery in self.discoveries for group in list(discovery.groups.values())]

    @property
    def discovered_count(self) -> int:
        """How many targets discovery has found, before relabelling."""
        return sum(len(group.targets) for group in self.groups)

    @property
    def _is_silent(self) -> bool:
        """Whether a discovery has not told of its targets yet."""
        return not all(discovery.has_told for discovery in self.discoveries)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Scrape what discovery finds until `stop` is called."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for discovery in self.discoveries:
                        discovery.on_change = self._note_change
                    task_status.started()
                    await self._keep_in_step(nursery)
        finally:
            self._ended.set()

    def _note_change(self) -> None:
        self._changed.set()

    async def stop(self) -> dict[Target, ScrapeLoop]:
        """End all tasks and return the loops, by target, none of them finished."""
        self._scope.cancel()
        await self._ended.wait()
        return {t: r.loop for t, r in self._running.items()} | self._inherited

    async def _keep_in_step(self, nursery: trio.Nursery) -> None:
        """Apply what discovery tells: first when all have told, or after a while; then whenever something changes."""
        with trio.move_on_after(SYNC_EVERY_SECONDS):
            while self._is_silent:
                await self._changed.wait()
                self._changed = trio.Event()
        while True:
            began = perf_counter()
            await self._sync(nursery)
            self._counters.syncs.observe(self.name, perf_counter() - began)
            await trio.sleep(SYNC_EVERY_SECONDS)
            await self._changed.wait()
            self._changed = trio.Event()

    async def _sync(self, nursery: trio.Nursery) -> None:
        """Start loops for new targets, end those of targets that are gone."""
        self.found = found = await self._memo.make(self.groups)
        if found.errors:
            self._counters.count(self._counters.sync_failures, self.name, len(found.errors))
            log.error("targets cannot be scraped", job=self.name, count=len(found.errors), first=found.errors[0])
        forced_error = self._check_limit(len(found.targets))
        wanted = set(found.targets)
        gone = [self._running.pop(t) for t in list(self._running) if t not in wanted]
        for running in gone:
            running.scope.cancel()
        # As long as a discovery has not told, a target of the predecessor may still be among its targets.
        left = [] if self._is_silent else [self._inherited.pop(t) for t in list(self._inherited) if t not in wanted]
        for target in found.targets:
            if target not in self._running:
                self._start(nursery, target)
            self._running[target].loop.forced_error = forced_error
        now = self._services.clock.now_ms()
        for loop in [r.loop for r in gone] + left:
            await loop.finish(now)

    def _check_limit(self, count: int) -> str:
        """Return the error that every target shows when the pool has too many, else ""."""
        limit = self.config.target_limit
        if not limit or count <= limit:
            return ""
        self._counters.target_limit += 1
        error = f"target_limit exceeded (number of targets: {count}, limit: {limit})"
        log.error("no target of the pool is scraped", job=self.name, error=error)
        return error

    def _start(self, nursery: trio.Nursery, target: Target) -> None:
        client = self.client_for(target)
        loop = ScrapeLoop(
            target,
            self._rules,
            client,
            self._services,
            self._counters,
            self._seed,
            on_failure=self._note_failure,
            beat=beat_ms(len(self.found.targets), target.interval_ms),
        )
        earlier = self._inherited.pop(target, None)
        if earlier is not None:
            loop.inherit(earlier)
        running = self._running[target] = _Running(loop, client, trio.CancelScope())
        nursery.start_soon(self._run_loop, running)

    async def _run_loop(self, running: _Running) -> None:
        try:
            with running.scope:
                await running.loop.run()
        finally:
            await running.client.aclose()

    def _note_failure(self, loop: ScrapeLoop, error: str, at_ms: int) -> None:
        if self._failure_log is not None:
            self._failure_log.note(self.config.scrape_failure_log_file, self.name, loop.target.url, error, at_ms)
