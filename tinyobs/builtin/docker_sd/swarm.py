"""From services, tasks and nodes of a swarm to targets.  Pure.  Rules: prometheus discovery/moby."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ...discovery.addresses import host_port
from ...discovery.answers import Fields
from ...discovery.refreshing import DiscoveryError
from .daemon import labels_of, truth

PREFIX: Final = "__meta_dockerswarm_"


def node_targets(nodes: Sequence[Fields], port: int) -> Iterator[dict[str, str]]:
    """Yield a target for each node."""
    for node in nodes:
        labels = _node_labels(node)
        labels[f"{PREFIX}node_engine_version"] = node.fields("Description").fields("Engine").text("EngineVersion")
        if "ManagerStatus" in node:
            manager = node.fields("ManagerStatus")
            labels[f"{PREFIX}node_manager_leader"] = truth(manager.flag("Leader"))
            labels[f"{PREFIX}node_manager_reachability"] = manager.text("Reachability")
            labels[f"{PREFIX}node_manager_address"] = manager.text("Addr")
        yield {"__address__": host_port(labels[f"{PREFIX}node_address"], port), **labels}


def service_targets(
    services: Sequence[Fields], networks: Mapping[str, Mapping[str, str]], port: int
) -> Iterator[dict[str, str]]:
    """Yield a target for each TCP port of each virtual address of a service, or one with `port` where it has none."""
    for service in services:
        labels = _service_labels(service)
        container = service.fields("Spec").fields("TaskTemplate").fields("ContainerSpec")
        labels[f"{PREFIX}service_task_container_hostname"] = container.text("Hostname")
        labels[f"{PREFIX}service_task_container_image"] = container.text("Image")
        if "UpdateStatus" in service:
            labels[f"{PREFIX}service_updating_status"] = service.fields("UpdateStatus").text("State")
        for address in service.fields("Endpoint").items("VirtualIPs"):
            ip = _ip(address.text("Addr"))
            inner = {**labels, **networks.get(address.text("NetworkID"), {})}
            ports = _tcp_ports(service)
            for one in ports:
                yield {
                    "__address__": host_port(ip, one.number("PublishedPort")),
                    f"{PREFIX}service_endpoint_port_name": one.text("Name"),
                    f"{PREFIX}service_endpoint_port_publish_mode": one.text("PublishMode"),
                    **inner,
                }
            if not ports:
                yield {"__address__": host_port(ip, port), **inner}


def task_targets(
    tasks: Sequence[Fields],
    services: Sequence[Fields],
    nodes: Sequence[Fields],
    networks: Mapping[str, Mapping[str, str]],
    port: int,
) -> Iterator[dict[str, str]]:
    """Yield the targets of tasks: their own published ports, and those of their service in each of their networks."""
    service_labels = {s.text("ID"): _service_labels(s) for s in services}
    service_ports = {s.text("ID"): _tcp_ports(s) for s in services}
    node_labels = {n.text("ID"): _node_labels(n) for n in nodes}
    for task in tasks:
        service, node = task.text("ServiceID"), task.text("NodeID")
        labels = {**_task_labels(task), **service_labels.get(service, {}), **node_labels.get(node, {})}
        for one in _tcp(task.fields("Status").fields("PortStatus")):
            yield {
                "__address__": host_port(labels.get(f"{PREFIX}node_address", ""), one.number("PublishedPort")),
                f"{PREFIX}task_port_publish_mode": one.text("PublishMode"),
                **labels,
            }
        for attachment in task.items("NetworksAttachments"):
            inner = {**labels, **networks.get(attachment.fields("Network").text("ID"), {})}
            for address in attachment.texts("Addresses"):
                yield from _attached(_ip(address), service_ports.get(service, []), inner, port)


def _attached(ip: str, ports: Sequence[Fields], labels: Mapping[str, str], port: int) -> Iterator[dict[str, str]]:
    for one in ports:
        yield {
            "__address__": host_port(ip, one.number("PublishedPort")),
            f"{PREFIX}task_port_publish_mode": one.text("PublishMode"),
            **labels,
        }
    if not ports:
        yield {"__address__": host_port(ip, port), **labels}


def _node_labels(node: Fields) -> dict[str, str]:
    """Return the labels that a node gives to itself and to its tasks."""
    spec, description, status = node.fields("Spec"), node.fields("Description"), node.fields("Status")
    platform = description.fields("Platform")
    return {
        f"{PREFIX}node_id": node.text("ID"),
        f"{PREFIX}node_role": spec.text("Role"),
        f"{PREFIX}node_address": status.text("Addr"),
        f"{PREFIX}node_availability": spec.text("Availability"),
        f"{PREFIX}node_hostname": description.text("Hostname"),
        f"{PREFIX}node_platform_architecture": platform.text("Architecture"),
        f"{PREFIX}node_platform_os": platform.text("OS"),
        f"{PREFIX}node_status": status.text("State"),
        **labels_of(spec, "Labels", f"{PREFIX}node_label_"),
    }


def _service_labels(service: Fields) -> dict[str, str]:
    """Return the labels that a service gives to itself and to its tasks."""
    spec = service.fields("Spec")
    mode = spec.fields("Mode")
    return {
        f"{PREFIX}service_id": service.text("ID"),
        f"{PREFIX}service_name": spec.text("Name"),
        f"{PREFIX}service_mode": next((m.lower() for m in ("Global", "Replicated") if m in mode), ""),
        **labels_of(spec, "Labels", f"{PREFIX}service_label_"),
    }


def _task_labels(task: Fields) -> dict[str, str]:
    status, container = task.fields("Status"), task.fields("Spec").fields("ContainerSpec")
    labels = {
        f"{PREFIX}task_id": task.text("ID"),
        f"{PREFIX}task_desired_state": task.text("DesiredState"),
        f"{PREFIX}task_state": status.text("State"),
        f"{PREFIX}task_slot": str(task.number("Slot")),
        **labels_of(container, "Labels", f"{PREFIX}container_label_"),
    }
    if "ContainerStatus" in status:
        labels[f"{PREFIX}task_container_id"] = status.fields("ContainerStatus").text("ContainerID")
    return labels


def _tcp_ports(service: Fields) -> list[Fields]:
    return _tcp(service.fields("Endpoint"))


def _tcp(place: Fields) -> list[Fields]:
    return [port for port in place.items("Ports") if port.text("Protocol") == "tcp"]


def _ip(cidr: str) -> str:
    """Return the address of `address/bits`."""
    try:
        return str(ipaddress.ip_interface(cidr).ip) if "/" in cidr else _refuse(cidr)
    except ValueError:
        return _refuse(cidr)


def _refuse(cidr: str) -> str:
    raise DiscoveryError(f"error while parsing address {cidr!r}: it is no address with a prefix length")
