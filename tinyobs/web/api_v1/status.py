"""`/status/...`: what the server is and how it was set up."""

from __future__ import annotations

from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import Response

from ...errors import StorageError, Unavailable
from ...exposition.protobuf_json import to_json
from ...model.blocks import StoredBlock, ulid
from ...model.durations import format_duration
from ...model.regex import Regex
from ..form import read_form
from ..problem import ApiError
from ..services import ApiServices
from . import parameters
from .envelope import success
from .targets import rfc3339


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

    async def limits(self, request: Request) -> Response:
        """Answer `/status/limits`; docs/limits.md."""
        return success(await trio.to_thread.run_sync(self._services.limits))

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

    async def features(self, request: Request) -> Response:
        """Answer `/features`."""
        return success(self._services.features())

    async def self_metrics(self, request: Request) -> Response:
        """Answer `/status/self_metrics`: the metrics whose whole name a regular expression fits, all without one."""
        text = (await read_form(request)).get("metric_name_pattern")
        try:
            pattern = Regex(text) if text else None
        except ValueError as e:
            raise parameters.invalid("metric_name_pattern", e) from None

        def answer() -> Response:
            families = self._services.gather()
            return success(to_json(f for f in families if pattern is None or pattern.matches(f.name)))

        return await trio.to_thread.run_sync(answer)

    async def blocks(self, request: Request) -> Response:
        """Answer `/status/tsdb/blocks`: the segments of the storage."""
        try:
            found = await trio.to_thread.run_sync(self._services.blocks)
        except Unavailable as e:
            raise ApiError("unavailable", str(e)) from None
        except StorageError as e:
            raise ApiError("internal", f"error getting block metadata: {e}") from None
        return success({"blocks": [_block(b) for b in found]})

    async def replay(self, request: Request) -> Response:
        """Answer `/status/walreplay`, also before the agent is ready."""
        state = self._services.readiness()
        return success({"min": state.replay_first, "max": state.replay_last, "current": state.replay_current})


def _block(block: StoredBlock) -> dict[str, Any]:
    """Return a block as upstream's `meta.json` has it; the end of its time is excluded there."""
    name = ulid(block.maxt_ms, block.number)
    hints = {"hints": [f"tier-{format_duration(block.tier_ms)}"]} if block.tier_ms else {}
    return {
        "ulid": name,
        "minTime": block.mint_ms,
        "maxTime": block.maxt_ms + 1,
        "stats": {"numSamples": block.samples, "numSeries": block.series, "numChunks": block.chunks},
        "compaction": {"level": block.level, "sources": [name], **hints},
        "version": 1,
    }
