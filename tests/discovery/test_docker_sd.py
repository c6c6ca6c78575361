"""Targets from the containers of a Docker daemon.

Debian's CI has no running daemon: these tests ask a fake one that speaks the Engine API, over a Unix socket and TCP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_docker import NETWORKS, FakeDocker, container
from fake_http_api import serving
from published import running

from tinyobs.builtin.docker_sd import tinyobs_discoverers
from tinyobs.builtin.docker_sd.discoverer import DockerDiscoverer
from tinyobs.config.docker_sd import DockerFilter, DockerSdConfig
from tinyobs.model.durations import DurationMs
from tinyobs.testing.check_discoverer import check_discoverer

WEB = container("c1", "web", {"front": ("n1", "172.18.0.2")}, [(9100, 0, "", "tcp"), (53, 0, "", "udp")])
OF_WEB = {
    "__meta_docker_container_id": "c1",
    "__meta_docker_container_name": "/web",
    "__meta_docker_container_image": "web:1.0",
    "__meta_docker_container_image_id": "sha256:web",
    "__meta_docker_container_network_mode": "front",
    "__meta_docker_container_label_com_docker_compose_service": "web",
}
OF_FRONT = {
    "__meta_docker_network_id": "n1",
    "__meta_docker_network_name": "front",
    "__meta_docker_network_scope": "local",
    "__meta_docker_network_internal": "false",
    "__meta_docker_network_ingress": "false",
    "__meta_docker_network_label_com_x_team": "web",
}


def config(host: str, interval_ms: int = 20, **more: Any) -> DockerSdConfig:
    """Return a configuration for a fake daemon."""
    return DockerSdConfig(host=host, refresh_interval_ms=DurationMs(interval_ms), **more)


async def discovered(*containers: Any, **more: Any) -> list[dict[str, str]]:
    """Return the labels of all targets of some containers."""
    async with (
        serving(FakeDocker(list(containers))) as address,
        running(DockerDiscoverer, config(f"tcp://{address}", 60_000, **more)) as published,
    ):
        assert set(published.groups) <= {"Docker"}
        assert published.failures == 0
        return published.labels


async def test_all_labels_of_a_target() -> None:
    """Those of the container, its network and its port; only TCP ports count."""
    assert await discovered(WEB) == [
        {
            "__address__": "172.18.0.2:9100",
            "__meta_docker_network_ip": "172.18.0.2",
            "__meta_docker_port_private": "9100",
            **OF_WEB,
            **OF_FRONT,
        }
    ]


async def test_a_published_port() -> None:
    """Its number and address on the host are labels; the target is the container itself."""
    one = container("c1", "web", {"front": ("n1", "172.18.0.2")}, [(80, 8080, "0.0.0.0", "tcp")])
    (labels,) = await discovered(one)
    assert labels["__address__"] == "172.18.0.2:80"
    assert labels["__meta_docker_port_public"] == "8080"
    assert labels["__meta_docker_port_public_ip"] == "0.0.0.0"


async def test_containers_without_tcp_ports() -> None:
    """They get the port of the configuration; in the network of the host its name there, without a port."""
    quiet = container("c1", "quiet", {"front": ("n1", "172.18.0.3")}, [(53, 0, "", "udp")])
    host = container("c2", "host", {"host": ("n0", "")}, mode="host")
    found = await discovered(quiet, host, port=1234, host_networking_host="node7")
    assert [t["__address__"] for t in found] == ["172.18.0.3:1234", "node7"]
    assert "__meta_docker_port_private" not in found[0]
    assert "__meta_docker_network_name" not in found[1]
    assert found[1]["__meta_docker_network_ip"] == ""


async def test_containers_in_several_networks() -> None:
    """By default the first by name counts, else each gives targets of its own."""
    both = container("c1", "both", {"front": ("n1", "172.18.0.4"), "back": ("n2", "172.19.0.4")}, [(80, 0, "", "tcp")])
    (first,) = await discovered(both)
    assert (first["__address__"], first["__meta_docker_network_name"]) == ("172.19.0.4:80", "back")
    assert first["__meta_docker_network_internal"] == "true"
    found = await discovered(both, match_first_network=False)
    assert [t["__address__"] for t in found] == ["172.18.0.4:80", "172.19.0.4:80"]


async def test_containers_that_share_a_network() -> None:
    """They are reached where the container is whose network they use, also over several steps; circles end."""
    main = container("c1", "main", {"front": ("n1", "172.18.0.5"), "gone": None}, [(3306, 0, "", "tcp")])
    side = container("c2", "side", {}, [(9104, 0, "", "tcp")], mode="container:c1")
    far = container("c3", "far", {}, [(9105, 0, "", "tcp")], mode="container:c2")
    lost = container("c4", "lost", {}, mode="container:c0")
    ring = container("c5", "ring", {}, mode="container:c6")
    other = container("c6", "ring2", {}, mode="container:c5")
    found = await discovered(main, side, far, lost, ring, other)
    assert [t["__address__"] for t in found] == ["172.18.0.5:3306", "172.18.0.5:9104", "172.18.0.5:9105"]
    assert found[1]["__meta_docker_network_name"] == "front"
    assert found[1]["__meta_docker_container_network_mode"] == "container:c1"


async def test_networks_without_ipv4() -> None:
    """The address of IPv6 stands in brackets."""
    one = container("c1", "six", {})
    one["NetworkSettings"]["Networks"]["front"] = {"NetworkID": "n1", "IPAddress": "", "GlobalIPv6Address": "fc00::2"}
    (labels,) = await discovered(one)
    assert (labels["__address__"], labels["__meta_docker_network_ip"]) == ("[fc00::2]:80", "fc00::2")


async def test_a_container_without_a_name_is_passed_over() -> None:
    """It is about to be removed."""
    assert await discovered(container("c1", "x", {"front": ("n1", "172.18.0.2")}, Names=[])) == []


async def test_containers_come_and_go_over_a_unix_socket(tmp_path: Path) -> None:
    """Each refresh lists them anew."""
    docker = FakeDocker([WEB])
    async with serving(docker, unix_socket=str(tmp_path / "docker.sock")) as address:
        assert address.startswith("unix:///")
        async with running(DockerDiscoverer, config(address)) as published:
            assert published.addresses == ["172.18.0.2:9100"]
            docker.containers.append(container("c2", "db", {"back": ("n2", "172.19.0.9")}))
            await published.until(lambda: published.addresses == ["172.18.0.2:9100", "172.19.0.9:80"])
            docker.containers.clear()
            await published.until(lambda: published.addresses == [])


async def test_an_error_keeps_the_last_good_containers(tmp_path: Path) -> None:
    """Also a daemon that is away; one that comes back with another version is asked in that one."""
    path = str(tmp_path / "docker.sock")
    docker = FakeDocker([WEB])
    async with serving(docker, unix_socket=path) as address, running(DockerDiscoverer, config(address)) as published:
        docker.broken = True
        await published.until(lambda: published.failures >= 2)
        assert published.addresses == ["172.18.0.2:9100"]
        docker.broken, docker.version = False, "1.30"
        docker.containers = []
        await published.until(lambda: published.addresses == [])
        assert docker.requests[-1].path.startswith("/v1.30/")
        docker.networks = [*NETWORKS, {"Id": 7}]
        await published.until(lambda: published.failures >= 4)


@pytest.mark.parametrize(("version", "asked"), [("1.24", "v1.24"), ("1.51", "v1.51"), ("2.1", "v1.51"), ("", "v1.24")])
async def test_the_version_of_the_api(version: str, asked: str) -> None:
    """The newest that both sides speak; one that tells none is asked as an old one."""
    docker = FakeDocker([WEB], version=version)
    async with serving(docker) as address, running(DockerDiscoverer, config(f"http://{address}", 60_000)) as published:
        assert len(published.addresses) == 1
    assert [r.path for r in docker.requests] == ["/_ping", f"/{asked}/containers/json", f"/{asked}/networks"]


async def test_filters_are_applied_by_the_daemon() -> None:
    """As the API takes them; networks are listed without."""
    docker = FakeDocker([WEB, container("c2", "db", {"back": ("n2", "172.19.0.9")})])
    filters = (DockerFilter(name="name", values=("db", "cache")), DockerFilter(name="label", values=()))
    async with (
        serving(docker) as address,
        running(DockerDiscoverer, config(f"tcp://{address}", 60_000, filters=filters)) as published,
    ):
        assert published.addresses == ["172.19.0.9:80"]
    assert docker.requests[1].parameter("filters") == '{"name":{"db":true,"cache":true},"label":{}}'
    assert docker.requests[2].query == {}


@pytest.mark.parametrize("bad", [{"Id": 1}, {"Names": "x"}, {"Ports": {}}, {"Labels": {"a": 1}}, {"HostConfig": []}, 7])
async def test_answers_that_make_no_sense_are_errors(bad: Any) -> None:
    """They neither crash the discovery nor pass for containers."""
    wrong = {**WEB, **bad} if isinstance(bad, dict) else bad
    async with (
        serving(FakeDocker([wrong])) as address,
        running(DockerDiscoverer, config(f"tcp://{address}", 60_000)) as published,
    ):
        assert (published.failures, published.addresses) == (1, [])


async def test_the_contract_is_kept() -> None:
    """As every kind of discovery."""
    async with serving(FakeDocker([WEB])) as address:
        kind = tinyobs_discoverers()[0]
        assert len(await check_discoverer(kind, config(f"tcp://{address}"))) == 1
