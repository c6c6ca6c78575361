"""Targets from records of the DNS: `dns_sd_configs`.

The servers and search domains are those of `/etc/resolv.conf`, which is read at each refresh.  A name that nobody can
answer keeps its last good targets; one that all servers say does not exist has none.  Names and rules: prometheus
discovery/dns/dns.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import DiscovererKind
from ...config.dns_sd import DNS, DnsSdConfig
from ...discovery.lazily import lazily
from ...hookspecs import hookimpl


@hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer `dns_sd_configs`."""
    return [DiscovererKind(DNS, DnsSdConfig, lazily(f"{__name__}.discoverer", "DnsDiscoverer"))]
