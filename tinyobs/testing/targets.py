"""A fake scrape target: a small HTTP/1.1 server on loopback whose answers a test sets."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import h11
import trio
from attrs import define, field

TEXT: Final = "text/plain; version=0.0.4"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@define
class FakeTarget:
    """What it answers, and what it was asked."""

    body: bytes = b"up_to_you 1\n"
    content_type: str = TEXT
    status: int = 200
    compress: bool = False
    """Send the body gzip-compressed."""
    delay_seconds: float = 0.0
    """How long it waits before it answers."""
    location: str = ""
    """Where a redirect leads."""
    encoding: str = ""
    """A content encoding that is claimed without being applied."""
    requests: list[dict[str, str]] = field(factory=list)
    """The headers of each request, names in lower case, with `:path`."""
    port: int = 0

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def fake_target(
    target: FakeTarget | None = None, tls: ssl.SSLContext | None = None, unix_socket: str = ""
) -> AsyncIterator[FakeTarget]:
    """Serve a target on a free loopback port while the context is open; over TLS where a context is given.

    unix_socket: the path of a new socket to serve on instead.
    """
    target = target or FakeTarget()
    async with trio.open_nursery() as nursery:
        if unix_socket:
            listeners = [await _listen_at(unix_socket)]
        else:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            target.port = listeners[0].socket.getsockname()[1]
        serve: list[Any] = (
            [trio.SSLListener(one, tls, https_compatible=True) for one in listeners] if tls else listeners
        )
        nursery.start_soon(trio.serve_listeners, _handler(target), serve)
        yield target
        nursery.cancel_scope.cancel()


async def _listen_at(unix_socket: str) -> trio.SocketListener:
    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listening.bind(unix_socket)
    listening.listen()
    return trio.SocketListener(listening)


def _handler(target: FakeTarget) -> Callable[[Any], Awaitable[object]]:
    async def handle(stream: trio.abc.Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                try:
                    event = connection.next_event()
                except h11.RemoteProtocolError:  # not HTTP, the beginning of TLS for one
                    return
                if event is h11.NEED_DATA:
                    try:
                        connection.receive_data(bytes(await stream.receive_some(65536)))
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        return
                elif isinstance(event, h11.Request):
                    headers = {name.decode().lower(): value.decode() for name, value in event.headers}
                    target.requests.append({**headers, ":path": event.target.decode()})
                elif isinstance(event, h11.EndOfMessage):
                    await trio.sleep(target.delay_seconds)
                    await stream.send_all(_answer(connection, target))
                    if connection.our_state is h11.MUST_CLOSE:
                        return
                    connection.start_next_cycle()
                elif not isinstance(event, h11.Data):  # what a request brings along is passed over
                    return

    return handle


def _answer(connection: h11.Connection, target: FakeTarget) -> bytes:
    body = gzip.compress(target.body) if target.compress else target.body
    headers = [("Content-Type", target.content_type), ("Content-Length", str(len(body)))]
    if target.compress:
        headers.append(("Content-Encoding", "gzip"))
    if target.encoding:
        headers.append(("Content-Encoding", target.encoding))
    if target.location:
        headers.append(("Location", target.location))
    out = connection.send(h11.Response(status_code=target.status, headers=headers)) or b""
    out += connection.send(h11.Data(data=body)) or b""
    return out + (connection.send(h11.EndOfMessage()) or b"")
