"""HTTP/1.1 on one connection: h11 speaks it, the application is called in the connection's own task.

Three times as fast as the general server beside it (`connection.py`), which has HTTP/2 and its queues to serve: the
head and the body of a small answer leave in one write, and no task but the application's own is started.  Pipelined
requests are answered one after the other.  Upgrades are not offered.  Source: RFC 9112, the ASGI specification 2.4.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote
from wsgiref.handlers import format_date_time

import h11
import trio

from .application import Application
from .inbox import Message
from .options import ServerOptions

RECEIVE_BYTES: Final = 256 << 10
"""Most that is taken from a socket at one time, in bytes."""
LINGER_SECONDS: Final = 2.0
"""How long a client may go on sending a body that was refused, so that it gets to read the answer."""
AHEAD_BYTES_MAX: Final = 64 << 10
"""Bytes of later requests that are taken in while one is being answered."""

VERSIONS: Final = (b"1.0", b"1.1")
"""Versions of HTTP that are spoken here; others are refused with 505."""
REASONS: Final = {int(status): status.phrase.encode() for status in HTTPStatus}
"""Words for the status line; clients do without, people do not."""
_DISCONNECT: Final[Message] = {"type": "http.disconnect"}


class Http1Connection:
    """One connection.  `run` serves it to its end; `finish` lets it end after the request that it is at."""

    def __init__(self, app: Application, options: ServerOptions, stream: Any, scope: dict[str, Any]) -> None:
        """Take a stream and what the scopes of its requests have in common."""
        self._app = app
        self._options = options
        self._stream = stream
        self._scope = scope
        self._finishing = False
        self._idle = trio.CancelScope()
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=options.head_bytes_max)

    async def run(self) -> None:
        """Answer requests until one side is done.  Errors of the transport are raised."""
        while True:
            request = await self._next_request()
            if request is None:
                break
            await _Exchange(self._h11, self._stream, request).run(self._app, dict(self._scope))
            self._skip_received()
            if self._finishing or self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                break
            self._h11.start_next_cycle()
        if self._h11.their_state is h11.ERROR:
            await self._refuse(400)
        if self._h11.our_state not in (h11.SEND_BODY, h11.ERROR):
            await self._linger()

    def finish(self) -> None:
        """Close now when no request is being answered, else after its answer."""
        self._finishing = True
        self._idle.cancel()

    async def _next_request(self) -> h11.Request | None:
        """Return the next request; None at the end of the connection or of the client's time."""
        self._idle = trio.CancelScope(deadline=trio.current_time() + self._options.keep_alive_seconds)
        if self._finishing:
            return None
        try:
            with self._idle:
                while True:
                    event = self._h11.next_event()
                    if event is h11.NEED_DATA:
                        self._h11.receive_data(await self._stream.receive_some(RECEIVE_BYTES))
                    elif isinstance(event, h11.Request):
                        return await self._acceptable(event)
                    else:
                        return None
        except h11.RemoteProtocolError as e:
            await self._refuse(e.error_status_hint)
        return None

    async def _acceptable(self, request: h11.Request) -> h11.Request | None:
        """Refuse other versions, and two lengths: a proxy before us may go by the other one (RFC 9112, section 6.3)."""
        if request.http_version not in VERSIONS:
            await self._refuse(505)
            return None
        names = {name for name, _ in request.headers}
        if b"transfer-encoding" in names and (b"content-length" in names or request.http_version != b"1.1"):
            await self._refuse(400)
            return None
        return request

    async def _refuse(self, status: int) -> None:
        """Answer what is no request."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [("content-length", "0"), ("connection", "close")]
            response = h11.Response(status_code=status, headers=headers, reason=REASONS.get(status, b""))
            head = self._h11.send(response) or b""
            await self._stream.send_all(head + (self._h11.send(h11.EndOfMessage()) or b""))

    def _skip_received(self) -> None:
        """Pass over what has arrived of a body that nobody asked for, most often only its end."""
        try:
            while self._h11.their_state is h11.SEND_BODY and self._h11.next_event() is not h11.NEED_DATA:
                pass
        except h11.RemoteProtocolError:
            return

    async def _linger(self) -> None:
        """Close our half and let the client finish: bytes left unread would make the kernel drop our answer."""
        if self._h11.their_state is h11.SEND_BODY or self._h11.their_state is h11.ERROR:
            with trio.move_on_after(LINGER_SECONDS):
                if hasattr(self._stream, "send_eof"):
                    await self._stream.send_eof()
                while await self._stream.receive_some(RECEIVE_BYTES):
                    pass


class _Exchange:
    """One request and its answer: the two callables of ASGI."""

    def __init__(self, connection: h11.Connection, stream: Any, request: h11.Request) -> None:
        self._h11 = connection
        self._stream = stream
        self._request = request
        self._head: Message | None = None
        self._body_wanted = request.method != b"HEAD"

    async def run(self, app: Application, scope: dict[str, Any]) -> None:
        """Call the application."""
        request = self._request
        target = request.target
        if not target.startswith(b"/"):
            # The absolute form, which a proxy may send, or "*" of OPTIONS.
            target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
        path, _, query = target.partition(b"?")
        scope.update(
            http_version=request.http_version.decode("ascii"),
            method=request.method.decode("ascii").upper(),
            path=unquote(path.decode("latin-1")),
            raw_path=path,
            query_string=query,
            headers=list(request.headers),
        )
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        while True:
            if self._h11.their_state is h11.SEND_BODY:
                if self._h11.they_are_waiting_for_100_continue:
                    await self._write(h11.InformationalResponse(status_code=100, headers=[]))
                try:
                    event = self._h11.next_event()
                except h11.RemoteProtocolError:
                    return _DISCONNECT
                if isinstance(event, h11.Data):
                    return {"type": "http.request", "body": bytes(event.data), "more_body": True}
                if isinstance(event, h11.EndOfMessage):
                    return {"type": "http.request", "body": b"", "more_body": False}
            elif len(self._h11.trailing_data[0]) > AHEAD_BYTES_MAX:
                await trio.sleep_forever()  # a client that pipelines may fill the kernel's buffer, not ours
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return _DISCONNECT
            if not data and self._h11.their_state is not h11.SEND_BODY:
                return _DISCONNECT
            self._h11.receive_data(data)

    async def _send(self, message: Message) -> None:
        """Raise `ConnectionResetError` when the client is gone, as ASGI has it."""
        if message["type"] == "http.response.start":
            self._head = message
            self._body_wanted &= message["status"] not in (204, 304)
            return
        events: list[h11.Event] = []
        if self._head is not None:
            headers = [*self._head["headers"], (b"date", date_header(int(time.time())))]
            status = self._head["status"]
            events.append(h11.Response(status_code=status, headers=headers, reason=REASONS.get(status, b"")))
            self._head = None
        if message["body"] and self._body_wanted:
            events.append(h11.Data(data=message["body"]))
        if not message["more_body"]:
            events.append(h11.EndOfMessage())
        await self._write(*events)

    async def _write(self, *events: h11.Event) -> None:
        try:
            data = b"".join([self._h11.send(event) or b"" for event in events])
            if data:
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
            raise ConnectionResetError("the client is gone") from e
        except h11.LocalProtocolError as e:
            if self._h11.their_state is h11.ERROR:
                raise ConnectionResetError("the client broke the protocol") from e
            raise  # an answer that cannot be written, say for a line break in a header, is a bug of its handler


_date: tuple[int, bytes] = (0, b"")


def date_header(seconds: int) -> bytes:
    """Return the value of the Date header; made once a second."""
    global _date
    if _date[0] != seconds:
        _date = (seconds, format_date_time(seconds).encode())
    return _date[1]
