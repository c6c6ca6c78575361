"""Discovery kind `gce`: instances of Google Compute Engine in one zone.

Who asks is found as Google's own tools do (`tinyobs.cloud_auth.google_tokens`).  Settings and labels: prometheus
discovery/gce.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.cloud_auth.google_tokens import GoogleTokens
from tinyobs.config.fields import Fault, setting
from tinyobs.config.http_client import HttpClientConfig, ProxyConfig
from tinyobs.discovery.names import sanitize_label_name
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs

from .discoverer import PAGES_MAX, CloudDiscoverer, in_thread
from .labels import surrounded
from .shapes import member, objects, pairs, text, texts

KEY: Final = "gce_sd_configs"
API: Final = "https://compute.googleapis.com/compute/v1"
SCOPE: Final = "https://www.googleapis.com/auth/compute.readonly"
_META: Final = "__meta_gce_"


@frozen(kw_only=True)
class GceSdConfig:
    """One entry of `gce_sd_configs`: one zone of one project."""

    project: str = setting(default="")
    zone: str = setting(default="")
    filter: str = setting(default="")
    """Which instances are wanted, in the interface's own syntax."""
    port: int = setting(default=80, low=0, high=65535)
    tag_separator: str = setting(default=",")
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing."""
        if not self.project:
            yield Fault("GCE SD configuration requires a project", "project")
        if not self.zone:
            yield Fault("GCE SD configuration requires a zone", "zone")


class GceDiscoverer(CloudDiscoverer):
    """Publishes the instances that have a network interface in one group."""

    def __init__(self, config: GceSdConfig, context: DiscovererContext) -> None:
        super().__init__(
            "gce", config.refresh_interval_ms, context, HttpClientConfig(proxy=ProxyConfig(proxy_from_environment=True))
        )
        self._config = config
        self._tokens = GoogleTokens(SCOPE, context.clock.now_ms)

    async def credentials(self) -> Mapping[str, str]:
        """Return the access token."""
        return {"Authorization": f"Bearer {(await self._tokens.get()).value.reveal()}"}

    def forget_credentials(self) -> bool:
        """Get another token."""
        self._tokens.forget()
        return True

    async def aclose(self) -> None:
        """Close the connections."""
        await self._tokens.aclose()
        await super().aclose()

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask page by page."""
        config = self._config
        url = f"{API}/projects/{quote(config.project, safe='')}/zones/{quote(config.zone, safe='')}/instances"
        asked = {"filter": config.filter} if config.filter else {}
        targets: list[dict[str, str]] = []
        for _ in range(PAGES_MAX):
            answer = await self.get(url, asked)
            targets += await in_thread(gce_targets, objects(answer, "items"), config)
            token = text(answer, "nextPageToken")
            if not token:
                return [TargetGroup(f"GCE_{config.project}_{config.zone}", tuple(targets))]
            asked["pageToken"] = token
        raise DiscoveryError(f"the list of instances has more than {PAGES_MAX} pages")


def gce_targets(instances: Sequence[Mapping[str, Any]], config: GceSdConfig) -> list[dict[str, str]]:
    """Return a target for each instance that has a network interface; the first one has the address."""
    targets = []
    for instance in instances:
        interfaces = objects(instance, "networkInterfaces")
        if interfaces:
            targets.append(_target(instance, interfaces, config))
    return targets


def _target(
    instance: Mapping[str, Any], interfaces: Sequence[Mapping[str, Any]], config: GceSdConfig
) -> dict[str, str]:
    first = interfaces[0]
    ip = text(first, "networkIP")
    labels = {
        "__address__": f"{ip}:{config.port}",
        _META + "project": config.project,
        _META + "zone": text(instance, "zone"),
        _META + "instance_id": text(instance, "id"),
        _META + "instance_name": text(instance, "name"),
        _META + "instance_status": text(instance, "status"),
        _META + "machine_type": text(instance, "machineType"),
        _META + "network": text(first, "network"),
        _META + "subnetwork": text(first, "subnetwork"),
        _META + "private_ip": ip,
    }
    for interface in interfaces:
        labels[_META + "interface_ipv4_" + sanitize_label_name(text(interface, "name"))] = text(interface, "networkIP")
    if tags := texts(instance, "tags", "items"):
        labels[_META + "tags"] = surrounded(tags, config.tag_separator)
    for item in objects(instance, "metadata", "items"):
        if member(item, "value") is not None:
            labels[_META + "metadata_" + sanitize_label_name(text(item, "key"))] = text(item, "value")
    for key, value in pairs(instance, "labels").items():
        labels[_META + "label_" + sanitize_label_name(key)] = value
    access = objects(first, "accessConfigs")
    if access and text(access[0], "type") == "ONE_TO_ONE_NAT":
        labels[_META + "public_ip"] = text(access[0], "natIP")
    return labels


KIND: Final = DiscovererKind(KEY, GceSdConfig, GceDiscoverer)
