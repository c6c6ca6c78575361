"""Targets from Docker: the containers of one daemon, `docker_sd_configs`, and a swarm, `dockerswarm_sd_configs`.

A daemon is asked over its Unix socket or over HTTP.  Names and rules: prometheus discovery/moby.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import DiscovererKind
from ...config.docker_sd import DOCKER, SWARM, DockerSdConfig, DockerSwarmSdConfig
from ...discovery.lazily import lazily
from ...hookspecs import hookimpl


@hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer both kinds."""
    return [
        DiscovererKind(DOCKER, DockerSdConfig, lazily(f"{__name__}.discoverer", "DockerDiscoverer")),
        DiscovererKind(SWARM, DockerSwarmSdConfig, lazily(f"{__name__}.discoverer", "SwarmDiscoverer")),
    ]
