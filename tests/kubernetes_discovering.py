"""Runs a discovery of `kubernetes_sd_configs` and keeps what it publishes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import Factory, define
from kubernetes_api import FakeKubernetes

from tinyobs.abc import DiscovererContext, TargetGroup
from tinyobs.builtin.kubernetes_sd.discoverer import KubernetesDiscoverer, KubernetesSdStatistics
from tinyobs.config.fields import Url
from tinyobs.config.kubernetes_sd import KubernetesSdConfig, Role
from tinyobs.testing.services import VirtualClock


@define(eq=False)
class Found:
    """The groups there are now, and how they came."""

    discoverer: KubernetesDiscoverer | None = None
    groups: dict[str, TargetGroup] = Factory(dict)
    calls: list[list[str]] = Factory(list)
    """The sources of each call of `publish`."""
    failures: int = 0
    _changed: trio.Event = Factory(trio.Event)

    async def publish(self, groups: Sequence[TargetGroup]) -> None:
        """Take what changed, as a scrape pool does."""
        await trio.lowlevel.checkpoint()
        self.calls.append([group.source for group in groups])
        for group in groups:
            if group.targets:
                self.groups[group.source] = group
            else:
                del self.groups[group.source]
        self._changed.set()
        self._changed = trio.Event()

    def note_failure(self) -> None:
        """Count a failure."""
        self.failures += 1
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, holds: Callable[[], object], seconds: float = 1000) -> None:
        """Wait until something holds; it is looked at with each change."""
        with trio.fail_after(seconds):
            while not holds():
                await self._changed.wait()

    @property
    def addresses(self) -> list[str]:
        """The addresses of all targets, sorted."""
        return sorted(t["__address__"] for g in self.groups.values() for t in g.targets)

    @property
    def statistics(self) -> KubernetesSdStatistics:
        """The counters."""
        assert self.discoverer
        return self.discoverer.statistics()


def entry(api: FakeKubernetes, role: Role = Role.POD, **more: Any) -> KubernetesSdConfig:
    """Return an entry of the configuration for a fake API server."""
    return KubernetesSdConfig(api_server=Url(api.url), role=role, **more)


@asynccontextmanager
async def discovering(config: KubernetesSdConfig) -> AsyncIterator[Found]:
    """Run a discovery while the context is open, which begins when it has published."""
    found = Found()
    context = DiscovererContext("job", 0, ".", VirtualClock(), found.note_failure)
    found.discoverer = KubernetesDiscoverer(config, context)
    async with trio.open_nursery() as nursery:
        await nursery.start(found.discoverer.run, found.publish)
        yield found
        nursery.cancel_scope.cancel()
