"""The component behind the query log: takes note of queries that are over, and writes elsewhere than they run.

Formatting and writing are done by a task and its worker threads, after the answer.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import structlog
import trio
from attrs import field, frozen

from ...abc import Component, Services
from ...config.schema import Config
from ...log_files import LogFiles
from ...web.queries.desk import QueryDesk
from ...web.queries.finished import FinishedQuery
from .crash_file import CrashFile
from .lines import line_of

TEXT_SHOWN_MAX: Final = 2000
"""Characters of a query in the daemon's own log."""
SCHEME: Final = "file:"

log = structlog.get_logger("query")


@frozen
class QueryLogStatistics:
    """How the logs of queries fare."""

    enabled: bool = field(metadata={"metric": "prometheus_engine_query_log_enabled"})
    """Whether there is a query log."""
    failures_total: int = field(metadata={"metric": "prometheus_engine_query_log_failures_total"})
    """Lines of the query log that were not written."""
    slow_total: int = field(metadata={"metric": "tinyobs_query_slow_total"})
    """Queries that took longer than `tinyobs.query.slow`."""


class QueryLog(Component):
    """Notes queries; `desk` calls `note` in the event loop."""

    name = "query_log"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._files = LogFiles("queries")
        self._slow_total = 0
        self._configure(services.config)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Write until cancelled."""
        desk: QueryDesk = self._services.api.desk
        crash_file = await trio.to_thread.run_sync(self._open_crash_file)
        desk.log, desk.crash_file = self, crash_file
        task_status.started()
        try:
            await self._files.run()
        finally:
            desk.log = desk.crash_file = None
            if crash_file is not None:
                crash_file.close()

    async def reconfigure(self, config: Any) -> None:
        """Take another file and other thresholds; the file is opened again in any case."""
        self._files.reopen()
        self._configure(config)

    @property
    def threshold_seconds(self) -> float:
        """Queries that took less need not be noted."""
        return 0.0 if self._file else self._slow_seconds

    def note(self, query: FinishedQuery) -> None:
        """Take note of a query that is over."""
        if self._file:
            self._files.add(self._file, line_of(query))
        if query.seconds >= self._slow_seconds:
            self._slow_total += 1
            self._warn(query)

    def statistics(self) -> QueryLogStatistics:
        """Return the figures."""
        return QueryLogStatistics(bool(self._file), self._files.lost, self._slow_total)

    def _configure(self, config: Config) -> None:
        self._file = str(config.global_config.query_log_file)
        self._slow_seconds = config.tinyobs.query.slow_ms / 1000 or math.inf

    def _warn(self, query: FinishedQuery) -> None:
        asked = query.question
        text = asked.text if len(asked.text) <= TEXT_SHOWN_MAX else asked.text[:TEXT_SHOWN_MAX] + "..."
        more: dict[str, Any] = {"error": query.error} if query.error else {}
        if asked.step_ms:
            more["step_seconds"] = asked.step_ms / 1000
        log.warning(
            "slow query",
            query=text,
            kind=asked.kind,
            range_seconds=(asked.end_ms - asked.start_ms) / 1000,
            seconds=round(query.seconds, 3),
            queued_seconds=round(query.queued_seconds, 3),
            samples=query.statistics.samples_read,
            series=query.statistics.series,
            client=asked.client,
            **more,
        )

    def _open_crash_file(self) -> CrashFile | None:
        url = self._services.settings.storage_url
        if not url.startswith(SCHEME):
            return None
        try:
            return CrashFile(Path(url.removeprefix(SCHEME)), self._services.settings.queries_max)
        except OSError as e:
            log.warning("queries under way cannot be noted for the case of a crash", error=str(e))
            return None
