"""`/status/...`: what the server is and how it was set up."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..services import ApiServices
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

    async def replay(self, request: Request) -> Response:
        """Answer `/status/walreplay`, also before the agent is ready."""
        state = self._services.readiness()
        return success({"min": state.replay_first, "max": state.replay_last, "current": state.replay_current})
