"""Peers for tests of the HTTP client, on loopback: servers whose answers a test computes, proxies, raw sockets."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from urllib.parse import parse_qs

import h11
import trio
from attrs import define, field, frozen

from tinyobs.config.http_client import HttpClientConfig
from tinyobs.http_client import Client


@frozen
class Asked:
    """A request as it came; names of headers in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


Reply = tuple[int, Sequence[tuple[str, str]], bytes]
Respond = Callable[[Asked], Reply | Awaitable[Reply]]


@define
class Peer:
    """A server; `connections` counts those that were opened."""

    port: int = 0
    connections: int = 0
    asked: list[Asked] = field(factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


Handle = Callable[[trio.abc.Stream], Awaitable[object]]


@asynccontextmanager
async def listening(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Serve each connection with `handle` while the context is open."""
    peer = Peer()

    async def counted(stream: trio.abc.Stream) -> None:
        peer.connections += 1
        try:
            await handle(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        peer.port = listener.socket.getsockname()[1]
        served = trio.SSLListener(listener, tls, https_compatible=True) if tls else listener
        nursery.start_soon(trio.serve_listeners, counted, [served])
        yield peer
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Serve HTTP/1.1 with the answers that `respond` returns."""
    asked: list[Asked] = []

    async def handle(stream: trio.abc.Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        while (request := await next_request(connection, stream)) is not None:
            asked.append(request)
            reply = respond(request)
            status, headers, body = reply if isinstance(reply, tuple) else await reply
            fields = [*headers, ("Content-Length", str(len(body)))]
            out = connection.send(h11.Response(status_code=status, headers=fields)) or b""
            out += connection.send(h11.Data(data=body)) or b""
            await stream.send_all(out + (connection.send(h11.EndOfMessage()) or b""))
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()

    async with listening(handle, tls) as peer:
        peer.asked = asked
        yield peer


async def next_request(connection: h11.Connection, stream: trio.abc.Stream) -> Asked | None:
    """Return the next request of a connection, None when there is no more."""
    head, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Asked(head.method.decode(), head.target.decode(), headers, body)
        else:
            return None


def saying(*answers: bytes) -> Handle:
    """Return a handler that answers each request of a connection with the next of these bytes, then closes it."""

    async def handle(stream: trio.abc.Stream) -> None:
        for answer in answers:
            if not await stream.receive_some(65536):
                return
            await stream.send_all(answer)

    return handle


@asynccontextmanager
async def proxying(refusal: str = "", tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Serve an HTTP proxy: CONNECT and whole URLs.  refusal: the status line that CONNECT gets, else none."""
    asked: list[Asked] = []

    async def handle(stream: trio.abc.Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        request = await next_request(connection, stream)
        assert request is not None
        asked.append(request)
        if request.method != "CONNECT":
            body = f"forwarded {request.target}".encode()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await stream.receive_some(1)
        elif refusal:
            await stream.send_all(f"HTTP/1.1 {refusal}\r\nContent-Length: 3\r\n\r\nno!".encode())
        else:
            await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            host, _, port = request.target.rpartition(":")
            await tunnel(stream, await trio.open_tcp_stream(host.strip("[]"), int(port)))

    async with listening(handle, tls) as peer:
        peer.asked = asked
        yield peer


async def tunnel(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    """Pass bytes on in both directions until one ends."""

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        while piece := await source.receive_some(65536):
            await sink.send_all(piece)
        nursery.cancel_scope.cancel()

    async with other, trio.open_nursery() as nursery:
        nursery.start_soon(copy, one, other)
        nursery.start_soon(copy, other, one)


async def get(client: Client, url: str, method: str = "GET", **more: object) -> tuple[int, bytes]:
    """Return (status, body) of a request."""
    async with client.stream(method, url, **more) as answer, aclosing(answer.pieces()) as pieces:  # type: ignore[arg-type]
        return answer.status, b"".join([piece async for piece in pieces])


@asynccontextmanager
async def client_of(config: HttpClientConfig | None = None, **more: object) -> AsyncIterator[Client]:
    """Make a client, and close it."""
    client = Client(config, **more)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.aclose()


def as_json(value: object, status: int = 200) -> Reply:
    """Return an answer of JSON."""
    return status, [("Content-Type", "application/json")], json.dumps(value).encode()
