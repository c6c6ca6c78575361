"""Targets from the services that Nomad knows itself: `nomad_sd_configs`.

All services are listed at each `refresh_interval`, and as soon as the server tells that one has changed: between two
refreshes one blocking query waits for that.  Names and rules: prometheus discovery/nomad/nomad.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import trio
from attrs import field, frozen

from ..abc import DiscovererContext, DiscovererKind, TargetGroup
from ..config.nomad_sd import NOMAD, NomadSdConfig
from ..discovery.addresses import host_port
from ..discovery.answers import Fields, objects
from ..discovery.http_json import JsonClient
from ..discovery.refreshing import DiscoveryError, RefreshingDiscoverer
from ..errors import TinyObsError
from ..hookspecs import hookimpl

PREFIX: Final = "__meta_nomad_"
PAUSE_SECONDS: Final = 1.0
"""Least time between two refreshes, however often services change."""
WAIT_SECONDS_MAX: Final = 300.0
"""Longest time that the server is asked to wait for a change; it knows no longer one than 10 minutes."""
GRACE_SECONDS: Final = 30.0
"""How much longer we wait; the server adds up to a sixteenth to the time."""
SERVICES_MAX: Final = 10_000
"""Most services that are asked for, one request each."""


@hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer `nomad_sd_configs`."""
    return [DiscovererKind(NOMAD, NomadSdConfig, NomadDiscoverer)]


@frozen
class NomadSdStatistics:
    """How the server answers."""

    failures_total: int = field(metadata={"metric": "prometheus_sd_nomad_failures_total"})
    """Number of nomad service discovery refresh failures."""


class NomadDiscoverer(RefreshingDiscoverer):
    """Publishes one group with the instances of all services."""

    def __init__(self, config: NomadSdConfig, context: DiscovererContext) -> None:
        super().__init__("nomad", config.refresh_interval_ms, context)
        self._config = config
        self._client = JsonClient(config.http, config.server.strip())
        self._index = 0
        self._failures = 0

    async def refresh(self) -> Sequence[TargetGroup]:
        """List the services, and the instances of each."""
        try:
            return [TargetGroup("Nomad", tuple(await self._targets()))]
        except TinyObsError:
            self._failures += 1
            self._index = 0
            raise

    async def wait(self, until: float) -> None:
        """Return when the next refresh is due, or when the list of services has changed."""
        await trio.sleep(min(PAUSE_SECONDS, max(until - trio.current_time(), 0)))
        while self._index and (left := until - trio.current_time()) > PAUSE_SECONDS:
            seconds = int(min(left, WAIT_SECONDS_MAX))
            params = [*self._params(), ("index", str(self._index)), ("wait", f"{seconds}s")]
            with trio.move_on_at(until):
                try:
                    answer = await self._client.get("/v1/services", params, deadline_seconds=seconds + GRACE_SECONDS)
                except TinyObsError:
                    break  # the refresh tells of it
                if _index(answer.headers.get("x-nomad-index", "")) != self._index:
                    return
                await trio.sleep(PAUSE_SECONDS)
        await trio.sleep_until(until)

    async def _targets(self) -> list[dict[str, str]]:
        answer = await self._client.get("/v1/services", self._params())
        index = _index(answer.headers.get("x-nomad-index", ""))
        names = [
            (stub.text("Namespace"), service.text("ServiceName"))
            for stub in objects(answer.value, "the list of services")
            for service in stub.items("Services")
        ]
        if len(names) > SERVICES_MAX:
            raise DiscoveryError(f"{len(names)} services, more than the {SERVICES_MAX} that are asked for")
        targets: list[dict[str, str]] = []
        for namespace, name in names:
            # A question for one service names one namespace, also where the list was that of all.
            params = self._params(namespace if self._config.namespace == "*" else "")
            found = await self._client.get(f"/v1/service/{quote(name, safe='')}", params)
            targets += map(self._target, objects(found.value, f"the instances of {name}"))
        self._index = index
        return targets

    def _target(self, instance: Fields) -> dict[str, str]:
        address, port, tags = instance.text("Address"), str(instance.number("Port")), instance.texts("Tags")
        separator = self._config.tag_separator
        labels = {
            "__address__": host_port(address, port),
            f"{PREFIX}address": address,
            f"{PREFIX}dc": instance.text("Datacenter"),
            f"{PREFIX}node_id": instance.text("NodeID"),
            f"{PREFIX}namespace": instance.text("Namespace"),
            f"{PREFIX}service": instance.text("ServiceName"),
            f"{PREFIX}service_address": address,
            f"{PREFIX}service_id": instance.text("ID"),
            f"{PREFIX}service_port": port,
        }
        if tags:
            labels[f"{PREFIX}tags"] = separator + separator.join(tags) + separator
        return labels

    def _params(self, namespace: str = "") -> list[tuple[str, str]]:
        named = (("namespace", namespace or self._config.namespace), ("region", self._config.region))
        stale = [("stale", "")] if self._config.allow_stale else []
        return [(name, value) for name, value in named if value] + stale

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    def statistics(self) -> NomadSdStatistics:
        """Return the counters."""
        return NomadSdStatistics(self._failures)


def _index(text: str) -> int:
    """Return the index that a change of the list raises, 0 where the server tells none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else 0
