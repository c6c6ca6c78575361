"""Which bodies are read beside the event loop, and what a scrape that ends meanwhile leaves behind."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio

from tinyobs.builtin.scrape import loop as loop_module
from tinyobs.builtin.scrape.loop import CHANGED_IN_THREAD_BYTES, ScrapeLoop
from tinyobs.builtin.scrape.rules import LoopRules
from tinyobs.builtin.scrape.series import SeriesRules, TargetSeries
from tinyobs.builtin.scrape.statistics import PoolCounters
from tinyobs.builtin.scrape.targets import PoolDefaults, make_target
from tinyobs.model.staleness import is_stale_value
from tinyobs.testing.services import FakeServices
from tinyobs.testing.targets import TEXT

REAL_SECONDS_MAX = 20.0
"""How long a thread waits for the event loop before it gives up and the test fails."""
LONG = b"".join(b'x{a="%d"} 1\n' % i for i in range(CHANGED_IN_THREAD_BYTES // 10))
MAIN = threading.main_thread()


class Target:
    """A client that answers with `body`."""

    body = LONG

    @asynccontextmanager
    async def stream(self, method, url, headers):
        async def pieces():
            yield self.body

        await trio.lowlevel.checkpoint()
        yield SimpleNamespace(status=200, reason="OK", headers={"content-type": TEXT}, pieces=pieces)


class Watch:
    """Notes the thread of each reading, and holds it up until `go` is set."""

    def __init__(self, monkeypatch):
        self.threads: list[threading.Thread] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.was_released = []
        compare = TargetSeries.compare

        def watched(series, tracked, *native):
            if len(tracked):  # an outcome without samples is made in the event loop
                self.threads.append(threading.current_thread())
                self.begun.set()
                self.was_released.append(self.go.wait(REAL_SECONDS_MAX))
            return compare(series, tracked, *native)

        monkeypatch.setattr(TargetSeries, "compare", watched)

    async def started(self):
        """Wait, in the event loop, until a reading has begun."""
        while not self.begun.is_set():
            await trio.lowlevel.checkpoint()


@pytest.fixture
def watch(monkeypatch):
    # What a reading takes depends on the machine: here it never takes long, unless a test says so.
    monkeypatch.setattr(loop_module, "READ_IN_THREAD_SECONDS", float("inf"))
    return Watch(monkeypatch)


@pytest.fixture
def services():
    return FakeServices()


def make(services):
    target = make_target({"__address__": "h:1"}, {}, PoolDefaults("j", 15_000, 10_000))[1]
    return ScrapeLoop(target, LoopRules(SeriesRules(), ()), Target(), services, PoolCounters(), "seed")


def values(services, name, **labels):
    return services.values(__name__=name, instance="h:1", job="j", **labels).tolist()


async def test_others_run_while_a_long_first_body_is_read(services, watch):
    """Parsing and deciding wait for another task here: in the event loop they would wait in vain."""
    watch.go.clear()
    loop = make(services)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop.scrape, 1000)
        await watch.started()
        watch.go.set()
    assert watch.was_released == [True]
    assert watch.threads[0] is not MAIN
    assert values(services, "x", a="7") == [1.0]
    assert values(services, "scrape_series_added") == [len(LONG.splitlines())]


async def test_only_what_takes_long_goes_to_a_thread(services, watch, monkeypatch):
    """A known structure is read at once, in the event loop; growth, shrinking, sheer length and slow readings go to a thread."""
    loop = make(services)

    async def is_inline(body):
        loop._client.body = body
        await loop.scrape(1000 * (1 + len(watch.threads)))
        return watch.threads[-1] is MAIN

    assert await is_inline(b"x 1\n")
    assert not await is_inline(LONG)
    assert await is_inline(LONG)
    assert not await is_inline(b"x 1\n")
    assert await is_inline(b"x 2\n")
    monkeypatch.setattr(loop_module, "READ_IN_THREAD_BYTES", len(LONG) - 1)
    assert not await is_inline(LONG)
    monkeypatch.undo()
    watch.__init__(monkeypatch)
    monkeypatch.setattr(loop_module, "READ_IN_THREAD_SECONDS", 0.0)
    assert not await is_inline(b"x 1\n")


async def test_a_deadline_that_passes_while_a_body_is_read_fails_the_scrape(services, watch, mock_clock):
    """The thread is waited for, its samples are not stored; the next scrape finds everything in order."""
    loop = make(services)
    loop._client.body = b"old 1\n"
    await loop.scrape(1000)
    loop._client.body = LONG
    watch.go.clear()
    async with trio.open_nursery() as nursery:
        watch.begun.clear()
        nursery.start_soon(loop.scrape, 2000)
        await watch.started()
        mock_clock.jump(11)
        await trio.lowlevel.checkpoint()
        watch.go.set()
    assert loop.health.last_error == "context deadline exceeded: no answer within 10s"
    assert values(services, "up") == [1, 0]
    assert is_stale_value(values(services, "old")[-1])
    assert values(services, "x", a="7") == []
    await loop.scrape(3000)
    assert values(services, "up") == [1, 0, 1]
    assert values(services, "x", a="7") == [1.0]
    assert values(services, "scrape_series_added")[-1] == len(LONG.splitlines())
    assert len(values(services, "old")) == 2


async def test_a_scrape_cancelled_while_a_body_is_read_leaves_no_trace(services, watch):
    """No thread outlives the scrape, nothing is stored, and a successor goes on from the last whole scrape."""
    loop = make(services)
    loop._client.body = b"old 1\n"
    await loop.scrape(1000)
    watch.go.clear()
    watch.begun.clear()
    loop._client.body = LONG
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop.scrape, 2000)
        await watch.started()
        nursery.cancel_scope.cancel()
        nursery.start_soon(release, watch)
    assert watch.was_released == [True, True]
    assert len(services.batches) == 1
    successor = make(services)
    successor.inherit(loop)
    await successor.scrape(3000)
    assert is_stale_value(values(services, "old")[-1])
    assert values(services, "x", a="7") == [1.0]


async def release(watch):
    """Let the reading go on, at a time when its scrape is cancelled already."""
    with trio.CancelScope(shield=True):
        await trio.lowlevel.checkpoint()
        watch.go.set()
