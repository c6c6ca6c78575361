"""WebSockets on a virtual clock, over streams in memory: deadlines, slow clients, and frames of all kinds."""

from __future__ import annotations

import random
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

from tinyobs.web.upgrade import Upgraded
from tinyobs.web.websocket import CLOSE_SECONDS, READ_SECONDS, WAITING_MAX, WRITE_SECONDS, WebSocket

SCOPE = {"type": "http", "path": "/ws", "headers": [], "query_string": b"", "method": "GET"}


async def echo(socket):
    """Send everything back."""
    while True:
        await socket.send_text(str(await socket.receive()))


async def forever(socket):
    """Do nothing."""
    await trio.sleep_forever()


def pair(received=b""):
    """Return the client's stream and the socket of the server."""
    client, server = trio.testing.memory_stream_pair()
    return client, WebSocket(Request(dict(SCOPE)), Upgraded(server, received, trio.Event()), 1000)


async def run(socket, handler):
    """Serve a socket to its end; return how long that took."""
    begun = trio.current_time()
    await socket.serve(handler, trio.Event())
    return trio.current_time() - begun


async def test_a_silent_client_is_given_up(autojump_clock):
    """Pings that nobody answers come every 30 s, and the end after 60."""
    client, socket = pair()
    assert await run(socket, forever) == READ_SECONDS
    data = await client.receive_some()
    assert data.startswith(b"\x89\x00")


async def test_pings_keep_a_socket_open(autojump_clock):
    """A client that answers them stays for as long as it likes."""
    client, socket = pair()
    protocol = Connection(ConnectionType.CLIENT)
    pings = 0

    async def answer():
        nonlocal pings
        while pings < 10:
            protocol.receive_data(await client.receive_some())
            for event in protocol.events():
                assert isinstance(event, Ping)
                pings += 1
                await client.send_all(protocol.send(event.response()))
        await client.send_all(protocol.send(CloseConnection(1000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        assert await run(socket, forever) == 300


async def test_a_client_that_takes_nothing_is_cut(autojump_clock):
    """A message may take 10 s to go out; the handler is cancelled then."""
    _, socket = pair()

    async def stuck(data):
        await trio.sleep_forever()

    socket._stream = type("Stuck", (), {"send_all": staticmethod(stuck), "receive_some": socket._stream.receive_some})
    assert await run(socket, lambda s: s.send_text("x")) == WRITE_SECONDS


async def test_a_close_that_nobody_answers(autojump_clock):
    """The server waits for a while and goes."""
    client, socket = pair()

    async def at_once(socket):
        pass

    assert await run(socket, at_once) == CLOSE_SECONDS
    assert (await client.receive_some()).startswith(b"\x88\x02\x03\xe8")


async def test_a_handler_that_reads_nothing_stops_its_client(autojump_clock):
    """No more is read than waits, and the close behind it is not seen until it is; then the handler has its time."""
    client, socket = pair()
    protocol = Connection(ConnectionType.CLIENT)
    for i in range(WAITING_MAX + 10):
        await client.send_all(protocol.send(TextMessage(str(i))))
    await client.send_all(protocol.send(CloseConnection(1000)))
    got = []

    async def late(socket):
        await trio.sleep(1000)
        while True:
            got.append(await socket.receive())

    assert await run(socket, late) == 1000
    assert got == [str(i) for i in range(WAITING_MAX + 10)]


async def test_a_message_cut_short_is_not_followed_by_another(autojump_clock):
    """When a handler is cancelled while it sends, nothing may follow: it would be read as part of the message."""
    _, socket = pair()
    sent = []

    async def slow(data):
        sent.append(bytes(data))
        await trio.sleep(5)

    socket._stream = type("Slow", (), {"send_all": staticmethod(slow), "receive_some": socket._stream.receive_some})

    async def handler(socket):
        with trio.move_on_after(1):
            await socket.send_text("x")
        with pytest.raises(ConnectionError):
            await socket.send_text("y")

    await run(socket, handler)
    assert sent == [b"\x81\x01x"]


async def test_what_came_with_the_handshake_is_read(autojump_clock):
    """A client need not wait for the answer."""
    frame = bytes(Connection(ConnectionType.CLIENT).send(TextMessage("early")))
    client, socket = pair(frame)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, socket, echo)
        assert await client.receive_some() == b"\x81\x05early"
        await client.aclose()


def frames(draw_bytes):
    """Return bytes that look like frames, more or less."""
    rng = random.Random(draw_bytes)
    out = bytearray()
    for _ in range(rng.randint(1, 12)):
        size = rng.choice([0, 1, 5, 125, 126, 300, 1001])
        body = rng.randbytes(size) if rng.random() < 0.5 else b"a" * size
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        out += (
            bytes([rng.choice([0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A, 0x0A, 0xF1])]) + length + bytes(4) + body
        )
    for _ in range(rng.randint(0, 3)):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


async def feed(data):
    """Let a socket read some bytes to their end."""
    client, socket = pair()

    async def drain():
        while await client.receive_some():
            pass

    async def send():
        await client.send_all(data)
        await client.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        nursery.start_soon(send)
        await run(socket, echo)
        nursery.cancel_scope.cancel()


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.integers(0, 1 << 30).map(lambda n: frames(n))))
def test_any_bytes_end_in_order(data):
    """No bytes make the server fail, whatever it thinks of them."""
    trio.run(partial(feed, data), clock=trio.testing.MockClock(autojump_threshold=0))
