"""Labels of discovery beside those of other programs that ask the same fake servers.

Debian's Prometheus knows HTTP, Docker and Docker Swarm; it is built without Consul and Nomad, which VictoriaMetrics
knows.  Neither can be told where name servers listen, so DNS is not among them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from fake_consul import FakeConsul
from fake_consul import instance as consul_instance
from fake_docker import FakeDocker, container
from fake_http_api import Handle, Reply, Request, serving
from fake_nomad import FakeNomad
from fake_nomad import instance as nomad_instance
from peers import free_port, get, prometheus_3, victoria_metrics
from peers import running as running_peer
from published import running
from test_dockerswarm_sd import NODES, WEB, service, task

from tinyobs.builtin.consul_sd.discoverer import ConsulDiscoverer
from tinyobs.builtin.docker_sd.discoverer import DockerDiscoverer, SwarmDiscoverer
from tinyobs.builtin.http_sd import HttpDiscoverer
from tinyobs.builtin.nomad_sd import NomadDiscoverer
from tinyobs.config.loader import parse

pytestmark = [pytest.mark.peer]

MAKERS: Mapping[str, Any] = {
    "http_sd_configs": HttpDiscoverer,
    "docker_sd_configs": DockerDiscoverer,
    "dockerswarm_sd_configs": SwarmDiscoverer,
    "consul_sd_configs": ConsulDiscoverer,
    "nomad_sd_configs": NomadDiscoverer,
}
NEWER = {"__meta_docker_container_image", "__meta_docker_container_image_id"}
"""Labels that came after the version at hand."""


async def lists(request: Request) -> Reply:
    """Answer with two groups."""
    return Reply([{"targets": ["a:1", "a:2"], "labels": {"env": "x", "__meta_m": "y"}}, {"targets": ["b:1"]}])


def docker() -> FakeDocker:
    """Return a daemon with containers of every kind, and a swarm."""
    ports = [(80, 8080, "0.0.0.0", "tcp"), (53, 0, "", "udp"), (9100, 0, "", "tcp")]
    two = {"front": ("n1", "172.18.0.4"), "back": ("n2", "172.19.0.4")}
    return FakeDocker(
        containers=[
            container("c1", "web", {"front": ("n1", "172.18.0.2")}, ports),
            container("c2", "quiet", {"front": ("n1", "172.18.0.3")}, [(53, 0, "", "udp")]),
            container("c3", "host", {"host": ("n0", "")}, mode="host"),
            container("c4", "two", two, [(3306, 0, "", "tcp")]),
            container("c5", "side", {}, [(9104, 0, "", "tcp")], mode="container:c4"),
            container("c6", "lost", {}, mode="container:c0"),
        ],
        services=[
            {**WEB, "UpdateStatus": {"State": "completed"}},
            service("glob", "Global", [(53, "udp", "")], [("n1", "172.18.0.1/24"), ("n9", "10.1.0.9/16")]),
        ],
        nodes=NODES,
        tasks=[
            task("t1", "web", "w1", {"n9": ["10.1.0.8/16"], "n1": ["172.18.0.8/24"]}, [(9200, "tcp"), (9, "udp")]),
            task("t2", "glob", "m1", {"n9": ["10.1.0.7/16"]}),
        ],
    )


def consul() -> FakeConsul:
    """Return an agent with instances of every kind."""
    checks = [{"CheckID": "a", "Status": "passing"}, {"CheckID": "b", "Status": "warning"}]
    web = [
        consul_instance("web-1", "n1", "10.0.0.1", 80, ["a", "b"], node_meta={"rack.id": "7"}, meta={"x/y": "z"}),
        consul_instance("web-2", "n2", "10.0.0.2", 81, service_address="10.9.0.2", checks=checks),
    ]
    return FakeConsul({"web": web, "db": [consul_instance("db-1", "n1", "10.0.0.1", 3306)]})


def nomad() -> FakeNomad:
    """Return a server with two services."""
    return FakeNomad([nomad_instance("web", 1, "10.0.0.1", 80), nomad_instance("db", 2, "10.0.0.2", 81, Tags=[])])


def shown(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the labels that a discovery makes."""
    return tuple(
        sorted((k, v) for k, v in labels.items() if v and (k.startswith("__meta_") or k in ("__address__", "env")))
    )


async def theirs(command: list[str], ready: str, base: str, folder: Path, count: int) -> list[Any]:
    """Run a program until it has discovered so many targets; return their labels."""

    def ask() -> list[Any]:
        dropped = json.loads(get(f"{base}/api/v1/targets?state=any"))["data"]["droppedTargets"] or []
        return [target["discoveredLabels"] for target in dropped]

    process = running_peer(command, ready, folder)
    await trio.to_thread.run_sync(process.__enter__)
    try:
        with trio.move_on_after(15):
            while len(await trio.to_thread.run_sync(ask)) < count:  # noqa: ASYNC110
                await trio.sleep(0.2)
        return await trio.to_thread.run_sync(ask)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial(process.__exit__, None, None, None))


CASES: Mapping[str, tuple[Any, str]] = {
    "http": (lambda: lists, "http_sd_configs: [{url: 'http://ADDRESS/x'}]"),
    "docker": (docker, "docker_sd_configs: [{host: 'tcp://ADDRESS', port: 81}]"),
    "docker, all networks": (
        docker,
        "docker_sd_configs: [{host: 'http://ADDRESS', match_first_network: false, host_networking_host: h}]",
    ),
    **{
        role: (docker, f"dockerswarm_sd_configs: [{{host: 'tcp://ADDRESS', role: {role}, port: 82}}]")
        for role in ("nodes", "services", "tasks")
    },
    "consul": (consul, "consul_sd_configs: [{server: ADDRESS, tag_separator: '|'}]"),
    "consul, one service": (consul, "consul_sd_configs: [{server: ADDRESS, services: [web], datacenter: dc-1}]"),
    "nomad": (nomad, "nomad_sd_configs: [{server: 'http://ADDRESS'}]"),
}


async def both(case: str, folder: Path, command: list[str], ready: str, base: str) -> tuple[list[Any], list[Any]]:
    """Return the labels of all targets, as we discover them and as another program does."""
    make, text = CASES[case]
    handle: Handle = make()
    async with serving(handle) as address:
        text = f"scrape_configs: [{{job_name: j, relabel_configs: [{{action: drop, source_labels: [job], regex: .*}}], {text.replace('ADDRESS', address)}}}]"
        ((key, (entry,)),) = parse(text).scrape_configs[0].discovery
        async with running(MAKERS[key], entry) as published:
            assert published.failures == 0
            ours = published.labels
        await trio.Path(folder / "peer.yml").write_text(text)
        found = await theirs(command, ready, base, folder, len(ours))
    assert ours
    return sorted(map(shown, ours)), sorted(map(shown, found))


@pytest.mark.parametrize("case", ["http", "docker", "docker, all networks", "nodes", "services", "tasks"])
async def test_labels_are_those_of_prometheus(tmp_path: Path, case: str) -> None:
    """For every target, each label and value."""
    base = f"http://127.0.0.1:{free_port()}"
    command = [
        prometheus_3(), "--config.file=peer.yml", f"--web.listen-address={base.removeprefix('http://')}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
    ]  # fmt: skip
    ours, found = await both(case, tmp_path, command, f"{base}/-/ready", base)
    assert [tuple(p for p in labels if p[0] not in NEWER) for labels in ours] == found


THEIR_OWN = re.compile("__meta_consul_tag(present)?_.*|__meta_nomad_(tagpresent_.*|service_(job|alloc)_id)")
"""Labels that VictoriaMetrics adds."""


@pytest.mark.parametrize("case", ["http", "consul", "consul, one service", "nomad"])
async def test_labels_are_those_of_victoriametrics(tmp_path: Path, case: str) -> None:
    """For every target, each label and value that Prometheus has as well; empty tags of Nomad are none there."""
    if case == "nomad":
        await trio.Path(tmp_path / "try.yml").write_text("scrape_configs: [{job_name: j, nomad_sd_configs: [{}]}]")
        tried = [victoria_metrics(), "-dryRun", f"-promscrape.config={tmp_path / 'try.yml'}"]
        if (await trio.run_process(tried, check=False, capture_stdout=True, capture_stderr=True)).returncode:
            pytest.skip("the installed victoria-metrics is older than its discovery in Nomad")
    base = f"http://127.0.0.1:{free_port()}"
    command = [
        victoria_metrics(), "-promscrape.config=peer.yml", f"-httpListenAddr={base.removeprefix('http://')}",
        f"-storageDataPath={tmp_path / 'data'}",
    ]  # fmt: skip
    ours, found = await both(case, tmp_path, command, f"{base}/health", base)
    common = [tuple(p for p in t if not THEIR_OWN.fullmatch(p[0]) and p != ("__meta_nomad_tags", ",,")) for t in found]
    assert ours == common
