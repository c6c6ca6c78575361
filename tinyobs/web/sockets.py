"""The handshake of WebSockets on HTTP/1.1, and how many are open.  What follows the handshake: `websocket.py`.

The handshake is an answer like any other, so that users, readiness, limits and headers are the application's.  Source:
RFC 6455, section 4.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response

from .options import WebOptions
from .problem import HttpError
from .upgrade import UPGRADE, Upgraded

if TYPE_CHECKING:
    from .websocket import WebSocket

_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16
_VERSION: Final = b"13"

SocketHandler = Callable[["WebSocket"], Awaitable[Any]]


def wants_socket(method: str, headers: dict[bytes, bytes]) -> bool:
    """Tell whether a request asks for a WebSocket."""
    return (
        method == "GET"
        and b"upgrade" in headers
        and b"websocket" in _tokens(headers[b"upgrade"])
        and b"upgrade" in _tokens(headers.get(b"connection", b""))
    )


@frozen
class SocketStatistics:
    """How WebSockets fare."""

    open: int
    """WebSockets open now."""
    opened_total: int
    """WebSockets opened."""
    refused_total: int
    """WebSockets refused because there were too many."""


class Sockets:
    """All WebSockets of an application."""

    def __init__(self) -> None:
        self._open = self._opened = self._refused = 0

    def statistics(self) -> SocketStatistics:
        """Return the numbers as of now."""
        return SocketStatistics(self._open, self._opened, self._refused)

    def accept(self, handler: SocketHandler, request: Request, options: WebOptions) -> Response:
        """Return the answer that opens a WebSocket and serves it; raises `HttpError` for a request that gets none."""
        if UPGRADE not in request.scope:
            raise HttpError(501, "WebSockets are served over HTTP/1.1, and without a body")
        headers = dict(request.scope["headers"])
        accepted = _accepted_key(headers)
        _refuse_other_origins(headers, options.external_url)
        if self._open >= options.websockets_max:
            self._refused += 1
            raise HttpError(503, "too many WebSockets: see tinyobs.web.websockets_max", {"retry-after": "5"})
        return _Switching(self, handler, request, accepted, options.websocket_message_bytes_max)

    async def serve(self, handler: SocketHandler, request: Request, upgraded: Upgraded, bytes_max: int) -> None:
        """Serve one to its end."""
        from .websocket import WebSocket  # few clients ask for one, and wsproto takes a while to load

        self._open += 1
        self._opened += 1
        try:
            await WebSocket(request, upgraded, bytes_max).serve(handler, upgraded.finishing)
        finally:
            self._open -= 1


class _Switching(Response):
    """The answer 101, and what follows it."""

    def __init__(
        self, sockets: Sockets, handler: SocketHandler, request: Request, accepted: str, bytes_max: int
    ) -> None:
        headers = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accepted}
        super().__init__(status_code=101, headers=headers)
        self._sockets, self._handler, self._request, self._bytes_max = sockets, handler, request, bytes_max

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await super().__call__(scope, receive, send)
        await self._sockets.serve(self._handler, self._request, scope[UPGRADE](), self._bytes_max)


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.lower().split(b",")]


def _accepted_key(headers: dict[bytes, bytes]) -> str:
    """Return what proves that the request was understood; raises `HttpError` 400 or 426."""
    if headers.get(b"sec-websocket-version", b"") != _VERSION:
        raise HttpError(426, "the version of WebSockets is 13", {"sec-websocket-version": "13", "upgrade": "websocket"})
    key = headers.get(b"sec-websocket-key", b"")
    try:
        is_sound = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except binascii.Error:
        is_sound = False
    if not is_sound:
        raise HttpError(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    return base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()).decode()


def _refuse_other_origins(headers: dict[bytes, bytes], external_url: str) -> None:
    """Raise `HttpError` 403 where a page of another site asks.

    Browsers let any page open a WebSocket anywhere, with the user's credentials; programs send no `Origin`.
    """
    origin = headers.get(b"origin", b"").decode("latin-1").lower()
    if not origin:
        return
    host = headers.get(b"host", b"").decode("latin-1").lower()
    external = urlsplit(external_url.lower())
    if origin not in (f"http://{host}", f"https://{host}", f"{external.scheme}://{external.netloc}"):
        raise HttpError(403, "WebSockets are not for pages of other sites")
