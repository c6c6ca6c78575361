"""Runs a discoverer as a scrape pool does, and keeps what it has published."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from attrs import define, field

from tinyobs.abc import Discoverer, DiscovererContext, TargetGroup
from tinyobs.testing.services import VirtualClock

WAIT_SECONDS = 90.0
"""How long a test waits for something that is to come; only a failing test waits that long."""


@define
class Published:
    """The groups of a running discoverer, by source."""

    discoverer: Discoverer
    groups: dict[str, TargetGroup] = field(factory=dict)
    times: int = 0
    failures: int = 0
    refreshes: int = 0
    _changed: trio.Event = field(factory=trio.Event)

    @property
    def addresses(self) -> list[str]:
        """The addresses of all targets, sorted."""
        return sorted(t["__address__"] for g in self.groups.values() for t in g.targets)

    @property
    def labels(self) -> list[dict[str, str]]:
        """All labels of each target, in order of the addresses."""
        found = [{**g.labels, **t} for g in self.groups.values() for t in g.targets]
        return sorted(found, key=lambda labels: labels["__address__"])

    async def publish(self, groups: Sequence[TargetGroup]) -> None:
        """Take what changed."""
        await trio.lowlevel.checkpoint()
        self.times += 1
        for group in groups:
            if group.targets:
                self.groups[group.source] = group
            else:
                self.groups.pop(group.source, None)
        self.note()

    def note(self, counter: str = "", *_: float) -> None:
        """Count something and wake who waits."""
        if counter:
            setattr(self, counter, getattr(self, counter) + 1)
        self._changed.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something holds."""
        with trio.fail_after(WAIT_SECONDS):
            while not condition():
                self._changed = trio.Event()
                with trio.move_on_after(0.02):  # a condition may hang on what a fake server saw
                    await self._changed.wait()


@asynccontextmanager
async def running(make: Callable[[Any, DiscovererContext], Discoverer], config: Any) -> AsyncIterator[Published]:
    """Run a discoverer of a configuration while the context is open; it has started when the context begins."""
    published = Published(None)  # type: ignore[arg-type]
    context = DiscovererContext(
        "job",
        0,
        ".",
        VirtualClock(),
        partial(published.note, "failures"),
        partial(published.note, "refreshes"),
    )
    published.discoverer = make(config, context)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(WAIT_SECONDS):
            await nursery.start(_run, published)
        yield published
        nursery.cancel_scope.cancel()


async def _run(published: Published, *, task_status: trio.TaskStatus[None]) -> None:
    await published.discoverer.run(published.publish, task_status=task_status)
