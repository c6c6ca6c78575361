"""A small HTTP/1.1 server on loopback, or on a Unix socket, whose answers a function gives: for fakes of APIs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import h11
import trio
from attrs import define, field


@define
class Request:
    """What was asked."""

    method: str
    path: str
    """Decoded, without the query."""
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""

    def parameter(self, name: str) -> str:
        """Return the first value of a parameter, "" when it is missing."""
        return self.query.get(name, [""])[0]


@define
class Reply:
    """What is answered; a body that is not bytes is written as JSON."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str = "application/json"

    @property
    def data(self) -> bytes:
        """The body as it is sent."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Handle = Callable[[Request], Awaitable[Reply]]


@asynccontextmanager
async def serving(handle: Handle, unix_socket: str = "", port: int = 0) -> AsyncIterator[str]:
    """Serve while the context is open; yield the address: `host:port`, or `unix://path`."""
    async with trio.open_nursery() as nursery:
        if unix_socket:
            listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
            await listening.bind(unix_socket)
            listening.listen()
            listeners, address = [trio.SocketListener(listening)], f"unix://{unix_socket}"
        else:
            listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
            address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, lambda stream: _converse(stream, handle), listeners)
        yield address
        nursery.cancel_scope.cancel()


async def _converse(stream: trio.abc.Stream, handle: Handle) -> None:
    connection = h11.Connection(h11.SERVER)
    asked: Any = None
    body = b""
    async with stream:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                try:
                    connection.receive_data(bytes(await stream.receive_some(65536)))
                except trio.BrokenResourceError:
                    return
            elif isinstance(event, h11.Request):
                asked, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                try:
                    await stream.send_all(_answer(connection, asked, await handle(_request(asked, body))))
                except trio.BrokenResourceError:
                    return
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
            else:
                return


def _request(event: Any, body: bytes) -> Request:
    parts = urlsplit(event.target.decode())
    headers = {name.decode().lower(): value.decode() for name, value in event.headers}
    query = parse_qs(parts.query, keep_blank_values=True)
    return Request(event.method.decode(), unquote(parts.path), query, headers, body)


def _answer(connection: h11.Connection, asked: Any, reply: Reply) -> bytes:
    data = reply.data
    headers = [("Content-Type", reply.content_type), ("Content-Length", str(len(data))), *reply.headers.items()]
    sent = connection.send(h11.Response(status_code=reply.status, headers=headers)) or b""
    if asked.method != b"HEAD":
        sent += connection.send(h11.Data(data=data)) or b""
    return sent + (connection.send(h11.EndOfMessage()) or b"")
