"""HTTP/1.1 as clients of all kinds speak it, byte by byte."""

from __future__ import annotations

import email.utils

import pytest
import structlog
import trio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from test_server import GET, connect, make_server, read_answer, read_until_end, running

from tinyobs.web.http1 import date_header
from tinyobs.web.pieces import PiecesResponse

CLOSE = b"GET /x HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"


async def echo(request: Request) -> Response:
    """Answer the body, or the path when there is none."""
    return PlainTextResponse(await request.body() or request.url.path)


async def ask(*sent: bytes, handler: object = echo, half_close: bool = True) -> bytes:
    """Send pieces on one connection, close our half, and return all that comes back."""
    async with running(make_server(handler)) as [url]:  # type: ignore[arg-type]
        stream = await connect(url)
        for piece in sent:
            await stream.send_all(piece)
        if half_close:
            await stream.send_eof()
        return await read_until_end(stream)


async def test_version_1_0_closes_after_the_answer() -> None:
    """Without a keep-alive of its own an old client gets one answer."""
    async with running(make_server(echo)) as [url]:
        stream = await connect(url)
        await stream.send_all(b"GET /x HTTP/1.0\r\n\r\n")
        answer = await read_until_end(stream)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n/x")


async def test_connection_close_is_honoured() -> None:
    """The answer says so and the connection ends."""
    async with running(make_server(echo)) as [url]:
        stream = await connect(url)
        await stream.send_all(b"GET /x HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        answer = await read_until_end(stream)
    assert b"connection: close" in answer.lower()


async def test_a_client_that_waits_for_100_gets_it() -> None:
    """curl sends large bodies so."""
    async with running(make_server(echo)) as [url]:
        stream = await connect(url)
        await stream.send_all(b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        assert b"100" in await read_answer(stream, b"\r\n\r\n")
        await stream.send_all(b"hello")
        assert b"200 " in await read_answer(stream)
        await stream.aclose()


async def test_head_has_the_length_and_no_body() -> None:
    """The connection stays usable."""
    answer = await ask(b"HEAD /x HTTP/1.1\r\nhost: t\r\n\r\n" + GET)
    first, _, second = answer.partition(b"\r\n\r\n")
    assert b"content-length: 2" in first.lower()
    assert second.startswith(b"HTTP/1.1 200")


async def test_the_absolute_form_of_a_target() -> None:
    """Proxies may send it."""
    assert (await ask(b"GET http://elsewhere/x?a=1 HTTP/1.1\r\nhost: t\r\n\r\n")).endswith(b"/x")


async def test_chunked_bodies_in_any_pieces() -> None:
    """A body cut anywhere is the same body."""
    whole = b"POST /x HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    assert (await ask(*[whole[i : i + 1] for i in range(len(whole))])).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (
            b"POST /x HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"the body of the request is malformed",
        ),
        (b"GET /x HTTP/1.1\r\n\r\n", b"the request has no header Host"),
        (b"GET /x HTTP/1.1\r\nhost: t\r\nbad header\r\n\r\n", b"the head of the request is malformed: "),
        (b"GET /x HTTP/1.1\r\nhost: t\r\nhost: u\r\n\r\n", b"the request has two headers host"),
        (b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 1, 2\r\n\r\n", b"the head of the request is malformed: "),
        (b"GET /x HTTP/1.1\r\nhost: t\r\n", b"the request ends within its head"),
        (b"\x16\x03\x01\x02\x00", b"this port speaks HTTP without TLS"),
    ],
)
async def test_malformed_requests_are_400(bad: bytes, reason: bytes) -> None:
    """Wherever the fault is, head or body; the answer says what it is."""
    head, _, body = (await ask(bad)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"content-length: %d" % len(body) in head
    assert body.startswith(reason)


@pytest.mark.parametrize("version", [b"9.9", b"0.9", b"2.0"])
async def test_other_versions_are_505(version: bytes) -> None:
    """What follows on the connection is not answered."""
    answer = await ask(b"GET /x HTTP/" + version + b"\r\nhost: t\r\n\r\n" + GET)
    assert answer.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /x HTTP/1.0\r\nhost: t\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
async def test_a_request_with_two_lengths_ends_the_connection(head: bytes) -> None:
    """What a proxy took for its body is never answered as a request of its own."""
    answer = await ask(head + b"0\r\n\r\n" + GET)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_cut_body_never_reaches_the_end_of_a_handler() -> None:
    """A client that stops half way has sent no request."""
    ended = False

    async def handler(request: Request) -> Response:
        nonlocal ended
        await request.body()
        ended = True
        return Response()

    answer = await ask(b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nabc", handler=handler)
    assert not ended
    assert not answer.startswith(b"HTTP/1.1 200")


async def test_a_body_that_nobody_reads_does_not_spoil_the_next_request() -> None:
    """What has arrived is passed over."""

    async def handler(request: Request) -> Response:
        return PlainTextResponse("ignored")

    answer = await ask(b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc" + GET, handler=handler)
    assert answer.count(b"HTTP/1.1 200") == 2


async def test_a_body_that_is_still_to_come_ends_the_connection() -> None:
    """The answer says so, lest a client sends its next request on a connection that is closed."""

    async def handler(request: Request) -> Response:
        return PlainTextResponse("ignored")

    head = b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\n"
    async with running(make_server(handler)) as [url]:
        for whole in (False, True):
            stream = await connect(url)
            await stream.send_all(head + (b"abc" if whole else b""))
            answer = await read_answer(stream, b"ignored")
            assert (b"connection: close" in answer) is not whole
            if not whole:
                await stream.send_all(b"abc")
                assert not await read_until_end(stream)
            await stream.aclose()


async def test_a_stream_without_length_is_chunked() -> None:
    """The end of the body is marked."""

    async def handler(request: Request) -> Response:
        return PiecesResponse(piece for piece in (b"one", b"two"))

    assert (await ask(CLOSE, handler=handler, half_close=False)).endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_a_stream_that_fails_has_no_end() -> None:
    """The client can tell that it is incomplete."""

    def pieces() -> object:
        yield b"one"
        raise RuntimeError("half way")

    async def handler(request: Request) -> Response:
        return PiecesResponse(pieces())  # type: ignore[arg-type]

    assert (await ask(GET, handler=handler, half_close=False)).endswith(b"3\r\none\r\n")


async def test_an_answer_that_cannot_be_written_is_logged() -> None:
    """A header with a line break is a bug of the handler, not a lost client; nothing of it is sent."""

    async def handler(request: Request) -> Response:
        return PlainTextResponse("x", headers={"x-bad": "a\r\nset-cookie: b"})

    with structlog.testing.capture_logs() as logged:
        answer = await ask(CLOSE, handler=handler, half_close=False)
    assert answer == b""
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["an answer failed"]


async def test_a_flood_of_pipelined_requests_is_answered_in_order() -> None:
    """More than is taken in ahead waits in the kernel."""
    requests = [b"GET /x HTTP/1.1\r\nhost: t\r\nx-%d: %s\r\n\r\n" % (i, b"y" * 1000) for i in range(150)]
    async with running(make_server(echo)) as [url]:
        stream = await connect(url)
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(b"".join(requests))
                await stream.send_eof()

            nursery.start_soon(send)
            answer = await read_until_end(stream)
    assert answer.count(b"HTTP/1.1 200") == 150


def test_the_date_is_that_of_rfc_9110() -> None:
    """The header reads back as the second it was made of."""
    assert email.utils.parsedate_to_datetime(date_header(784_111_777).decode()).timestamp() == 784_111_777
    assert date_header(784_111_777) == b"Sun, 06 Nov 1994 08:49:37 GMT"
