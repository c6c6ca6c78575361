"""The native source: probes its targets on their schedule and stores what they came to.

Each target has a phase of its own within its interval, so that a hundred targets do not start together.  A tick that
passes while the last probe of a target still runs or waits for its turn is left out and counted.
"""

from __future__ import annotations

from typing import Any

import attrs
import structlog
import trio
from attrs import define, frozen
from tinyobs.abc import Services, Source
from tinyobs.errors import StorageError, Unavailable
from tinyobs.model.batch import Batch
from tinyobs.model.schedule import next_tick_ms, phase_ms

from .run import run_probe
from .series import TargetSeries
from .settings import Module, ProbeSettings

_log = structlog.get_logger("tinyobs.probe")


@frozen
class ProbeTarget:
    """One target with everything that its probes need."""

    address: str
    module_name: str
    module: Module
    job: str
    interval_ms: int
    timeout_ms: int
    labels: tuple[tuple[str, str], ...] = ()

    def series_labels(self) -> dict[str, str]:
        """Return the labels of all its series."""
        return {**dict(self.labels), "job": self.job, "instance": self.address}


@frozen
class ProbeStatistics:
    """What the source has done since it started."""

    targets: int
    """Targets configured."""
    probes_total: int
    """Probes finished."""
    failures_total: int
    """Probes that did not succeed."""
    skipped_total: int
    """Ticks left out because the last probe was not over."""
    lost_total: int
    """Probes whose samples could not be stored."""


@define
class _Counts:
    probes_total: int = 0
    failures_total: int = 0
    skipped_total: int = 0
    lost_total: int = 0


def targets_of(settings: ProbeSettings) -> list[ProbeTarget]:
    """Return the targets of a configuration, each combination of job, address and module once."""
    modules = settings.all_modules()
    found: dict[tuple[str, str, str], ProbeTarget] = {}
    for group in settings.targets:
        for address in group.targets:
            found[(group.job, address, group.module)] = ProbeTarget(
                address,
                group.module,
                modules[group.module],
                group.job,
                settings.interval_of(group),
                settings.timeout_of(group),
                group.labels,
            )
    return list(found.values())


class ProbeSource(Source):
    """Probes all configured targets; a new configuration disturbs only those that it changes."""

    name = "probe"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._counts = _Counts()
        self._limiter = trio.CapacityLimiter(1)
        self._running: dict[ProbeTarget, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Probe until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.reconfigure(self._services.config)
            task_status.started()
            await trio.sleep_forever()

    def restart(self) -> ProbeSource:
        """Return a source that starts afresh and keeps the counters."""
        fresh = ProbeSource(self._services)
        fresh._counts = self._counts
        return fresh

    async def reconfigure(self, config: Any) -> None:
        """Stop targets that are gone or changed, start new ones, and let the others go on."""
        if self._nursery is None:
            return  # not running yet: `run` begins with the configuration of then
        settings: ProbeSettings = config.tinyobs.section("probe")
        self._limiter.total_tokens = settings.concurrency_max
        wanted = targets_of(settings)
        for target in self._running.keys() - set(wanted):
            self._running.pop(target).cancel()
        for target in wanted:
            if target not in self._running:
                scope = self._running[target] = trio.CancelScope()
                self._nursery.start_soon(self._probe_until_removed, target, scope)

    def statistics(self) -> ProbeStatistics:
        """Return what has been done."""
        return ProbeStatistics(len(self._running), **attrs.asdict(self._counts))

    async def _probe_until_removed(self, target: ProbeTarget, scope: trio.CancelScope) -> None:
        series = TargetSeries(self._services.registry, target.series_labels())
        with scope:
            await self._probe_for_ever(target, series)
        # Only a target that left the configuration gets here; at the end of the daemon its series just pause.
        await self._store(target, series.end(self._services.clock.now_ms()))

    async def _probe_for_ever(self, target: ProbeTarget, series: TargetSeries) -> None:
        clock, interval = self._services.clock, target.interval_ms
        phase = phase_ms(target.address, f"{target.job}/{target.module_name}", interval)
        due = next_tick_ms(clock.now_ms(), interval, phase)
        while True:
            await trio.sleep(max(due - clock.now_ms(), 0) / 1000)
            async with self._limiter:
                at_ms = clock.now_ms()
                outcome = await run_probe(target.address, target.module, target.timeout_ms / 1000)
            self._counts.probes_total += 1
            if not outcome.success:
                self._counts.failures_total += 1
                reason = outcome.report.log[-2] if len(outcome.report.log) > 1 else ""
                _log.debug("probe failed", target=target.address, module=target.module_name, reason=reason)
            await self._store(target, series.batch(outcome.report.families(), at_ms))
            following = next_tick_ms(clock.now_ms(), interval, phase)
            self._counts.skipped_total += max((following - due) // interval - 1, 0)
            due = following

    async def _store(self, target: ProbeTarget, batch: Batch) -> None:
        if not len(batch):
            return
        try:
            await self._services.append(batch)
        except (Unavailable, StorageError) as e:
            self._counts.lost_total += 1
            _log.warning("samples of a probe were not stored", target=target.address, error=str(e))
