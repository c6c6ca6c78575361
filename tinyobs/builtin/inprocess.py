"""Collects the in-process exporters (the host's and the agent's own metrics among them), each on its interval.

What an exporter yields is stored as if its target had been scraped: labels `job` and `instance`, `up` and the other
synthetic series, staleness markers for series that vanish.  Collection runs in a worker thread.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import structlog
import trio
from numpy.typing import NDArray

from ..abc import Component, Exporter, Services, Source
from ..errors import StorageError, Unavailable
from ..hookspecs import hookimpl
from ..model import labels as lb
from ..model.batch import Batch
from ..model.families import MetricFamily
from ..model.labels import Labels
from ..model.metadata import MetricMetadata
from ..model.schedule import next_tick_ms, phase_ms
from ..model.staleness import STALE_NAN

REPORTS: Final = ("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added")
_NONE: Final[NDArray[np.uint32]] = np.empty(0, np.uint32)

log = structlog.get_logger("inprocess")


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return the one source that collects all exporters."""
    return [InProcess(services)]


class InProcess(Source):
    """Runs a collection loop for every exporter; a reload that may change exporters starts them anew."""

    name = "inprocess"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._nursery: trio.Nursery | None = None
        self._running: list[tuple[ExporterLoop, trio.CancelScope]] = []
        self._applied: Any = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Collect until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.reconfigure(self._services.config)
            task_status.started()
            await trio.sleep_forever()

    def restart(self) -> Component:
        """Return a source that starts afresh."""
        return InProcess(self._services)

    async def reconfigure(self, config: Any) -> None:
        """Start the exporters of a new configuration; the series of those that are gone end with markers."""
        assert self._nursery is not None
        wanted = (config.tinyobs, config.global_config)
        if wanted == self._applied:
            return
        loops = [ExporterLoop(exporter, self._services) for exporter in self._services.exporters()]
        self._applied = wanted  # from here on nothing fails: the exporters that run go on until there are others
        earlier = {loop.target: loop for loop, _ in self._running}
        for _, scope in self._running:
            scope.cancel()
        self._running = [(loop, trio.CancelScope()) for loop in loops]
        for loop, scope in self._running:
            if loop.target in earlier:
                loop.inherit(earlier.pop(loop.target))
            self._nursery.start_soon(self._run_loop, loop, scope)
        for loop in earlier.values():
            await loop.finish(self._services.clock.now_ms())

    async def _run_loop(self, loop: ExporterLoop, scope: trio.CancelScope) -> None:
        with scope:
            await loop.run()


class ExporterLoop:
    """Collects one exporter on its interval."""

    def __init__(self, exporter: Exporter, services: Services) -> None:
        self._exporter = exporter
        self._services = services
        self._interval_ms = exporter.interval_ms or services.config.global_config.scrape_interval_ms
        target = {"job": exporter.name, "instance": exporter.instance or socket.gethostname()}
        self.target = lb.from_mapping(target)
        self._phase = phase_ms(lb.to_text(self.target), "", self._interval_ms)
        self._ref_of: dict[tuple[str, Labels], int] = {}
        self._metadata: dict[str, MetricMetadata] = {}
        self._current = _NONE
        reports = (lb.from_mapping({**target, lb.NAME: name}) for name in REPORTS)
        self._reports = services.registry.intern_many(reports, gated=False)  # they are kept for good
        self._generation = services.registry.generation

    def inherit(self, earlier: ExporterLoop) -> None:
        """Go on where another loop of the same exporter stopped."""
        self._current = earlier._current

    async def finish(self, at_ms: int) -> None:
        """Mark all series stale: the exporter is gone."""
        refs = np.concatenate([self._current, self._reports])
        self._current = _NONE
        await self._store(Batch(refs, np.full(len(refs), at_ms, np.int64), np.full(len(refs), STALE_NAN), "inprocess"))

    async def run(self) -> None:
        """Collect at once, so that there is something to look at, and then at every tick."""
        clock = self._services.clock
        await self.collect(clock.now_ms())
        while True:
            now = clock.now_ms()
            tick = next_tick_ms(now, self._interval_ms, self._phase)
            await trio.sleep((tick - now) / 1000)
            await self.collect(tick)

    async def collect(self, at_ms: int) -> None:
        """Collect once and store the outcome with timestamp `at_ms`."""
        began = trio.current_time()
        try:
            # Whoever stops does not wait for an exporter that hangs, on a dead network file system for one.
            families = await trio.to_thread.run_sync(self._exporter.collect, abandon_on_cancel=True)
            columns = self._columns(families)
        except Exception as e:  # noqa: BLE001 - an exporter of a plugin may raise anything
            log.error("exporter failed", exporter=self._exporter.name, error=f"{type(e).__name__}: {e}")
            refs, values, news, up = _NONE, np.empty(0), {}, 0.0
        else:
            refs, values, news, up = *columns, 1.0
        took = trio.current_time() - began
        current = np.unique(refs)
        gone = np.setdiff1d(self._current, current, assume_unique=True)
        added = len(current) - (len(self._current) - len(gone))
        self._current = current
        report = np.array([up, took, float(len(values)), float(added)])
        all_refs = np.concatenate([refs, gone, self._reports])
        all_values = np.concatenate([values, np.full(len(gone), STALE_NAN), report])
        await self._store(Batch(all_refs, np.full(len(all_refs), at_ms, np.int64), all_values, "inprocess", news))

    async def _store(self, batch: Batch) -> None:
        try:
            await self._services.append(batch)
        except (Unavailable, StorageError) as e:
            log.warning("collected samples were not stored", exporter=self._exporter.name, error=str(e))

    def _columns(
        self, families: Sequence[MetricFamily]
    ) -> tuple[NDArray[np.uint32], NDArray[np.float64], dict[str, MetricMetadata]]:
        """Return (refs, values, new metadata) of the families' points."""
        refs, values = [], []
        news = {}
        if self._generation != self._services.registry.generation:
            self._generation = self._services.registry.generation
            self._ref_of.clear()
        for family in families:
            metadata = MetricMetadata(family.type, family.help, family.unit)
            if self._metadata.get(family.name) != metadata:
                self._metadata[family.name] = news[family.name] = metadata
            for point in family.points:
                key = (family.name + point.suffix, point.labels)
                ref = self._ref_of.get(key)
                if ref is None:
                    ref = self._ref_of[key] = self._intern(*key)
                refs.append(ref)
                values.append(point.value)
        return np.array(refs, np.uint32), np.array(values, np.float64), news

    def _intern(self, name: str, own: Labels) -> int:
        return self._services.registry.intern(lb.from_mapping({**dict(own), **dict(self.target), lb.NAME: name}))
