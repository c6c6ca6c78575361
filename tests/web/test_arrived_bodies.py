"""Small requests: bodies that come with their heads, and sockets that are read when there is something."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tinyobs.abc import Route
from tinyobs.web.application import Application
from tinyobs.web.connection import BoundedStream
from tinyobs.web.http1 import Http1Connection
from tinyobs.web.inbox import take_body
from tinyobs.web.options import ServerOptions, WebOptions
from tinyobs.web.pace import Pace

BODY_BYTES_MAX = 100
SCOPE: dict[str, Any] = {"type": "http", "scheme": "http", "root_path": "", "client": ("127.0.0.1", 1), "state": {}}


class Scripted:
    """A stream that gives pieces, one for each time it is asked, and then ends."""

    def __init__(self, *pieces: bytes) -> None:
        self.left, self.sent = list(pieces), b""

    async def receive_some(self, bytes_max: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.left.pop(0) if self.left else b""

    def send_at_once(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    async def send_all(self, data: bytes) -> None:
        self.sent += data

    async def wait_turn(self) -> None:
        await trio.lowlevel.checkpoint()

    async def discard(self) -> int:
        return len(await self.receive_some(1))


async def answers(*pieces: bytes) -> tuple[list[tuple[int, bytes]], Application]:
    """Return status and body of each answer to what comes in pieces; a body tells what was counted for it."""

    async def echo(request: Request) -> Response:
        body = await take_body(request)
        assert (await request.receive())["type"] == "http.disconnect" if body == b"bye" else True
        return PlainTextResponse(b"%s %d" % (body, app.bodies.bytes))

    app = Application([Route("/x", echo, ("POST",), whole_body=True)], WebOptions(body_bytes_max=BODY_BYTES_MAX))
    stream = Scripted(*pieces)
    await Http1Connection(app, ServerOptions(), stream, SCOPE).run()
    found = []
    for answer in stream.sent.split(b"HTTP/1.1 ")[1:]:
        head, _, body = answer.partition(b"\r\n\r\n")
        found.append((int(head[:3]), body))
    return found, app


def request(body: bytes, more: bytes = b"") -> bytes:
    """Return a whole request."""
    return b"POST /x HTTP/1.1\r\nhost: t\r\n%scontent-length: %d\r\n\r\n%s" % (more, len(body), body)


CHUNKED = b"POST /x HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.parametrize("at", [1, 60, len(request(b"")), len(request(b"")) + 1, len(request(b"hello"))])
async def test_a_body_is_the_same_however_it_comes(at: int) -> None:
    """With its head or after it, whole or not; counted while it is held, and no longer."""
    whole = request(b"hello")
    found, app = await answers(*filter(None, (whole[:at], whole[at:])))
    assert found == [(200, b"hello 5")]
    assert app.bodies.bytes == 0


async def test_what_follows_a_body_is_the_next_request() -> None:
    """Requests that come together are answered one after the other, those without a body or in chunks as well."""
    found, _ = await answers(request(b"one") + CHUNKED + request(b"") + request(b"two"))
    assert found == [(200, b"one 3"), (200, b"abc 3"), (200, b" 0"), (200, b"two 3")]


async def test_a_body_that_was_sent_without_waiting_for_100() -> None:
    """There is one answer, and no 100 before it."""
    found, _ = await answers(request(b"hello", b"expect: 100-continue\r\n"))
    assert found == [(200, b"hello 5")]


async def test_after_the_body_comes_the_end() -> None:
    """Whoever asks again hears that the client is gone."""
    found, _ = await answers(request(b"bye"))
    assert found == [(200, b"bye 3")]


@pytest.mark.parametrize(("size", "status"), [(BODY_BYTES_MAX, 200), (BODY_BYTES_MAX + 1, 413)], ids=["most", "more"])
async def test_a_body_that_has_come_may_be_too_large(size: int, status: int) -> None:
    """The limit holds for it as for one that is still to come."""
    [(found, _)], app = await answers(request(bytes(size)))
    assert found == status
    assert app.bodies.bytes == 0


Pair = tuple[socket.socket, BoundedStream, trio.SocketStream]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A client's socket and the server's stream."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(server))
    with client:
        yield client, BoundedStream(stream, 1.0, Pace()), stream
        stream.socket.close()


async def test_a_socket_is_read_when_there_is_something(pair: Pair) -> None:
    """What was there before, what comes later, and the end."""
    client, bounded, _ = pair
    client.sendall(b"one")
    assert await bounded.receive_some(2) == b"on"
    assert await bounded.receive_some(2) == b"e"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, bounded.receive_some, b"two")
        await trio.testing.wait_all_tasks_blocked()
        client.sendall(b"two")
    client.close()
    assert await bounded.receive_some(10) == b""


async def expect(receive_some: Callable[[int], Awaitable[bytes]], data: bytes) -> None:
    """Receive what is expected."""
    assert await receive_some(10) == data


async def test_a_connection_that_breaks_is_broken(pair: Pair) -> None:
    """As for trio's own streams."""
    client, bounded, _ = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with pytest.raises(trio.BrokenResourceError):
        await bounded.receive_some(10)


async def test_a_connection_that_is_closed_here_is_closed(pair: Pair) -> None:
    """While somebody waits for it, and from then on."""
    _, bounded, stream = pair
    with pytest.RaisesGroup(trio.ClosedResourceError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bounded.receive_some, 10)
            await trio.testing.wait_all_tasks_blocked()
            stream.socket.close()
    with pytest.raises(trio.ClosedResourceError):
        await bounded.receive_some(10)
