"""The pages on discovery: examples that work as they stand, all settings with their defaults, all labels."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from fake_consul import FakeConsul
from fake_consul import instance as consul_instance
from fake_dns import FakeDns, fake_dns
from fake_docker import NETWORKS, FakeDocker, container
from fake_http_api import Reply, Request, serving
from fake_nomad import FakeNomad
from fake_nomad import instance as nomad_instance
from published import running
from test_dockerswarm_sd import NODES, WEB, task

from tinyobs.builtin import file_sd, http_sd, nomad_sd
from tinyobs.builtin.consul_sd.discoverer import ConsulDiscoverer
from tinyobs.builtin.dns_sd.discoverer import DnsDiscoverer
from tinyobs.builtin.docker_sd.discoverer import DockerDiscoverer, SwarmDiscoverer
from tinyobs.builtin.scrape.manager import pool_defaults
from tinyobs.builtin.scrape.targets import make_targets
from tinyobs.config import discovery
from tinyobs.config.fields import plan
from tinyobs.config.loader import parse
from tinyobs.model.durations import DurationMs, format_duration

DOCS = Path(__file__).parents[2] / "docs" / "discovery"
ROW = re.compile(r"^\| (`[a-z][a-z_]*`(?:, `[a-z_]+`)*) \| ([^|]*)\|", re.MULTILINE)
SCHEMAS = {
    "files": discovery.FileSdConfig,
    "http": discovery.HttpSdConfig,
    "dns": discovery.DnsSdConfig,
    "docker": discovery.DockerSdConfig,
    "dockerswarm": discovery.DockerSwarmSdConfig,
    "consul": discovery.ConsulSdConfig,
    "nomad": discovery.NomadSdConfig,
}


def page(name: str) -> str:
    """Return the text of a page."""
    return (DOCS / f"{name}.md").read_text()


def blocks(name: str, language: str = "yaml") -> list[str]:
    """Return the blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    """Keys and defaults of a page are those of the schema; the keys of an HTTP client have a page of their own."""
    found = {}
    for keys, default in ROW.findall(page(name)):
        found.update(dict.fromkeys(re.findall(r"`([a-z_]+)`", keys), default.strip()))
    expected = {p.key: p for p in plan(SCHEMAS[name]) if not p.inline}
    assert set(found) == set(expected)
    for key, default in found.items():
        value = expected[key].default()
        if expected[key].type is DurationMs:
            value = format_duration(value)
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        # Words say what an empty value means.
        assert default == f"`{shown}`" if value or key == "port" else not default.startswith("`"), key


@pytest.mark.parametrize("name", [*SCHEMAS, "serving"])
def test_every_example_is_a_configuration(name: str) -> None:
    """As it stands; an example of a file is a list of groups."""
    for block in blocks(name):
        if block.startswith("- targets"):
            continue
        assert parse(block, str(DOCS / "prometheus.yml")).scrape_configs


def test_every_page_is_in_the_table() -> None:
    """The first page leads to all others."""
    index = page("index")
    for path in DOCS.glob("*.md"):
        assert path.name == "index.md" or f"({path.name})" in index, path.name


@asynccontextmanager
async def example(
    name: str, makers: Mapping[str, Callable[..., Any]], replaced: Mapping[str, str], block: int = 0
) -> AsyncIterator[list[dict[str, str]]]:
    """Run the discoveries of an example and yield the labels of its targets after relabelling, each with `url`.

    replaced: texts of the example and what stands in their place here.
    """
    text = blocks(name)[block]
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    (config,) = parse(text, str(DOCS / "prometheus.yml")).scrape_configs
    groups, names = [], set()
    async with AsyncExitStack() as stack:
        for key, entries in config.discovery:
            for entry in entries:
                published = await stack.enter_async_context(running(makers[key], entry))
                assert published.failures == 0
                groups += [(g.targets, g.labels) for g in published.groups.values()]
                names |= {label for labels in published.labels for label in labels if label.startswith("__meta_")}
        if name in SCHEMAS:
            assert_documented(names, name)
        found = make_targets(groups, pool_defaults(config))
        assert found.errors == []
        yield sorted(({**dict(t.labels), "url": t.url} for t in found.targets), key=lambda t: t["url"])


def assert_documented(labels: set[str], name: str) -> None:
    """Check that a page lists labels."""
    patterns = [re.sub(r"<[a-z]+>", r"\\w+", label) for label in re.findall(r"`(__meta_[\w<>]+)`", page(name))]
    for label in labels:
        if not re.fullmatch("__meta_(rack|docker_.*_from_list)", label):
            assert any(re.fullmatch(pattern, label) for pattern in patterns), label


async def test_the_example_of_files(tmp_path: Path) -> None:
    """Both blocks: the configuration, and the file that it reads."""
    await trio.Path(tmp_path / "berlin.yml").write_text(blocks("files")[1])
    await trio.Path(tmp_path / "paris.json").write_text('[{"targets": ["10.0.1.1:9100"]}]')
    makers = {"file_sd_configs": file_sd.FileDiscoverer}
    async with example("files", makers, {"targets/": f"{tmp_path}/"}) as targets:
        assert [(t["url"], t["site"], t.get("env")) for t in targets] == [
            ("http://10.0.0.1:9100/metrics", "berlin", "prod"),
            ("http://10.0.0.2:9100/metrics", "berlin", "prod"),
            ("http://10.0.1.1:9100/metrics", "paris", None),
        ]


async def test_the_example_of_http() -> None:
    """The list that the page shows is what the server answers."""

    async def answer(request: Request) -> Reply:
        assert request.headers["authorization"] == "Bearer a-token"
        return Reply(json.loads(blocks("http", "json")[0]))

    makers = {"http_sd_configs": http_sd.HttpDiscoverer}
    async with (
        serving(answer) as address,
        example("http", makers, {"inventory.example:8080": address}) as targets,
    ):
        assert [(t["instance"], t["rack"], t["env"]) for t in targets] == [
            ("10.0.0.1:9100", "7", "prod"),
            ("10.0.0.2:9100", "7", "prod"),
        ]


async def test_the_example_of_dns(tmp_path: Path) -> None:
    """Both entries."""
    conf = tmp_path / "resolv.conf"
    await trio.Path(conf).write_text("nameserver 127.0.0.1\n")
    zone = {
        "_metrics._tcp.web.example.org.": ["60 IN SRV 0 0 8080 web1.example.org."],
        "db.example.org.": ["60 IN A 10.0.0.1"],
        "cache.example.org.": ["60 IN A 10.0.0.2"],
    }
    async with fake_dns(FakeDns(zone)) as server:
        makers = {"dns_sd_configs": lambda entry, context: DnsDiscoverer(entry, context, str(conf), server.port)}
        async with example("dns", makers, {}) as targets:
            assert [(t["instance"], t["name"]) for t in targets] == [
                ("10.0.0.1:9100", "db.example.org"),
                ("10.0.0.2:9100", "cache.example.org"),
                ("web1.example.org:8080", "_metrics._tcp.web.example.org"),
            ]


async def test_the_example_of_docker(tmp_path: Path) -> None:
    """Over a Unix socket."""
    labels = {"prometheus": "true", "port": "9100"}
    ports = [(9100, 19100, "127.0.0.1", "tcp"), (80, 0, "", "tcp")]
    docker = FakeDocker([container("c1", "web", {"front": ("n1", "172.18.0.2")}, ports, Labels=labels)])
    makers = {"docker_sd_configs": DockerDiscoverer}
    async with (
        serving(docker, unix_socket=str(tmp_path / "docker.sock")) as address,
        example("docker", makers, {"unix:///var/run/docker.sock": address}) as targets,
    ):
        assert [(t["instance"], t["container"]) for t in targets] == [("172.18.0.2:9100", "web")]
    assert docker.requests[1].parameter("filters") == '{"label":{"prometheus=true":true}}'


async def test_the_example_of_docker_swarm(tmp_path: Path) -> None:
    """And all labels of the other roles are on the page."""
    web = json.loads(json.dumps(WEB))
    web["Spec"]["Labels"] = {"prometheus-job": "shop"}
    web["UpdateStatus"] = {"State": "completed"}
    one = task("t1", "web", "w1", {"n9": ["10.1.0.8/16"], "n1": ["172.18.0.8/24"]}, [(9200, "tcp")])
    networks = [{**NETWORKS[0], "Name": "monitoring"}, *NETWORKS[1:]]
    swarm = FakeDocker(networks=networks, services=[web], nodes=NODES, tasks=[one])
    makers = {"dockerswarm_sd_configs": SwarmDiscoverer}
    async with serving(swarm, unix_socket=str(tmp_path / "docker.sock")) as address:
        for role in ("tasks", "services", "nodes"):
            replaced = {"unix:///var/run/docker.sock": address, "role: tasks": f"role: {role}"}
            async with example("dockerswarm", makers, replaced) as targets:
                if role == "tasks":
                    assert [(t["instance"], t["job"], t["node"]) for t in targets] == [
                        ("172.18.0.8:9100", "shop", "host-w1")
                    ]


async def test_the_example_of_consul() -> None:
    """With health and tags turned into labels."""
    good = consul_instance(
        "web-1", "n1", "10.0.0.1", 80, ["metrics", "version=7"], node_meta={"a": "b"}, meta={"c": "d"}
    )
    bad = consul_instance("web-2", "n2", "10.0.0.2", 80, ["metrics"], checks=[{"CheckID": "c", "Status": "critical"}])
    consul = FakeConsul({"web": [good, bad], "other": [consul_instance("x-1", "n", "10.0.0.3", 1)]}, token="a-token")
    makers = {"consul_sd_configs": ConsulDiscoverer}
    async with (
        serving(consul) as address,
        example("consul", makers, {"consul.example:8500": address}) as targets,
    ):
        assert [(t["instance"], t["job"], t["version"]) for t in targets] == [("10.0.0.1:80", "web", "7")]


async def test_the_example_of_nomad() -> None:
    """In all namespaces."""
    one = nomad_instance("web", 1, "10.0.0.1", 80, Namespace="prod")
    nomad = FakeNomad([one, nomad_instance("quiet", 2, "10.0.0.2", 80, Tags=None)])
    makers = {"nomad_sd_configs": nomad_sd.NomadDiscoverer}
    async with (
        serving(nomad) as address,
        example("nomad", makers, {"nomad.example:4646": address}) as targets,
    ):
        assert [(t["instance"], t["job"], t["namespace"]) for t in targets] == [("10.0.0.1:80", "web", "prod")]
    assert nomad.requests[0].headers["authorization"] == "Bearer a-token"
