"""Collects the in-process exporters (the host's and the agent's own metrics among them), each on its interval.

What an exporter yields is stored as if its target had been scraped: labels `job` and `instance`, `up` and the other
synthetic series, staleness markers for series that vanish.  Collection runs in a worker thread.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

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
    """Runs a collection loop for every exporter."""

    name = "inprocess"

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Collect until cancelled."""
        async with trio.open_nursery() as nursery:
            for exporter in self._services.exporters():
                nursery.start_soon(ExporterLoop(exporter, self._services).run)
            task_status.started()

    def restart(self) -> Component:
        """Return a source that starts afresh."""
        return InProcess(self._services)


class ExporterLoop:
    """Collects one exporter on its interval."""

    def __init__(self, exporter: Exporter, services: Services) -> None:
        self._exporter = exporter
        self._services = services
        self._interval_ms = exporter.interval_ms or services.config.global_config.scrape_interval_ms
        target = {"job": exporter.name, "instance": exporter.instance or socket.gethostname()}
        self._target = lb.from_mapping(target)
        self._phase = phase_ms(lb.to_text(self._target), "", self._interval_ms)
        self._ref_of: dict[tuple[str, Labels], int] = {}
        self._metadata: dict[str, MetricMetadata] = {}
        self._current = _NONE
        self._reports = services.registry.intern_many(lb.from_mapping({**target, lb.NAME: name}) for name in REPORTS)

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
            families = await trio.to_thread.run_sync(self._exporter.collect)
        except Exception as e:  # noqa: BLE001 - an exporter of a plugin may raise anything
            log.error("exporter failed", exporter=self._exporter.name, error=f"{type(e).__name__}: {e}")
            refs, values, news, up = _NONE, np.empty(0), {}, 0.0
        else:
            refs, values, news, up = *self._columns(families), 1.0
        took = trio.current_time() - began
        current = np.unique(refs)
        gone = np.setdiff1d(self._current, current, assume_unique=True)
        added = len(current) - (len(self._current) - len(gone))
        self._current = current
        report = np.array([up, took, float(len(values)), float(added)])
        all_refs = np.concatenate([refs, gone, self._reports])
        all_values = np.concatenate([values, np.full(len(gone), STALE_NAN), report])
        batch = Batch(all_refs, np.full(len(all_refs), at_ms, np.int64), all_values, "inprocess", news)
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
        return self._services.registry.intern(lb.from_mapping({**dict(own), **dict(self._target), lb.NAME: name}))
