"""HTTP/1.1 of the client: where answers end, what breaks them, which connections are used again."""

from __future__ import annotations

from contextlib import aclosing

import pytest
import trio
from http_peers import client_of, get, listening, saying, serving

from tinyobs.config.http_client import HttpClientConfig, TlsConfig
from tinyobs.http_client import HttpError
from tinyobs.http_client.http1 import HEAD_BYTES_MAX

OK = b"HTTP/1.1 200 OK\r\n"
FULL = OK + b"Content-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (FULL, b"ok"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n", b"abcde"),
        (OK + b"\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + FULL, b"ok"),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ],
)
@pytest.mark.parametrize("slow", [False, True])
async def test_answers_of_all_kinds_are_read_to_their_end(answer, body, slow):
    """By length, by chunks, by the end of the connection, without any; with hints before, and with bare line feeds."""

    async def handle(stream):
        await stream.receive_some(65536)
        for i in range(0, len(answer), 1 if slow else len(answer)):
            await stream.send_all(answer[i : i + (1 if slow else len(answer))])

    async with listening(handle) as peer, client_of() as client:
        assert (await get(client, f"http://{peer.address}/"))[1] == body


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "no answer: the server closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent", "the head of the answer is incomplete: the server closed"),
        (OK + b"Content-Length: 9\r\n\r\nhalf", "the body of the answer is incomplete: the server closed"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "the body of the answer is incomplete"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n", "the answer is not HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", "the answer is not HTTP"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "changes to another protocol",
        ),
    ],
)
async def test_broken_answers_are_told(answer, error):
    """Nothing incomplete or contradictory passes for an answer."""
    async with listening(saying(answer)) as peer, client_of() as client:
        with pytest.raises(HttpError, match=error):
            await get(client, f"http://{peer.address}/")


async def test_a_head_without_end_is_refused():
    """It is bounded."""
    line = b"X-Filler: " + b"x" * 1000 + b"\r\n"

    async def handle(stream):
        await stream.receive_some(65536)
        await stream.send_all(OK)
        while True:
            await stream.send_all(line)

    async with listening(handle) as peer, client_of() as client:
        with pytest.raises(HttpError, match=f"longer than {HEAD_BYTES_MAX} bytes"):
            await get(client, f"http://{peer.address}/")


async def test_the_answer_to_head_has_no_body():
    """Whatever length it tells; the connection is used again."""
    head = OK + b"Content-Length: 5000\r\n\r\n"
    async with listening(saying(head, FULL)) as peer, client_of() as client:
        assert await get(client, f"http://{peer.address}/", "HEAD") == (200, b"")
        assert await get(client, f"http://{peer.address}/") == (200, b"ok")
    assert peer.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"\r\nok",
        FULL + b"more than announced",
        FULL + FULL,
    ],
)
async def test_some_connections_are_not_used_again(answer):
    """The server closes them, or has sent what nobody asked for."""

    async def handle(stream):
        await stream.receive_some(65536)
        await stream.send_all(answer)
        if b"Content-Length" in answer:
            await stream.receive_some(65536)  # a client that asked again would wait for ever

    async with listening(handle) as peer, client_of() as client:
        for _ in range(2):
            assert (await get(client, f"http://{peer.address}/"))[1].startswith(b"ok")
    assert peer.connections == 2


async def test_a_body_that_is_left_gives_the_connection_up():
    """The next request gets a new one."""
    big = OK + b"Content-Length: 5000000\r\n\r\n" + b"x" * 1000
    async with listening(saying(big, big)) as peer, client_of() as client:
        for _ in range(2):
            async with client.stream("GET", f"http://{peer.address}/") as answer:
                assert answer.status == 200
    assert peer.connections == 2


async def test_a_request_that_is_cancelled_closes_its_connection():
    """While the head or the body is waited for."""
    begun, closed, is_closed = trio.Event(), [], trio.Event()

    async def handle(stream):
        await stream.receive_some(65536)
        await stream.send_all(OK + b"Content-Length: 9\r\n\r\nbegun")
        begun.set()
        closed.append(await stream.receive_some(1) == b"")
        is_closed.set()

    async with listening(handle) as peer, client_of() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, client, f"http://{peer.address}/")
            await begun.wait()
            nursery.cancel_scope.cancel()
        await is_closed.wait()
    assert closed == [True]


async def test_a_connection_that_ended_while_idle_is_noticed_before_a_post():
    """So that what may not be sent twice is sent once, and gets its answer."""
    async with listening(saying(FULL)) as peer, client_of() as client:
        url = f"http://{peer.address}/"
        assert await get(client, url) == (200, b"ok")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await get(client, url, "POST", content=b"x") == (200, b"ok")
    assert peer.connections == 2


@pytest.mark.parametrize(("method", "repeated"), [("GET", True), ("POST", False)])
async def test_what_may_be_repeated_is_sent_again_when_a_kept_connection_breaks(method, repeated):
    """A GET is; a POST might have been taken, and fails."""
    requests = []

    async def handle(stream):
        while data := await stream.receive_some(65536):
            requests.append(data.split(b" ", 1)[0].decode())
            if len(requests) == 2:
                return
            await stream.send_all(FULL)

    async with listening(handle) as peer, client_of() as client:
        url = f"http://{peer.address}/"
        await get(client, url)
        if repeated:
            assert await get(client, url, method) == (200, b"ok")
        else:
            with pytest.raises(HttpError, match="no answer: the server closed the connection"):
                await get(client, url, method, content=b"x")
    assert requests == ["GET", method, "GET"][: 3 if repeated else 2]


async def test_connections_that_idle_too_long_are_closed(mock_clock):
    """After five minutes, as with Prometheus."""
    async with serving(lambda _: (200, [], b"ok")) as peer, client_of() as client:
        for jump in (299, 2, 299):
            await get(client, f"http://{peer.address}/")
            mock_clock.jump(jump)
        assert peer.connections == 1
        mock_clock.jump(2)
        await get(client, f"http://{peer.address}/")
        assert peer.connections == 2


async def test_requests_at_the_same_time_have_connections_of_their_own():
    """And leave them for later ones."""
    both = trio.Event()
    waiting = []

    async def respond(asked):
        waiting.append(asked)
        if len(waiting) == 2:
            both.set()
        await both.wait()
        return 200, [], asked.target.encode()

    async with serving(respond) as peer, client_of() as client:
        answers = []

        async def ask(path):
            answers.append((await get(client, f"http://{peer.address}{path}"))[1])

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "/1")
                nursery.start_soon(ask, "/2")
    assert sorted(answers) == [b"/1", b"/1", b"/2", b"/2"]
    assert peer.connections == 2


async def test_an_early_refusal_of_a_long_body_is_the_answer():
    """A server that closes without reading all is heard."""

    async def handle(stream):
        await stream.receive_some(100)
        await stream.send_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        while await stream.receive_some(65536):
            pass

    async with listening(handle) as peer, client_of() as client:
        status = (await get(client, f"http://{peer.address}/", "POST", content=bytes(3_000_000)))[0]
    assert status == 413


async def test_a_long_body_arrives_whole_in_either_direction():
    """In pieces, of which none is very large."""
    data = bytes(range(256)) * 20_000
    async with serving(lambda asked: (200, [], asked.body)) as peer, client_of() as client:
        url = f"http://{peer.address}/"
        async with client.stream("POST", url, content=data) as answer, aclosing(answer.pieces()) as pieces:
            got = [piece async for piece in pieces]
    assert b"".join(got) == data
    assert max(map(len, got)) <= 256 * 1024


@pytest.mark.parametrize("name", ["a b", "a:b", "a\r\nb", "", "ä"])
async def test_a_name_that_is_none_is_not_sent(name):
    """It could carry another request."""
    async with serving(lambda _: (200, [], b"")) as peer, client_of() as client:
        with pytest.raises(HttpError, match="is no name of a header"):
            await get(client, f"http://{peer.address}/", headers={name: "x"})
    assert peer.asked == []


async def test_what_is_sent_by_default():
    """Host, user agent and the wish for no compression; a length with a body and with none that might be there."""
    async with serving(lambda _: (200, [], b"")) as peer, client_of() as client:
        await get(client, f"http://{peer.address}/a%20b?q=ü#fragment")
        await get(client, f"http://{peer.address}/", "POST")
        await get(
            client, f"http://{peer.address}/", headers={"Host": "other", "User-Agent": "u", "Accept-Encoding": "gzip"}
        )
        await get(client, f"http://user:p%40ss@{peer.address}/")
    first, post, own, user = peer.asked
    assert first.target == "/a%20b?q=%C3%BC"
    assert set(first.headers) == {"host", "user-agent", "accept-encoding"}
    assert first.headers["host"] == peer.address
    assert post.headers["content-length"] == "0"
    assert own.headers == {"host": "other", "user-agent": "u", "accept-encoding": "gzip"}
    assert user.headers["authorization"] == "Basic dXNlcjpwQHNz"


async def test_headers_of_an_answer_are_found_in_any_case():
    """Several of one name are joined."""
    head = OK + b"X-A: 1\r\nx-a: 2\r\nSet-Cookie: \xe4\r\nContent-Length: 0\r\n\r\n"
    async with (
        listening(saying(head)) as peer,
        client_of() as client,
        client.stream("GET", f"http://{peer.address}/") as answer,
    ):
        assert answer.headers["X-a"] == "1, 2"
        assert answer.headers["set-cookie"] == "ä"
        assert dict(answer.headers) == {"x-a": "1, 2", "set-cookie": "ä", "content-length": "0"}
        assert len(answer.headers) == 3
        assert answer.headers.get("other") is None
        assert answer.reason == "OK"


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "a" * 300 + ".example"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_host_that_there_cannot_be_is_an_error(scheme, host):
    """Like any that cannot be reached."""
    async with client_of() as client:
        with pytest.raises(HttpError):
            await get(client, f"{scheme}://{host}/")


async def test_a_name_that_tls_does_not_take_is_an_error():
    """Of `server_name`, or of the host."""
    async with (
        listening(saying(b"")) as peer,
        client_of(HttpClientConfig(tls_config=TlsConfig(server_name=".x"))) as client,
    ):
        with pytest.raises(HttpError):
            await get(client, f"https://{peer.address}/")
