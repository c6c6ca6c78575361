"""Targets from the services of a Consul catalog.

Debian has no Consul: these tests ask a fake agent that speaks its HTTP API, blocking queries included.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_consul import FakeConsul, instance
from fake_http_api import serving
from published import Published, running

from tinyobs.builtin.consul_sd import discoverer, tinyobs_discoverers
from tinyobs.builtin.consul_sd.discoverer import ConsulDiscoverer
from tinyobs.builtin.consul_sd.targets import health
from tinyobs.config.consul_sd import ConsulSdConfig
from tinyobs.config.http_client import Authorization, HttpClientConfig
from tinyobs.discovery.answers import Fields
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret
from tinyobs.testing.check_discoverer import check_discoverer

WEB1 = instance(
    "web-1",
    "node1",
    "10.0.0.1",
    8080,
    ["v1", "http"],
    node_meta={"rack.name": "2304"},
    meta={"metrics/path": "/m"},
    tagged={"lan": "10.0.0.1", "wan.v4": "192.0.2.1"},
)
WEB2 = instance("web-2", "node2", "10.0.0.2", 8080, ["v2"], service_address="10.9.0.2")
DB = instance("db-1", "node1", "10.0.0.1", 3306)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry soon after an error."""
    monkeypatch.setattr(discoverer, "RETRY_SECONDS", 0.03)


def config(address: str, interval_ms: int = 5, **more: Any) -> ConsulSdConfig:
    """Return a configuration for a fake agent."""
    return ConsulSdConfig(server=address, refresh_interval_ms=DurationMs(interval_ms), **more)


@asynccontextmanager
async def watching(consul: FakeConsul, **more: Any) -> AsyncIterator[Published]:
    """Run a discovery of a fake agent."""
    async with serving(consul) as address, running(ConsulDiscoverer, config(address, **more)) as published:
        yield published


def asked(consul: FakeConsul, path: str) -> list[dict[str, list[str]]]:
    """Return the parameters of all questions for a path."""
    return [dict(r.query) for r in consul.requests if r.path == path]


async def test_all_labels_of_a_target() -> None:
    """Those of the node, the service and the group; tags stand between separators."""
    consul = FakeConsul({"web": [WEB1]})
    async with watching(consul) as published:
        assert list(published.groups) == ["web"]
        assert published.labels == [
            {
                "__address__": "10.0.0.1:8080",
                "__meta_consul_address": "10.0.0.1",
                "__meta_consul_dc": "dc-1",
                "__meta_consul_health": "passing",
                "__meta_consul_metadata_rack_name": "2304",
                "__meta_consul_namespace": "",
                "__meta_consul_node": "node1",
                "__meta_consul_partition": "",
                "__meta_consul_service": "web",
                "__meta_consul_service_address": "",
                "__meta_consul_service_id": "web-1",
                "__meta_consul_service_metadata_metrics_path": "/m",
                "__meta_consul_service_port": "8080",
                "__meta_consul_tagged_address_lan": "10.0.0.1",
                "__meta_consul_tagged_address_wan_v4": "192.0.2.1",
                "__meta_consul_tags": ",v1,http,",
            }
        ]


async def test_the_address_of_the_service_goes_first() -> None:
    """A service may run elsewhere than on the node that registers it; namespace and partition are its own."""
    one = instance("w-1", "n", "10.0.0.2", 80, service_address="fd00::1", service={"Namespace": "ns", "Partition": "p"})
    async with watching(FakeConsul({"w": [one]}), tag_separator=";") as published:
        (labels,) = published.labels
    assert labels["__address__"] == "[fd00::1]:80"
    assert labels["__meta_consul_address"] == "10.0.0.2"
    assert labels["__meta_consul_service_address"] == "fd00::1"
    assert (labels["__meta_consul_namespace"], labels["__meta_consul_partition"]) == ("ns", "p")
    assert labels["__meta_consul_tags"] == ";;"


async def test_services_and_instances_come_and_go() -> None:
    """Each change is seen by a query that waits for it; a service that is gone takes its group with it."""
    consul = FakeConsul({"web": [WEB1]})
    async with watching(consul) as published:
        await published.until(lambda: consul.waiting == 2)
        consul.put("db", DB)
        await published.until(lambda: published.addresses == ["10.0.0.1:3306", "10.0.0.1:8080"])
        consul.put("web", WEB1, WEB2)
        await published.until(lambda: "10.9.0.2:8080" in published.addresses)
        consul.put("web", WEB2)
        await published.until(lambda: published.addresses == ["10.0.0.1:3306", "10.9.0.2:8080"])
        consul.put("web")
        await published.until(lambda: list(published.groups) == ["db"])
        consul.put("web", WEB1)
        await published.until(lambda: sorted(published.groups) == ["db", "web"])
        assert published.failures == 0
    assert consul.waiting == 0


async def test_queries_wait_at_the_server_with_an_index() -> None:
    """The first ones do not; a query that ends without a change publishes nothing."""
    consul = FakeConsul({"web": [WEB1]})
    async with watching(consul) as published:
        await published.until(lambda: len(asked(consul, "/v1/health/service/web")) >= 4)
        assert published.times == 1
    for path in ("/v1/catalog/services", "/v1/health/service/web"):
        first, second, *_ = asked(consul, path)
        assert first == {"stale": [""], "wait": ["120000ms"]}
        assert second == {"stale": [""], "wait": ["120000ms"], "index": ["7"]}


async def test_an_index_that_goes_back_begins_anew() -> None:
    """As after a restore of the server: the next question does not wait for the old index."""
    consul = FakeConsul({"web": [WEB1]})
    async with watching(consul) as published:
        await published.until(lambda: consul.waiting == 2)
        consul.services["web"] = [WEB2]
        consul.bump(3)
        await published.until(lambda: published.addresses == ["10.9.0.2:8080"] and consul.waiting == 2)
        consul.put("web", WEB1)
        await published.until(lambda: published.addresses == ["10.0.0.1:8080"])
    assert {"index": ["3"], "stale": [""], "wait": ["120000ms"]} in asked(consul, "/v1/health/service/web")


async def test_only_some_services_are_watched() -> None:
    """Named ones need no catalog; with tags it tells which of them are worth a watch."""
    consul = FakeConsul({"web": [WEB1, WEB2], "db": [DB]})
    async with watching(consul, services=("web", "none")) as published:
        assert published.addresses == ["10.0.0.1:8080", "10.9.0.2:8080"]
    assert asked(consul, "/v1/catalog/services") == []
    assert asked(consul, "/v1/health/service/none") != []
    consul.requests.clear()
    async with watching(consul, tags=("http", "v1")) as published:
        assert published.addresses == ["10.0.0.1:8080"]
        consul.put("db", instance("db-1", "node1", "10.0.0.1", 3306, ["v1", "http"]))
        await published.until(lambda: len(published.addresses) == 2)
        consul.put("db", DB)
        await published.until(lambda: len(published.addresses) == 1)
    assert asked(consul, "/v1/health/service/web")[0]["tag"] == ["http", "v1"]


async def test_options_of_the_questions() -> None:
    """Datacenter, namespace, partition, node metadata and filters are parameters, the token is a header."""
    consul = FakeConsul({"a/b": [WEB1]}, token="secret")
    options = {
        "datacenter": "dc-9",
        "namespace": "ns",
        "partition": "part",
        "node_meta": (("rack", "7"), ("zone", "a")),
        "allow_stale": False,
        "filter": 'ServiceTags contains "x"',
        "health_filter": 'Service.Tags contains "x"',
        "token": Secret("secret"),
    }
    async with watching(consul, **options) as published:
        assert published.labels[0]["__meta_consul_dc"] == "dc-9"
    assert asked(consul, "/v1/agent/self") == []
    common = {
        "dc": ["dc-9"],
        "ns": ["ns"],
        "partition": ["part"],
        "wait": ["120000ms"],
        "node-meta": ["rack:7", "zone:a"],
    }
    assert asked(consul, "/v1/catalog/services")[0] == {**common, "filter": ['ServiceTags contains "x"']}
    assert asked(consul, "/v1/health/service/a/b")[0] == {**common, "filter": ['Service.Tags contains "x"']}


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"username": "u", "password": Secret("p")}, {"authorization": "Basic dTpw"}),
        (
            {"http": HttpClientConfig(authorization=Authorization(credentials=Secret("t")))},
            {"authorization": "Bearer t"},
        ),
        ({}, {}),
    ],
)
async def test_credentials(options: dict[str, Any], headers: dict[str, str]) -> None:
    """User and password of the entry, or those of the HTTP client, which Consul takes as a token as well."""
    consul = FakeConsul({"web": [WEB1]})
    async with watching(consul, **options):
        sent = consul.requests[-1].headers
    assert {k: v for k, v in sent.items() if k in ("authorization", "x-consul-token")} == headers


async def test_errors_keep_the_last_good_targets() -> None:
    """They are counted, and after a pause both watches ask anew, without an index."""
    consul = FakeConsul({"web": [WEB1]})
    async with watching(consul) as published:
        await published.until(lambda: consul.waiting == 2)
        consul.broken = True
        consul.bump()
        await published.until(lambda: published.failures >= 4)
        assert published.addresses == ["10.0.0.1:8080"]
        statistics = published.discoverer.statistics()
        assert statistics.rpc_failures_total >= 4
        consul.broken, consul.services["web"] = False, [WEB2]
        await published.until(lambda: published.addresses == ["10.9.0.2:8080"])
    family = statistics.rpc_durations_total
    assert {dict(p.labels)["call"] for p in family.points} == {"services", "service"}
    assert {dict(p.labels)["endpoint"] for p in family.points} == {"catalog"}


async def test_an_agent_that_is_down_and_comes_back() -> None:
    """The start does not wait for it; everything is found when it is there, and again after a restart."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    for options in ({}, {"services": ("web",)}):
        async with running(ConsulDiscoverer, config(f"127.0.0.1:{port}", **options)) as published:
            assert (published.times, published.addresses) == (1, [])
            assert published.failures >= 1
            async with serving(FakeConsul({"web": [WEB1]}), port=port):
                await published.until(lambda: published.addresses == ["10.0.0.1:8080"])
                assert published.labels[0]["__meta_consul_dc"] == "dc-1"
            await published.until(lambda: published.failures >= 3)
            assert published.addresses == ["10.0.0.1:8080"]
            async with serving(FakeConsul({"web": [WEB2]}, index=1), port=port):
                await published.until(lambda: published.addresses == ["10.9.0.2:8080"])


async def test_one_service_fails_and_the_others_go_on() -> None:
    """An answer that makes no sense is an error of that service only."""
    consul = FakeConsul({"web": [WEB1], "bad": [{"Service": {"Port": "x", "Tags": None}}]})
    async with watching(consul) as published:
        assert published.addresses == ["10.0.0.1:8080"]
        assert published.failures >= 1
        consul.put("bad", DB)
        await published.until(lambda: published.addresses == ["10.0.0.1:3306", "10.0.0.1:8080"])


async def test_the_token_is_needed_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the server are in the log, the token is not."""
    said: list[str] = []
    log = SimpleNamespace(error=lambda *words, **more: said.append(f"{words} {more}"))
    monkeypatch.setattr(discoverer, "log", log)
    async with watching(FakeConsul({"web": [WEB1]}, token="right"), token=Secret("wrong-secret")) as published:
        await published.until(lambda: published.failures >= 2)
        assert published.addresses == []
    (line,) = said
    assert "Permission denied" in line
    assert "wrong-secret" not in line


async def test_questions_for_one_thing_keep_the_interval() -> None:
    """However often it changes."""
    consul = FakeConsul({"web": [WEB1]})
    async with watching(consul, interval_ms=60_000) as published:
        for n in range(5):
            consul.put("web", WEB1, instance(f"web-{n}", "n", "10.0.0.9", n))
        await published.until(lambda: len(published.addresses) == 2)
        assert len(asked(consul, "/v1/health/service/web")) <= 2


async def test_the_number_of_watches_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the services is left alone."""
    monkeypatch.setattr(discoverer, "SERVICES_MAX", 1)
    async with watching(FakeConsul({"web": [WEB1], "db": [DB]})) as published:
        assert published.addresses == ["10.0.0.1:8080"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], "passing"),
        ([("c", "passing")], "passing"),
        ([("c", "passing"), ("d", "warning")], "warning"),
        ([("c", "warning"), ("d", "critical"), ("e", "passing")], "critical"),
        ([("_node_maintenance", "critical"), ("d", "critical")], "maintenance"),
        ([("_service_maintenance:web-1", "critical")], "maintenance"),
        ([("c", "critical"), ("d", "odd")], ""),
    ],
)
def test_health_is_the_gravest_status(statuses: list[tuple[str, str]], expected: str) -> None:
    """Of all checks of node and service."""
    assert health([Fields({"CheckID": id, "Status": status}) for id, status in statuses]) == expected


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "http://localhost:8500"),
        ({"server": "c:1", "scheme": "https", "path_prefix": "consul/"}, "https://c:1/consul"),
        ({"server": "https://c:1/prefix"}, "https://c:1/prefix"),
        ({"server": "http://c:1", "scheme": "https"}, "https://c:1"),
        ({"server": "http://c:1/a", "path_prefix": "/b"}, "http://c:1/b"),
        ({"server": "unix:///run/consul.sock"}, "unix:///run/consul.sock"),
    ],
)
def test_where_the_server_is(options: dict[str, str], address: str) -> None:
    """Scheme and prefix may stand in the address."""
    assert ConsulSdConfig(**options).address() == address


async def test_a_unix_socket_and_the_contract(tmp_path: Path) -> None:
    """As every kind of discovery."""
    async with serving(FakeConsul({"web": [WEB1]}), unix_socket=str(tmp_path / "c.sock")) as address:
        (kind,) = tinyobs_discoverers()
        assert len(await check_discoverer(kind, config(address))) == 1
