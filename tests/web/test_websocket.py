"""WebSockets over real sockets, as the client of another library sees them."""

from __future__ import annotations

import functools

import pytest
import trio
from starlette.responses import PlainTextResponse
from test_server import connect, read_until_end, running, serve
from websocket_client import open_socket

from tinyobs.abc import Route
from tinyobs.testing.agents import until
from tinyobs.web.application import Application
from tinyobs.web.options import ServerOptions, WebOptions
from tinyobs.web.server import Server
from tinyobs.web.services import Readiness

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nhost: t\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def echo(socket):
    """Send everything back."""
    while True:
        message = await socket.receive()
        await (socket.send_text if isinstance(message, str) else socket.send_bytes)(message)


def make_server(handler=echo, web=None, readiness=None):
    """Return a server of one WebSocket route."""
    app = Application([Route("/ws", handler, ("WEBSOCKET",))], web or WebOptions(), readiness)
    return Server(app, ["127.0.0.1:0"], ServerOptions()), app


async def ask(request, web=None, readiness=None):
    """Return what the server answers to some bytes."""
    server, _ = make_server(web=web, readiness=readiness)
    async with running(server) as [url]:
        stream = await connect(url)
        await stream.send_all(request)
        await stream.send_eof()
        return await read_until_end(stream)


async def test_messages_go_both_ways():
    """Text stays text, bytes stay bytes, whatever their size; a close is answered."""
    server, app = make_server()
    async with running(server) as [url], open_socket(url + "/ws") as client:
        for message in ("", "häl\u0000lo", b"\x00\xff", "x" * 70_000, b"y" * 200_000):
            await client.send(message)
            assert await client.receive() == message
        assert app.sockets.statistics().open == 1
        assert await client.close() == 1000
        await until(lambda: not app.sockets.statistics().open)
        assert app.sockets.statistics().opened_total == 1
        assert app.statistics.count("/ws", 101) == 1


async def test_messages_in_fragments_with_a_ping_between():
    """They are put together; the ping is answered meanwhile."""
    server, _ = make_server()
    async with running(server) as [url], open_socket(url + "/ws") as client:
        client.protocol.send_text("häl".encode()[:2], fin=False)
        client.protocol.send_ping(b"between")
        client.protocol.send_continuation("häl".encode()[2:] + b"lo", fin=True)
        await client.flush()
        assert await client.receive() == "hällo"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x02hi", 1002),  # no mask
        (b"\x83\x80\0\0\0\0", 1002),  # no such opcode
        (b"\x80\x80\0\0\0\0", 1002),  # goes on with nothing
        (b"\xc1\x80\0\0\0\0", 1002),  # a bit that was not agreed on
        (b"\x09\x80\0\0\0\0", 1002),  # a ping in fragments
        (b"\x89\xfe\0\x7e\0\0\0\0", 1002),  # a long ping
        (b"\x81\x82\0\0\0\0\xff\xff", 1007),  # no UTF-8
        (b"\x88\x81\0\0\0\0\x03", 1002),  # half a code
    ],
)
async def test_what_no_client_may_send(frame, code):
    """The socket is closed with the code that says why."""
    server, _ = make_server()
    async with running(server) as [url], open_socket(url + "/ws") as client:
        await client.stream.send_all(frame)
        assert await client.receive() == code


@pytest.mark.parametrize("split", [1, 3])
async def test_a_message_that_is_too_large(split):
    """In one frame or in several: 1009, and no more of it is kept."""
    server, _ = make_server(web=WebOptions(websocket_message_bytes_max=100))
    async with running(server) as [url], open_socket(url + "/ws") as client:
        await client.send("x" * 100)
        assert await client.receive() == "x" * 100
        for i in range(split):
            send = client.protocol.send_continuation if i else client.protocol.send_text
            send(b"x" * (102 // split), fin=i == split - 1)
        await client.flush()
        assert await client.receive() == 1009


async def test_empty_fragments_take_no_memory():
    """However many there are."""
    server, _ = make_server()
    async with running(server) as [url], open_socket(url + "/ws") as client:
        await client.stream.send_all(b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 1000 + b"\x80\x81\0\0\0\0x")
        assert await client.receive() == "x"


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        (b"", 101),
        (b"origin: http://t\r\n", 101),
        (b"origin: HTTPS://T\r\n", 101),
        (b"origin: https://public.example\r\n", 101),
        (b"origin: http://evil.example\r\n", 403),
        (b"origin: null\r\n", 403),
        (b"content-length: 2\r\n", 501),
    ],
)
async def test_who_may_open_one(extra, status):
    """Programs, and pages of the server itself; not those of other sites."""
    answer = await ask(HANDSHAKE + extra + b"\r\n", WebOptions(external_url="https://public.example/x"))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer) == (status == 101)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"version: 13", b"version: 8", 426),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ=", 400),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"?", 400),
        (b"upgrade: websocket\r\n", b"", 426),
        (b"/ws", b"/other", 404),
        (b"GET", b"POST", 405),
        (b"HTTP/1.1", b"HTTP/1.0", 501),
    ],
)
async def test_handshakes_that_are_none(old, new, status):
    """Each is answered as HTTP."""
    answer = await ask(HANDSHAKE.replace(old, new) + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


async def test_a_message_right_behind_the_handshake():
    """It is read, though it came with the bytes of the request."""
    answer = await ask(HANDSHAKE + b"\r\n" + b"\x81\x85\0\0\0\0early")
    assert answer.endswith(b"\r\n\r\n\x81\x05early")


async def test_users_readiness_and_the_limit():
    """What holds for other requests holds for these."""
    users = WebOptions(users={"a": "$2b$04$" + "x" * 53})
    assert (await ask(HANDSHAKE + b"\r\n", users)).startswith(b"HTTP/1.1 401 ")
    assert (await ask(HANDSHAKE + b"\r\n", readiness=lambda: Readiness(False))).startswith(b"HTTP/1.1 503 ")
    server, app = make_server(web=WebOptions(websockets_max=1, headers=(("x-own", "1"),)))
    async with running(server) as [url], open_socket(url + "/ws") as client:
        assert client.protocol.handshake_exc is None
        stream = await connect(url)
        await stream.send_all(HANDSHAKE + b"\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")
        await stream.aclose()
        assert app.sockets.statistics().refused_total == 1


async def test_routes_without_websockets_take_no_notice():
    """Who asks for an upgrade there gets what others get; a route may serve both."""

    async def page(request):
        return PlainTextResponse("page")

    routes = [Route("/x", page), Route("/both", page), Route("/both", echo, ("WEBSOCKET",))]
    async with running(Server(Application(routes, WebOptions()), ["127.0.0.1:0"], ServerOptions())) as [url]:
        for request in (HANDSHAKE.replace(b"/ws", b"/x"), b"GET /both HTTP/1.1\r\nhost: t\r\n"):
            stream = await connect(url)
            await stream.send_all(request + b"\r\n")
            await stream.send_eof()
            assert (await read_until_end(stream)).endswith(b"page")
        async with open_socket(url + "/both") as client:
            await client.send("x")
            assert await client.receive() == "x"


async def test_the_end_of_a_handler_closes():
    """1000 when it returns, 1011 when it fails, and what it says itself."""

    async def handler(socket):
        word = await socket.receive()
        if word == "fail":
            raise RuntimeError("no")
        if word == "own":
            await socket.close(4000, "enough")
            with pytest.raises(ConnectionError):
                await socket.send_text("more")

    server, _ = make_server(handler)
    async with running(server) as [url]:
        for word, code in (("return", 1000), ("fail", 1011), ("own", 4000)):
            async with open_socket(url + "/ws") as client:
                await client.send(word)
                assert await client.receive() == code


async def test_a_handler_gets_all_that_came_before_the_close():
    """Then it is cancelled, where it waits for more."""
    got = []
    ended = trio.Event()

    async def handler(socket):
        try:
            while True:
                got.append(await socket.receive())
                await trio.sleep(0.01)
        finally:
            ended.set()

    server, _ = make_server(handler)
    async with running(server) as [url], open_socket(url + "/ws") as client:
        for i in range(5):
            client.protocol.send_text(b"%d" % i)
        client.protocol.send_close(1000)
        await client.flush()
        await ended.wait()
        assert got == ["0", "1", "2", "3", "4"]


async def test_a_handler_that_only_sends_is_cancelled_with_its_client():
    """A client that vanishes without a word is noticed as well."""
    ended = trio.Event()

    async def handler(socket):
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    server, _ = make_server(handler)
    async with running(server) as [url]:
        async with open_socket(url + "/ws"):
            pass
        await ended.wait()


async def test_a_server_that_stops_says_so():
    """1001, and the connection ends within the time to drain."""
    server, _ = make_server()
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(functools.partial(serve, server))
            async with open_socket(url + "/ws") as client:
                await client.send("x")
                assert await client.receive() == "x"
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    assert await client.receive() == 1001
                    assert await client.receive() is None


async def test_many_at_once():
    """Each gets its own messages."""
    server, app = make_server()
    async with running(server) as [url]:

        async def talk(i):
            async with open_socket(url + "/ws") as client:
                for k in range(20):
                    await client.send(f"{i} {k}")
                    assert await client.receive() == f"{i} {k}"
                await client.close()

        async with trio.open_nursery() as nursery:
            for i in range(30):
                nursery.start_soon(talk, i)
    assert app.sockets.statistics().opened_total == 30
