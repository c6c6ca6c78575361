"""The scrape manager: one pool per scrape config; a reload touches only the pools whose config changed."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import structlog
import trio

from ... import __version__
from ...abc import Component, Services, Source
from ...exposition.formats import Format
from ...exposition.names import Escaping
from ...exposition.negotiate import accept_header
from ...relabel import Rule
from ...web.services import TargetsView
from .loop import LoopRules, ScrapeLoop
from .pool import ScrapePool
from .series import SeriesRules
from .statistics import PoolCounters, ScrapeStatistics
from .targets import PoolDefaults, Target
from .view import targets_view

log = structlog.get_logger("scrape")


class ScrapeManager(Source):
    """Runs the scrape pools of the configuration."""

    name = "scrape"

    def __init__(self, services: Services, counters: PoolCounters | None = None) -> None:
        self._services = services
        self._counters = counters or PoolCounters()
        self._seed = socket.gethostname()
        self._nursery: trio.Nursery | None = None
        self._pools: dict[str, ScrapePool] = {}

    @property
    def pools(self) -> Mapping[str, ScrapePool]:
        """The running pools, by job name."""
        return self._pools

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Scrape until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.reconfigure(self._services.config)
            task_status.started()
            await trio.sleep_forever()

    def restart(self) -> Component:
        """Return a manager that starts afresh and keeps the counters."""
        return ScrapeManager(self._services, self._counters)

    async def reconfigure(self, config: Any) -> None:
        """Stop pools that are gone, start new ones, and let changed ones go on with their targets."""
        assert self._nursery is not None
        wanted = {c.job_name: c for c in config.all_scrape_configs}
        now = self._services.clock.now_ms()
        for name in [n for n in self._pools if n not in wanted]:
            for loop in (await self._pools.pop(name).stop()).values():
                await loop.finish(now)
            log.info("scrape pool removed", job=name)
        for name, scrape_config in wanted.items():
            running = self._pools.get(name)
            if running is not None and running.config == scrape_config:
                continue
            inherited = await running.stop() if running is not None else {}
            self._pools[name] = pool = self._make(scrape_config, inherited)
            await self._nursery.start(pool.run)

    def statistics(self) -> ScrapeStatistics:
        """Return the counters."""
        c = self._counters
        return ScrapeStatistics(
            len(self._pools),
            {name: len(pool.loops) for name, pool in self._pools.items()},
            {name: c.sync_failures.get(name, 0) for name in self._pools},
            c.sample_limit,
            c.body_size_limit,
            c.target_limit,
            c.label_limits,
            c.duplicates,
            c.out_of_order,
            c.out_of_bounds,
            c.scrapes,
            c.failures,
            c.skipped,
            c.samples,
        )

    def targets_view(self) -> TargetsView:
        """Return the state of all targets."""
        return targets_view(self._pools.values())

    def _make(self, config: Any, inherited: Mapping[Target, ScrapeLoop]) -> ScrapePool:
        defaults = PoolDefaults(
            config.job_name,
            config.scrape_interval_ms,
            config.scrape_timeout_ms,
            config.metrics_path,
            config.scheme.value,
            config.params,
            tuple(config.relabel_configs),
        )
        return ScrapePool(config, defaults, loop_rules(config), self._services, self._counters, self._seed, inherited)


def loop_rules(config: Any) -> LoopRules:
    """Return how the targets of a scrape config are scraped."""
    rules: tuple[Rule, ...] = tuple(config.metric_relabel_configs)
    series = SeriesRules(
        config.honor_labels,
        rules,
        config.label_limit,
        config.label_name_length_limit,
        config.label_value_length_limit,
    )
    protocols = [Format(p.value) for p in config.scrape_protocols]
    escaping = Escaping(config.metric_name_escaping_scheme.value or Escaping.ALLOW_UTF8)
    headers = (
        ("Accept", accept_header(protocols, escaping)),
        ("Accept-Encoding", "gzip" if config.enable_compression else "identity"),
        ("User-Agent", f"TinyObs/{__version__}"),
    )
    return LoopRules(
        series,
        headers,
        Format(config.fallback_scrape_protocol.value) if config.fallback_scrape_protocol else None,
        config.honor_timestamps,
        config.track_timestamps_staleness,
        config.sample_limit,
        config.body_size_limit_bytes,
        bool(config.extra_scrape_metrics),
    )
