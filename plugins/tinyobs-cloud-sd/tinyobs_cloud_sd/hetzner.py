"""Discovery kind `hetzner`: servers of Hetzner Cloud (`hcloud`) and dedicated servers (`robot`).

Settings and labels: prometheus discovery/hetzner.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import Fault, inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.names import sanitize_label_name
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs

from .discoverer import PAGES_MAX, CloudDiscoverer, in_thread
from .labels import address
from .shapes import integer, member, objects, pairs, text

KEY: Final = "hetzner_sd_configs"
HCLOUD: Final = "https://api.hetzner.cloud/v1"
ROBOT: Final = "https://robot-ws.your-server.de"
PER_PAGE: Final = 50
"""The most that the cloud's interface gives at once."""
_META: Final = "__meta_hetzner_"
_HCLOUD: Final = "__meta_hetzner_hcloud_"
_NO_ADDRESS: Final = "<nil>"
"""What stands for a public address that a server does not have, as in Prometheus."""


class HetznerRole(StrEnum):
    """What is looked for."""

    ROBOT = "robot"
    HCLOUD = "hcloud"

    @classmethod
    def refusal(cls, given: str) -> str:
        """Return the message for a role that there is not."""
        return f'unknown role "{given}"'


@frozen(kw_only=True)
class HetznerSdConfig:
    """One entry of `hetzner_sd_configs`."""

    role: HetznerRole | None = setting(default=None)
    label_selector: str = setting(default="")
    """Which servers of the cloud are wanted, in the cloud's own syntax."""
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing."""
        if self.role is None:
            yield Fault("role missing (one of: robot, hcloud)", "role")


class HetznerDiscoverer(CloudDiscoverer):
    """Publishes all servers of one role in one group."""

    def __init__(self, config: HetznerSdConfig, context: DiscovererContext) -> None:
        super().__init__("hetzner", config.refresh_interval_ms, context, config.http)
        self._config = config

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask for the servers, and in the cloud for the networks whose names are in labels."""
        if self._config.role is HetznerRole.ROBOT:
            targets = await in_thread(robot_targets, await self.get(f"{ROBOT}/server"), self._config.port)
        else:
            selector = {"label_selector": self._config.label_selector} if self._config.label_selector else {}
            servers = await self._all("servers", selector)
            targets = await in_thread(hcloud_targets, servers, await self._all("networks", {}), self._config.port)
        return [TargetGroup("hetzner", tuple(targets))]

    async def _all(self, what: str, parameters: Mapping[str, str]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        page = 1
        for _ in range(PAGES_MAX):
            asked = {**parameters, "page": str(page), "per_page": str(PER_PAGE)}
            answer = await self.get(f"{HCLOUD}/{what}", asked)
            found += objects(answer, what)
            following = integer(answer, "meta", "pagination", "next_page")
            if following <= page:
                return found
            page = following
        raise DiscoveryError(f"the list of {what} has more than {PAGES_MAX} pages")


def hcloud_targets(
    servers: Sequence[Mapping[str, Any]], networks: Sequence[Mapping[str, Any]], port: int
) -> list[dict[str, str]]:
    """Return a target for each server of the cloud."""
    names = {integer(network, "id"): text(network, "name") for network in networks}
    return [_hcloud_target(server, names, port) for server in servers]


def _hcloud_target(server: Mapping[str, Any], networks: Mapping[int, str], port: int) -> dict[str, str]:
    place = member(server, "location") or member(server, "datacenter", "location")
    kind = member(server, "server_type")
    ipv4 = text(server, "public_net", "ipv4", "ip") or _NO_ADDRESS
    labels = {
        "__address__": address(ipv4, port),
        _META + "role": "hcloud",
        _META + "server_id": text(server, "id"),
        _META + "server_name": text(server, "name"),
        _META + "server_status": text(server, "status"),
        _META + "public_ipv4": ipv4,
        _META + "public_ipv6_network": _network(text(server, "public_net", "ipv6", "ip")),
        _HCLOUD + "location": text(place, "name"),
        _HCLOUD + "location_network_zone": text(place, "network_zone"),
        _HCLOUD + "datacenter_location": text(place, "name"),
        _HCLOUD + "datacenter_location_network_zone": text(place, "network_zone"),
        _HCLOUD + "server_type": text(kind, "name"),
        _HCLOUD + "cpu_cores": str(integer(kind, "cores")),
        _HCLOUD + "cpu_type": text(kind, "cpu_type"),
        _HCLOUD + "memory_size_gb": str(integer(kind, "memory")),
        _HCLOUD + "disk_size_gb": str(integer(kind, "disk")),
    }
    if (image := member(server, "image")) is not None:
        for part in ("name", "description", "os_version", "os_flavor"):
            labels[_HCLOUD + "image_" + part] = text(image, part)
    for net in objects(server, "private_net"):
        if (number := integer(net, "network")) in networks:
            labels[_HCLOUD + "private_ipv4_" + sanitize_label_name(networks[number])] = text(net, "ip")
    for key, value in pairs(server, "labels").items():
        labels[_HCLOUD + "labelpresent_" + sanitize_label_name(key)] = "true"
        labels[_HCLOUD + "label_" + sanitize_label_name(key)] = value
    return labels


def robot_targets(answer: Any, port: int) -> list[dict[str, str]]:
    """Return a target for each dedicated server."""
    return [_robot_target(member(item, "server"), port) for item in objects({"servers": answer}, "servers")]


def _robot_target(server: Any, port: int) -> dict[str, str]:
    ip, place = text(server, "server_ip"), text(server, "dc").lower()
    labels = {
        "__address__": address(ip, port),
        _META + "role": "robot",
        _META + "server_id": str(integer(server, "server_number")),
        _META + "server_name": text(server, "server_name"),
        _META + "server_status": text(server, "status"),
        _META + "public_ipv4": ip,
        _META + "datacenter": place,
        _META + "robot_datacenter": place,
        _META + "robot_product": text(server, "product"),
        _META + "robot_cancelled": "true" if member(server, "cancelled") else "false",
    }
    for subnet in objects(server, "subnet"):
        if not _is_ipv4(text(subnet, "ip")):
            labels[_META + "public_ipv6_network"] = f"{text(subnet, 'ip')}/{text(subnet, 'mask')}"
            break
    return labels


def _network(given: str) -> str:
    if not given:
        return _NO_ADDRESS
    try:
        return str(ipaddress.ip_network(given, strict=False))
    except ValueError:
        raise DiscoveryError(f"the answer makes no sense: {given[:60]!r} is not a network") from None


def _is_ipv4(given: str) -> bool:
    try:
        return ipaddress.ip_address(given).version == 4
    except ValueError:
        return False


KIND: Final = DiscovererKind(KEY, HetznerSdConfig, HetznerDiscoverer)
