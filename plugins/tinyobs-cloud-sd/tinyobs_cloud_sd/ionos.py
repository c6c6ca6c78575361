"""Discovery kind `ionos`: servers of one data center of IONOS Cloud.  Settings and labels: prometheus discovery/ionos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import Fault, inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.names import sanitize_label_name
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs

from .discoverer import PAGES_MAX, CloudDiscoverer
from .labels import address, surrounded
from .shapes import member, objects, text, texts

KEY: Final = "ionos_sd_configs"
API: Final = "https://api.ionos.com/cloudapi/v6"
LIMIT: Final = 1000
"""Servers that are asked for at once."""
DEPTH: Final = "3"
"""How deep the answer goes: down to the addresses of network interfaces."""
UNNAMED: Final = "unnamed"
"""What an interface without name is called."""
_META: Final = "__meta_ionos_server_"


@frozen(kw_only=True)
class IonosSdConfig:
    """One entry of `ionos_sd_configs`: one data center."""

    datacenter_id: str = setting(default="")
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing."""
        if not self.datacenter_id:
            yield Fault("datacenter id can't be empty", "datacenter_id")


class IonosDiscoverer(CloudDiscoverer):
    """Publishes the servers that have an address in one group."""

    def __init__(self, config: IonosSdConfig, context: DiscovererContext) -> None:
        super().__init__("ionos", config.refresh_interval_ms, context, config.http)
        self._config = config

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask until a page is not full."""
        url = f"{API}/datacenters/{quote(self._config.datacenter_id, safe='')}/servers"
        found: dict[str, dict[str, str]] = {}
        seen: set[str] = set()
        for page in range(PAGES_MAX):
            answer = await self.get(url, {"depth": DEPTH, "limit": str(LIMIT), "offset": str(page * LIMIT)})
            servers = objects(answer, "items")
            before = len(seen)
            seen |= {text(one, "id") for one in servers}
            found |= ionos_targets(servers, text(answer, "id"), self._config.port)
            if len(servers) < LIMIT or len(seen) == before:
                return [TargetGroup("ionos", tuple(found.values()))]
        raise DiscoveryError(f"the list of servers has more than {PAGES_MAX} pages")


def ionos_targets(servers: Sequence[Mapping[str, Any]], list_id: str, port: int) -> dict[str, dict[str, str]]:
    """Return id -> target of each server that has an address.

    list_id: the id of the list itself, which is in a label.
    """
    targets = {}
    for server in servers:
        ips: list[str] = []
        by_name: dict[str, list[str]] = {}
        for nic in objects(server, "entities", "nics", "items"):
            own = texts(nic, "properties", "ips")
            name = member(nic, "properties", "name")
            key = UNNAMED if name is None else text(nic, "properties", "name")
            # Addresses of later interfaces go first, as with Prometheus.
            ips = own + ips
            by_name[key] = own + by_name.get(key, [])
        if ips:
            labels = _labels(server) | {_META + "servers_id": list_id, _META + "ip": surrounded(ips)}
            labels |= {_META + "nic_ip_" + sanitize_label_name(key): surrounded(own) for key, own in by_name.items()}
            targets[text(server, "id")] = labels | {"__address__": address(ips[0], port)}
    return targets


def _labels(server: Mapping[str, Any]) -> dict[str, str]:
    properties = member(server, "properties")
    labels = {
        _META + "availability_zone": text(properties, "availabilityZone"),
        _META + "cpu_family": text(properties, "cpuFamily"),
        _META + "id": text(server, "id"),
        _META + "lifecycle": text(server, "metadata", "state"),
        _META + "name": text(properties, "name"),
        _META + "state": text(properties, "vmState"),
        _META + "type": text(properties, "type"),
    }
    for name, key in (("boot_cdrom_id", "bootCdrom"), ("boot_volume_id", "bootVolume")):
        if member(properties, key) is not None:
            labels[_META + name] = text(properties, key, "id")
    volumes = objects(server, "entities", "volumes", "items")
    if volumes and member(volumes[0], "properties", "image") is not None:
        labels[_META + "boot_image_id"] = text(volumes[0], "properties", "image")
    return labels


KIND: Final = DiscovererKind(KEY, IonosSdConfig, IonosDiscoverer)
