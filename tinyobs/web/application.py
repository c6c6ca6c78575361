"""The ASGI application: finds the route, guards it, runs the handler, answers failures, counts.

One object instead of a stack of middlewares: each step is a part in a file of its own (`inbox.py`, `reply.py`,
`authentication.py`, `cors.py`, `request_statistics.py`), and this file is the order in which they happen.  Handlers
are `abc.Route`s of Starlette requests and responses, ours as well as those of plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, Final

import structlog
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from ..abc import Route
from ..errors import LimitExceeded, StorageError, TinyObsError, Unavailable
from . import compression
from .authentication import Authenticator
from .cors import cors_headers
from .inbox import BodyReader, Inbox, Receive
from .options import WebOptions
from .problem import ApiError, HttpError
from .reply import RawHeaders, Reply, Send
from .request_statistics import RequestStatistics
from .router import Match, Router
from .services import Readiness

log = structlog.get_logger("web")

API: Final = "/api/"
UNMATCHED: Final = "/*"
"""The `handler` label of requests that no route answers."""
CANCELED: Final = 499
"""The status that is counted when the client went away before there was an answer."""
ALWAYS_SERVED: Final = ("/-/", "/metrics", "/api/v1/status/walreplay", "/api/v1/notifications", "/version")
"""Beginnings of the paths that are served before the agent is ready."""


class Application:
    """The ASGI callable.  Raises `ValueError` for routes that clash or users without a proper hash."""

    def __init__(
        self, routes: Iterable[Route], options: WebOptions, readiness: Callable[[], Readiness] | None = None
    ) -> None:
        self.statistics = RequestStatistics()
        self._router = Router(routes)
        self._readiness = readiness
        self._busy = 0
        self.reconfigure(options)

    def reconfigure(self, options: WebOptions) -> None:
        """Take other limits, users and headers for the requests that begin from now on."""
        self._authenticator = Authenticator(options.users) if options.users else None
        self._prefix = options.route_prefix.rstrip("/")
        self._fixed_headers = tuple((k.lower().encode(), v.encode()) for k, v in options.headers)
        self.options = options

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request.  WebSockets are refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        if scope["type"] != "http":
            return
        begun = perf_counter()
        headers = dict(scope["headers"])
        match = self._find(scope)
        label = match.label if isinstance(match, Match) else UNMATCHED
        whole = isinstance(match, Match) and match.route.whole_body
        kind = BodyReader if whole else Inbox
        inbox = kind(receive, self.options.body_bytes_max, self.options.body_seconds)
        reply = Reply(
            send,
            self._extra_headers(scope, headers),
            compression.choose(headers.get(b"accept-encoding", b"").decode("latin-1")),
            self.options.compress_bytes_min,
            inbox.discard,
        )
        try:
            if isinstance(inbox, BodyReader):
                await self._answer(match, scope, inbox, reply, headers)
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(inbox.watch, nursery.cancel_scope)
                await self._answer(match, scope, inbox, reply, headers)
                nursery.cancel_scope.cancel()
        finally:
            status = reply.status or CANCELED
            self.statistics.observe(label, status, perf_counter() - begun, reply.body_bytes)

    def _find(self, scope: Any) -> Match | Response:
        path = scope["raw_path"].decode("latin-1")
        if self._prefix:
            if path == "/":
                return RedirectResponse(self._prefix + "/", 302)
            if not path.startswith(self._prefix + "/"):
                return HttpError(404, "404 page not found").response()
            path = path[len(self._prefix) :]
        try:
            return self._router.find(scope["method"], path)
        except HttpError as e:
            return e.response()

    async def _answer(
        self, match: Match | Response, scope: Any, inbox: Inbox | BodyReader, reply: Reply, headers: dict[bytes, bytes]
    ) -> None:
        """Make the answer and send it; only `trio.Cancelled` escapes."""
        try:
            response = await self._response(match, scope, inbox, headers)
            await response(scope, inbox.receive, reply.send)
        except (ConnectionError, ClientDisconnect, trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("the client went away", path=scope["path"])
        except LimitExceeded as e:
            log.warning("an answer was cut off", path=scope["path"], error=str(e))
        except Exception as e:  # a streamed body is made while it is sent, and may fail as a handler does
            log.error("an answer failed", path=scope["path"], exc_info=e)
            if not reply.status:
                await _internal()(scope, inbox.receive, reply.send)
            # Else it is too late for another status: without the end of the body the server cuts the connection, so
            # that the client sees that the answer is incomplete.

    async def _response(
        self, match: Match | Response, scope: Any, inbox: Inbox | BodyReader, headers: dict[bytes, bytes]
    ) -> Response:
        """Return the handler's answer, or that of what went wrong."""
        try:
            if self._authenticator is not None:
                scope["user"] = await self._authenticator.check(headers.get(b"authorization", b"").decode("latin-1"))
            return match if isinstance(match, Response) else await self._handle(match, scope, inbox)
        except HttpError as e:
            return e.response()
        except TinyObsError as e:
            return _of_error(e)
        except ClientDisconnect:
            raise
        except Exception as e:  # whatever a handler raises must not end the server
            log.error("a handler failed", path=scope["path"], exc_info=e)
            return _internal()

    async def _handle(self, match: Match, scope: Any, inbox: Inbox | BodyReader) -> Response:
        if self._readiness is not None and not match.label.startswith(ALWAYS_SERVED):
            state = self._readiness()
            if not state.ready:
                raise HttpError(503, "Service Unavailable", {"retry-after": "5"})
        if self._busy >= self.options.requests_max:
            raise HttpError(503, "too many requests at one time", {"retry-after": "1"})
        self._busy += 1
        try:
            scope["path_params"] = dict(match.parameters)
            response: Response = await match.route.handler(Request(scope, inbox.receive))
        finally:
            self._busy -= 1
        return response

    def _extra_headers(self, scope: Any, headers: dict[bytes, bytes]) -> RawHeaders:
        if scope["path"].startswith(self._prefix + API):
            return (*self._fixed_headers, *cors_headers(headers.get(b"origin", b""), self.options.cors_origin))
        return self._fixed_headers


def _internal() -> Response:
    return ApiError("internal", "internal error; the log of the server has the details").response()


def _of_error(error: TinyObsError) -> Response:
    """Return the answer for an error that a handler let pass."""
    kind = "unavailable" if isinstance(error, Unavailable) else "internal"
    if isinstance(error, StorageError):
        log.error("the storage failed a request", error=str(error))
    return ApiError(kind, str(error)).response()
