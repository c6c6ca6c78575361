"""Discovery kind `digitalocean`: droplets and managed databases.

Settings and labels: prometheus discovery/digitalocean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs

from .discoverer import PAGES_MAX, CloudDiscoverer, in_thread
from .labels import address, surrounded
from .shapes import integer, member, objects, text, texts

KEY: Final = "digitalocean_sd_configs"
API: Final = "https://api.digitalocean.com/v2"
PER_PAGE: Final = 100
_META: Final = "__meta_digitalocean_"
_DB: Final = "__meta_digitalocean_db_"


class DigitalOceanRole(StrEnum):
    """What is looked for."""

    DROPLETS = "droplets"
    DATABASES = "databases"

    @classmethod
    def refusal(cls, given: str) -> str:
        """Return the message for a role that there is not."""
        return f'unknown DigitalOcean SD role "{given}"' if given else "role missing (one of: droplets, databases)"


@frozen(kw_only=True)
class DigitalOceanSdConfig:
    """One entry of `digitalocean_sd_configs`."""

    role: DigitalOceanRole = setting(default=DigitalOceanRole.DROPLETS)
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)


class DigitalOceanDiscoverer(CloudDiscoverer):
    """Publishes all droplets, or all database clusters, in one group."""

    def __init__(self, config: DigitalOceanSdConfig, context: DiscovererContext) -> None:
        super().__init__("digitalocean", config.refresh_interval_ms, context, config.http)
        self._config = config

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask page by page."""
        if self._config.role is DigitalOceanRole.DROPLETS:
            targets = await in_thread(droplet_targets, await self._all("droplets"), self._config.port)
            return [TargetGroup("DigitalOcean", tuple(targets))]
        targets = await in_thread(database_targets, await self._all("databases"), self._config.port)
        return [TargetGroup("DigitalOcean Databases", tuple(targets))]

    async def _all(self, what: str) -> list[Mapping[str, Any]]:
        """Return all items.  Where an answer has no links, a page that is not full is the last."""
        found: dict[str, Mapping[str, Any]] = {}
        for page in range(1, PAGES_MAX + 1):
            answer = await self.get(f"{API}/{what}", {"page": str(page), "per_page": str(PER_PAGE)})
            before = len(found)
            items = objects(answer, what)
            found |= {text(item, "id"): item for item in items}
            goes_on = bool(text(answer, "links", "pages", "next")) or len(items) >= PER_PAGE
            # An interface that knows no pages gives the same list for each.
            if not goes_on or len(found) == before:
                return list(found.values())
        raise DiscoveryError(f"the list of {what} has more than {PAGES_MAX} pages")


def droplet_targets(droplets: Sequence[Mapping[str, Any]], port: int) -> list[dict[str, str]]:
    """Return a target for each droplet that has an IPv4 address."""
    targets = []
    for droplet in droplets:
        v4 = objects(droplet, "networks", "v4")
        if not v4:
            continue
        public = _first(v4, "public")
        labels = {
            "__address__": address(public, port),
            _META + "droplet_id": str(integer(droplet, "id")),
            _META + "droplet_name": text(droplet, "name"),
            _META + "image": text(droplet, "image", "slug"),
            _META + "image_name": text(droplet, "image", "name"),
            _META + "private_ipv4": _first(v4, "private"),
            _META + "public_ipv4": public,
            _META + "public_ipv6": _first(objects(droplet, "networks", "v6"), "public"),
            _META + "region": text(droplet, "region", "slug"),
            _META + "size": text(droplet, "size_slug"),
            _META + "status": text(droplet, "status"),
            _META + "vpc": text(droplet, "vpc_uuid"),
        }
        for part in ("features", "tags"):
            if items := texts(droplet, part):
                labels[_META + part] = surrounded(items)
        targets.append(labels)
    return targets


def database_targets(clusters: Sequence[Mapping[str, Any]], port: int) -> list[dict[str, str]]:
    """Return a target for each database cluster that has a host, the private one before the public one."""
    targets = []
    for cluster in clusters:
        labels = {
            _DB + "id": text(cluster, "id"),
            _DB + "name": text(cluster, "name"),
            _DB + "engine": text(cluster, "engine"),
            _DB + "version": text(cluster, "version"),
            _DB + "status": text(cluster, "status"),
            _DB + "region": text(cluster, "region"),
            _DB + "size": text(cluster, "size"),
            _DB + "num_nodes": str(integer(cluster, "num_nodes")),
        }
        private, public = member(cluster, "private_connection"), member(cluster, "connection")
        if private is not None:
            labels[_DB + "private_host"] = text(private, "host")
        if public is not None:
            labels[_DB + "host"] = text(public, "host")
        host = text(private, "host") or text(public, "host")
        if not host:
            continue
        labels["__address__"] = address(host, port)
        labels |= {_DB + "tag_" + tag: "true" for tag in texts(cluster, "tags")}
        targets.append(labels)
    return targets


def _first(networks: Sequence[Mapping[str, Any]], kind: str) -> str:
    """Return the address of the first network of a kind, "" where there is none."""
    return next((text(n, "ip_address") for n in networks if text(n, "type") == kind), "")


KIND: Final = DiscovererKind(KEY, DigitalOceanSdConfig, DigitalOceanDiscoverer)
