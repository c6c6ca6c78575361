"""Targets from the services, tasks and nodes of a Docker swarm.

Debian's CI has no swarm: these tests ask a fake manager that speaks the Engine API.
"""

from __future__ import annotations

from typing import Any

import pytest
from fake_docker import FakeDocker
from fake_http_api import serving
from published import running

from tinyobs.builtin.docker_sd import tinyobs_discoverers
from tinyobs.builtin.docker_sd.discoverer import SwarmDiscoverer
from tinyobs.config.docker_sd import DockerFilter, DockerSwarmSdConfig
from tinyobs.model.durations import DurationMs
from tinyobs.testing.check_discoverer import check_discoverer

P = "__meta_dockerswarm_"


def node(id: str, role: str, address: str, **more: Any) -> dict[str, Any]:
    """Return one entry of `nodes`."""
    return {
        "ID": id,
        "Spec": {"Role": role, "Availability": "active", "Labels": {"rack.id": "7"}},
        "Description": {
            "Hostname": f"host-{id}",
            "Platform": {"Architecture": "x86_64", "OS": "linux"},
            "Engine": {"EngineVersion": "27.5.1"},
        },
        "Status": {"State": "ready", "Addr": address},
        **more,
    }


def service(id: str, mode: str, ports: Any = (), addresses: Any = (), **more: Any) -> dict[str, Any]:
    """Return one entry of `services`; ports: (number, protocol, name), addresses: (network, address with prefix)."""
    return {
        "ID": id,
        "Spec": {
            "Name": f"mon_{id}",
            "Labels": {"com.docker.stack.namespace": "mon"},
            "Mode": {mode: {"Replicas": 1}} if mode else {},
            "TaskTemplate": {"ContainerSpec": {"Image": "img:1@sha256:ab", "Hostname": "h"}},
        },
        "Endpoint": {
            "Ports": [
                {"PublishedPort": n, "TargetPort": n, "Protocol": kind, "PublishMode": "ingress", "Name": name}
                for n, kind, name in ports
            ],
            "VirtualIPs": [{"NetworkID": network, "Addr": address} for network, address in addresses],
        },
        **more,
    }


def task(id: str, service_id: str, node_id: str, addresses: Any, ports: Any = (), **more: Any) -> dict[str, Any]:
    """Return one entry of `tasks`; addresses: network -> addresses with prefix."""
    return {
        "ID": id,
        "ServiceID": service_id,
        "NodeID": node_id,
        "Slot": 2,
        "DesiredState": "running",
        "Spec": {"ContainerSpec": {"Labels": {"a.b": "c"}}},
        "Status": {
            "State": "running",
            "ContainerStatus": {"ContainerID": f"c-{id}"},
            "PortStatus": {"Ports": [{"PublishedPort": n, "Protocol": k, "PublishMode": "host"} for n, k in ports]},
        },
        "NetworksAttachments": [{"Network": {"ID": n}, "Addresses": a} for n, a in addresses.items()],
        **more,
    }


NODES = [
    node("m1", "manager", "10.0.0.1", ManagerStatus={"Leader": True, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}),
    node("w1", "worker", "10.0.0.2"),
]  # fmt: skip
OF_W1 = {
    f"{P}node_id": "w1",
    f"{P}node_role": "worker",
    f"{P}node_address": "10.0.0.2",
    f"{P}node_availability": "active",
    f"{P}node_hostname": "host-w1",
    f"{P}node_platform_architecture": "x86_64",
    f"{P}node_platform_os": "linux",
    f"{P}node_status": "ready",
    f"{P}node_label_rack_id": "7",
}
OF_INGRESS = {
    f"{P}network_id": "n9",
    f"{P}network_name": "ingress",
    f"{P}network_scope": "swarm",
    f"{P}network_internal": "false",
    f"{P}network_ingress": "true",
}
OF_WEB = {
    f"{P}service_id": "web",
    f"{P}service_name": "mon_web",
    f"{P}service_mode": "replicated",
    f"{P}service_label_com_docker_stack_namespace": "mon",
}
WEB = service("web", "Replicated", [(9100, "tcp", "http"), (53, "udp", "")], [("n9", "10.1.0.7/16")])


def config(address: str, role: str, interval_ms: int = 20, **more: Any) -> DockerSwarmSdConfig:
    """Return a configuration for a fake manager."""
    return DockerSwarmSdConfig(
        host=f"tcp://{address}", role=role, refresh_interval_ms=DurationMs(interval_ms), **more
    )  # fmt: skip


async def discovered(role: str, swarm: FakeDocker, **more: Any) -> list[dict[str, str]]:
    """Return the labels of all targets of a role."""
    async with (
        serving(swarm) as address,
        running(SwarmDiscoverer, config(address, role, 60_000, **more)) as published,
    ):
        assert set(published.groups) <= {"DockerSwarm"}
        assert published.failures == 0
        return published.labels


async def test_nodes() -> None:
    """All labels; those of managers only on managers."""
    manager, worker = await discovered("nodes", FakeDocker(nodes=NODES), port=9323)
    assert worker == {"__address__": "10.0.0.2:9323", f"{P}node_engine_version": "27.5.1", **OF_W1}
    assert {k: v for k, v in manager.items() if "manager_" in k} == {
        f"{P}node_manager_leader": "true",
        f"{P}node_manager_reachability": "reachable",
        f"{P}node_manager_address": "10.0.0.1:2377",
    }


async def test_services() -> None:
    """A target for each TCP port of each virtual address, with labels of the service, the port and the network."""
    (found,) = await discovered("services", FakeDocker(services=[WEB], nodes=NODES))
    assert found == {
        "__address__": "10.1.0.7:9100",
        f"{P}service_endpoint_port_name": "http",
        f"{P}service_endpoint_port_publish_mode": "ingress",
        f"{P}service_task_container_hostname": "h",
        f"{P}service_task_container_image": "img:1@sha256:ab",
        **OF_WEB,
        **OF_INGRESS,
    }


async def test_services_without_ports() -> None:
    """They get the port of the configuration; one without a mode or a container spec has empty labels for them."""
    plugin = service("p", "", (), [("n1", "fd00::7/64")], UpdateStatus={"State": "completed"})
    plugin["Spec"]["TaskTemplate"] = {"PluginSpec": {}}
    all_of_them = service("g", "Global", (), [("n1", "172.18.0.1/24")])
    ours, theirs = await discovered("services", FakeDocker(services=[plugin, all_of_them], nodes=NODES), port=81)
    assert (ours["__address__"], ours[f"{P}service_mode"]) == ("172.18.0.1:81", "global")
    assert (theirs["__address__"], theirs[f"{P}service_mode"]) == ("[fd00::7]:81", "")
    assert theirs[f"{P}service_updating_status"] == "completed"
    assert theirs[f"{P}service_task_container_image"] == ""


async def test_tasks() -> None:
    """Labels of task, service, node, network and port; published ports of the task itself are on its node."""
    one = task("t1", "web", "w1", {"n9": ["10.1.0.8/16"], "n1": ["172.18.0.8/24"]}, [(9200, "tcp"), (9, "udp")])
    found = await discovered("tasks", FakeDocker(services=[WEB], nodes=NODES, tasks=[one]))
    of_task = {
        f"{P}task_id": "t1",
        f"{P}task_desired_state": "running",
        f"{P}task_state": "running",
        f"{P}task_slot": "2",
        f"{P}task_container_id": "c-t1",
        f"{P}container_label_a_b": "c",
        **OF_WEB,
        **OF_W1,
    }
    assert [t["__address__"] for t in found] == ["10.0.0.2:9200", "10.1.0.8:9100", "172.18.0.8:9100"]
    assert found[0] == {"__address__": "10.0.0.2:9200", f"{P}task_port_publish_mode": "host", **of_task}
    assert found[1] == {
        "__address__": "10.1.0.8:9100",
        f"{P}task_port_publish_mode": "ingress",
        **of_task,
        **OF_INGRESS,
    }


async def test_tasks_of_a_service_without_ports() -> None:
    """They get the port of the configuration; one that never ran has no container."""
    one = task("t1", "gone", "w9", {"n9": ["10.1.0.8/16"]})
    one["Status"] = {"State": "rejected"}
    (found,) = await discovered("tasks", FakeDocker(nodes=NODES, tasks=[one]), port=82)
    assert found["__address__"] == "10.1.0.8:82"
    assert found[f"{P}task_state"] == "rejected"
    assert f"{P}task_container_id" not in found
    assert f"{P}node_id" not in found


async def test_filters_are_those_of_the_role() -> None:
    """Services and nodes are listed in full, for the labels of tasks."""
    shut = task("t2", "web", "w1", {"n9": ["10.1.0.9/16"]}, DesiredState="shutdown")
    swarm = FakeDocker(services=[WEB], nodes=NODES, tasks=[task("t1", "web", "w1", {"n9": ["10.1.0.8/16"]}), shut])
    found = await discovered("tasks", swarm, filters=(DockerFilter(name="desired-state", values=("running",)),))
    assert [t["__address__"] for t in found] == ["10.1.0.8:9100"]
    asked = {r.path.rpartition("/")[2]: r.parameter("filters") for r in swarm.requests[1:]}
    assert asked == {"tasks": '{"desired-state":{"running":true}}', "services": "", "nodes": "", "networks": ""}


async def test_nodes_come_and_go() -> None:
    """Each refresh lists them anew; an error keeps the last good ones."""
    swarm = FakeDocker(nodes=list(NODES))
    async with serving(swarm) as address, running(SwarmDiscoverer, config(address, "nodes")) as published:
        assert published.addresses == ["10.0.0.1:80", "10.0.0.2:80"]
        swarm.nodes.append(node("w2", "worker", "10.0.0.3"))
        await published.until(lambda: len(published.addresses) == 3)
        swarm.broken = True
        await published.until(lambda: published.failures >= 2)
        assert len(published.addresses) == 3
        swarm.broken, swarm.nodes = False, NODES[:1]
        await published.until(lambda: published.addresses == ["10.0.0.1:80"])


@pytest.mark.parametrize("address", ["10.1.0.7", "x/16", "10.1.0.7/99", ""])
async def test_addresses_that_make_no_sense_are_errors(address: str) -> None:
    """As upstream, they fail the refresh."""
    swarm = FakeDocker(services=[service("s", "Global", (), [("n1", address)])], nodes=NODES)
    async with serving(swarm) as at, running(SwarmDiscoverer, config(at, "services", 60_000)) as published:
        assert (published.failures, published.addresses) == (1, [])


@pytest.mark.parametrize("role", ["services", "tasks", "nodes"])
async def test_the_contract_is_kept(role: str) -> None:
    """As every kind of discovery, for each role."""
    swarm = FakeDocker(services=[WEB], nodes=NODES, tasks=[task("t1", "web", "w1", {"n9": ["10.1.0.8/16"]})])
    async with serving(swarm) as address:
        kind = tinyobs_discoverers()[1]
        assert len(await check_discoverer(kind, config(address, role))) == 1
