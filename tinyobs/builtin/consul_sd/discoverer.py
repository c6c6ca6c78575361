"""Watches the catalog of a Consul server, and each of its services that is wanted.

There is a watch for the list of services (unless the configuration names them) and one for each service.  A watch asks
at most once each `refresh_interval`, waits in the server for a change, and after an error tries again after a while; the
last good targets stay meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import structlog
import trio
from attrs import define, field, frozen

from ...abc import Discoverer, DiscovererContext, TargetGroup
from ...config.consul_sd import ConsulSdConfig
from ...discovery.call_durations import Durations
from ...errors import TinyObsError
from ...model.families import MetricFamily
from .catalog import Catalog
from .targets import service_group

RETRY_SECONDS: Final = 15.0
"""Pause after an error."""
FIRST_AT_ONCE: Final = 16
"""Most services that are asked for at the same time at the start."""
SERVICES_MAX: Final = 10_000
"""Most services that one entry watches; each has a request waiting in the server."""

log = structlog.get_logger("consul_sd")
Publish: TypeAlias = Callable[[Sequence[TargetGroup]], Awaitable[None]]


@frozen
class ConsulSdStatistics:
    """How the questions fare."""

    rpc_failures_total: int = field(metadata={"metric": "prometheus_sd_consul_rpc_failures_total"})
    """The number of Consul RPC call failures."""
    rpc_durations_total: MetricFamily
    """The duration of a Consul RPC call in seconds."""


@define
class _Watch:
    """A service that is watched."""

    scope: trio.CancelScope = field(factory=trio.CancelScope)
    index: int = 0


class ConsulDiscoverer(Discoverer):
    """Publishes a group for each service."""

    def __init__(self, config: ConsulSdConfig, context: DiscovererContext) -> None:
        self._config, self._context = config, context
        self._failures, self._durations = 0, Durations()
        self._catalog = Catalog(config, self._durations.observe)
        self._interval_seconds = config.refresh_interval_ms / 1000
        self._datacenter = ""
        self._watches: dict[str, _Watch] = {}
        self._errors: dict[str, str] = {}

    async def run(self, publish: Publish, *, task_status: trio.TaskStatus[None]) -> None:
        """Ask for everything once, publish it, then watch until cancelled."""
        try:
            groups: list[TargetGroup] = []
            index = await self._first_round(groups)
            await publish(groups)
            task_status.started()
            async with trio.open_nursery() as nursery:
                await self._find_datacenter()
                for name in list(self._watches):
                    nursery.start_soon(self._watch_service, name, publish)
                if self._lists_services:
                    await self._watch_services(index, nursery, publish)
                else:
                    await trio.sleep_forever()
        finally:
            with trio.move_on_after(1, shield=True):
                await self._catalog.aclose()

    def statistics(self) -> ConsulSdStatistics:
        """Return the counters."""
        durations = self._durations.family(
            "prometheus_sd_consul_rpc_duration_seconds",
            "The duration of a Consul RPC call in seconds.",
            lambda call: {"endpoint": "catalog", "call": call},
        )
        return ConsulSdStatistics(self._failures, durations)

    @property
    def _lists_services(self) -> bool:
        """Whether the catalog must be asked for the services there are."""
        return not self._config.services or bool(self._config.tags)

    # -- the start -----------------------------------------------------------------------------------------------

    async def _first_round(self, groups: list[TargetGroup]) -> int:
        """Fill in the groups of all services, without waiting for changes; return the index of the list of services.

        What fails here is asked for by its watch.
        """
        index = 0
        self._watches = {} if self._lists_services else {name: _Watch() for name in self._config.services}
        try:
            self._datacenter = await self._catalog.datacenter()
            if self._lists_services:
                listed = await self._catalog.services(0)
                index = listed.index
                self._watches = {name: _Watch() for name in self._wanted(listed.value)}
        except TinyObsError as e:
            self._note_error("", e)
            return 0
        limit = trio.CapacityLimiter(FIRST_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for name in self._watches:
                nursery.start_soon(self._first_of, name, limit, groups)
        return index

    async def _first_of(self, name: str, limit: trio.CapacityLimiter, groups: list[TargetGroup]) -> None:
        async with limit:
            group = await self._ask_service(name)
        if group is not None:
            groups.append(group)

    async def _find_datacenter(self) -> None:
        """Ask for the datacenter until it is known."""
        while not self._datacenter:
            await trio.sleep(RETRY_SECONDS)
            try:
                self._datacenter = await self._catalog.datacenter()
                self._note_success("")
            except TinyObsError as e:
                self._note_error("", e)

    # -- watches -------------------------------------------------------------------------------------------------

    async def _watch_services(self, index: int, nursery: trio.Nursery, publish: Publish) -> None:
        """Keep the watches in step with the list of services."""
        while True:
            began = trio.current_time()
            try:
                listed = await self._catalog.services(index)
                self._note_success("")
            except TinyObsError as e:
                self._note_error("", e)
                index = 0
                await trio.sleep(RETRY_SECONDS)
                continue
            if listed.index != index or not index:
                await self._follow(listed.value, nursery, publish)
            index = listed.index
            await trio.sleep_until(began + self._interval_seconds)

    async def _follow(self, listed: dict[str, list[str]], nursery: trio.Nursery, publish: Publish) -> None:
        wanted = self._wanted(listed)
        for name in [n for n in self._watches if n not in wanted]:
            self._watches.pop(name).scope.cancel()
            self._errors.pop(name, None)
            await publish([TargetGroup(name, ())])
        for name in wanted:
            if name not in self._watches:
                self._watches[name] = _Watch()
                nursery.start_soon(self._watch_service, name, publish)

    def _wanted(self, listed: dict[str, list[str]]) -> list[str]:
        """Return the services that the configuration asks for, by name and tags."""
        names, tags = set(self._config.services), set(self._config.tags)
        found = [name for name, has in listed.items() if (not names or name in names) and tags <= set(has)]
        if len(found) > SERVICES_MAX:
            log.error("too many services; the rest is not watched", count=len(found), most=SERVICES_MAX)
        return found[:SERVICES_MAX]

    async def _watch_service(self, name: str, publish: Publish) -> None:
        watch = self._watches[name]
        with watch.scope:
            while True:
                began = trio.current_time()
                before = watch.index
                group = await self._ask_service(name)
                if group is None:
                    await trio.sleep(RETRY_SECONDS)
                    continue
                if watch.index != before or not before:
                    await publish([group])
                await trio.sleep_until(began + self._interval_seconds)

    async def _ask_service(self, name: str) -> TargetGroup | None:
        """Return the group of a service, None after an error; sets the index to ask with next time."""
        watch = self._watches[name]
        try:
            found = await self._catalog.instances(name, watch.index)
            group = service_group(name, self._datacenter, found.value, self._config.tag_separator)
        except TinyObsError as e:
            watch.index = 0
            self._note_error(name, e)
            return None
        watch.index = found.index
        self._note_success(name)
        return group

    # -- counters ------------------------------------------------------------------------------------------------

    def _note_error(self, service: str, error: TinyObsError) -> None:
        """Count every failure, log each only once as long as it stays the same; service: "" for the list of them."""
        self._failures += 1
        self._context.note_failure()
        if self._errors.get(service) != str(error):
            self._errors[service] = str(error)
            log.error(
                "Consul does not tell its services; the last good targets stay",
                job=self._context.job,
                service=service,
                reason=str(error),
            )

    def _note_success(self, service: str) -> None:
        if self._errors.pop(service, None) is not None:
            log.info("Consul tells its services again", job=self._context.job, service=service)
