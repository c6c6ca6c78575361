"""Asks a daemon again and again: for its containers, or for what a swarm has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...abc import DiscovererContext, TargetGroup
from ...config.docker_sd import DockerSdConfig, DockerSwarmSdConfig
from ...discovery.refreshing import RefreshingDiscoverer
from . import containers, swarm
from .daemon import Daemon, network_labels


class DockerDiscoverer(RefreshingDiscoverer):
    """Publishes one group with all containers."""

    def __init__(self, config: DockerSdConfig, context: DiscovererContext) -> None:
        super().__init__("docker", config.refresh_interval_ms, context)
        self._config = config
        self._daemon = Daemon(config.http, config.host, max(self.interval_seconds, 1.0))

    async def refresh(self) -> Sequence[TargetGroup]:
        """List containers and networks."""
        found = await self._daemon.list("containers/json", self._config.filters)
        networks = network_labels(await self._daemon.list("networks"), containers.PREFIX)
        return [TargetGroup("Docker", tuple(containers.container_targets(found, networks, self._config)))]

    async def aclose(self) -> None:
        """Close the connection."""
        await self._daemon.aclose()


class SwarmDiscoverer(RefreshingDiscoverer):
    """Publishes one group with all services, tasks or nodes."""

    def __init__(self, config: DockerSwarmSdConfig, context: DiscovererContext) -> None:
        super().__init__("dockerswarm", config.refresh_interval_ms, context)
        self._config = config
        self._daemon = Daemon(config.http, config.host, max(self.interval_seconds, 1.0))

    async def refresh(self) -> Sequence[TargetGroup]:
        """List what the role is made of; the filters are those of what the role is named after."""
        return [TargetGroup("DockerSwarm", tuple(await self._targets()))]

    async def _targets(self) -> Iterable[dict[str, str]]:
        role, port, list_of = self._config.role, self._config.port, self._daemon.list
        found = await list_of(role, self._config.filters)
        if role == "nodes":
            return swarm.node_targets(found, port)
        if role == "services":
            networks = network_labels(await list_of("networks"), swarm.PREFIX)
            return swarm.service_targets(found, networks, port)
        services, nodes = await list_of("services"), await list_of("nodes")
        networks = network_labels(await list_of("networks"), swarm.PREFIX)
        return swarm.task_targets(found, services, nodes, networks, port)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._daemon.aclose()
