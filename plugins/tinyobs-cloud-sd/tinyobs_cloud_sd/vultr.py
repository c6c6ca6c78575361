"""Discovery kind `vultr`: instances of Vultr.  Settings and labels: prometheus discovery/vultr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs

from .discoverer import PAGES_MAX, CloudDiscoverer, in_thread
from .labels import address, surrounded
from .shapes import integer, objects, text, texts

KEY: Final = "vultr_sd_configs"
API: Final = "https://api.vultr.com/v2"
PER_PAGE: Final = 100
_META: Final = "__meta_vultr_instance_"
_TEXTS: Final = {
    "id": "id",
    "label": "label",
    "os": "os",
    "region": "region",
    "plan": "plan",
    "main_ip": "main_ip",
    "main_ipv6": "v6_main_ip",
    "internal_ip": "internal_ip",
    "hostname": "hostname",
    "server_status": "server_status",
}
_NUMBERS: Final = {
    "os_id": "os_id",
    "vcpu_count": "vcpu_count",
    "ram_mb": "ram",
    "allowed_bandwidth_gb": "allowed_bandwidth",
    "disk_gb": "disk",
}


@frozen(kw_only=True)
class VultrSdConfig:
    """One entry of `vultr_sd_configs`."""

    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)


class VultrDiscoverer(CloudDiscoverer):
    """Publishes all instances in one group."""

    def __init__(self, config: VultrSdConfig, context: DiscovererContext) -> None:
        super().__init__("vultr", config.refresh_interval_ms, context, config.http)
        self._config = config

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask page by page."""
        asked = {"per_page": str(PER_PAGE)}
        found: list[Mapping[str, Any]] = []
        for _ in range(PAGES_MAX):
            answer = await self.get(f"{API}/instances", asked)
            found += objects(answer, "instances")
            cursor = text(answer, "meta", "links", "next")
            if not cursor:
                targets = await in_thread(vultr_targets, found, self._config.port)
                return [TargetGroup("Vultr", tuple(targets))]
            asked["cursor"] = cursor
        raise DiscoveryError(f"the list of instances has more than {PAGES_MAX} pages")


def vultr_targets(instances: Sequence[Mapping[str, Any]], port: int) -> list[dict[str, str]]:
    """Return a target for each instance."""
    targets = []
    for one in instances:
        labels = {"__address__": address(text(one, "main_ip"), port)}
        labels |= {_META + name: text(one, key) for name, key in _TEXTS.items()}
        labels |= {_META + name: str(integer(one, key)) for name, key in _NUMBERS.items()}
        for name in ("features", "tags"):
            if items := texts(one, name):
                labels[_META + name] = surrounded(items)
        targets.append(labels)
    return targets


KIND: Final = DiscovererKind(KEY, VultrSdConfig, VultrDiscoverer)
