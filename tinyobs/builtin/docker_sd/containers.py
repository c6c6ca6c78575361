"""From the containers of a daemon to targets.  Pure.  Rules: prometheus discovery/moby/docker.go.

A container gives a target for each of its TCP ports in each of its networks; one without such ports gives a target with
the port of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ...config.docker_sd import DockerSdConfig
from ...discovery.addresses import host_port
from ...discovery.answers import Fields
from .daemon import labels_of

PREFIX: Final = "__meta_docker_"
_SHARED: Final = "container:"
"""A network mode that begins so names the container whose networks are used."""


def container_targets(
    containers: Sequence[Fields], networks: Mapping[str, Mapping[str, str]], config: DockerSdConfig
) -> Iterator[dict[str, str]]:
    """Yield the labels of all targets; networks: id -> labels."""
    by_id = {c.text("Id"): c for c in containers}
    for container in containers:
        names = container.texts("Names")
        if not names:
            continue
        common = {
            f"{PREFIX}container_id": container.text("Id"),
            f"{PREFIX}container_name": names[0],
            f"{PREFIX}container_image": container.text("Image"),
            f"{PREFIX}container_image_id": container.text("ImageID"),
            f"{PREFIX}container_network_mode": _mode(container),
            **labels_of(container, "Labels", f"{PREFIX}container_label_"),
        }
        for endpoint in _endpoints(container, by_id, config.match_first_network):
            labels = {**common, **networks.get(endpoint.text("NetworkID"), {})}
            yield from _endpoint_targets(container, endpoint, labels, config)


def _endpoint_targets(
    container: Fields, endpoint: Fields, labels: Mapping[str, str], config: DockerSdConfig
) -> Iterator[dict[str, str]]:
    """Yield the targets of a container in one network."""
    ip = endpoint.text("IPAddress") or endpoint.text("GlobalIPv6Address")
    ports = [port for port in container.items("Ports") if port.text("Type") == "tcp"]
    for port in ports:
        private, public = port.number("PrivatePort"), port.number("PublicPort")
        target = {
            "__address__": host_port(ip, private),
            f"{PREFIX}network_ip": ip,
            f"{PREFIX}port_private": str(private),
        }
        if public > 0:
            target |= {f"{PREFIX}port_public": str(public), f"{PREFIX}port_public_ip": port.text("IP")}
        yield {**target, **labels}
    if not ports:
        # In the network of the host a container has neither address nor ports.
        on_host = _mode(container) == "host"
        address = config.host_networking_host if on_host else host_port(ip, config.port)
        yield {"__address__": address, f"{PREFIX}network_ip": ip, **labels}


def _endpoints(container: Fields, by_id: Mapping[str, Fields], first_only: bool) -> list[Fields]:
    """Return the networks that a container is in, its own or those of the container whose it shares."""
    found = _own_endpoints(container)
    seen = {container.text("Id")}
    while not found and _mode(container).startswith(_SHARED):
        other = by_id.get(_mode(container).removeprefix(_SHARED))
        if other is None or other.text("Id") in seen:
            break
        container = other
        seen.add(other.text("Id"))
        found = _own_endpoints(container)
    ordered = [found[name] for name in sorted(found)]
    return ordered[:1] if first_only else ordered


def _own_endpoints(container: Fields) -> dict[str, Fields]:
    networks = container.fields("NetworkSettings").fields("Networks")
    return {name: networks.fields(name) for name in networks.values if name in networks}


def _mode(container: Fields) -> str:
    return container.fields("HostConfig").text("NetworkMode")
