"""Discovery kind `lightsail`: instances of Amazon Lightsail in one region.

Keys and region are found as for `ec2`.  Settings and labels: prometheus discovery/aws/lightsail.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.names import sanitize_label_name
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .aws_entry import AwsDiscoverer
from .discoverer import PAGES_MAX, in_thread
from .labels import address, surrounded
from .shapes import member, objects, text, texts

KEY: Final = "lightsail_sd_configs"
TARGET: Final = "Lightsail_20161128.GetInstances"
_META: Final = "__meta_lightsail_"
_PLAIN: Final = (
    ("availability_zone", ("location", "availabilityZone")),
    ("blueprint_id", ("blueprintId",)),
    ("bundle_id", ("bundleId",)),
    ("instance_name", ("name",)),
    ("instance_state", ("state", "name")),
    ("instance_support_code", ("supportCode",)),
    ("private_ip", ("privateIpAddress",)),
    ("public_ip", ("publicIpAddress",)),
)
"""Labels that are there when the field is."""


@frozen(kw_only=True)
class LightsailSdConfig:
    """One entry of `lightsail_sd_configs`."""

    region: str = setting(default="")
    """Empty: that of the environment, the profile or the instance."""
    endpoint: str = setting(default="")
    """An address instead of the region's own."""
    access_key: str = setting(default="")
    secret_key: Secret = setting(default=Secret())
    profile: str = setting(default="")
    role_arn: str = setting(default="")
    external_id: str = setting(default="")
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)


class LightsailDiscoverer(AwsDiscoverer):
    """Publishes the instances that have a private address in one group."""

    def __init__(self, config: LightsailSdConfig, context: DiscovererContext) -> None:
        super().__init__("lightsail", "lightsail", config, context)
        self._config = config

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask page by page."""
        region = await self.access.region()
        asked: dict[str, str] = {}
        targets: list[dict[str, str]] = []
        for _ in range(PAGES_MAX):
            answer = await self.post_json(TARGET, asked)
            targets += await in_thread(lightsail_targets, objects(answer, "instances"), region, self._config.port)
            token = text(answer, "nextPageToken")
            if not token:
                return [TargetGroup(region, tuple(targets))]
            asked["pageToken"] = token
        raise DiscoveryError(f"the list of instances has more than {PAGES_MAX} pages")


def lightsail_targets(instances: Sequence[Mapping[str, Any]], region: str, port: int) -> list[dict[str, str]]:
    """Return a target for each instance that has a private address."""
    targets = []
    for one in instances:
        private = text(one, "privateIpAddress")
        if not private:
            continue
        labels = {"__address__": address(private, port), _META + "region": region}
        labels |= {_META + name: text(one, *path) for name, path in _PLAIN if member(one, *path) is not None}
        if ipv6 := texts(one, "ipv6Addresses"):
            labels[_META + "ipv6_addresses"] = surrounded(ipv6)
        for tag in objects(one, "tags"):
            if member(tag, "key") is not None and member(tag, "value") is not None:
                labels[_META + "tag_" + sanitize_label_name(text(tag, "key"))] = text(tag, "value")
        targets.append(labels)
    return targets


KIND: Final = DiscovererKind(KEY, LightsailSdConfig, LightsailDiscoverer)
