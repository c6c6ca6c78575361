"""`/status/...`: what the server is, how it was set up and how full it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from ..form import read_form
from ..problem import ApiError
from ..services import ApiServices
from .envelope import success
from .targets import rfc3339

TSDB_LIST_DEFAULT: Final = 10
TSDB_LIST_MAX: Final = 10_000
"""Entries in each list of `/status/tsdb`."""


class StatusApi:
    """The handlers."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    async def build(self, request: Request) -> Response:
        """Answer `/status/buildinfo`."""
        return success(self.build_fields())

    def build_fields(self) -> dict[str, str]:
        """Return the build information as the API and `/version` show it."""
        found = self._services.build
        return {
            "version": found.version,
            "revision": found.revision,
            "branch": found.branch,
            "buildUser": found.build_user,
            "buildDate": found.build_date,
            "goVersion": found.go_version,
        }

    async def config(self, request: Request) -> Response:
        """Answer `/status/config`; secrets are masked by whoever writes the YAML."""
        return success({"yaml": self._services.config_yaml()})

    async def flags(self, request: Request) -> Response:
        """Answer `/status/flags`."""
        return success(dict(sorted(self._services.flags.items())))

    async def runtime(self, request: Request) -> Response:
        """Answer `/status/runtimeinfo`; what only Go has is empty."""
        found = self._services.runtime()
        return success(
            {
                "startTime": rfc3339(found.start_ms),
                "CWD": found.working_directory,
                "hostname": found.hostname,
                "serverTime": rfc3339(self._services.clock.now_ms()),
                "reloadConfigSuccess": found.reload_succeeded,
                "lastConfigTime": rfc3339(found.last_reload_ms),
                "corruptionCount": found.corruption_count,
                "goroutineCount": found.task_count,
                "GOMAXPROCS": found.processors_max,
                "GOMEMLIMIT": found.memory_bytes_max,
                "GOGC": "",
                "GODEBUG": "",
                "storageRetention": found.storage_retention,
            }
        )

    async def tsdb(self, request: Request) -> Response:
        """Answer `/status/tsdb`."""
        text = (await read_form(request)).get("limit") or str(TSDB_LIST_DEFAULT)
        if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
            raise ApiError("bad_data", "limit must be a positive number")
        limit = min(int(text[:9]), TSDB_LIST_MAX)
        found = await trio.to_thread.run_sync(self._services.tsdb_status, limit)
        return success(
            {
                "headStats": {
                    "numSeries": found.series_count,
                    "numLabelPairs": found.label_pair_count,
                    "chunkCount": found.chunk_count,
                    "minTime": found.min_time_ms,
                    "maxTime": found.max_time_ms,
                },
                "seriesCountByMetricName": _list(found.series_by_metric, limit),
                "labelValueCountByLabelName": _list(found.values_by_label, limit),
                "memoryInBytesByLabelName": _list(found.bytes_by_label, limit),
                "seriesCountByLabelValuePair": _list(found.series_by_pair, limit),
            }
        )

    async def replay(self, request: Request) -> Response:
        """Answer `/status/walreplay`, also before the agent is ready."""
        state = self._services.readiness()
        return success({"min": state.replay_first, "max": state.replay_last, "current": state.replay_current})


def _list(pairs: Sequence[tuple[str, int]], limit: int) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in pairs[:limit]]
