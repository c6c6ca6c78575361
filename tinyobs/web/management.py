"""What operators and orchestrators call: health, readiness, reload, quit, own metrics, version.

The texts follow Prometheus where scripts may look at them (prometheus web/web.go).
"""

from __future__ import annotations

import trio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ..abc import Route
from ..errors import TinyObsError
from ..exposition.json import dump
from .api_v1.status import StatusApi
from .options import WebOptions
from .problem import HttpError
from .services import ApiServices

_CHANGES = ("POST", "PUT")
_LOOKS = ("GET", "HEAD", "DELETE", "PATCH")


class Management:
    """The handlers."""

    def __init__(self, services: ApiServices, options: WebOptions) -> None:
        self._services = services
        self._lifecycle = options.lifecycle

    async def healthy(self, request: Request) -> Response:
        """Answer `/-/healthy`: the process answers requests."""
        return PlainTextResponse("TinyObs is Healthy.\n")

    async def ready(self, request: Request) -> Response:
        """Answer `/-/ready`: 503 with the progress until everything is served."""
        state = self._services.readiness()
        if state.ready:
            return PlainTextResponse("TinyObs is Ready.\n")
        progress = f" ({state.replay_current} of {state.replay_last} log segments)" if state.replay_last else ""
        raise HttpError(503, f"Service Unavailable: {state.reason or 'starting'}{progress}", {"retry-after": "5"})

    async def reload(self, request: Request) -> Response:
        """Answer `/-/reload`: take over the configuration file as it is now."""
        self._check_lifecycle()
        try:
            await self._services.reload()
        except TinyObsError as e:
            raise HttpError(500, f"failed to reload config: {e}") from None
        return Response()

    async def quit(self, request: Request) -> Response:
        """Answer `/-/quit`: begin the shutdown."""
        self._check_lifecycle()
        self._services.quit()
        return PlainTextResponse("Requesting termination... Goodbye!\n")

    async def only_changes(self, request: Request) -> Response:
        """Answer a request that would change something with a method that must not."""
        raise HttpError(405, "Only POST or PUT requests allowed", {"allow": ", ".join(_CHANGES)})

    async def metrics(self, request: Request) -> Response:
        """Answer `/metrics` in the format that the `Accept` header prefers."""
        accept = request.headers.get("accept", "")

        def write() -> tuple[bytes, str]:
            return self._services.expose(self._services.gather(), accept)

        body, content_type = await trio.to_thread.run_sync(write)
        return Response(body, headers={"content-type": content_type})

    async def version(self, request: Request) -> Response:
        """Answer `/version`: the build information without an envelope."""
        text = dump(StatusApi(self._services).build_fields())
        return Response(text.encode(), media_type="application/json")

    def _check_lifecycle(self) -> None:
        if not self._lifecycle:
            raise HttpError(403, "Lifecycle API is not enabled.")


def management_routes(services: ApiServices, options: WebOptions) -> list[Route]:
    """Return the routes outside the API."""
    m = Management(services, options)
    return [
        Route("/-/healthy", m.healthy, ("GET", "HEAD")),
        Route("/-/ready", m.ready, ("GET", "HEAD")),
        Route("/-/reload", m.reload, _CHANGES),
        Route("/-/reload", m.only_changes, _LOOKS),
        Route("/-/quit", m.quit, _CHANGES),
        Route("/-/quit", m.only_changes, _LOOKS),
        Route("/metrics", m.metrics),
        Route("/version", m.version),
    ]
