"""Redirects: where they lead, what becomes of the request, and whose credentials go along."""

from __future__ import annotations

import pytest
from http_peers import client_of, get, serving

from tinyobs.config.http_client import Authorization, Header, HttpClientConfig
from tinyobs.http_client import HttpError
from tinyobs.model.secrets import Secret

CONFIG = HttpClientConfig(
    authorization=Authorization(credentials=Secret("t")),
    http_headers=(("X-Open", Header(values=("1",))), ("X-Key", Header(secrets=(Secret("k"),)))),
)
OWN = {"Accept": "text/plain", "X-Prometheus-Scrape-Timeout-Seconds": "10", "X-Consul-Token": "c", "Cookie": "c"}


async def test_within_a_host_everything_is_sent_again():
    """With relative and absolute locations."""

    def respond(asked):
        locations = {"/1": "two?x=y", "/two?x=y": f"http://{peer.address}/3"}
        location = locations.get(asked.target)
        return (302, [("Location", location)], b"moved") if location else (200, [], b"there")

    async with serving(respond) as peer, client_of(CONFIG) as client:
        assert await get(client, f"http://{peer.address}/1", headers=OWN) == (200, b"there")
    assert [a.target for a in peer.asked] == ["/1", "/two?x=y", "/3"]
    for asked in peer.asked:
        assert asked.headers["authorization"] == "Bearer t"
        assert {asked.headers[n] for n in ("x-open", "x-key", "x-consul-token")} == {"1", "k", "c"}
    assert peer.connections == 1


async def test_another_host_gets_no_secrets():
    """Neither those of the configuration nor those of the caller; not even when it leads back."""

    def first(asked):
        home = asked.target == "/home"
        return (200, [], b"back") if home else (307, [("Location", f"http://{other.address}/")], b"")

    def second(asked):
        return 307, [("Location", f"http://{peer.address}/home")], b""

    async with serving(first) as peer, serving(second) as other, client_of(CONFIG) as client:
        assert (await get(client, f"http://{peer.address}/", headers=OWN))[1] == b"back"
    for asked in (other.asked[0], peer.asked[1]):
        sent = set(asked.headers) - {"host", "user-agent", "accept-encoding"}
        assert sent == {"accept", "x-prometheus-scrape-timeout-seconds", "x-open"}


@pytest.mark.parametrize(
    ("status", "method", "after"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ],
)
async def test_the_method_follows_the_status(status, method, after):
    """The body goes along where the method stays."""

    def respond(asked):
        return (status, [("Location", "/new")], b"") if asked.target == "/" else (200, [], b"")

    async with serving(respond) as peer, client_of() as client:
        content = None if method == "HEAD" else b"body"
        await get(client, f"http://{peer.address}/", method, content=content, headers={"Content-Type": "a/b"})
    last = peer.asked[1]
    assert last.method == after
    if after in ("POST", "PUT"):
        assert (last.body, last.headers["content-type"]) == (b"body", "a/b")
    else:
        assert (last.body, last.headers.get("content-type"), last.headers.get("content-length")) == (b"", None, None)


@pytest.mark.parametrize("location", ["ftp://x/", "http://[::1"])
async def test_a_redirect_to_no_server_is_an_error(location):
    """It leads nowhere."""
    async with serving(lambda _: (302, [("Location", location)], b"")) as peer, client_of() as client:
        with pytest.raises(HttpError, match="URL"):
            await get(client, f"http://{peer.address}/")


async def test_a_circle_ends():
    """After ten redirects."""
    async with serving(lambda _: (302, [("Location", "/")], b"")) as peer, client_of() as client:
        with pytest.raises(HttpError, match="stopped after 10 redirects"):
            await get(client, f"http://{peer.address}/")
    assert len(peer.asked) == 11


async def test_a_redirect_without_location_is_the_answer():
    """There is nowhere to go."""
    async with serving(lambda _: (302, [], b"?")) as peer, client_of() as client:
        assert await get(client, f"http://{peer.address}/") == (302, b"?")
