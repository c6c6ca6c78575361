"""A discovery played step by step against a fake interface."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio
from attrs import define, field
from fake_api import Answer, Asked, FakeApi, aws_signature, serving
from tinyobs.abc import DiscovererContext
from tinyobs.config.decoder import decode_text
from tinyobs.testing.services import VirtualClock

__all__ = ["Answer", "Asked", "FakeApi", "aws_signature", "made", "playing", "read", "serving", "targets_of"]


def read(schema, text):
    """Return an entry as it is read from YAML."""
    return decode_text(schema, text, "test.yml")


def made(kind, config, **more):
    """Return a discoverer of an entry, outside of an agent."""
    return kind.make(config, DiscovererContext("job", 0, ".", VirtualClock(), **more))


async def targets_of(kind, config):
    """Return the targets of one refresh, which is not caught when it fails."""
    discoverer = made(kind, config)
    try:
        (group,) = await discoverer.refresh()
        return list(group.targets)
    finally:
        await discoverer.aclose()


@define
class Played:
    """A discovery that runs, whose time a test moves."""

    clock: trio.testing.MockClock
    discoverer: object
    published: list = field(factory=list)
    """For each publication the addresses by group."""
    failures: int = 0
    _refreshed: object = None

    async def again(self, seconds=60):
        """Move time to the next refresh and wait until it is done; return what was published, None for nothing."""
        before = len(self.published)
        self.clock.jump(seconds)
        await self.wait()
        return self.published[-1] if len(self.published) > before else None

    async def wait(self):
        """Wait for a refresh to end."""
        await self._refreshed.receive()
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def playing(kind, config, clock):
    """Run a discovery as the agent does, on a clock that stands still."""
    send, receive = trio.open_memory_channel(100)
    played = Played(clock, None, refreshed=receive)

    def note_failure():
        played.failures += 1

    played.discoverer = made(
        kind, config, note_failure=note_failure, note_refresh=lambda seconds: send.send_nowait(None)
    )

    async def publish(groups):
        played.published.append({g.source: [t["__address__"] for t in g.targets] for g in groups})

    async with trio.open_nursery() as nursery:
        await nursery.start(played.discoverer.run, publish)
        await played.wait()
        yield played
        nursery.cancel_scope.cancel()
