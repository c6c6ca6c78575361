"""Targets that are written into the configuration: `static_configs`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from ..abc import Discoverer, DiscovererContext, DiscovererKind, TargetGroup
from ..config.discovery import STATIC, StaticConfig
from ..hookspecs import hookimpl


@hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer `static_configs`."""
    return [DiscovererKind(STATIC, StaticConfig, StaticDiscoverer)]


class StaticDiscoverer(Discoverer):
    """Publishes one group, once; its source is the position of the entry in the list, as with Prometheus."""

    def __init__(self, config: StaticConfig, context: DiscovererContext) -> None:
        targets = tuple({"__address__": address} for address in config.targets)
        self.group = TargetGroup(str(context.index), targets, dict(config.labels))

    async def run(
        self, publish: Callable[[Sequence[TargetGroup]], Awaitable[None]], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Publish, then wait for the end."""
        await publish([self.group])
        task_status.started()
        await trio.sleep_forever()
