"""A scrape pool: the targets of one scrape config, found by discovery and scraped each by a loop of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
import trio
from attrs import frozen

from ...abc import Discoverer, DiscovererContext, Services, TargetGroup
from ...http_client import Client
from ...model.labels import Labels
from .loop import LoopRules, ScrapeLoop
from .statistics import PoolCounters
from .targets import PoolDefaults, Target, make_targets

SYNC_EVERY_SECONDS: Final = 5.0
"""Changes from discovery are gathered this long before they are applied."""

log = structlog.get_logger("scrape")


@frozen
class _Running:
    loop: ScrapeLoop
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
    ) -> None:
        self.config = config
        self.name: str = defaults.job
        self.dropped: list[Labels] = []
        self._defaults, self._rules = defaults, rules
        self._services, self._counters, self._seed = services, counters, seed
        self._inherited = dict(inherited or {})
        self._groups: dict[tuple[str, int, str], TargetGroup] = {}
        self._running: dict[Target, _Running] = {}
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    @property
    def loops(self) -> list[ScrapeLoop]:
        """The loops of all active targets."""
        return [r.loop for r in self._running.values()]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Discover and scrape until `stop` is called."""
        client = Client(self.config.http)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for key, index, discoverer in self._discoverers():
                        nursery.start_soon(self._discover, key, index, discoverer)
                    task_status.started()
                    await self._keep_in_step(nursery, client)
        finally:
            self._ended.set()
            await client.aclose()

    async def stop(self) -> dict[Target, ScrapeLoop]:
        """End all tasks and return the loops, by target, none of them finished."""
        self._scope.cancel()
        await self._ended.wait()
        return {t: r.loop for t, r in self._running.items()} | self._inherited

    def _discoverers(self) -> list[tuple[str, int, Discoverer]]:
        found = []
        kinds = self._services.discoverer_kinds()
        for key, entries in self.config.discovery:
            kind = kinds[key]
            for index, entry in enumerate(entries):
                context = DiscovererContext(self.name, index, self._services.config.folder, self._services.clock)
                found.append((key, index, kind.make(entry, context)))
        return found

    async def _discover(self, key: str, index: int, discoverer: Discoverer) -> None:
        """Run one discovery; a crash is logged and it starts again, with its last good groups in place."""

        async def publish(groups: Sequence[TargetGroup]) -> None:
            for group in groups:
                if group.targets:
                    self._groups[key, index, group.source] = group
                else:
                    self._groups.pop((key, index, group.source), None)
            self._changed.set()

        backoff = 1.0
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(discoverer.run, publish)
                return
            except* Exception as errors:
                log.error("discovery crashed", job=self.name, kind=key, retry_in_s=backoff, exc_info=errors)
            await trio.sleep(backoff)
            backoff = min(backoff * 2, 60.0)

    async def _keep_in_step(self, nursery: trio.Nursery, client: Client) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            await self._sync(nursery, client)
            await trio.sleep(SYNC_EVERY_SECONDS)

    async def _sync(self, nursery: trio.Nursery, client: Client) -> None:
        """Start loops for new targets, end those of targets that are gone."""
        groups = [(g.targets, g.labels) for g in self._groups.values()]
        targets, self.dropped, errors = make_targets(groups, self._defaults)
        if errors:
            failed = self._counters.sync_failures
            failed[self.name] = failed.get(self.name, 0) + len(errors)
            log.error("targets cannot be scraped", job=self.name, count=len(errors), first=errors[0])
        forced_error = self._check_limit(len(targets))
        wanted = set(targets)
        now = self._services.clock.now_ms()
        gone = [(t, self._running.pop(t)) for t in list(self._running) if t not in wanted]
        for _, running in gone:
            running.scope.cancel()
        left = [self._inherited.pop(t) for t in list(self._inherited) if t not in wanted]
        for loop in [r.loop for _, r in gone] + left:
            await loop.finish(now)
        for target in targets:
            if target not in self._running:
                self._start(nursery, client, target)
            self._running[target].loop.forced_error = forced_error

    def _check_limit(self, count: int) -> str:
        """Return the error that every target shows when the pool has too many, else ""."""
        limit = self.config.target_limit
        if not limit or count <= limit:
            return ""
        self._counters.target_limit += 1
        error = f"target_limit exceeded (number of targets: {count}, limit: {limit})"
        log.error("no target of the pool is scraped", job=self.name, error=error)
        return error

    def _start(self, nursery: trio.Nursery, client: Client, target: Target) -> None:
        loop = ScrapeLoop(target, self._rules, client, self._services, self._counters, self._seed)
        earlier = self._inherited.pop(target, None)
        if earlier is not None:
            loop.inherit(earlier)
        running = self._running[target] = _Running(loop, trio.CancelScope())
        nursery.start_soon(self._run_loop, running)

    async def _run_loop(self, running: _Running) -> None:
        with running.scope:
            await running.loop.run()
