"""Looks names up again and again and publishes a group for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import dns.name
import dns.rdata
import dns.rdatatype
import structlog
import trio
from attrs import field, frozen

from ...abc import DiscovererContext, TargetGroup
from ...config.dns_sd import DnsSdConfig
from ...discovery.addresses import host_port
from ...discovery.refreshing import DiscoveryError, RefreshingDiscoverer
from .resolver import PORT, RESOLV_CONF, read_resolv_conf

LOOKUPS_AT_ONCE: Final = 100
"""Most names of one entry that are looked up at the same time."""

log = structlog.get_logger("dns_sd")


@frozen
class DnsSdStatistics:
    """How the lookups fare."""

    lookups_total: int = field(metadata={"metric": "prometheus_sd_dns_lookups_total"})
    """The number of DNS-SD lookups."""
    lookup_failures_total: int = field(metadata={"metric": "prometheus_sd_dns_lookup_failures_total"})
    """The number of DNS-SD lookup failures."""


class DnsDiscoverer(RefreshingDiscoverer):
    """Publishes a group for each name."""

    def __init__(
        self, config: DnsSdConfig, context: DiscovererContext, resolv_conf: str = RESOLV_CONF, port: int = PORT
    ) -> None:
        """port: where the servers listen."""
        super().__init__("dns", config.refresh_interval_ms, context)
        self._config, self._resolv_conf, self._port = config, resolv_conf, port
        self._type = dns.rdatatype.from_text(config.type.upper())
        self._good: dict[str, TargetGroup] = {}
        self._errors: dict[str, str] = {}
        self._lookups = self._failures = 0

    async def refresh(self) -> Sequence[TargetGroup]:
        """Look all names up; raises `DiscoveryError` when none can be."""
        limit = trio.CapacityLimiter(LOOKUPS_AT_ONCE)
        errors: dict[str, str] = {}
        names = dict.fromkeys(self._config.names)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self._refresh_one, name, limit, errors)
        if len(errors) == len(names):
            raise DiscoveryError("; ".join(dict.fromkeys(errors.values())))
        for name, reason in errors.items():
            if self._errors.get(name) != reason:
                log.error("a name cannot be looked up; its last good targets stay", name=name, reason=reason)
        self._errors = errors
        return [self._good[name] for name in names if name in self._good]

    async def _refresh_one(self, name: str, limit: trio.CapacityLimiter, errors: dict[str, str]) -> None:
        async with limit:
            self._lookups += 1
            try:
                resolver = read_resolv_conf(self._resolv_conf, self._port)
                records = await resolver.look_up(name, self._type)
                self._good[name] = TargetGroup(name, tuple(self._targets(name, records)))
            except DiscoveryError as e:
                self._failures += 1
                errors[name] = str(e)

    def _targets(self, name: str, records: Sequence[dns.rdata.Rdata]) -> Iterator[dict[str, str]]:
        for record in records:
            port = self._config.port
            labels = dict.fromkeys(("srv_record_target", "srv_record_port", "mx_record_target", "ns_record_target"), "")
            if record.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
                host = record.to_text()
            else:
                target: dns.name.Name = getattr(record, "exchange" if record.rdtype == dns.rdatatype.MX else "target")
                kind = dns.rdatatype.to_text(record.rdtype).lower()
                host = labels[f"{kind}_record_target"] = target.to_text()
                if record.rdtype == dns.rdatatype.SRV:
                    port = getattr(record, "port")  # noqa: B009  (the class is made at run time)
                    labels["srv_record_port"] = str(port)
            yield {
                "__address__": host_port(host.rstrip("."), port),
                "__meta_dns_name": name,
                **{f"__meta_dns_{label}": value for label, value in labels.items()},
            }

    def statistics(self) -> DnsSdStatistics:
        """Return the counters."""
        return DnsSdStatistics(self._lookups, self._failures)
