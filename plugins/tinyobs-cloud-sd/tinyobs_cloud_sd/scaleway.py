"""Discovery kind `scaleway`: instances and Elastic Metal servers (`baremetal`) of one zone.

Settings and labels: prometheus discovery/scaleway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.cloud_auth.exchange import read_token_file
from tinyobs.config.fields import Fault, FilePath, Url, inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .discoverer import PAGES_MAX, CloudDiscoverer, in_thread
from .labels import address, surrounded
from .shapes import member, objects, text, texts

KEY: Final = "scaleway_sd_configs"
PER_PAGE: Final = 100
_INSTANCE: Final = "__meta_scaleway_instance_"
_BAREMETAL: Final = "__meta_scaleway_baremetal_"
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_ACCESS_KEY: Final = re.compile(r"SCW[A-Z0-9]{17}\Z")
_ZONE: Final = re.compile(r"([a-z]{2}-[a-z]{3})-[0-9]\Z")


class ScalewayRole(StrEnum):
    """What is looked for."""

    INSTANCE = "instance"
    BAREMETAL = "baremetal"

    @classmethod
    def refusal(cls, given: str) -> str:
        """Return the message for a role that there is not."""
        return f'unknown role "{given}"'


@frozen(kw_only=True)
class ScalewaySdConfig:
    """One entry of `scaleway_sd_configs`."""

    role: ScalewayRole | None = setting(default=None)
    project_id: str = setting(default="")
    access_key: str = setting(default="")
    secret_key: Secret = setting(default=Secret())
    secret_key_file: FilePath = setting(default=FilePath(""))
    """A file with the secret key, read for each request."""
    api_url: Url = setting(default=Url("https://api.scaleway.com"))
    zone: str = setting(default="fr-par-1")
    name_filter: str = setting(default="")
    tags_filter: tuple[str, ...] = setting(default=())
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing, or has not the form that Scaleway gives it."""
        if self.role is None:
            yield Fault("role missing (one of: instance, baremetal)", "role")
        if not self.project_id:
            yield Fault("project_id is mandatory", "project_id")
        elif not _UUID.match(self.project_id):
            yield Fault("project_id is not a UUID", "project_id")
        if not (self.secret_key or self.secret_key_file):
            yield Fault("one of secret_key & secret_key_file must be configured", "secret_key")
        if self.secret_key and self.secret_key_file:
            yield Fault("at most one of secret_key & secret_key_file must be configured", "secret_key_file")
        elif self.secret_key and not _UUID.match(self.secret_key.reveal()):
            yield Fault("secret_key is not a UUID", "secret_key")
        if not self.access_key:
            yield Fault("access_key is mandatory", "access_key")
        elif not _ACCESS_KEY.match(self.access_key):
            yield Fault("access_key does not look like SCWXXXXXXXXXXXXXXXXX", "access_key")
        if not _ZONE.match(self.zone):
            yield Fault(f'"{self.zone}" is not a zone like fr-par-1', "zone")


class ScalewayDiscoverer(CloudDiscoverer):
    """Publishes the servers of one role in one group."""

    def __init__(self, config: ScalewaySdConfig, context: DiscovererContext) -> None:
        super().__init__("scaleway", config.refresh_interval_ms, context, config.http)
        self._config = config

    async def credentials(self) -> Mapping[str, str]:
        """Return the secret key; a file with it may have changed."""
        file = self._config.secret_key_file
        key = await read_token_file(file) if file else self._config.secret_key
        return {"X-Auth-Token": key.reveal()}

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask page by page."""
        config = self._config
        named = {"name": config.name_filter} if config.name_filter else {}
        if config.role is ScalewayRole.INSTANCE:
            tags = [("tags", ",".join(config.tags_filter))] if config.tags_filter else []
            servers = await self._all("instance", "servers", [*named.items(), *tags])
            targets = await in_thread(instance_targets, servers, config.port)
        else:
            wanted = [("project_id", config.project_id), *named.items(), *(("tags", t) for t in config.tags_filter)]
            servers = await self._all("baremetal", "servers", wanted)
            offers = await self._all("baremetal", "offers", [])
            systems = await self._all("baremetal", "os", [])
            targets = await in_thread(baremetal_targets, servers, offers, systems, config.port)
        return [TargetGroup("scaleway", tuple(targets))]

    async def _all(self, product: str, what: str, parameters: list[tuple[str, str]]) -> list[Mapping[str, Any]]:
        base = f"{self._config.api_url.rstrip('/')}/{product}/v1/zones/{self._config.zone}/{what}"
        size = "per_page" if product == "instance" else "page_size"
        found: list[Mapping[str, Any]] = []
        for page in range(1, PAGES_MAX + 1):
            asked = [*parameters, ("page", str(page)), (size, str(PER_PAGE))]
            items = objects(await self.get(base, asked), what)
            found += items
            if len(items) < PER_PAGE:
                return found
        raise DiscoveryError(f"the list of {what} has more than {PAGES_MAX} pages")


def instance_targets(servers: Sequence[Mapping[str, Any]], port: int) -> list[dict[str, str]]:
    """Return a target for each instance that has an address: the private one, else a public one."""
    targets = []
    for server in servers:
        labels, host = _instance_labels(server)
        if host:
            labels["__address__"] = address(host, port)
            targets.append(labels)
    return targets


def _instance_labels(server: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    labels = {
        _INSTANCE + "boot_type": text(server, "boot_type"),
        _INSTANCE + "hostname": text(server, "hostname"),
        _INSTANCE + "id": text(server, "id"),
        _INSTANCE + "name": text(server, "name"),
        _INSTANCE + "organization_id": text(server, "organization"),
        _INSTANCE + "project_id": text(server, "project"),
        _INSTANCE + "status": text(server, "state"),
        _INSTANCE + "type": text(server, "commercial_type"),
        _INSTANCE + "zone": text(server, "zone"),
    }
    for part, fields in (
        ("image", ("arch", "id", "name")),
        ("location", ("cluster_id", "hypervisor_id", "node_id")),
        ("security_group", ("id", "name")),
    ):
        if member(server, part) is not None:
            labels |= {f"{_INSTANCE}{part}_{name}": text(server, part, name) for name in fields}
    if found := _ZONE.match(text(server, "zone")):
        labels[_INSTANCE + "region"] = found[1]
    if tags := texts(server, "tags"):
        labels[_INSTANCE + "tags"] = surrounded(tags)
    host = ""
    for family, name in (("inet6", "ipv6"), ("inet", "ipv4")):  # an IPv4 address goes before an IPv6 address
        ips = [text(ip, "address") for ip in objects(server, "public_ips") if text(ip, "family") == family]
        if ips:
            host = ips[0]
            labels[f"{_INSTANCE}public_{name}_addresses"] = surrounded(ips)
    if member(server, "ipv6") is not None:
        host = labels[_INSTANCE + "public_ipv6"] = text(server, "ipv6", "address")
    if member(server, "public_ip") is not None:
        public = text(server, "public_ip", "address")
        # The older field has an IPv6 address too, where there is no other.
        labels[_INSTANCE + ("public_ipv6" if ":" in public else "public_ipv4")] = host = public
    if private := text(server, "private_ip"):
        labels[_INSTANCE + "private_ipv4"] = host = private
    return labels, host


def baremetal_targets(
    servers: Sequence[Mapping[str, Any]],
    offers: Sequence[Mapping[str, Any]],
    systems: Sequence[Mapping[str, Any]],
    port: int,
) -> list[dict[str, str]]:
    """Return a target for each address of each server.

    offers, systems: what the servers name by their ids: types of servers and operating systems.
    """
    types = {text(offer, "id"): offer for offer in offers}
    installed = {text(system, "id"): system for system in systems}
    targets = []
    for server in servers:
        labels = {
            _BAREMETAL + "id": text(server, "id"),
            _BAREMETAL + "name": text(server, "name"),
            _BAREMETAL + "zone": text(server, "zone"),
            _BAREMETAL + "status": text(server, "status"),
        }
        if (offer := types.get(text(server, "offer_id"))) is not None:
            labels[_BAREMETAL + "type"] = text(offer, "name")
        system = installed.get(text(server, "install", "os_id"))
        if system is not None:
            labels[_BAREMETAL + "os_name"] = text(system, "name")
            labels[_BAREMETAL + "os_version"] = text(system, "version")
        if tags := texts(server, "tags"):
            labels[_BAREMETAL + "tags"] = surrounded(tags)
        for ip in objects(server, "ips"):
            targets.append(
                {
                    **labels,
                    "__address__": address(text(ip, "address"), port),
                    _BAREMETAL + "ip_version": text(ip, "version"),
                    _BAREMETAL + "ip_is_public": "true",
                }
            )
    return targets


KIND: Final = DiscovererKind(KEY, ScalewaySdConfig, ScalewayDiscoverer)
