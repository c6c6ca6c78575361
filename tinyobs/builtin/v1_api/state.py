"""`/v1/stats`, `/v1/cardinality`, `/v1/storage`, `/v1/health`: what is stored, and whether all is well."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from ... import __version__
from ...exposition.v1_times import ZERO, write_duration, write_time
from ...model.cardinality import Cardinality, CardinalityQuery
from .answers import answer
from .ingest import Ingest
from .reading import Reading

KEPT_SECONDS: Final = 10.0
"""How long an answer about the storage is given again."""
BLOCK_BYTES: Final = 512
"""The unit of `st_blocks`, whatever the file system has."""
FAILING_MS: Final = 3_600_000
"""The storage is degraded for so long after it met trouble, unless a job succeeds before."""


class State:
    """The handlers."""

    def __init__(self, reading: Reading, ingest: Ingest) -> None:
        self._reading, self._ingest = reading, ingest
        self._counted: tuple[float, Cardinality] | None = None
        self._counting = trio.Lock()
        self._used: tuple[float, dict[str, int]] | None = None
        self._jobs = _Jobs()

    async def stats(self, request: Request) -> Response:
        """Answer `/v1/stats`."""
        figures = self._figures()
        oldest, newest = (
            _figure(figures, f"{x}_time_ms") or _figure(figures, f"head_{x}_time_ms") for x in ("min", "max")
        )
        return answer(
            {
                "TotalMetrics": _figure(figures, "segment_samples") + _figure(figures, "head_samples"),
                "TotalSeries": (await self._cardinality()).series_count,
                "SizeBytes": (await self._usage())["used_bytes"],
                "OldestMetric": write_time(oldest) if oldest else ZERO,
                "NewestMetric": write_time(newest) if newest else ZERO,
            }
        )

    async def cardinality(self, request: Request) -> Response:
        """Answer `/v1/cardinality`."""
        found, settings = await self._cardinality(), self._reading.settings
        name, count = found.series_by_metric[0] if found.series_by_metric else ("", 0)
        return answer(
            {
                "total_series": found.series_count,
                "unique_metrics": found.metric_count,
                "max_series_metric": name,
                "max_series_count": count,
                "series_limit": settings.series_max,
                "per_metric_limit": settings.series_per_metric_max,
                "utilization_percent": self._ingest.series_count / settings.series_max * 100,
            }
        )

    async def storage(self, request: Request) -> Response:
        """Answer `/v1/storage`: what is used, and what may be: the size of the retention, else what the disk has room for."""
        return answer(await self._usage())

    async def health(self, request: Request) -> Response:
        """Answer `/v1/health`: 200 when all is well, else 503."""
        services = self._reading.services
        now_ms, api = services.clock.now_ms(), self._reading.api
        compaction = self._jobs.look(self._figures(), now_ms, api.runtime().start_ms)
        is_healthy = bool(compaction["healthy"])
        return answer(
            {
                "status": "healthy" if is_healthy else "degraded",
                "version": __version__,
                "uptime": write_duration(now_ms - api.runtime().start_ms),
                "compaction": compaction,
            },
            200 if is_healthy else 503,
        )

    async def _usage(self) -> dict[str, int]:
        """Look at the disk, once in a while."""
        now = trio.current_time()
        if self._used is None or now >= self._used[0] + KEPT_SECONDS:
            services, figures = self._reading.services, self._figures()
            scheme, _, folder = services.settings.storage_url.partition(":")
            used = _figure(figures, "bytes")
            if scheme == "file":
                used = await trio.to_thread.run_sync(_allocated_bytes, folder)
            limit = services.retention()[1] or used + _figure(figures, "free_bytes")
            self._used = now, {"used_bytes": used, "max_bytes": limit}
        return self._used[1]

    def _figures(self) -> Any:
        return self._reading.services.open_storage().statistics()

    async def _cardinality(self) -> Cardinality:
        """Count series, once in a while."""
        async with self._counting:
            now = trio.current_time()
            if self._counted is None or now >= self._counted[0] + KEPT_SECONDS:
                found = await trio.to_thread.run_sync(self._reading.api.cardinality, CardinalityQuery(top=1))
                self._counted = trio.current_time(), found
            return self._counted[1]


class _Jobs:
    """What is known of the storage's background jobs, from figures that are looked at now and then.

    A storage that has had nothing to do yet is as healthy as one that has done it.
    """

    def __init__(self) -> None:
        self._done = self._failed = 0
        self._since_ms = 0
        self._failures: list[int] = []

    def look(self, figures: Any, now_ms: int, start_ms: int) -> dict[str, Any]:
        """Return the object `compaction`."""
        done = _figure(figures, "cuts_total") + _figure(figures, "compactions_total")
        failed = _figure(figures, "maintenance_failures_total")
        if done != self._done or not self._since_ms:
            self._failures.clear()
            self._since_ms = now_ms if done != self._done else start_ms
        new = failed - self._failed
        self._failures += [now_ms] * min(max(new, 0), 1000)
        self._done, self._failed = done, failed
        errors = len(self._failures)
        read_only = _figure(figures, "read_only")
        recent = errors and now_ms - self._failures[-1] < FAILING_MS
        error = "background jobs failed: see the log" if errors else ""
        return {
            "healthy": not read_only and not (errors > 3 and recent),
            "last_success": write_time(self._since_ms),
            "time_since_success": write_duration(now_ms - self._since_ms),
            "last_attempt": write_time(max([self._since_ms, *self._failures[-1:]])),
            "consecutive_errors": errors,
            "last_error": "the storage is read-only until restart" if read_only else error,
        }


def _figure(figures: Any, name: str) -> int:
    return int(getattr(figures, name, 0))


def _allocated_bytes(folder: str) -> int:
    """Return what the files of a folder take up on the disk, those of folders in it included."""
    blocks = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it was removed meanwhile
                blocks += os.stat(os.path.join(path, name)).st_blocks
    return blocks * BLOCK_BYTES
