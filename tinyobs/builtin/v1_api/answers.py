"""What all handlers below `/v1` have in common: the body of errors, and which pages may read answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ...abc import Dialect, Route, Services
from ...errors import QueryError, TinyObsError
from ...receiving.answers import http_error
from ...web.problem import STATUS_OF_KIND, HttpError
from .settings import settings_of

Handler = Callable[[Request], Awaitable[Response]]

_METHODS = "GET, POST, OPTIONS"
_HEADERS = "Content-Type, Authorization"


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer of JSON."""
    return Response(orjson.dumps(value), status, headers, "application/json")


def fault(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer for what went wrong."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Client Closed Request" if status == 499 else "Error"
    kept = {name: value for name, value in (headers or {}).items() if name.lower() != "content-type"}
    return answer({"error": phrase, "message": message}, status, kept)


class Answers:
    """Makes routes of handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self, path: str, handler: Handler, *methods: str, whole_body: bool = False) -> list[Route]:
        """Return the routes of one path, which refuse in the form of this API."""

        async def guarded(request: Request) -> Response:
            try:
                return self._shared(request, await handler(request))
            except QueryError as e:
                raise HttpError(STATUS_OF_KIND.get(e.kind, 500), str(e)) from None
            except TinyObsError as e:
                raise http_error(e) from None

        async def allow(request: Request) -> Response:
            return self._shared(request, Response(status_code=204))

        return [Route(path, guarded, methods, whole_body, Dialect(self._refuse)), Route(path, allow, ("OPTIONS",))]

    def _refuse(self, request: Request, error: HttpError) -> Response:
        return self._shared(request, fault(error.status, error.message, error.headers))

    def _shared(self, request: Request, response: Response) -> Response:
        """Let pages of this machine read the answer, where they may."""
        origin = request.headers.get("origin", "")
        if origin and (origin in self._own(request) or origin in settings_of(self._services.config).cors_origins):
            response.headers["access-control-allow-origin"] = origin
            response.headers["access-control-allow-methods"] = _METHODS
            response.headers["access-control-allow-headers"] = _HEADERS
        response.headers["vary"] = "Origin"
        return response

    @staticmethod
    def _own(request: Request) -> tuple[str, ...]:
        server = request.scope.get("server")
        port = server[1] if server else ""
        return tuple(f"{scheme}://{host}:{port}" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1"))
