"""The contract of `tinyobs.abc.Sink`, executable: nothing lost, in order, over failures, the end and restarts.

The sink is given a log with series `sink_check{n="..."}`, whose values count up.  Under an autojump clock (`pytest-trio`)
its pauses cost no time; work in threads is done at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import trio

from ..abc import Sink
from ..model.batch import Batch
from ..model.labels import from_mapping
from .agents import until
from .check_source import check_source
from .inline_threads import inline_threads
from .services import FakeServices

SERIES_COUNT: Final = 3
SECONDS_MAX: Final = 3600.0
"""How long a sink may take for what it is given; an autojump clock makes it short."""
END_SECONDS_MAX: Final = 60.0
"""How long the end may take, with all delivered or nobody there to deliver to."""

Delivered = Callable[[], Sequence[tuple[int, float]]]
"""Returns what came out at the other end: (number of the series, value), in order."""


async def check_sink(
    make: Callable[[FakeServices], Sink],
    delivered: Delivered,
    refuse: Callable[[bool], None],
    services: FakeServices | None = None,
) -> None:
    """Check a sink; raises `AssertionError` for the first promise that is not kept.

    make: gives a new sink for some services, configured to hand on everything.  delivered: what came out so far.
    refuse: lets the other end refuse everything from now on, or take it again.  services: those with the configuration.
    """
    scene = _Scene(make, delivered, refuse, services or FakeServices())
    with inline_threads():
        await check_source(lambda: make(scene.services))
        await scene.check_delivery()
        await scene.check_refusal()
        await scene.check_end()
        await scene.check_restart()
        await scene.check_hopeless_end()


class _Scene:
    def __init__(
        self,
        make: Callable[[FakeServices], Sink],
        delivered: Delivered,
        refuse: Callable[[bool], None],
        services: FakeServices,
    ) -> None:
        self._make, self._delivered, self._refuse = make, delivered, refuse
        self.services = services
        self._count = 0

    async def check_delivery(self) -> None:
        """What is committed comes out, in order for each series."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run)
            for _ in range(5):
                self._commit()
            await self._all("what was committed is delivered")
            nursery.cancel_scope.cancel()

    async def check_refusal(self) -> None:
        """While the other end refuses nothing is lost."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run)
            self._refuse(True)
            for _ in range(3):
                self._commit()
                await trio.sleep(1)
            self._refuse(False)
            self._commit()
            await self._all("what was refused is delivered later")
            nursery.cancel_scope.cancel()

    async def check_end(self) -> None:
        """At the end of the agent the rest is delivered, and the sink is done."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run)
            for _ in range(3):
                self._commit()
            await self._end("a sink whose log is read to the end closes its followers")
            assert self._is_complete(), "what was committed before the end is delivered"
            assert self._saved() == self.services.log.end(), "the place is saved at the end"
            nursery.cancel_scope.cancel()

    async def check_restart(self) -> None:
        """Cancelled and begun anew, it goes on without a gap."""
        self._commit()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run)
            self._refuse(True)
            self._commit()
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        self._refuse(False)
        self._commit()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run)
            await self._all("after a restart it goes on where it was")
            nursery.cancel_scope.cancel()

    async def check_hopeless_end(self) -> None:
        """Where the other end refuses until the end, the rest stays in the log for the next process."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run)
            self._refuse(True)
            self._commit()
            await trio.sleep(1)
            with trio.move_on_after(END_SECONDS_MAX):
                await self._drain()
            nursery.cancel_scope.cancel()
        self._refuse(False)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run)
            await self._all("what could not be delivered before the end is delivered by the next process")
            nursery.cancel_scope.cancel()

    # -- private -----------------------------------------------------------------------------------------------

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run a sink in a process of its own, as far as the log can tell."""
        self.services.restart()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.services.followers.run)
            await self._make(self.services).run(task_status=task_status)
            nursery.cancel_scope.cancel()

    def _commit(self) -> None:
        services = self.services
        refs = services.registry.intern_many(
            [from_mapping({"__name__": "sink_check", "n": str(n)}) for n in range(SERIES_COUNT)]
        )
        now = np.full(SERIES_COUNT, services.clock.now_ms() + self._count, np.int64)
        services.commit(Batch(refs, now, np.full(SERIES_COUNT, float(self._count)), "test"))
        self._count += 1

    async def _all(self, promise: str) -> None:
        with trio.move_on_after(SECONDS_MAX):
            await until(self._is_complete)
            return
        raise AssertionError(promise)

    def _is_complete(self) -> bool:
        """Tell whether each series has all values; whatever is repeated, they come in order when they come first."""
        seen: dict[int, int] = {}
        for number, value in self._delivered():
            expected = seen.get(number, 0)
            assert value <= expected, f"series {number}: {value:g} is delivered before {expected}"
            seen[number] = max(expected, int(value) + 1)
        return all(seen.get(n, 0) == self._count for n in range(SERIES_COUNT))

    async def _end(self, promise: str) -> None:
        with trio.move_on_after(END_SECONDS_MAX):
            await self._drain()
            return
        raise AssertionError(promise)

    async def _drain(self) -> None:
        self.services.followers.drain()
        await self.services.followers.wait_closed()

    def _saved(self) -> object:
        return max(self.services.log.places.values(), default=None)
