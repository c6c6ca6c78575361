"""HTTP/1.1 on one connection: the application is called in the connection's own task.

Many times as fast as the general server beside it (`connection.py`), which has HTTP/2 and its queues to serve: the
head and the body of a small answer leave in one write, and no task but the application's own is started.  Pipelined
requests are answered one after the other.  Heads are read in `http1_head.py`, bodies in `http1_body.py`; a connection that
leaves HTTP is handed on as `upgrade.py` says.  Source: RFC 9112, the ASGI specification 2.4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from math import inf
from typing import Any, Final
from urllib.parse import unquote
from wsgiref.handlers import format_date_time

import trio

from .application import Application
from .http1_body import Body, BodyError, ChunkedBody, LengthBody
from .http1_head import HEAD_END, HeadError, RequestHead, parse_head
from .inbox import ARRIVED, Message
from .options import ServerOptions
from .pace import PACED_BYTES_MIN
from .upgrade import UPGRADE, Upgraded

RECEIVE_BYTES: Final = 256 << 10
"""Most that is taken from a socket at one time, in bytes."""
LINGER_SECONDS: Final = 2.0
"""How long a client may go on sending a body that was refused, so that it gets to read the answer."""
LINGER_STOPPING_SECONDS: Final = 0.5
"""The same when the daemon stops."""
LINGER_BYTES_MAX: Final = 4 << 20
"""How much of it is taken in; whoever sends more has to look for the answer before the end of its body, or never sees it.
Taking in all that a flood sends would cost more than the answers."""
AT_ONCE_BYTES_MAX: Final = 16 << 10
"""Answers up to this size are first offered to the kernel, which nearly always takes them: waiting with a deadline for
what need not be waited for costs more than all the rest of sending."""
AHEAD_BYTES_MAX: Final = 64 << 10
"""Bytes of later requests that are taken in while one is being answered."""

_TLS_HANDSHAKE: Final = 0x16
_STATUS_LINES: Final = {int(s): f"HTTP/1.1 {int(s)} {s.phrase}\r\n".encode() for s in HTTPStatus}
"""With words; clients do without, people do not."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_SWITCHING: Final = 101
_BODILESS: Final = (_SWITCHING, 204, 304)
_DISCONNECT: Final[Message] = {"type": "http.disconnect"}
_WHOLE: Final[Message] = {"type": "http.request", "body": b"", "more_body": False}
_LOST: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class Http1Connection:
    """One connection.  `run` serves it to its end; `finish` lets it end after the request that it is at."""

    def __init__(
        self,
        app: Application,
        options: ServerOptions,
        stream: Any,
        scope: dict[str, Any],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """Take a stream and what the scopes of its requests have in common.

        wake: ends the wait of whoever waits for the stream, as if it had been closed.
        """
        self.idle_until = inf
        """When the client's time is over, as long as the next request has not come."""
        self._app = app
        self._options = options
        self._stream = stream
        self._scope = scope
        self._finishing = trio.Event()
        self._wake = wake
        self._received = bytearray()

    async def run(self) -> None:
        """Answer requests until one side is done.  Errors of the transport are raised."""
        while (head := await self._next_head()) is not None:
            if head.body_bytes is None or head.body_bytes > PACED_BYTES_MIN:
                await self._stream.wait_turn()
            exchange = _Exchange(self._stream, head, self._received, self._finishing)
            await exchange.run(self._app, dict(self._scope))
            if exchange.is_upgraded:
                return
            exchange.skip_received()
            if exchange.is_over and not self._finishing.is_set():
                if self._received:
                    await trio.lowlevel.checkpoint()  # others have their turn between requests that came together
                continue
            if exchange.is_broken and not exchange.has_begun:
                await self._refuse(400, "the body of the request is malformed, or shorter than was said")
            elif not exchange.has_ended:
                return  # cut at once, so that the client sees that the answer is incomplete
            if exchange.is_broken or not exchange.has_whole_body:
                await self._linger()
            return

    def finish(self) -> None:
        """Close now when no request is being answered, else after its answer."""
        self._finishing.set()
        if self.idle_until < inf:
            self.give_up()

    def give_up(self) -> None:
        """Wait no longer for the next request; one that is there already is answered."""
        self.idle_until = -inf
        self._wake()

    async def _next_head(self) -> RequestHead | None:
        """Return the head of the next request; None at the end of the connection or of the client's time."""
        if self._finishing.is_set():
            return None
        # Not a cancel scope, which would take a tenth of a small request: see `ConnectionServer.watch_idle`.
        self.idle_until = trio.current_time() + self._options.keep_alive_seconds
        try:
            data = await self._head_bytes()
            return parse_head(data) if data else None
        except HeadError as e:
            self.idle_until = inf
            await self._refuse(e.status, e.reason)
            await self._linger()
        except _LOST:
            if self.idle_until > -inf:
                raise
        finally:
            self.idle_until = inf
        return None

    async def _head_bytes(self) -> bytes:
        """Return the bytes of the next head, nothing where the client has no more; raises `HeadError`."""
        received, searched = self._received, 0
        while True:
            if received and received[0] in b"\r\n":
                received[:] = received.lstrip(b"\r\n")  # line breaks before a request (RFC 9112, section 2.2)
            if received and received[0] <= ord(" "):
                is_tls = received[0] == _TLS_HANDSHAKE
                raise HeadError(400, "this port speaks HTTP without TLS" if is_tls else "this is no HTTP request")
            found = HEAD_END.search(received, max(searched - 2, 0))
            size = found.end() if found else len(received)
            if size > self._options.head_bytes_max:
                raise HeadError(431, f"the head of the request is larger than {self._options.head_bytes_max} bytes")
            if found:
                del found  # it would keep `received` from shrinking
                data = bytes(received[:size])
                del received[:size]
                return data
            searched = size
            if self.idle_until == -inf:
                raise trio.ClosedResourceError("nothing more is waited for")
            more = await self._stream.receive_some(RECEIVE_BYTES)
            if not more:
                if received:
                    raise HeadError(400, "the request ends within its head")
                return b""
            received += more

    async def _refuse(self, status: int, reason: str) -> None:
        """Answer what is no request."""
        body = f"{reason}\n".encode("ascii", "replace")
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        await self._stream.send_all(_STATUS_LINES[status] + head + body)

    async def _linger(self) -> None:
        """Close our half and let the client finish: bytes left unread would make the kernel drop our answer."""
        with trio.move_on_after(LINGER_STOPPING_SECONDS if self._finishing.is_set() else LINGER_SECONDS):
            if hasattr(self._stream, "send_eof"):
                await self._stream.send_eof()
            taken = 0
            while taken < LINGER_BYTES_MAX:
                count = await self._stream.discard()
                if not count:
                    return
                taken += count
            await trio.sleep_forever()  # until the time is over


class _Exchange:
    """One request and its answer: the two callables of ASGI."""

    def __init__(self, stream: Any, head: RequestHead, received: bytearray, finishing: trio.Event) -> None:
        self.is_broken = False
        """The client sent what is no body, or stopped in the midst of it."""
        self.has_begun = self.has_ended = False
        """Something of the answer was written; all of it was."""
        self.is_upgraded = False
        """The connection speaks another protocol."""
        self._stream = stream
        self._head = head
        self._received = received
        self._finishing = finishing
        self._body: Body = ChunkedBody() if head.body_bytes is None else LengthBody(head.body_bytes)
        self._waits = head.waits and not self._body.complete
        self._delivered = False
        self._taken = 0
        self._keeps_alive = head.keeps_alive
        self._answer: Message | None = None
        self._sends_body = head.method != b"HEAD"
        self._is_chunked = False
        self._left: int | None = None

    @property
    def has_whole_body(self) -> bool:
        """All of the request has arrived."""
        return self._body.complete

    @property
    def is_over(self) -> bool:
        """The connection is ready for another request."""
        return self.has_ended and self._keeps_alive and self._body.complete and not self.is_broken

    async def run(self, app: Application, scope: dict[str, Any]) -> None:
        """Call the application."""
        head = self._head
        target = head.target
        if not target.startswith(b"/"):
            # The absolute form, which a proxy may send, or "*" of OPTIONS.
            target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
        path, _, query = target.partition(b"?")
        scope["http_version"] = head.http_version.decode("ascii")
        scope["method"] = head.method.decode("ascii")
        scope["path"] = unquote(path.decode("latin-1"))
        scope["raw_path"] = path
        scope["query_string"] = query
        scope["headers"] = head.headers
        if head.http_version == b"1.1" and self._body.complete:
            scope[UPGRADE] = self._upgrade
        scope[ARRIVED] = self._arrived
        await app(scope, self._receive, self._send)

    def _upgrade(self) -> Upgraded:
        """Hand the connection on; the answer 101 has been sent."""
        self.is_upgraded = True
        received = bytes(self._received)
        self._received.clear()
        return Upgraded(self._stream, received, self._finishing)

    def skip_received(self) -> None:
        """Pass over what has arrived of a body that nobody asked for, most often only its end."""
        if not self._body.complete and not self.is_broken:
            self._take()

    def _take(self, data: bytes = b"") -> bytes:
        """Return what has arrived of the body, `data` included."""
        try:
            return self._body.take_new(data, self._received) if data else self._body.take(self._received)
        except BodyError:
            self.is_broken = True
            return b""

    def _arrived(self) -> bytes | None:
        """Return the body where all of it came with the head, and nothing has asked for it; see `inbox.Arrived`."""
        size = self._head.body_bytes
        if self._delivered or not size or size > len(self._received):
            return None
        self._waits, self._delivered = False, True
        return self._take()

    async def _receive(self) -> Message:
        if not self._delivered:
            if self._body.complete:
                self._delivered = True
                return _WHOLE
            piece = self._take()
            while not piece and not self._body.complete and not self.is_broken:
                if self._waits and not self.has_begun:
                    self._waits = False
                    await self._write(_CONTINUE)
                data = await self._more(self._taken >= PACED_BYTES_MIN)
                self.is_broken = not data
                self._taken += len(data)
                piece = self._take(data)
            self._waits = False
            if self.is_broken:
                return _DISCONNECT
            self._delivered = self._body.complete
            return {"type": "http.request", "body": piece, "more_body": not self._body.complete}
        while len(self._received) <= AHEAD_BYTES_MAX:
            data = await self._more()
            if not data:
                return _DISCONNECT
            self._received += data
        await trio.sleep_forever()  # a client that pipelines may fill the kernel's buffer, not ours

    async def _more(self, paced: bool = False) -> bytes:
        """Return what the client sends, b"" where it sends no more.  paced: it is of a large body."""
        try:
            if paced:
                return bytes(await self._stream.receive_paced(RECEIVE_BYTES))
            return bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except _LOST:
            return b""

    async def _send(self, message: Message) -> None:
        """Raise `ConnectionResetError` when the client is gone, as ASGI has it."""
        if message["type"] == "http.response.start":
            self._answer = message
            return
        body, more = message["body"], message["more_body"]
        data, is_whole = b"", self._answer is not None and not more
        if self._answer is not None:
            data = self._begin(self._answer)
            self._answer, self.has_begun = None, True
        if self._sends_body:
            data += self._framed(body, more)
        if is_whole and len(data) <= AT_ONCE_BYTES_MAX:
            data = data[self._stream.send_at_once(data) :]
        if data:
            await self._write(data)
        self.has_ended = not more

    def _begin(self, answer: Message) -> bytes:
        """Return the head of the answer, having decided how its body is framed.

        Raises `ValueError` for a header that cannot be written: a line break in it, say, is a bug of its handler.
        """
        self.skip_received()
        if not self._body.complete or self._finishing.is_set():
            self._keeps_alive = False  # the client is told, for its next request would find the connection closed
        status, headers = answer["status"], answer["headers"]
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        lines += [b"%s: %s\r\n" % header for header in headers]
        length = next((value for name, value in headers if name.lower() == b"content-length"), None)
        if status in _BODILESS:
            self._sends_body = False
        elif length is not None:
            self._left = int(length)
        elif self._head.http_version == b"1.1":
            self._is_chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self._keeps_alive = False
        if not self._keeps_alive and status != _SWITCHING:
            lines.append(b"connection: close\r\n")
        lines.append(b"date: %s\r\n\r\n" % date_header(int(time.time())))
        data = b"".join(lines)
        count = len(lines) + 1
        if not data.count(b"\r\n") == data.count(b"\r") == data.count(b"\n") == count or b"\x00" in data:
            raise ValueError("a header of the answer has a line break in it")
        return data

    def _framed(self, body: bytes, more: bool) -> bytes:
        """Return a piece of the body as it is sent; raises `ValueError` where it is not as long as was said."""
        if self._is_chunked:
            piece = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            return piece if more else piece + b"0\r\n\r\n"
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise ValueError("the body of an answer is not as long as its head says")
        return body

    async def _write(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except _LOST as e:
            raise ConnectionResetError("the client is gone") from e


_date: tuple[int, bytes] = (0, b"")


def date_header(seconds: int) -> bytes:
    """Return the value of the Date header; made once a second."""
    global _date
    if _date[0] != seconds:
        _date = (seconds, format_date_time(seconds).encode())
    return _date[1]
