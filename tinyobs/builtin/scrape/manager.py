"""The scrape manager: one pool per scrape config; a reload touches only the pools whose config changed."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
import trio

from ... import __version__
from ...abc import Component, Services, Source, TargetGroup
from ...config.scraping import (
    DEFAULT_SCRAPE_PROTOCOLS,
    PROTOBUF_FIRST_SCRAPE_PROTOCOLS,
    ScrapeProtocol,
    ValidationScheme,
)
from ...exposition.formats import Format
from ...exposition.histogram_rules import HistogramRules
from ...exposition.names import Escaping
from ...exposition.negotiate import accept_header
from ...model.durations import format_duration
from ...model.families import MetricFamily
from ...model.histogram_resolution import schema_of_factor
from ...relabel import Rule
from ...web.services import TargetsView
from ...web.target_trial import TargetQuestion, TargetTest
from .cluster import Cluster, cluster_of
from .discoveries import Discovery, discoveries_of
from .discovery_statistics import unite
from .failure_log import FailureLog
from .loop import ScrapeLoop
from .pool import ScrapePool
from .rules import LoopRules
from .series import SeriesRules
from .statistics import PoolCounters, ScrapeStatistics
from .targets import PoolDefaults, Target
from .trial import choose, run_trial, target_at
from .view import targets_view

TRIALS_MAX: Final = 4
"""Scrapes for trial that run at one time; more wait."""

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
        self._features: frozenset[str] = frozenset()
        self._cluster: Cluster | None = None
        self._failure_log = FailureLog()
        self._reconfiguring = trio.Lock()
        self._trials = trio.CapacityLimiter(TRIALS_MAX)

    @property
    def pools(self) -> Mapping[str, ScrapePool]:
        """The running pools, by job name."""
        return self._pools

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Scrape until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._failure_log.run)
            await self.reconfigure(self._services.config)
            task_status.started()
            await trio.sleep_forever()

    def restart(self) -> Component:
        """Return a manager that starts afresh and keeps the counters."""
        return ScrapeManager(self._services, self._counters)

    async def reconfigure(self, config: Any) -> None:
        """Stop pools that are gone, start new ones, and let changed ones go on with their targets."""
        async with self._reconfiguring:
            if self._nursery is not None:
                await self._apply(self._nursery, config)

    async def _apply(self, nursery: trio.Nursery, config: Any) -> None:
        wanted = {c.job_name: c for c in config.all_scrape_configs}
        now = self._services.clock.now_ms()
        cluster = cluster_of(config.tinyobs.scrape.cluster)
        switched = config.features != self._features or cluster != self._cluster
        self._features, self._cluster = config.features, cluster
        self._failure_log.reopen()
        for name in [n for n in self._pools if n not in wanted]:
            pool = self._pools.pop(name)
            for loop in (await pool.stop()).values():
                await loop.finish(now)
            for discovery in pool.discoveries:
                await discovery.stop()
            log.info("scrape pool removed", job=name)
        for name, scrape_config in wanted.items():
            running = self._pools.get(name)
            if running is not None and running.config == scrape_config and not switched:
                continue
            inherited = await running.stop() if running is not None else {}
            earlier = running.discoveries if running is not None else ()
            discoveries, left = discoveries_of(scrape_config, self._services, self._counters, earlier)
            self._pools[name] = pool = self._make(scrape_config, inherited, discoveries)
            for discovery in left:
                await discovery.stop()
            await nursery.start(pool.run)
            for discovery in discoveries:
                if not discovery.is_running:
                    await nursery.start(discovery.run)

    def statistics(self) -> ScrapeStatistics:
        """Return the counters."""
        c, pools = self._counters, dict(self._pools)
        discoveries = [d for pool in pools.values() for d in pool.discoveries]
        running = [s for s in (d.statistics() for d in discoveries) if s is not None]
        return ScrapeStatistics(
            pools=len(pools),
            pool_targets={name: len(pool.loops) for name, pool in pools.items()},
            pool_targets_elsewhere={n: pool.found.elsewhere_count for n, pool in pools.items() if self._cluster},
            pool_syncs={name: c.syncs.totals.get(name, (0, 0.0))[0] for name in pools},
            pool_target_limits={name: pool.config.target_limit for name, pool in pools.items()},
            metadata_entries={name: sum(len(x.health.metadata) for x in pool.loops) for name, pool in pools.items()},
            discovered={("scrape", name): pool.discovered_count for name, pool in pools.items()},
            received_updates={("scrape", name): c.updates.get(name, 0) for name in pools},
            sent_updates={"scrape": sum(count for count, _ in list(c.syncs.totals.values()))},
            failed_discoveries={"scrape": sum(d.has_failed for d in discoveries)},
            refresh_failures=_kinds_of_discovery(pools) | c.refresh_failures,
            timings=[family for family in _timings(c) if family.points],
            discovery=unite(running, c.ended),
            failure_lines_lost_total=self._failure_log.lost,
            sync_failures={name: c.sync_failures.get(name, 0) for name in pools},
            sample_limit=c.sample_limit,
            body_size_limit=c.body_size_limit,
            target_limit=c.target_limit,
            label_limits=c.label_limits,
            bucket_limit=c.bucket_limit,
            duplicates=c.duplicates,
            out_of_order=c.out_of_order,
            out_of_bounds=c.out_of_bounds,
            late_exemplars=c.late_exemplars,
            scrapes_total=c.scrapes,
            failures_total=c.failures,
            skipped_total=c.skipped,
            samples_total=c.samples,
        )

    def targets_view(self) -> TargetsView:
        """Return the state of all targets."""
        return targets_view(self._pools.values())

    def discovered(self) -> Mapping[str, Sequence[TargetGroup]]:
        """Return what discovery has found, by pool, before relabelling."""
        return {name: pool.groups for name, pool in self._pools.items()}

    async def test_target(self, question: TargetQuestion) -> TargetTest:
        """Scrape a target without storing anything; raises `LookupError` where there is no such pool or target."""
        pool = self._pools.get(question.pool)
        if pool is None:
            raise LookupError(f'scrape pool "{question.pool}" not found')
        trial = pool.trial_pool()
        loops = {loop.target: loop for loop in pool.loops}
        if question.address or question.labels:
            target = target_at(trial, question)
            if isinstance(target, TargetTest):
                return target
        else:
            target = choose(list(loops), question.target, pool.name, pool.found.elsewhere)
        async with self._trials:
            return await run_trial(trial, target, self._services.clock, question.series_max, loops.get(target))

    def _make(
        self, config: Any, inherited: Mapping[Target, ScrapeLoop], discoveries: Sequence[Discovery] = ()
    ) -> ScrapePool:
        return ScrapePool(
            config,
            pool_defaults(config, self._cluster),
            loop_rules(config, self._features),
            self._services,
            self._counters,
            self._seed if self._cluster is None else self._cluster.seed,
            inherited,
            self._failure_log,
            discoveries,
        )


def _kinds_of_discovery(pools: Mapping[str, ScrapePool]) -> dict[tuple[str, str], int]:
    """Return 0 for each (kind of discovery, job): a counter that is there from the start can be alerted on."""
    return {(d.mechanism, name): 0 for name, pool in pools.items() for d in pool.discoveries}


def _timings(c: PoolCounters) -> tuple[MetricFamily, ...]:
    """Return the summaries of what takes time."""
    return (
        c.intervals.family(
            "prometheus_target_interval_length_seconds",
            "Actual intervals between scrapes.",
            lambda interval: {"interval": format_duration(interval)},
        ),
        c.syncs.family(
            "prometheus_target_sync_length_seconds",
            "Time to apply discovered targets.",
            lambda job: {"scrape_job": job},
        ),
        c.refreshes.family(
            "prometheus_sd_refresh_duration_seconds",
            "The duration of a refresh in seconds for the given SD mechanism.",
            lambda key: {"mechanism": key[0], "config": key[1]},
        ),
    )


def pool_defaults(config: Any, cluster: Cluster | None = None) -> PoolDefaults:
    """Return what a scrape config gives to each of its targets."""
    return PoolDefaults(
        config.job_name,
        config.scrape_interval_ms,
        config.scrape_timeout_ms,
        config.metrics_path,
        config.scheme.value,
        config.params,
        tuple(config.relabel_configs),
        cluster,
        HistogramRules(
            bool(config.scrape_native_histograms),
            bool(config.always_scrape_classic_histograms),
            bool(config.convert_classic_histograms_to_nhcb),
        ),
    )


def loop_rules(config: Any, features: frozenset[str] = frozenset()) -> LoopRules:
    """Return how the targets of a scrape config are scraped, with features switched on."""
    rules: tuple[Rule, ...] = tuple(config.metric_relabel_configs)
    series = SeriesRules(
        config.honor_labels,
        rules,
        config.label_limit,
        config.label_name_length_limit,
        config.label_value_length_limit,
        config.metric_name_validation_scheme is ValidationScheme.LEGACY,
        "type-and-unit-labels" in features,
    )
    counts_from_zero = "created-timestamp-zero-ingestion" in features
    escaping = Escaping(config.metric_name_escaping_scheme.value or Escaping.ALLOW_UTF8)
    headers = (
        ("Accept-Encoding", "gzip" if config.enable_compression else "identity"),
        ("User-Agent", f"TinyObs/{__version__}"),
    )
    return LoopRules(
        series,
        headers,
        _accept(config.scrape_protocols, escaping, protobuf_first=counts_from_zero),
        _accept(config.scrape_protocols, escaping, protobuf_first=True),
        Format(config.fallback_scrape_protocol.value) if config.fallback_scrape_protocol else None,
        config.honor_timestamps,
        config.track_timestamps_staleness,
        config.sample_limit,
        config.body_size_limit_bytes,
        bool(config.extra_scrape_metrics) or "extra-scrape-metrics" in features,
        config.native_histogram_bucket_limit,
        schema_of_factor(config.native_histogram_min_bucket_factor),
        counts_from_zero or "st-storage" in features,
        counts_from_zero,
    )


def _accept(protocols: Sequence[ScrapeProtocol], escaping: Escaping, *, protobuf_first: bool) -> str:
    """Return the Accept header; protobuf goes first where the default order stands for no demand of one's own."""
    if protobuf_first and tuple(protocols) == DEFAULT_SCRAPE_PROTOCOLS:
        protocols = PROTOBUF_FIRST_SCRAPE_PROTOCOLS
    return accept_header([Format(p.value) for p in protocols], escaping)
