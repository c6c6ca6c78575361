"""`dns_sd_configs`: targets from records of the DNS.  Format and messages: prometheus discovery/dns/dns.go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from ..model.durations import DurationMs
from .fields import Fault, setting

DNS: Final = "dns_sd_configs"
RECORD_TYPES: Final = ("SRV", "A", "AAAA", "MX", "NS")


@frozen(kw_only=True)
class DnsSdConfig:
    """Names that are looked up again and again."""

    names: tuple[str, ...] = setting(default=(), always=True)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(30_000), low=1000)
    type: str = setting(default="SRV", always=True)
    """One of `RECORD_TYPES`, in any case."""
    port: int = setting(default=0, always=True)
    """Of the targets; a record of type SRV has its own."""

    def faults(self) -> Iterator[Fault]:
        """Yield what upstream refuses."""
        if not self.names:
            yield Fault("DNS-SD config must contain at least one SRV record name", "names")
        if self.type.upper() not in RECORD_TYPES:
            yield Fault(f"invalid DNS-SD records type {self.type}", "type")
        elif self.type.upper() != "SRV" and not self.port:
            yield Fault("a port is required in DNS-SD configs for all record types except SRV", "port")
