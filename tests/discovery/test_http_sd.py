"""Targets that a server lists in JSON."""

from __future__ import annotations

import socket
from typing import Any

import attrs
import pytest
from fake_http_api import Reply, Request, serving
from published import running

from tinyobs.builtin.http_sd import HttpDiscoverer, tinyobs_discoverers
from tinyobs.config.fields import UrlText
from tinyobs.config.http_client import Authorization, HttpClientConfig
from tinyobs.config.http_sd import HttpSdConfig
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret
from tinyobs.testing.check_discoverer import check_discoverer

GROUPS: list[Any] = [
    {"targets": ["10.0.0.1:9100", "10.0.0.2:9100"], "labels": {"env": "prod", "__meta_rack": "7"}},
    {"targets": ["10.0.0.3:9100"]},
]


@attrs.define
class Server:
    """A server of lists."""

    reply: Reply = attrs.field(factory=lambda: Reply(GROUPS))
    requests: list[Request] = attrs.field(factory=list)

    async def __call__(self, request: Request) -> Reply:
        """Answer."""
        self.requests.append(request)
        return self.reply


def config(address: str, path: str = "/targets?a=b", interval_ms: int = 30, **more: Any) -> HttpSdConfig:
    """Return the configuration for a fake server."""
    return HttpSdConfig(url=UrlText(f"http://{address}{path}"), refresh_interval_ms=DurationMs(interval_ms), **more)


async def test_groups_carry_the_url() -> None:
    """As a label of each group; other labels are those of the list."""
    server = Server()
    async with serving(server) as address, running(HttpDiscoverer, config(address, interval_ms=60_500)) as published:
        url = f"http://{address}/targets?a=b"
        assert list(published.groups) == [f"{url}:0", f"{url}:1"]
        assert published.labels[0] == {
            "__address__": "10.0.0.1:9100",
            "env": "prod",
            "__meta_rack": "7",
            "__meta_url": url,
        }
        assert published.labels[2] == {"__address__": "10.0.0.3:9100", "__meta_url": url}
    (request,) = server.requests
    assert request.headers["accept"] == "application/json"
    assert request.headers["x-prometheus-refresh-interval-seconds"] == "60.5"
    assert request.headers["user-agent"].startswith("TinyObs/")


async def test_the_list_follows_the_server() -> None:
    """Targets come and go; a group that the list no longer has is removed."""
    server = Server()
    async with serving(server) as address, running(HttpDiscoverer, config(address)) as published:
        assert len(published.addresses) == 3
        server.reply = Reply([{"targets": ["10.0.0.9:9100"]}])
        await published.until(lambda: published.addresses == ["10.0.0.9:9100"])
        server.reply = Reply([])
        await published.until(lambda: published.addresses == [])
        server.reply = Reply(GROUPS)
        await published.until(lambda: len(published.addresses) == 3)


BAD = [
    Reply(GROUPS, status=503),
    Reply(GROUPS, status=201),
    Reply(GROUPS, content_type="text/html"),
    Reply(GROUPS, content_type="application/json; charset=latin-1"),
    Reply(b"[{"),
    Reply(b"{}"),
    Reply([None]),
    Reply([["10.0.0.9:1"]]),
    Reply([{"targets": ["10.0.0.9:1"], "label": {}}]),
    Reply([{"targets": "10.0.0.9:1"}]),
    Reply([{"targets": [9]}]),
    Reply([{"targets": ["10.0.0.9:1"], "labels": {"port": 1}}]),
    Reply([{"targets": ["10.0.0.9:1"], "labels": {"": "x"}}]),
    Reply([{"targets": ["10.0.0.9:1"], "labels": []}]),
]


@pytest.mark.parametrize("reply", BAD, ids=range(len(BAD)))
async def test_a_bad_answer_keeps_the_last_good_list(reply: Reply) -> None:
    """It is counted, also for this mechanism; the next good answer counts again."""
    server = Server()
    async with serving(server) as address, running(HttpDiscoverer, config(address, interval_ms=10)) as published:
        server.reply = reply
        await published.until(lambda: published.failures >= 2)
        assert len(published.addresses) == 3
        assert published.discoverer.statistics().failures_total >= 2
        server.reply = Reply([{"targets": ["10.0.0.9:1"]}])
        await published.until(lambda: published.addresses == ["10.0.0.9:1"])


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
async def test_content_types_that_are_taken(content_type: str) -> None:
    """With or without the one character set."""
    server = Server(Reply(GROUPS, content_type=content_type))
    async with serving(server) as address:
        (kind,) = tinyobs_discoverers()
        assert len(await check_discoverer(kind, config(address))) == 2


async def test_a_server_that_is_down_and_comes_back() -> None:
    """The start does not wait for it, and its return is seen at the next refresh."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with running(HttpDiscoverer, config(f"127.0.0.1:{port}")) as published:
        assert (published.times, published.addresses) == (1, [])
        assert published.failures >= 1
        async with serving(Server(), port=port):
            await published.until(lambda: len(published.addresses) == 3)
        await published.until(lambda: published.failures >= 2)
        assert len(published.addresses) == 3
        async with serving(Server(Reply([])), port=port):
            await published.until(lambda: published.addresses == [])


async def test_credentials_are_sent_and_not_shown() -> None:
    """Those of the settings go with each request; a password of the URL is in no label and no source."""
    server = Server()
    client = HttpClientConfig(authorization=Authorization(credentials=Secret("token")))
    async with serving(server) as address:
        async with running(HttpDiscoverer, config(address, interval_ms=60_000, http=client)):
            assert server.requests[0].headers["authorization"] == "Bearer token"
        entry = HttpSdConfig(url=UrlText(f"http://u:secret@{address}/"))
        async with running(HttpDiscoverer, entry) as published:
            assert "secret" not in str(published.groups)
            assert published.labels[0]["__meta_url"] == f"http://u:xxxxx@{address}/"
    assert server.requests[1].headers["authorization"].startswith("Basic ")
