"""Discovery kind `linode`: instances of Akamai's cloud.

Between full lists only the account's events are asked for, which is one short answer; any event since the last time,
or ten times without one, brings a full list.  Settings and labels: prometheus discovery/linode.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import field, frozen
from tinyobs.abc import DiscovererContext, DiscovererKind, TargetGroup
from tinyobs.config.fields import inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.discovery.http_json import StatusError
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.errors import TinyObsError
from tinyobs.model.durations import DurationMs

from .discoverer import PAGES_MAX, UNAUTHORIZED, CloudDiscoverer, in_thread
from .labels import address, surrounded
from .shapes import integer, member, objects, text, texts

KEY: Final = "linode_sd_configs"
API: Final = "https://api.linode.com/v4"
PAGE_SIZE: Final = 500
EVENTS_PAGE_SIZE: Final = 25
POLLS_MAX: Final = 10
"""After how many polls without an event everything is listed all the same: not every change makes an event."""
_META: Final = "__meta_linode_"


@frozen(kw_only=True)
class LinodeSdConfig:
    """One entry of `linode_sd_configs`."""

    region: str = setting(default="")
    """Only what is in this region; empty for all."""
    port: int = setting(default=80, low=0, high=65535)
    tag_separator: str = setting(default=",")
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)


@frozen
class LinodeSdStatistics:
    """How listing fares."""

    failures_total: int = field(metadata={"metric": "prometheus_sd_linode_failures_total"})
    """Number of Linode service discovery refresh failures."""


class LinodeDiscoverer(CloudDiscoverer):
    """Publishes all instances that have an IPv4 address in one group."""

    def __init__(self, config: LinodeSdConfig, context: DiscovererContext) -> None:
        super().__init__("linode", config.refresh_interval_ms, context, config.http)
        self._config = config
        self._groups: list[TargetGroup] = []
        self._has_listed = False
        self._polls = 0
        self._polls_events = True
        self._last_ms = context.clock.now_ms()
        self._failures = 0

    def statistics(self) -> LinodeSdStatistics:
        """Return the counters."""
        return LinodeSdStatistics(self._failures)

    async def refresh(self) -> Sequence[TargetGroup]:
        """Return the last list when the account had no event since, else a new one."""
        now = self.context.clock.now_ms()
        if not self._has_listed or not self._polls_events or await self._has_changed():
            try:
                self._groups = [await self._list()]
            except TinyObsError:
                self._failures += 1
                raise
            self._has_listed, self._polls = True, 0
        self._last_ms = now
        return self._groups

    async def _has_changed(self) -> bool:
        since = datetime.fromtimestamp(self._last_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        wanted = {"X-Filter": json.dumps({"created": {"+gte": since}})}
        asked = {"page": "1", "page_size": str(EVENTS_PAGE_SIZE)}
        try:
            events = objects(await self.get(f"{API}/account/events", asked, headers=wanted), "data")
        except StatusError as e:
            if e.status != UNAUTHORIZED:
                raise
            # The token has no right to read events: list everything each time.
            self._polls_events = False
            return True
        self._polls += 1
        return bool(events) or self._polls >= POLLS_MAX

    async def _list(self) -> TargetGroup:
        instances = await self._all("linode/instances")
        addresses = await self._all("networking/ips")
        ranges = await self._all("networking/ipv6/ranges")
        return TargetGroup("Linode", tuple(await in_thread(linode_targets, instances, addresses, ranges, self._config)))

    async def _all(self, path: str) -> list[Mapping[str, Any]]:
        headers = {"X-Filter": json.dumps({"region": self._config.region})} if self._config.region else {}
        found: list[Mapping[str, Any]] = []
        for page in range(1, PAGES_MAX + 1):
            asked = {"page": str(page), "page_size": str(PAGE_SIZE)}
            answer = await self.get(f"{API}/{path}", asked, headers=headers)
            found += objects(answer, "data")
            if page >= integer(answer, "pages"):
                return found
        raise DiscoveryError(f"the list of {path} has more than {PAGES_MAX} pages")


@frozen
class _Addresses:
    """The addresses of one instance, in order: the first public, the first private, all others."""

    public: str = ""
    public_name: str = ""
    private: str = ""
    private_name: str = ""
    extra: tuple[str, ...] = ()


def linode_targets(
    instances: Sequence[Mapping[str, Any]],
    addresses: Sequence[Mapping[str, Any]],
    ranges: Sequence[Mapping[str, Any]],
    config: LinodeSdConfig,
) -> list[dict[str, str]]:
    """Return a target for each instance that has an IPv4 address.

    addresses: the details of every address of the account; ranges: the IPv6 networks that are routed to instances.
    """
    details = {text(one, "address"): one for one in addresses}
    routed: dict[str, list[str]] = {}
    for one in ranges:
        network = f"{text(one, 'range')}/{integer(one, 'prefix')}"
        routed.setdefault(text(one, "route_target"), []).append(network)
    return [_target(one, details, routed, config) for one in instances if texts(one, "ipv4")]


def _target(
    instance: Mapping[str, Any],
    details: Mapping[str, Mapping[str, Any]],
    routed: Mapping[str, Sequence[str]],
    config: LinodeSdConfig,
) -> dict[str, str]:
    v4 = _ipv4(texts(instance, "ipv4"), details)
    ipv6 = text(instance, "ipv6").partition("/")[0]
    known = details.get(ipv6) if ipv6 else None
    specs = member(instance, "specs")
    labels = {
        "__address__": address(v4.public, config.port),
        _META + "instance_id": str(integer(instance, "id")),
        _META + "instance_label": text(instance, "label"),
        _META + "image": text(instance, "image"),
        _META + "private_ipv4": v4.private,
        _META + "public_ipv4": v4.public,
        _META + "public_ipv6": ipv6 if known is not None else "",
        _META + "private_ipv4_rdns": v4.private_name,
        _META + "public_ipv4_rdns": v4.public_name,
        _META + "public_ipv6_rdns": _name(known),
        _META + "region": text(instance, "region"),
        _META + "type": text(instance, "type"),
        _META + "status": text(instance, "status"),
        _META + "group": text(instance, "group"),
        _META + "gpus": str(integer(specs, "gpus")),
        _META + "hypervisor": text(instance, "hypervisor"),
        _META + "backups": "enabled" if member(instance, "backups", "enabled") else "disabled",
        _META + "specs_disk_bytes": str(integer(specs, "disk") << 20),
        _META + "specs_memory_bytes": str(integer(specs, "memory") << 20),
        _META + "specs_vcpus": str(integer(specs, "vcpus")),
        _META + "specs_transfer_bytes": str(integer(specs, "transfer") << 20),
    }
    for name, items in (
        ("tags", texts(instance, "tags")),
        ("extra_ips", v4.extra),
        ("ipv6_ranges", routed.get(ipv6, ()) if ipv6 else ()),
    ):
        if items:
            labels[_META + name] = surrounded(items, config.tag_separator)
    return labels


def _ipv4(given: Sequence[str], details: Mapping[str, Mapping[str, Any]]) -> _Addresses:
    found: dict[str, Any] = {}
    extra = []
    for ip in given:
        known = details.get(ip)
        if known is None:
            continue
        kind = "public" if member(known, "public") else "private"
        if kind in found:
            extra.append(ip)
        else:
            found |= {kind: ip, f"{kind}_name": _name(known)}
    return _Addresses(**found, extra=tuple(extra))


def _name(known: Mapping[str, Any] | None) -> str:
    """Return the name that an address resolves to; the interface writes `null` as a text too."""
    name = text(known, "rdns")
    return "" if name == "null" else name


KIND: Final = DiscovererKind(KEY, LinodeSdConfig, LinodeDiscoverer)
