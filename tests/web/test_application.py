"""The order of things around a handler: prefix, readiness, limits, headers, compression, failures, counts."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio
import zstandard
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tinyobs.abc import Dialect, Route
from tinyobs.errors import Unavailable
from tinyobs.web import compression
from tinyobs.web.application import Application
from tinyobs.web.options import WebOptions
from tinyobs.web.problem import HttpError
from tinyobs.web.services import Readiness


def client_of(app: Application) -> httpx.AsyncClient:
    """Return a client of an application."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


def one_route(handler: Any, options: WebOptions | None = None, path: str = "/x") -> Application:
    """Return an application with one route for GET and POST."""
    return Application([Route(path, handler, ("GET", "POST"))], options or WebOptions())


async def large(request: Request) -> Response:
    """Answer 20 kB of text."""
    return PlainTextResponse("abcdefghij" * 2000)


async def test_unknown_paths_are_404_in_plain_text(make_client: Any) -> None:
    """As in Prometheus, also below the API."""
    answer = await make_client().get("/api/v1/nope")
    assert (answer.status_code, answer.text) == (404, "404 page not found\n")


async def test_the_route_prefix_comes_first(make_client: Any) -> None:
    """Everything is below the prefix, and `/` leads there."""
    client = make_client(WebOptions(route_prefix="/obs/"))
    assert (await client.get("/obs/-/healthy")).status_code == 200
    assert (await client.get("/-/healthy")).status_code == 404
    assert (await client.get("/")).headers["location"] == "/obs/"
    assert (await client.get("/obs/graph")).headers["location"] == "/obs/"
    values = await client.get("/obs/api/v1/label/job/values")
    assert values.json()["data"] == ["a", "b<c"]
    assert "access-control-allow-origin" not in values.headers


async def test_before_it_is_ready_only_a_few_paths_answer(make_client: Any) -> None:
    """Health and metrics work; the API says 503."""
    client = make_client(readiness=lambda: Readiness(False, "replaying the log", 0, 9, 4))
    assert (await client.get("/-/healthy")).status_code == 200
    assert (await client.get("/metrics")).status_code == 200
    assert (await client.get("/api/v1/labels")).text == "Service Unavailable\n"
    ready = await client.get("/-/ready")
    assert (ready.status_code, ready.text) == (503, "Service Unavailable: replaying the log (4 of 9 log segments)\n")


async def test_cors_headers_depend_on_the_origin(make_client: Any) -> None:
    """An allowed origin is echoed, another is not; other pages of the server have no such headers."""
    client = make_client(WebOptions(cors_origin=re.compile(r"https?://good\.example")))
    good = await client.get("/api/v1/labels", headers={"origin": "http://good.example"})
    assert good.headers["access-control-allow-origin"] == "http://good.example"
    assert good.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    bad = await client.get("/api/v1/labels", headers={"origin": "http://good.example.evil"})
    assert "access-control-allow-origin" not in bad.headers
    assert bad.headers["vary"] == "Origin"
    assert "vary" not in (await client.get("/-/healthy", headers={"origin": "http://good.example"})).headers
    preflight = await client.options("/api/v1/query", headers={"origin": "http://good.example"})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-headers"] == "Accept, Authorization, Content-Type, Origin"


async def test_configured_headers_are_on_every_answer(make_client: Any) -> None:
    """Also on errors."""
    client = make_client(WebOptions(headers=(("X-Frame-Options", "deny"),)))
    for path in ("/-/healthy", "/nope", "/api/v1/query"):
        assert (await client.get(path)).headers["x-frame-options"] == "deny"


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "deflate"])
async def test_large_answers_are_compressed_as_the_client_accepts(encoding: str) -> None:
    """The body unpacks to what the handler gave, and the length is that of the compressed one."""
    async with client_of(one_route(large)) as client:
        request = client.build_request("GET", "/x", headers={"accept-encoding": encoding})
        answer = await client.send(request, stream=True)
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == encoding
    assert int(answer.headers["content-length"]) == len(raw) < 2000
    unpack = {
        "gzip": gzip.decompress,
        "zstd": zstandard.ZstdDecompressor().decompressobj().decompress,
        "deflate": zlib.decompress,
    }
    assert unpack[encoding](raw) == b"abcdefghij" * 2000


@pytest.mark.parametrize("accept", ["", "br", "gzip;q=0", "identity"])
async def test_answers_stay_plain_for_clients_that_want_them_so(accept: str) -> None:
    """No encoding that the client did not ask for."""
    async with client_of(one_route(large)) as client:
        answer = await client.get("/x", headers={"accept-encoding": accept})
    assert "content-encoding" not in answer.headers
    assert len(answer.content) == 20000


async def test_small_and_binary_answers_are_not_compressed() -> None:
    """It would cost more than it gives."""

    async def binary(request: Request) -> Response:
        return Response(bytes(5000), media_type="application/octet-stream")

    async def small(request: Request) -> Response:
        return PlainTextResponse("x" * 100)

    for handler in (binary, small):
        async with client_of(one_route(handler)) as client:
            assert "content-encoding" not in (await client.get("/x")).headers


async def test_streams_are_compressed_piece_by_piece() -> None:
    """A stream keeps its pieces; the whole unpacks to all of them."""

    async def handler(request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            for i in range(5):
                yield f"piece {i}\n" * 100

        return StreamingResponse(pieces(), media_type="text/plain")

    async with client_of(one_route(handler)) as client:
        answer = await client.get("/x", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == "".join(f"piece {i}\n" * 100 for i in range(5))


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("gzip, deflate, br, zstd", "gzip"),
        ("zstd, gzip;q=0.5", "zstd"),
        ("*", "gzip"),
        ("GZIP;q=1.0", "gzip"),
        ("gzip;q=x", None),
        ("deflate", "deflate"),
        ("deflate, zstd", "zstd"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("br", None),
    ],
)
def test_the_choice_of_an_encoding(header: str, chosen: str | None) -> None:
    """The highest weight wins, then gzip, zstd, deflate."""
    assert compression.choose(header) == chosen


async def test_a_failing_handler_is_500_without_details() -> None:
    """The client learns that it failed, the log has the rest."""

    async def handler(request: Request) -> Response:
        raise RuntimeError("secret")

    async with client_of(one_route(handler)) as client:
        answer = await client.get("/x")
    assert answer.status_code == 500
    assert answer.json()["errorType"] == "internal"
    assert "secret" not in answer.text


async def test_a_dialect_puts_every_failure() -> None:
    """What a handler raises, our bugs included, and what is refused before it; not what it returns."""

    def refuse(request: Request, error: HttpError) -> Response:
        return PlainTextResponse(f"{request.url.path} {error.message}", error.status, error.headers)

    async def handler(request: Request) -> Response:
        raise failures[request.query_params["n"]]

    failures = {"a": HttpError(418, "tea", {"x": "y"}), "b": Unavailable("full"), "c": RuntimeError("secret")}
    app = Application([Route("/x", handler, dialect=Dialect(refuse))], WebOptions())
    async with client_of(app) as client:
        answers = [await client.get("/x", params={"n": n}) for n in failures] + [await client.delete("/x")]
    assert [(a.status_code, a.text) for a in answers] == [
        (418, "/x tea"),
        (503, "/x full"),
        (500, "/x internal error; the log of the server has the details"),
        (405, "/x Method Not Allowed"),
    ]
    assert answers[0].headers["x"] == "y"


async def test_unavailable_is_503() -> None:
    """An overload that a handler lets pass is not an internal error."""

    async def handler(request: Request) -> Response:
        raise Unavailable("the queue is full")

    async with client_of(one_route(handler)) as client:
        answer = await client.get("/x")
    assert (answer.status_code, answer.json()["error"]) == (503, "the queue is full")


async def test_more_requests_than_allowed_are_503() -> None:
    """The one above the limit is refused at once, and later ones are served again."""
    begun, release = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        begun.set()
        await release.wait()
        return PlainTextResponse("done")

    async with client_of(one_route(handler, WebOptions(requests_max=1))) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/x")
        await begun.wait()
        answer = await client.get("/x")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        release.set()
    async with client_of(one_route(handler, WebOptions(requests_max=1))) as client:
        assert (await client.get("/x")).text == "done"


async def test_a_body_in_pieces_is_limited_as_a_whole() -> None:
    """Without a content length the pieces are counted."""

    async def handler(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(100)

    async with client_of(one_route(handler, WebOptions(body_bytes_max=1000))) as client:
        assert (await client.post("/x", content=pieces(10))).text == "1000"
        assert (await client.post("/x", content=pieces(11))).status_code == 413


async def test_a_body_that_does_not_arrive_is_408(autojump_clock: Any) -> None:
    """The deadline counts from when the handler wants the body."""
    sent: list[Any] = []

    async def handler(request: Request) -> Response:
        await request.body()
        raise AssertionError("unreachable")

    async def receive() -> dict[str, Any]:
        if trio.current_time() > 1000:
            return {"type": "http.disconnect"}
        await trio.sleep(20)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    begun = trio.current_time()
    app = one_route(handler, WebOptions(body_seconds=30))
    await app(http_scope("POST"), receive, send)
    assert sent[0]["status"] == 408
    assert trio.current_time() - begun == pytest.approx(30)


async def test_a_client_that_goes_away_cancels_the_handler(autojump_clock: Any) -> None:
    """The handler ends at its next checkpoint, nothing is sent, and 499 is counted."""
    cancelled = False

    async def handler(request: Request) -> Response:
        nonlocal cancelled
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled = True
            raise
        raise AssertionError("unreachable")

    async def receive() -> dict[str, Any]:
        await trio.sleep(5)
        if trio.current_time() - begun > 7:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        raise AssertionError("nothing must be sent")

    begun = trio.current_time()
    app = one_route(handler)
    await app(http_scope("GET"), receive, send)
    assert cancelled
    assert app.statistics.count("/x", 499) == 1


def whole_body_route(handler: Any, options: WebOptions | None = None) -> Application:
    """Return an application with one route at /x whose handler gets the whole body."""
    return Application([Route("/x", handler, ("POST",), whole_body=True)], options or WebOptions())


async def test_a_whole_body_arrives_in_one_piece() -> None:
    """However it is cut on the way; limits, counts and answers are those of other routes."""

    async def handler(request: Request) -> Response:
        return PlainTextResponse(str(await request.body()))

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"ab"

    app = whole_body_route(handler, WebOptions(body_bytes_max=6))
    async with client_of(app) as client:
        assert (await client.post("/x", content=pieces(3))).text == "b'ababab'"
        assert (
            await client.post("/x", content=b"ab" * 4)
        ).status_code == 413  # unread pieces would be left to the collector
        assert (await client.post("/x")).text == "b''"
    assert (app.statistics.count("/x", 200), app.statistics.count("/x", 413)) == (2, 1)


async def test_a_whole_body_has_a_deadline(autojump_clock: Any) -> None:
    """A body that comes too slowly is 408."""
    sent: list[Any] = []

    async def handler(request: Request) -> Response:
        await request.body()
        raise AssertionError("unreachable")

    async def receive() -> dict[str, Any]:
        await trio.sleep(20)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    await whole_body_route(handler, WebOptions(body_seconds=30))(http_scope("POST"), receive, send)
    assert sent[0]["status"] == 408


async def test_half_of_a_whole_body_is_no_answer() -> None:
    """A client that goes away before the end of its body is counted as 499, and nothing is sent."""
    messages = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]

    async def handler(request: Request) -> Response:
        await request.body()
        raise AssertionError("unreachable")

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError("nothing must be sent")

    app = whole_body_route(handler)
    await app(http_scope("POST"), receive, send)
    assert app.statistics.count("/x", 499) == 1


async def test_a_stream_that_fails_is_cut_off() -> None:
    """After the head is out, the only honest answer is an incomplete one."""
    sent: list[Any] = []

    async def handler(request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            yield "first"
            raise RuntimeError("half way")

        return StreamingResponse(pieces(), media_type="text/plain")

    async def receive() -> dict[str, Any]:
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def send(message: Any) -> None:
        sent.append(message)

    await one_route(handler)(http_scope("GET"), receive, send)
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"] is True


async def test_websockets_over_http2_are_refused() -> None:
    """The handshake is answered 501."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    await one_route(large)({"type": "websocket", "path": "/x"}, receive, send)
    assert sent[0] == {"type": "websocket.http.response.start", "status": 501, "headers": []}
    assert sent[1]["type"] == "websocket.http.response.body"


async def test_requests_are_counted_by_handler_and_status(make_client: Any) -> None:
    """The names are those of Prometheus; patterns, not paths, are the labels."""
    client = make_client()
    await client.get("/api/v1/label/job/values")
    await client.get("/api/v1/label/%FF/values")
    await client.get("/nope/17")
    app = client.app
    assert app.statistics.count("/api/v1/label/:name/values", 200) == 1
    assert app.statistics.count("/api/v1/label/:name/values", 400) == 1
    assert app.statistics.count("/*", 404) == 1
    total, seconds, size = app.statistics.families()
    assert total.name == "prometheus_http_requests_total"
    assert seconds.name == "prometheus_http_request_duration_seconds"
    assert size.name == "prometheus_http_response_size_bytes"
    buckets = [p for p in size.points if p.suffix == "_bucket" and ("handler", "/*") in p.labels]
    assert [dict(p.labels)["le"] for p in buckets] == ["100", "1000", "10000", "100000", *("1e+06", "1e+07", "1e+08", "1e+09"), "+Inf"]  # fmt: skip
    assert [p.value for p in buckets] == [1.0] * 9


def http_scope(method: str) -> dict[str, Any]:
    """Return the scope of a request for `/x`."""
    return {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "method": method,
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "headers": [],
        "state": {},
    }
