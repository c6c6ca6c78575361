"""Many connections at once, large bodies, and a stop in the midst of them."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from test_server import GET, connect, hello, make_server, read_until_end, running

from tinyobs.abc import Route
from tinyobs.web.application import Application
from tinyobs.web.connection import BoundedStream, ConnectionServer
from tinyobs.web.http1 import LINGER_BYTES_MAX, Http1Connection
from tinyobs.web.inbox import take_body
from tinyobs.web.options import MIB, ServerOptions, WebOptions
from tinyobs.web.pace import Pace
from tinyobs.web.server import Server

POST = b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: %d\r\n\r\n"


async def take(request: Request) -> Response:
    """Answer how long the body is."""
    return PlainTextResponse(str(len(await take_body(request))))


def application(whole_body: bool = True, **options: Any) -> Application:
    """An application that takes bodies at /x and greets at /y."""
    routes = [Route("/x", take, ("POST",), whole_body), Route("/y", hello, ("GET",))]
    return Application(routes, WebOptions(**options))


async def test_all_of_many_connections_are_served() -> None:
    """They are accepted several at a time, up to the limit on how many may be open; the others come when there is room."""
    server = make_server(options=ServerOptions(connections_max=50))
    answered = 0

    async def ask(url: str) -> None:
        nonlocal answered
        stream = await connect(url)
        await stream.send_all(GET[:-2] + b"connection: close\r\n\r\n")
        assert (await read_until_end(stream)).endswith(b"hello")
        answered += 1

    async with running(server) as [url], trio.open_nursery() as nursery:
        for _ in range(120):
            nursery.start_soon(ask, url)
    assert answered == server.statistics().connections_accepted_total == 120


async def test_small_requests_do_not_wait_for_large_ones() -> None:
    """One that comes after a hundred that are refused for their size is answered before most of them."""
    app = application(body_bytes_max=MIB)
    async with running(Server(app, ["127.0.0.1:0"], ServerOptions())) as [url]:
        large = [await connect(url) for _ in range(100)]
        small = await connect(url)
        await small.send_all(b"GET /y HTTP/1.1\r\nhost: t\r\n\r\n")
        assert b"hello" in await small.receive_some()  # both ends of all of them are there
        for stream in large:
            os.write(stream.socket.fileno(), POST % (2 * MIB))  # at once: the server has no pass between them
        os.write(small.socket.fileno(), b"GET /y HTTP/1.1\r\nhost: t\r\n\r\n")
        assert b"hello" in await small.receive_some()
        assert app.statistics.count("/x", 413) < 50
        for stream in large:
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 413")
            await trio.aclose_forcefully(stream)
        await trio.aclose_forcefully(small)


async def test_who_looks_for_the_answer_at_the_end_finds_it() -> None:
    """A client that is refused gets rid of what it has to send, up to a bound."""
    size = LINGER_BYTES_MAX - 2 * MIB
    async with running(Server(application(body_bytes_max=MIB), ["127.0.0.1:0"], ServerOptions())) as [url]:
        stream = await connect(url)
        await stream.send_all(POST % size + bytes(size))
        assert (await read_until_end(stream)).startswith(b"HTTP/1.1 413")


async def test_a_large_body_is_read_in_full() -> None:
    """Whatever the pace."""
    async with running(Server(application(), ["127.0.0.1:0"], ServerOptions())) as [url]:
        streams = [await connect(url) for _ in range(8)]

        async def send(stream: trio.SocketStream) -> None:
            await stream.send_all(POST % (3 * MIB) + bytes(3 * MIB))
            assert (await stream.receive_some()).endswith(b"\r\n\r\n%d" % (3 * MIB))
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(send, stream)


@pytest.mark.parametrize("whole_body", [True, False])
@pytest.mark.parametrize("sent", [b"", b"abc"])
async def test_a_stop_does_not_wait_for_bodies(whole_body: bool, sent: bytes) -> None:
    """A body that has not come in full is answered that the daemon stops; what it was counted with is given back."""
    app = application(whole_body)
    server = Server(app, ["127.0.0.1:0"], ServerOptions(drain_seconds=1000))
    async with running(server) as [url]:
        stream = await connect(url)
        await stream.send_all(POST % 1000 + sent)
        while not app.bodies.bytes and not (not whole_body and not sent):
            await trio.lowlevel.checkpoint()
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app_stops, server)
            answer = await read_until_end(stream)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"the daemon is stopping\n")
    assert app.bodies.bytes == 0


async def app_stops(server: Server) -> None:
    """Do what the server does first when it is cancelled."""
    await server._connections.finish()


async def test_a_connection_of_the_last_moment_is_closed() -> None:
    """Nothing is read from it."""
    connections = ConnectionServer(application(), ServerOptions(), None)
    await connections.finish()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with contextlib.closing(listeners[0].socket):
        client = await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1])
        await client.send_all(GET)
        await connections.serve(await listeners[0].accept())
        assert await read_until_end(client) == b""
    assert not connections.open_count


def in_memory(app: Application, **options: Any) -> tuple[Any, Any]:
    """Return a client's end of a connection that needs no network, and the function that serves it."""
    ours, its = trio.testing.lockstep_stream_pair()
    settings = ServerOptions(**options)
    bounded = BoundedStream(its, settings.send_seconds, Pace())
    scope = {"type": "http", "client": ("192.0.2.1", 1), "root_path": "", "scheme": "http"}
    connection = Http1Connection(app, settings, bounded, scope, its.receive_stream.close)
    server = ConnectionServer(app, settings, None)
    server._open[its] = connection

    async def serve() -> None:
        failed: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.watch_idle)
            try:
                await connection.run()
            except trio.BrokenResourceError as e:
                failed = e
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    return ours, serve


async def test_a_head_that_trickles_in_is_cut(autojump_clock: Any) -> None:
    """The time is that of the whole head, however often a byte of it comes."""
    client, serve = in_memory(application(), keep_alive_seconds=60)

    async def trickle() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            for byte in GET * 10:
                await client.send_all(bytes([byte]))
                await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        await serve()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 60


async def test_a_body_that_trickles_in_is_refused(autojump_clock: Any) -> None:
    """The time is that of the whole body; what it was counted with is given back."""
    app = application(body_seconds=30)
    client, serve = in_memory(app)
    answer = b""

    async def trickle() -> None:
        await client.send_all(POST % 100_000)
        while True:
            await client.send_all(b"x" * 10)
            await trio.sleep(1)

    async def read() -> None:
        nonlocal answer
        answer = await client.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        nursery.start_soon(read)
        await serve()
        nursery.cancel_scope.cancel()
    assert answer.startswith(b"HTTP/1.1 408")
    assert 30 <= trio.current_time() <= 33
    assert app.bodies.bytes == 0


async def test_who_does_not_take_its_answer_is_cut(autojump_clock: Any) -> None:
    """After the time for a piece of an answer."""
    client, serve = in_memory(application(), send_seconds=20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"GET /y HTTP/1.1\r\nhost: t\r\n\r\n")
        with contextlib.suppress(trio.BrokenResourceError):
            await serve()
    assert trio.current_time() == 20
