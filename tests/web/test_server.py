"""The listener over real sockets: what we rely on from Hypercorn, and what we add."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tinyobs.abc import Route
from tinyobs.errors import UsageError
from tinyobs.runtime.listeners import server_options
from tinyobs.runtime.settings import AgentSettings
from tinyobs.web.application import Application
from tinyobs.web.listener import Address, parse_address
from tinyobs.web.options import ServerOptions, WebOptions
from tinyobs.web.pieces import PiecesResponse
from tinyobs.web.server import Server

GET = b"GET /x HTTP/1.1\r\nhost: t\r\n\r\n"
Handler = Callable[[Request], Any]


async def hello(request: Request) -> Response:
    """Answer a word."""
    return PlainTextResponse("hello")


def endless() -> Generator[bytes]:
    """Yield a body without end."""
    while True:
        yield bytes(1 << 20)


def make_server(
    handler: Handler = hello, options: ServerOptions | None = None, web: WebOptions | None = None, **more: Any
) -> Server:
    """Return a server of one route on a free port."""
    app = Application([Route("/x", handler, ("GET", "HEAD", "POST"))], web or WebOptions())
    return Server(app, more.pop("addresses", ["127.0.0.1:0"]), options or ServerOptions(), **more)


@contextlib.asynccontextmanager
async def running(server: Server) -> AsyncIterator[list[str]]:
    """Run a server around a block; gives its URLs."""
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            yield await nursery.start(functools.partial(serve, server))
            nursery.cancel_scope.cancel()


async def serve(server: Server, *, task_status: Any) -> None:
    """Serve, in the form that a nursery starts."""
    await server.serve(task_status=task_status)


async def connect(url: str) -> trio.SocketStream:
    """Return a connection to a URL."""
    return await trio.open_tcp_stream("127.0.0.1", int(url.rsplit(":", 1)[1]))


async def read_until_end(stream: trio.abc.ReceiveStream) -> bytes:
    """Return everything up to the end of a connection, and close our side."""
    data = b""
    with contextlib.suppress(trio.BrokenResourceError):
        async for piece in stream:
            data += piece
    await trio.aclose_forcefully(stream)
    return data


async def read_answer(stream: trio.SocketStream, ending: bytes = b"hello") -> bytes:
    """Return what comes up to an ending."""
    data = b""
    while not data.endswith(ending):
        piece = await stream.receive_some()
        assert piece, data
        data += piece
    return data


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9090", Address("127.0.0.1", 9090)),
        (":9090", Address("", 9090)),
        ("[::1]:80", Address("::1", 80)),
        ("localhost:0", Address("localhost", 0)),
        ("unix:/run/x.sock", Address(path="/run/x.sock")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """Host and port, any interface, IPv6 in brackets, a path."""
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "9090", "host", "host:", "host:x", "host:65536", "::1:80", "unix:"])
def test_broken_addresses(text: str) -> None:
    """The message quotes the address."""
    with pytest.raises(UsageError, match="listen address"):
        parse_address(text)


async def test_several_addresses_are_served_and_reported(tmp_path: Path) -> None:
    """IPv4, IPv6 and a Unix socket answer; the reported port is the one that was taken."""
    path = str(tmp_path / "s.sock")
    server = make_server(addresses=["127.0.0.1:0", "[::1]:0", f"unix:{path}"])
    async with running(server) as urls:
        assert urls[0].startswith("http://127.0.0.1:")
        assert urls[1].startswith("http://[::1]:")
        assert urls[2] == f"unix:{path}"
        async with httpx.AsyncClient() as client:
            for url in urls[:2]:
                assert (await client.get(url + "/x")).text == "hello"
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path)) as client:
            assert (await client.get("http://t/x")).text == "hello"
    assert not os.path.exists(path)  # noqa: ASYNC240 - in memory


async def test_an_address_in_use_is_a_clear_error() -> None:
    """The message names the address and the reason; nothing else stays open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"cannot listen on {text}: the address is already in use"):
            await make_server(addresses=["127.0.0.1:0", text]).serve()


async def test_a_dead_unix_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    """What a crashed process left does not stop the start."""
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    async with running(make_server(addresses=[f"unix:{path}"])):
        with pytest.raises(UsageError, match="already in use"):
            await make_server(addresses=[f"unix:{path}"]).serve()


async def test_a_connection_is_kept_for_more_requests() -> None:
    """Two requests one after the other, two at once, on one connection."""
    server = make_server()
    async with running(server) as [url]:
        stream = await connect(url)
        await stream.send_all(GET)
        await read_answer(stream)
        await stream.send_all(GET + GET)
        first = await read_answer(stream)
        if first.count(b"hello") < 2:
            await read_answer(stream)
        assert server.statistics().connections == 1
        assert server.statistics().connections_accepted_total == 1
        await stream.aclose()


async def test_an_idle_connection_is_closed() -> None:
    """Also one that has sent half a head."""
    async with running(make_server(options=ServerOptions(keep_alive_seconds=0.05))) as [url]:
        for sent in (b"", b"GET /x HT", GET):
            stream = await connect(url)
            await stream.send_all(sent)
            await read_until_end(stream)


@pytest.mark.parametrize("seconds", [0.0, 5.0], ids=["none", "some"])
async def test_no_limit_for_idle_connections(seconds: float) -> None:
    """Zero seconds of the flag are no limit, and nothing is looked at again and again because of it."""
    options = server_options(AgentSettings(read_seconds=seconds), None)
    assert options.keep_alive_seconds == (seconds or math.inf)
    async with running(make_server(options=options)) as [url]:
        stream = await connect(url)
        await stream.send_all(GET)
        await read_answer(stream)
        await trio.testing.wait_all_tasks_blocked()  # which would wait for ever for a task that looks again at once
        await stream.send_all(GET)
        await read_answer(stream)
        await stream.aclose()


async def test_connections_above_the_limit_wait() -> None:
    """The next connection is served when one has gone."""
    async with running(make_server(options=ServerOptions(connections_max=1))) as [url]:
        first, second = await connect(url), await connect(url)
        await second.send_all(GET)
        await first.send_all(GET)
        await read_answer(first)
        with trio.move_on_after(0.05) as waiting:
            await second.receive_some()
        assert waiting.cancelled_caught
        await first.aclose()
        await read_answer(second)
        await second.aclose()


async def test_a_quiet_address_takes_no_connection_from_a_busy_one() -> None:
    """With one connection allowed, each of two addresses can have it."""
    server = make_server(options=ServerOptions(connections_max=1), addresses=["127.0.0.1:0", "127.0.0.1:0"])
    async with running(server) as urls:
        for url in (urls[0], urls[0], urls[1], urls[1]):
            stream = await connect(url)
            await stream.send_all(GET)
            await read_answer(stream)
            await stream.aclose()


async def test_a_head_that_is_too_large_is_refused() -> None:
    """A limit in bytes holds for line and headers together."""
    async with running(make_server(options=ServerOptions(head_bytes_max=1000))) as [url]:
        stream = await connect(url)
        await stream.send_all(b"GET /x HTTP/1.1\r\nx: " + b"y" * 5000)
        assert (await read_until_end(stream)).startswith(b"HTTP/1.1 431")


async def test_garbage_is_400_and_does_not_disturb() -> None:
    """What is no HTTP ends its own connection only."""
    async with running(make_server()) as [url]:
        stream = await connect(url)
        await stream.send_all(b"\x00\x01\x02 garbage\r\n\r\n")
        assert (await read_until_end(stream)).startswith(b"HTTP/1.1 400")
        async with httpx.AsyncClient() as client:
            assert (await client.get(url + "/x")).text == "hello"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_refused_early_does_not_hold_the_connection(chunked: bool) -> None:
    """A body far above the limit is answered 413 while it is being sent, and the connection ends."""

    async def handler(request: Request) -> Response:
        await request.body()
        return PlainTextResponse("never")

    server = make_server(handler, web=WebOptions(body_bytes_max=1000))
    async with running(server) as [url]:
        stream = await connect(url)
        head = b"transfer-encoding: chunked" if chunked else b"content-length: 50000000"
        answer = b""

        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(b"POST /x HTTP/1.1\r\nhost: t\r\n" + head + b"\r\n\r\n")
                for _ in range(500):
                    await stream.send_all((b"186a0\r\n" if chunked else b"") + bytes(100_000) + b"\r\n" * chunked)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with contextlib.suppress(trio.BrokenResourceError):
                answer = await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 413")
        await stream.aclose()
        await until(lambda: server.statistics().connections == 0)


async def test_a_client_that_disconnects_cancels_its_handler() -> None:
    """Seen through the whole stack, for a request without a body and one with."""
    begun, cancelled = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        await request.body()
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    async with running(make_server(handler)) as [url]:
        for request in (GET, b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc"):
            begun, cancelled = trio.Event(), trio.Event()
            stream = await connect(url)
            await stream.send_all(request)
            await begun.wait()
            await stream.aclose()
            await cancelled.wait()


async def test_a_client_that_does_not_read_is_cut() -> None:
    """An answer that is not taken in time does not hold the connection for ever."""

    async def handler(request: Request) -> Response:
        return PiecesResponse(endless())

    server = make_server(handler, options=ServerOptions(send_seconds=0.1))
    async with running(server) as [url]:
        stream = await connect(url)
        await stream.send_all(GET)
        await stream.receive_some()
        await until(lambda: server.statistics().connections == 0)
        await stream.aclose()


async def test_stopping_lets_requests_finish() -> None:
    """A request in flight gets its answer, an idle connection is closed, a new one is refused."""
    begun, release = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        begun.set()
        await release.wait()
        return PlainTextResponse("hello")

    server = make_server(handler)
    with trio.fail_after(90):
        async with trio.open_nursery() as outer:
            scope = trio.CancelScope()

            async def run(*, task_status: Any) -> None:
                with scope:
                    await server.serve(task_status=task_status)

            [url] = await outer.start(run)
            busy, idle = await connect(url), await connect(url)
            await busy.send_all(GET)
            await begun.wait()
            scope.cancel()
            assert await read_until_end(idle) == b""
            with pytest.raises(OSError):
                await connect(url)
            release.set()
            assert (await read_until_end(busy)).endswith(b"hello")


@pytest.mark.parametrize("stubborn", [False, True])
async def test_stopping_cuts_what_takes_too_long(stubborn: bool) -> None:
    """After the time to drain the rest ends, be it a waiting handler or a client that does not read."""
    begun = trio.Event()

    async def handler(request: Request) -> Response:
        begun.set()
        if stubborn:
            return PiecesResponse(endless())
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    server = make_server(handler, options=ServerOptions(drain_seconds=0.1))
    async with running(server) as [url]:
        stream = await connect(url)
        await stream.send_all(GET)
        await begun.wait()
    assert server.statistics().connections == 0
    await stream.aclose()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds that another task brings about."""
    while not condition():  # noqa: ASYNC110 - the server has no event for it
        await trio.sleep(0.001)
