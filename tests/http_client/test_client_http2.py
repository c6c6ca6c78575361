"""HTTP/2 of the client, spoken with our own server over TLS."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager

import pytest
import trio
import trustme
from http_peers import client_of, get
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse

from tinyobs.abc import Route
from tinyobs.config.http_client import Authorization, HttpClientConfig, TlsConfig
from tinyobs.http_client import HttpError
from tinyobs.model.secrets import Secret
from tinyobs.testing.agents import until
from tinyobs.web.application import Application
from tinyobs.web.options import ServerOptions, TlsOptions, WebOptions
from tinyobs.web.server import Server


@pytest.fixture(scope="module")
def authority():
    """A certificate authority."""
    return trustme.CA()


async def show(request: Request) -> Response:
    """Answer the version and what came."""
    body = await request.body()
    fields = request.headers
    text = f"{request.scope['http_version']} {request.method} {request.url.query} {len(body)} {fields.get('authorization')}"
    return PlainTextResponse(text, headers={"X-Host": fields.get("host", "")})


async def elsewhere(request: Request) -> Response:
    """Lead to the other page."""
    return RedirectResponse("/show?from=redirect", 302)


begun: list[str] = []
"""Requests for what has no end, by their query."""


async def endless(request: Request) -> Response:
    """Answer a beginning."""

    async def pieces():
        begun.append(request.url.query)
        yield b"begun"
        await trio.sleep_forever()

    return StreamingResponse(pieces())


@asynccontextmanager
async def serving_http2(authority, folder, http2=True):
    """Serve over TLS; yields (URL, server)."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    tls = TlsOptions(str(folder / "cert.pem"), str(folder / "key.pem"))
    routes = [
        Route("/show", show, ("GET", "HEAD", "POST")),
        Route("/elsewhere", elsewhere, ("GET",)),
        Route("/endless", endless, ("GET",)),
    ]
    app = Application(routes, WebOptions())
    server = Server(app, ["127.0.0.1:0"], ServerOptions(http2=http2), tls=tls)
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status):
                await server.serve(task_status=task_status)

            (url,) = await nursery.start(serve)
            yield url, server
            nursery.cancel_scope.cancel()


def config(authority, **more):
    """Return the configuration of a client that trusts the authority."""
    return HttpClientConfig(tls_config=TlsConfig(ca=authority.cert_pem.bytes().decode()), **more)


@pytest.mark.parametrize(("ours", "theirs", "version"), [(1, 1, b"2"), (0, 1, b"1.1"), (1, 0, b"1.1")])
async def test_both_sides_must_want_it(authority, tmp_path, ours, theirs, version):
    """The handshake decides; the answer is the same but for the reason phrase, which is the usual one."""
    async with (
        serving_http2(authority, tmp_path, bool(theirs)) as (url, _),
        client_of(config(authority, enable_http2=bool(ours))) as client,
    ):
        assert await get(client, f"{url}/show?x=y") == (200, version + b" GET x=y 0 None")
        async with client.stream("HEAD", f"{url}/show") as answer:
            assert (answer.status, answer.reason) == (200, "OK")
            assert answer.headers["X-HOST"] == url.removeprefix("https://")


async def test_bodies_credentials_and_redirects(authority, tmp_path):
    """As with HTTP/1.1; a body longer than the window of flow control arrives whole."""
    given = config(authority, authorization=Authorization(credentials=Secret("t")))
    async with serving_http2(authority, tmp_path) as (url, server), client_of(given) as client:
        assert (await get(client, f"{url}/show", "POST", content=bytes(300_000)))[1] == b"2 POST  300000 Bearer t"
        assert (await get(client, f"{url}/elsewhere"))[1] == b"2 GET from=redirect 0 Bearer t"
        assert server.statistics().connections_accepted_total == 1


async def test_requests_share_a_connection(authority, tmp_path):
    """Many at a time, once it is there."""
    async with serving_http2(authority, tmp_path) as (url, server), client_of(config(authority)) as client:
        answers = []

        async def ask(i):
            answers.append((await get(client, f"{url}/show?{i}"))[1])

        await ask(0)
        async with trio.open_nursery() as nursery:
            for i in range(1, 20):
                nursery.start_soon(ask, i)
        assert sorted(answers) == sorted(f"2 GET {i} 0 None".encode() for i in range(20))
        assert server.statistics().connections_accepted_total == 1


async def test_a_body_that_is_left_or_cancelled_harms_no_other_request(authority, tmp_path, monkeypatch):
    """Its connection takes no more, and ends with the last of those that were under way."""
    rest_seconds_max = "tinyobs.http_client.http2.REST_SECONDS_MAX"
    monkeypatch.setattr(rest_seconds_max, 0.05)
    async with serving_http2(authority, tmp_path) as (url, server), client_of(config(authority)) as client:
        async with client.stream("GET", f"{url}/endless") as answer, aclosing(answer.pieces()) as pieces:
            assert (await get(client, f"{url}/show"))[0] == 200
            async for _ in pieces:
                break
        assert (await get(client, f"{url}/show"))[0] == 200
        assert server.statistics().connections_accepted_total == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, client, f"{url}/endless?cancelled")
            await until(lambda: "cancelled" in begun)
            nursery.cancel_scope.cancel()
        assert (await get(client, f"{url}/show"))[0] == 200
        assert server.statistics().connections_accepted_total == 3
        monkeypatch.setattr(rest_seconds_max, 20)
        async with client.stream("GET", f"{url}/show"):
            pass  # a short rest is read, and the connection stays
        assert (await get(client, f"{url}/show"))[0] == 200
        assert server.statistics().connections_accepted_total == 3


async def test_a_connection_that_has_ended_is_replaced(authority, tmp_path):
    """A request that may be repeated is; when nobody listens any more, the error says so."""
    folder = tmp_path
    async with client_of(config(authority)) as client:
        async with serving_http2(authority, folder) as (url, _):
            assert (await get(client, f"{url}/show"))[0] == 200
        with pytest.raises(HttpError, match="Connection refused"):
            await get(client, f"{url}/show")


async def test_a_cancelled_write_ends_the_connection(authority, tmp_path):
    """Frames of others might be lost with it; they begin anew on another."""
    async with serving_http2(authority, tmp_path) as (url, server), client_of(config(authority)) as client:
        await get(client, f"{url}/show")
        with trio.CancelScope() as scope:
            scope.cancel()
            await get(client, f"{url}/show", "POST", content=bytes(100_000))
        assert (await get(client, f"{url}/show", "POST", content=b"x"))[1] == b"2 POST  1 None"
        assert server.statistics().connections_accepted_total <= 2
