"""The sink: a destination for each entry of `remote_write`; a reload touches only those that it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
import trio
from attrs import evolve, field, frozen

from ...abc import Component, Services, Sink
from ...aggregation.engine import AggregationPlan
from ...config.stream_aggregation import SECTION as AGGREGATION
from ...config.stream_aggregation import PlaceSettings
from ...model.families import MetricFamily, counter, gauge, merge
from .counters import Counters, families_of
from .destination import Destination, Memory, Plan
from .series import Placing
from .settings import SECTION, Distribution, RemoteWriteSettings, names_of, shown_url

log = structlog.get_logger("remote_write")


@frozen
class RemoteWriteStatistics:
    """How sending fares."""

    destinations: int
    """Destinations of remote write."""
    families: tuple[MetricFamily, ...]
    """Under the names of Prometheus."""
    aggregated_samples_total: Mapping[str, int] = field(factory=dict, metadata={"label": "remote_name"})
    """Samples that rules of stream aggregation took, since the destination began."""
    aggregates_total: Mapping[str, int] = field(factory=dict, metadata={"label": "remote_name"})
    """Samples that these rules put out."""


class RemoteWrite(Sink):
    """Runs the destinations of the configuration."""

    name = "remote_write"

    def __init__(self, services: Services, memories: dict[str, Memory] | None = None) -> None:
        self._services = services
        self._memories = {} if memories is None else memories
        self._nursery: trio.Nursery | None = None
        self._running: dict[str, Destination] = {}
        self._reconfiguring = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Send until cancelled; each destination ends by itself when the agent stops and all is sent."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.reconfigure(self._services.config)
            task_status.started()
            await trio.sleep_forever()

    def restart(self) -> Component:
        """Return a sink that starts afresh and keeps the counters."""
        return RemoteWrite(self._services, self._memories)

    async def reconfigure(self, config: Any) -> None:
        """End destinations that are gone or have changed, and start new ones."""
        async with self._reconfiguring:
            if self._nursery is not None:
                await self._apply(self._nursery, config)

    async def _apply(self, nursery: trio.Nursery, config: Any) -> None:
        for name in sorted(unknown_destinations(config)):
            log.warning("stream aggregation for a destination that there is not", destination=name)
        wanted = {plan.name: plan for plan in plans_of(config)}
        ending = [d for name, d in self._running.items() if wanted.get(name) != d.plan]
        async with trio.open_nursery() as ends:
            for destination in ending:
                ends.start_soon(destination.stop)
        for destination in ending:
            name = destination.plan.name
            del self._running[name]
            if name not in wanted:
                del self._memories[name]
                log.info("destination removed", remote_name=name)
        for name, plan in wanted.items():
            if name not in self._running:
                memory = self._memories.setdefault(name, Memory(Counters()))
                self._running[name] = destination = Destination(self._services, plan, memory)
                await nursery.start(destination.run)
                log.info("destination", remote_name=name, url=plan.url)

    def statistics(self) -> RemoteWriteStatistics:
        """Return the figures."""
        found: list[MetricFamily] = []
        running = dict(self._running)
        for name, destination in running.items():
            found += families_of(name, destination.plan.url, destination.memory.counters, destination.gauges)
        if running:
            found += _of_all(list(running.values()), [m.counters for m in list(self._memories.values())])
        rules = {n: d.aggregation.engine.aggregators for n, d in running.items() if d.aggregation is not None}
        return RemoteWriteStatistics(
            len(running),
            tuple(merge(found)),
            {name: sum(a.counts.matched for a in of) for name, of in rules.items()},
            {name: sum(a.counts.output for a in of) for name, of in rules.items()},
        )


def _of_all(destinations: Sequence[Destination], ever: Sequence[Counters]) -> list[MetricFamily]:
    """Return what has come to any destination.  ever: the counters of those that stand still as well."""
    newest = max(max(d.memory.counters.highest_ms, d.gauges.behind_ms) for d in destinations)
    out = [
        gauge(
            "prometheus_remote_storage_highest_timestamp_in_seconds",
            "Highest timestamp that has come into the remote storage, in seconds since epoch.",
            newest / 1000,
        )
    ]
    counters = [*ever, *(d.memory.counters for d in destinations)]  # a destination may have been removed just now
    for kind in ("samples", "histograms", "exemplars"):
        name = f"prometheus_remote_storage_{kind}_in_total"
        out.append(counter(name, f"{kind.capitalize()} read from the log.", max(c.read[kind] for c in counters)))
    return out


def plans_of(config: Any) -> list[Plan]:
    """Return the plan of each destination of a configuration."""
    settings: RemoteWriteSettings = config.tinyobs.section(SECTION)
    names = names_of(config.remote_write)
    external = tuple(config.global_config.external_labels)
    places = _aggregations(config)
    plans = []
    for name, one in zip(names, config.remote_write, strict=True):
        placing = Placing((name,), name, RemoteWriteSettings())
        if settings.distribution is Distribution.SHARD:
            placing = Placing(tuple(names), name, evolve(settings, start="now", destinations=()))
        aggregation = places.get(name) or places.get(one.url)
        rules = AggregationPlan() if aggregation is None else aggregation.plan()
        plans.append(Plan(name, shown_url(one.url), one, external, placing, settings.start_of(name), rules))
    return plans


def unknown_destinations(config: Any) -> set[str]:
    """Return the destinations of stream aggregation that there are not."""
    known = {*names_of(config.remote_write), *(one.url for one in config.remote_write)}
    return set(_aggregations(config)) - known


def _aggregations(config: Any) -> dict[str, PlaceSettings]:
    """Return the rules for single destinations; none where that plugin is off."""
    settings = dict(config.tinyobs.sections).get(AGGREGATION)
    return {} if settings is None else dict(settings.destinations)
