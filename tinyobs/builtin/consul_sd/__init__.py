"""Targets from the services of a Consul catalog: `consul_sd_configs`.

Nothing is polled: the list of services, and the instances of each service, are asked for by blocking queries, which
Consul answers when something changes.  Names and rules: prometheus discovery/consul/consul.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import DiscovererKind
from ...config.consul_sd import CONSUL, ConsulSdConfig
from ...discovery.lazily import lazily
from ...hookspecs import hookimpl


@hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer `consul_sd_configs`."""
    return [DiscovererKind(CONSUL, ConsulSdConfig, lazily(f"{__name__}.discoverer", "ConsulDiscoverer"))]
