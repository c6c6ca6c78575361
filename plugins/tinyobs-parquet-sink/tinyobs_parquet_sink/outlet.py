"""Gathers samples and turns them into files now and then; only what is durable in a file is settled in the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import numpy as np
import trio
from tinyobs.abc import Logged, LogPosition, Services
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import joined
from tinyobs.model.staleness import is_stale
from tinyobs.sinks.chosen import Chosen
from tinyobs.sinks.group import Counts, Outlet, TryAgain

from .folder import Folder, Rows
from .settings import ParquetSinkSettings

READ_SAMPLES: Final = 50_000
T = TypeVar("T")


class ParquetOutlet(Outlet):
    """Writes for one entry of the section."""

    read_samples = READ_SAMPLES

    def __init__(self, services: Services, settings: ParquetSinkSettings, counts: Counts) -> None:
        self.gather_seconds = settings.flush_every_ms / 1000
        self._settings, self._counts = settings, counts
        self._chosen = Chosen(services.registry, settings.match)
        self._folder = Folder(settings, services.registry)
        self._batches: list[Batch] = []
        self._rows = 0
        self._end = LogPosition(0, 0)

    async def begin(self, first: Logged) -> None:
        """Remove files whose samples are about to be read again."""
        work = partial(self._folder.go_back, first.end, first.in_doubt)
        self._counts.duplicates += await self._in_thread(work)

    async def take(self, records: Sequence[Logged]) -> bool:
        """Gather the samples of chosen series."""
        for logged in records:
            batch = self._chosen.of(logged.batch)
            if not self._settings.stale_markers and len(batch):
                ends = is_stale(batch.values)
                batch = batch.take(~ends) if ends.any() else batch
            if len(batch):
                self._batches.append(batch)
                self._rows += len(batch)
            self._end = logged.end
        return self._rows >= self._settings.rows_max

    async def flush(self) -> None:
        """Write what was gathered; nothing without any."""
        if not self._batches:
            return
        files, size = await self._in_thread(self._write)
        self._counts.sends += files
        self._counts.bytes += size
        self._counts.samples += self._rows
        self._batches, self._rows = [], 0

    def _write(self) -> tuple[int, int]:
        refs = np.concatenate([b.refs for b in self._batches])
        times = np.concatenate([b.timestamps_ms for b in self._batches])
        values, histograms = joined([(b.values, b.histograms) for b in self._batches])
        return self._folder.write(Rows(refs, times, values, histograms), self._end)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work)
        except OSError as e:
            raise TryAgain(str(e)) from e
