"""The contracts `DiscovererKind` and `Discoverer` of `tinyobs.abc`, executable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
import trio

from ..abc import DiscovererContext, DiscovererKind, TargetGroup
from .services import VirtualClock

START_SECONDS_MAX: Final = 60.0


async def check_discoverer(kind: DiscovererKind, config: Any, folder: str = ".") -> list[TargetGroup]:
    """Check a kind of discovery with one entry of its schema; return what it published first.

    Raises `AssertionError` for the first promise that is not kept.
    """
    assert kind.key.endswith("_configs"), "the key in a scrape config ends in _configs"
    assert attrs.has(kind.schema), "the schema is an attrs class"
    assert isinstance(config, kind.schema), "the entry is one of the schema"
    calls: list[Sequence[TargetGroup]] = []

    async def publish(groups: Sequence[TargetGroup]) -> None:
        calls.append(groups)

    discoverer = kind.make(config, DiscovererContext("check", 0, folder, VirtualClock()))
    with trio.move_on_after(START_SECONDS_MAX) as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(_started, discoverer, publish)
            scope.deadline = float("inf")
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught, f"task_status.started() was not called within {START_SECONDS_MAX} s"
    assert calls, "it publishes before it says that it works"
    published = [group for groups in calls for group in groups]
    sources = [group.source for group in published]
    assert len(sources) == len(set(sources)), "groups are told apart by their source"
    for group in published:
        for target in group.targets:
            assert target.get("__address__"), "every target has an address"
    return published


async def _started(discoverer: Any, publish: Any, *, task_status: trio.TaskStatus[None]) -> None:
    await discoverer.run(publish, task_status=task_status)
