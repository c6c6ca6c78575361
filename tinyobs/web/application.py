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
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response

from ..abc import Dialect, Route
from ..errors import LimitExceeded, RateLimited, StorageError, TinyObsError, Unavailable
from . import compression
from .authentication import Authenticator, url_credentials
from .cors import cors_headers
from .held_bytes import HELD, Held, HeldBytes
from .inbox import ARRIVED, BodyReader, Inbox, Receive
from .options import WebOptions
from .problem import ApiError, HttpError, forget_frames, retry_after
from .reply import RawHeaders, Reply, Send
from .request import WebRequest
from .request_statistics import RequestStatistics
from .router import Match, NoRoute, Router
from .services import Readiness
from .sockets import Sockets, wants_socket
from .stopping import Stopping
from .wanted import WANTED, Wanted

log = structlog.get_logger("web")

API: Final = "/api/"
UNMATCHED: Final = "/*"
"""The `handler` label of requests that no route answers."""
CANCELED: Final = 499
"""The status that is counted when the client went away before there was an answer."""
Found = Match | NoRoute | Response
"""What there is for a request; a response where the URL leads elsewhere."""
ALWAYS_SERVED: Final = ("/metrics", "/version", "/api/v1/status/walreplay")
"""Paths that are served before the agent is ready, and below the beginnings of paths that are."""
ALWAYS_SERVED_BELOW: Final = ("/-/", "/api/v1/notifications")


class Application:
    """The ASGI callable.  Raises `ValueError` for routes that clash or users without a proper hash."""

    def __init__(
        self, routes: Iterable[Route], options: WebOptions, readiness: Callable[[], Readiness] | None = None
    ) -> None:
        self.statistics = RequestStatistics()
        self.sockets = Sockets()
        self.stopping = Stopping()
        self._router = Router(routes)
        self._readiness = readiness
        self._busy = 0
        self.bodies = HeldBytes(options.bodies_bytes_max)
        self.reconfigure(options)

    def stop(self) -> None:
        """Take no more bodies: those that have not come, and those that wait for their turn, are answered 503 now.

        What is being decoded or stored goes on, a large body to the end of its piece.
        """
        self.stopping.come()

    def reconfigure(self, options: WebOptions) -> None:
        """Take other limits, users and headers for the requests that begin from now on."""
        self._authenticator = Authenticator(options.users) if options.users else None
        self.bodies.bytes_max = options.bodies_bytes_max
        self._prefix = options.route_prefix.rstrip("/")
        self._fixed_headers = tuple((k.lower().encode(), v.encode()) for k, v in options.headers)
        self.options = options

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":  # over HTTP/2, where they are not offered
            await _refuse_socket(send)
        if scope["type"] != "http":
            return
        begun = perf_counter()
        headers = dict(scope["headers"])
        match = self._find(scope, headers)
        label = match.label if isinstance(match, Match) else UNMATCHED
        whole = isinstance(match, Match) and (match.route.whole_body or match.is_socket)
        held = scope[HELD] = Held(self.bodies)
        bounds = (self.options.body_bytes_max, self.options.body_seconds, held, self.stopping)
        told = (_told_bytes(headers), scope.get(ARRIVED))
        inbox = BodyReader(receive, *bounds, *told) if whole else Inbox(receive, *bounds)
        wanted = WANTED.set(Wanted(self.stopping, self.bodies, receive if whole else None))
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
            WANTED.reset(wanted)
            held.release()
            status = reply.status or CANCELED
            self.statistics.observe(label, status, perf_counter() - begun, reply.body_bytes)

    def _find(self, scope: Any, headers: dict[bytes, bytes]) -> Found:
        path = scope["raw_path"].decode("latin-1")
        if self._prefix:
            if path == "/":
                return RedirectResponse(self._prefix + "/", 302)
            if not path.startswith(self._prefix + "/"):
                return NoRoute(404, "404 page not found")
            path = path[len(self._prefix) :]
        try:
            return self._router.find(scope["method"], path, wants_socket(scope["method"], headers))
        except NoRoute as e:
            return e

    async def _answer(
        self, match: Found, scope: Any, inbox: Inbox | BodyReader, reply: Reply, headers: dict[bytes, bytes]
    ) -> None:
        """Make the answer and send it; only `trio.Cancelled` escapes."""
        try:
            response = await self._response(match, scope, inbox, headers)
            if type(response) is Response and response.background is None:
                await reply.send_whole(response)
            else:
                await response(scope, inbox.receive, reply.send)
        except (ConnectionError, ClientDisconnect, trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("the client went away", path=scope["path"])
        except LimitExceeded as e:
            log.warning("an answer was cut off", path=scope["path"], error=str(e))
        except Exception as e:  # a streamed body is made while it is sent, and may fail as a handler does
            log.error("an answer failed", path=scope["path"], exc_info=e)
            if not reply.status:
                await _internal().response()(scope, inbox.receive, reply.send)
            # Else it is too late for another status: without the end of the body the server cuts the connection, so
            # that the client sees that the answer is incomplete.

    async def _response(
        self, found: Found, scope: Any, inbox: Inbox | BodyReader, headers: dict[bytes, bytes]
    ) -> Response:
        """Return the handler's answer, or that of what went wrong, in the dialect of the path."""
        dialect = None if isinstance(found, Response) else found.dialect
        try:
            if self._authenticator is not None:
                scope["user"] = await self._user(self._authenticator, scope["query_string"], headers, dialect)
            if isinstance(found, NoRoute):
                raise found
            return found if isinstance(found, Response) else await self._handle(found, scope, inbox)
        except HttpError as e:
            forget_frames(e)
            error = e
        except TinyObsError as e:
            forget_frames(e)
            error = _of_error(e)
        except ClientDisconnect:
            raise
        except Exception as e:  # whatever a handler raises must not end the server
            log.error("a handler failed", path=scope["path"], exc_info=e)
            error = _internal()
        if dialect is None:
            return error.response()
        refusal: Response = dialect.refuse(WebRequest(scope, inbox.receive), error)
        return refusal

    @staticmethod
    async def _user(
        authenticator: Authenticator, query: bytes, headers: dict[bytes, bytes], dialect: Dialect | None
    ) -> str:
        header = headers.get(b"authorization", b"").decode("latin-1")
        names = dialect.credentials if dialect is not None and not header else None
        return await authenticator.check(header, url_credentials(query, names) if names is not None else None)

    async def _handle(self, match: Match, scope: Any, inbox: Inbox | BodyReader) -> Response:
        if self._readiness is not None and not _is_always_served(match.label):
            state = self._readiness()
            if not state.ready:
                raise HttpError(503, "Service Unavailable", {"retry-after": "5"})
        if self._busy >= self.options.requests_max:
            raise HttpError(503, "too many requests at one time", {"retry-after": "1"})
        self._busy += 1
        try:
            scope["path_params"] = dict(match.parameters)
            request = WebRequest(scope, inbox.receive)
            if match.is_socket:
                return self.sockets.accept(match.route.handler, request, self.options)
            response: Response = await match.route.handler(request)
        finally:
            self._busy -= 1
        return response

    def _extra_headers(self, scope: Any, headers: dict[bytes, bytes]) -> RawHeaders:
        if scope["path"].startswith(self._prefix + API):
            return (*self._fixed_headers, *cors_headers(headers.get(b"origin", b""), self.options.cors_origin))
        return self._fixed_headers


def _told_bytes(headers: dict[bytes, bytes]) -> int:
    told = headers.get(b"content-length", b"")
    return int(told) if told.isdigit() else 0


def _is_always_served(label: str) -> bool:
    return label in ALWAYS_SERVED or label.startswith(ALWAYS_SERVED_BELOW)


async def _refuse_socket(send: Send) -> None:
    await send({"type": "websocket.http.response.start", "status": 501, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"WebSockets are served over HTTP/1.1\n"})


def _internal() -> HttpError:
    return ApiError("internal", "internal error; the log of the server has the details")


def _of_error(error: TinyObsError) -> HttpError:
    """Return the answer for an error that a handler let pass."""
    if isinstance(error, RateLimited):
        return HttpError(429, str(error), {"retry-after": retry_after(error)})
    kind = "unavailable" if isinstance(error, Unavailable) else "internal"
    if isinstance(error, StorageError):
        log.error("the storage failed a request", error=str(error))
    return ApiError(kind, str(error))
