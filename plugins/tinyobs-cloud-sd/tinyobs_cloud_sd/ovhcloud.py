"""Discovery kind `ovhcloud`: virtual and dedicated servers of OVHcloud.

Each request is signed with the time of OVHcloud's clock.  Settings and labels: prometheus discovery/ovhcloud.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote_plus

import structlog
from attrs import frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import Fault, setting
from tinyobs.config.http_client import HttpClientConfig, ProxyConfig
from tinyobs.discovery.http_json import StatusError
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .discoverer import CloudDiscoverer
from .shapes import integer, member, text, texts

KEY: Final = "ovhcloud_sd_configs"
ENDPOINTS: Final = {
    "ovh-eu": "https://eu.api.ovh.com/1.0",
    "ovh-ca": "https://ca.api.ovh.com/1.0",
    "ovh-us": "https://api.us.ovhcloud.com/1.0",
    "kimsufi-eu": "https://eu.api.kimsufi.com/1.0",
    "kimsufi-ca": "https://ca.api.kimsufi.com/1.0",
    "soyoustart-eu": "https://eu.api.soyoustart.com/1.0",
    "soyoustart-ca": "https://ca.api.soyoustart.com/1.0",
}
SERVERS_MAX: Final = 10_000
"""Servers whose details are asked for, one by one."""
NOT_FOUND: Final = 404
_VPS: Final = "__meta_ovhcloud_vps_"
_DEDICATED: Final = "__meta_ovhcloud_dedicated_server_"

log = structlog.get_logger("ovhcloud_sd")


class OvhService(StrEnum):
    """What is looked for."""

    VPS = "vps"
    DEDICATED_SERVER = "dedicated_server"


@frozen(kw_only=True)
class OvhcloudSdConfig:
    """One entry of `ovhcloud_sd_configs`."""

    service: str = setting(default="")
    endpoint: str = setting(default="ovh-eu")
    """The name of one of OVHcloud's interfaces, or its address."""
    application_key: str = setting(default="")
    application_secret: Secret = setting(default=Secret())
    consumer_key: Secret = setting(default=Secret())
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or unknown."""
        for key in ("endpoint", "application_key", "application_secret", "consumer_key"):
            if not getattr(self, key):
                yield Fault(f"{key.replace('_', ' ')} can not be empty", key)
        if self.endpoint and self.endpoint not in ENDPOINTS and "://" not in self.endpoint:
            yield Fault(f"unknown endpoint '{self.endpoint}', there are {', '.join(ENDPOINTS)}, or a URL", "endpoint")
        if self.service not in list(OvhService):
            yield Fault(f"unknown service: {self.service}", "service")


class OvhcloudDiscoverer(CloudDiscoverer):
    """Publishes the servers of one service in one group."""

    def __init__(self, config: OvhcloudSdConfig, context: DiscovererContext) -> None:
        http = HttpClientConfig(proxy=ProxyConfig(proxy_from_environment=True))
        super().__init__("ovhcloud", config.refresh_interval_ms, context, http)
        self._config = config
        self._base = ENDPOINTS.get(config.endpoint, config.endpoint).rstrip("/")
        self._ahead_seconds = 0
        """How far OVHcloud's clock is ahead of ours."""

    async def refresh(self) -> Sequence[TargetGroup]:
        """Ask for the names, then for the details and addresses of each."""
        now = self.context.clock.now_ms() // 1000
        self._ahead_seconds = integer({"time": await self.get(f"{self._base}/auth/time")}, "time") - now
        is_vps = self._config.service == OvhService.VPS
        path = "/vps" if is_vps else "/dedicated/server"
        names = texts({"names": await self._signed(path)}, "names")
        if len(names) > SERVERS_MAX:
            raise DiscoveryError(f"{len(names)} servers, more than the {SERVERS_MAX} whose details are asked for")
        targets = []
        for name in names:
            at = f"{path}/{quote_plus(name)}"
            try:
                server = await self._signed(at)
                ips = texts({"ips": await self._signed(f"{at}/ips")}, "ips")
            except StatusError as e:
                if e.status == NOT_FOUND:  # it is gone since the list was made
                    continue
                raise
            v4, v6 = addresses(ips)
            if not (v4 or v6):
                log.warning("a server has no usable address", name=name, job=self.context.job)
                continue
            targets.append(vps_target(server, v4, v6) if is_vps else dedicated_target(server, v4, v6))
        return [TargetGroup(f"ovhcloud_{self._config.service}", tuple(targets))]

    async def _signed(self, path: str) -> Any:
        config, url = self._config, self._base + path
        time = str(self.context.clock.now_ms() // 1000 + self._ahead_seconds)
        headers = {
            "X-Ovh-Application": config.application_key,
            "X-Ovh-Consumer": config.consumer_key.reveal(),
            "X-Ovh-Timestamp": time,
            "X-Ovh-Signature": signature(config.application_secret, config.consumer_key, "GET", url, time),
        }
        return await self.get(url, headers=headers)


def signature(secret: Secret, consumer: Secret, method: str, url: str, time: str) -> str:
    """Return the signature of a request without body; SHA-1 is what the interface asks for."""
    text = "+".join([secret.reveal(), consumer.reveal(), method, url, "", time])
    return "$1$" + hashlib.sha1(text.encode()).hexdigest()  # noqa: S324


def addresses(ips: Sequence[str]) -> tuple[str, str]:
    """Return the last IPv4 and the last IPv6 address of a list in which there may be networks, too."""
    v4 = v6 = ""
    for given in ips:
        host, slash, bits = given.partition("/")
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            raise DiscoveryError(f"the answer makes no sense: {given[:60]!r} is no IP address") from None
        if (slash and bits != "32") or ip.is_unspecified:
            continue
        if ip.version == 4:
            v4 = str(ip)
        else:
            v6 = str(ip)
    return v4, v6


def vps_target(server: Mapping[str, Any], v4: str, v6: str) -> dict[str, str]:
    """Return the target of a virtual private server."""
    model = member(server, "model")
    return {
        "__address__": v4 or v6,
        "instance": text(server, "name"),
        _VPS + "offer": text(model, "offer"),
        _VPS + "datacenter": f"[{' '.join(texts(model, 'datacenter'))}]",
        _VPS + "model_vcore": str(integer(model, "vcore")),
        _VPS + "maximum_additional_ip": str(integer(model, "maximumAdditionnalIp")),
        _VPS + "version": text(model, "version"),
        _VPS + "model_name": text(model, "name"),
        _VPS + "disk": str(integer(model, "disk")),
        _VPS + "memory": str(integer(model, "memory")),
        _VPS + "zone": text(server, "zone"),
        _VPS + "display_name": text(server, "displayName"),
        _VPS + "cluster": text(server, "cluster"),
        _VPS + "state": text(server, "state"),
        _VPS + "name": text(server, "name"),
        _VPS + "netboot_mode": text(server, "netbootMode"),
        _VPS + "memory_limit": str(integer(server, "memoryLimit")),
        _VPS + "offer_type": text(server, "offerType"),
        _VPS + "vcore": str(integer(server, "vcore")),
        _VPS + "ipv4": v4,
        _VPS + "ipv6": v6,
    }


def dedicated_target(server: Mapping[str, Any], v4: str, v6: str) -> dict[str, str]:
    """Return the target of a dedicated server."""
    return {
        "__address__": v4 or v6,
        "instance": text(server, "name"),
        _DEDICATED + "state": text(server, "state"),
        _DEDICATED + "commercial_range": text(server, "commercialRange"),
        _DEDICATED + "link_speed": str(integer(server, "linkSpeed")),
        _DEDICATED + "rack": text(server, "rack"),
        _DEDICATED + "no_intervention": "true" if member(server, "noIntervention") else "false",
        _DEDICATED + "os": text(server, "os"),
        _DEDICATED + "support_level": text(server, "supportLevel"),
        _DEDICATED + "server_id": str(integer(server, "serverId")),
        _DEDICATED + "reverse": text(server, "reverse"),
        _DEDICATED + "datacenter": text(server, "datacenter"),
        _DEDICATED + "name": text(server, "name"),
        _DEDICATED + "ipv4": v4,
        _DEDICATED + "ipv6": v6,
    }


KIND: Final = DiscovererKind(KEY, OvhcloudSdConfig, OvhcloudDiscoverer)
