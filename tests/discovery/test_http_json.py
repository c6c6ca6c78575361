"""JSON over HTTP: what is sent, what is taken, and what an operator reads when it fails."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tinyobs.config.http_client import Authorization, HttpClientConfig
from tinyobs.discovery.http_json import JsonClient, StatusError, shown
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.errors import TinyObsError
from tinyobs.http_client import HttpError
from tinyobs.model.secrets import Secret
from tinyobs.testing.targets import FakeTarget, fake_target


@asynccontextmanager
async def asking(target: FakeTarget, prefix: str = "", **more: object) -> AsyncIterator[JsonClient]:
    """Yield a client of a fake server."""
    async with fake_target(target):
        client = JsonClient(HttpClientConfig(), f"http://u:secret@{target.address}{prefix}", **more)  # type: ignore[arg-type]
        yield client
        await client.aclose()


async def test_paths_stand_behind_the_address() -> None:
    """With the prefix of the address, parameters that may repeat, and headers of the client and of the request."""
    target = FakeTarget(b'{"a": [1]}')
    async with asking(target, "/prefix/", headers={"X-One": "1"}) as client:
        answer = await client.get("/v1/x?wait=1", [("tag", "a b"), ("tag", "c")], headers={"X-Two": "2"})
        assert answer.value == {"a": [1]}
        assert answer.headers["CONTENT-TYPE"] == target.content_type
        await client.get(f"http://{target.address}/next")
        await client.get("/plain", {"a": "b"})
    assert [r[":path"] for r in target.requests] == [
        "/prefix/v1/x?wait=1&tag=a+b&tag=c",
        "/next",
        "/prefix/plain?a=b",
    ]
    first = target.requests[0]
    assert (first["x-one"], first["x-two"], first["accept"]) == ("1", "2", "application/json")


async def test_values_and_forms_are_posted() -> None:
    """Each with its content type."""
    target = FakeTarget(b"{}")
    async with asking(target) as client:
        await client.post("/", json={"a": 1})
        await client.post("/", form=[("a", "1"), ("b", "x y")])
    json, form = target.requests
    assert (json["content-type"], json["content-length"]) == ("application/json", "7")
    assert (form["content-type"], form["content-length"]) == ("application/x-www-form-urlencoded", "9")


async def test_compressed_answers_are_unpacked() -> None:
    """In bounded pieces; more than the limit is refused however small it came."""
    target = FakeTarget(b'"' + b"x" * 1_000_000 + b'"', compress=True)
    async with asking(target, body_bytes_max=1_000_002) as client:
        assert len((await client.get("/")).value) == 1_000_000
        client.body_bytes_max -= 1
        with pytest.raises(DiscoveryError, match=r"GET http://127.0.0.1:\d+/: the answer is longer than 1000001 bytes"):
            await client.get("/")


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(b"{}", mtime=0)[:-3]])
async def test_broken_compression_is_an_error(data: bytes) -> None:
    """Neither other bytes nor a cut stream pass for an answer."""
    async with asking(FakeTarget(data, encoding="gzip")) as client:
        with pytest.raises(DiscoveryError, match="gzip"):
            await client.get("/")


async def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    """It could not be read."""
    async with asking(FakeTarget(b"{}", encoding="br")) as client:
        with pytest.raises(DiscoveryError, match="content encoding 'br'"):
            await client.get("/")


async def test_another_status_than_success_is_an_error_with_the_words_of_the_server() -> None:
    """On one line, cut; the URL is shown without password and query."""
    async with asking(FakeTarget(b"no such\nnode \x1b[1m" + b"x" * 10_000, status=404)) as client:
        with pytest.raises(StatusError) as caught:
            await client.get("/v1/x", {"token": "secret"})
    assert caught.value.status == 404
    text = str(caught.value)
    assert "/v1/x: the server answered 404 Not Found: no such node [1mxxx" in text
    assert len(text) < 300
    assert "secret" not in text


async def test_what_is_no_json_is_an_error() -> None:
    """It names what was asked."""
    async with asking(FakeTarget(b"<html>")) as client:
        with pytest.raises(DiscoveryError, match=r"/v1/y: the answer is no JSON"):
            await client.get("/v1/y")


async def test_an_answer_has_a_deadline() -> None:
    """That of the client, or another one for a request that waits."""
    async with asking(FakeTarget(b"{}", delay_seconds=3600), deadline_seconds=0.05) as client:
        with pytest.raises(DiscoveryError, match=r"no whole answer within 0\.05 s"):
            await client.get("/")
        with pytest.raises(DiscoveryError, match=r"within 0\.01 s"):
            await client.get("/", deadline_seconds=0.01)


async def test_a_daemon_on_this_host_is_asked_through_its_socket(tmp_path: Path) -> None:
    """`unix://` and a path; `tcp://` is plain HTTP."""
    path = tmp_path / "d.sock"
    async with fake_target(FakeTarget(b"[]"), unix_socket=str(path)) as target:
        client = JsonClient(address=f"unix://{path}")
        assert (await client.get("/v1/x")).value == []
        await client.aclose()
    with pytest.raises(HttpError, match=rf"GET http://localhost/v1/x at {path}: "):
        await client.get("/v1/x", {"a": "secret"})
    await client.aclose()
    assert target.requests[0][":path"] == "/v1/x"
    async with fake_target(FakeTarget(b"[]")) as target:
        client = JsonClient(address=f"tcp://{target.address}")
        assert (await client.get("/v1/x")).value == []
        await client.aclose()


async def test_errors_do_not_show_credentials() -> None:
    """A server that is not there, and credentials that cannot be sent."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    config = HttpClientConfig(authorization=Authorization(credentials=Secret("secret\n")))
    for client in (JsonClient(address=f"http://u:secret@127.0.0.1:{port}"), JsonClient(config, "http://127.0.0.1:1")):
        with pytest.raises(TinyObsError) as caught:
            await client.get("/")
        assert "secret" not in str(caught.value)
        await client.aclose()


async def test_a_stream_is_read_as_it_arrives() -> None:
    """A watch has no deadline; its status is checked before."""
    async with asking(FakeTarget(b"line\n")) as client, client.stream("GET", "/watch") as answer:
        assert b"".join([piece async for piece in answer.pieces()]) == b"line\n"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://u:p@h:1/a?b#c", "https://h:1/a"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("http://[::1/a?p", "the URL"),
        ("/a?b", "/a"),
    ],
)
def test_urls_in_messages_show_no_secrets(url: str, text: str) -> None:
    """Neither user nor query; what is no URL is not shown."""
    assert shown(url) == text
