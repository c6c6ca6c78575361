"""The shards of a destination: queues and the tasks that send what is in them, each one request at a time.

A series is always on the same shard, so that its samples go out in order.  The number of shards changes only when all of
them are empty and idle.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define, field

from .queue import Outgoing, Piece, ShardQueue
from .sender import LOOK_EVERY_SECONDS, GivenUp

END_SECONDS: Final = 5.0
"""How long answers may be missing at the end before the destination is given up."""
NOTHING: Final = {"samples": 0, "histograms": 0, "exemplars": 0}

Deliver = Callable[[Outgoing], Awaitable[None]]


@define(eq=False)
class Shard:
    """A queue and what its task is doing."""

    number: int
    queue: ShardQueue = field(factory=ShardQueue)
    changed: trio.Event = field(factory=trio.Event)
    in_flight: dict[str, int] = field(factory=lambda: dict(NOTHING))
    is_idle: bool = True
    is_closed: bool = False

    def wake(self) -> None:
        """Let the task look again."""
        self.changed.set()


class Shards:
    """All shards.  deliver: sends a request and returns when it is done with."""

    def __init__(self, deliver: Deliver, size: int, patience: float, is_ending: Callable[[], bool]) -> None:
        """size: samples of a request at most.  patience: seconds that samples wait for others.

        is_ending: whether nobody waits long for an answer any more.
        """
        self._is_ending = is_ending
        self._deliver = deliver
        self._size = size
        self._patience = patience
        self._nursery: trio.Nursery | None = None
        self._all: list[Shard] = []
        self._eased = trio.Event()
        self._flushing = self._finished = False

    def __len__(self) -> int:
        return len(self._all)

    def start(self, nursery: trio.Nursery, count: int) -> None:
        """Begin with so many shards."""
        self._nursery = nursery
        self._resize(count)

    @property
    def queued(self) -> int:
        """Samples in the queues."""
        return sum(s.queue.samples for s in self._all)

    def pending(self) -> dict[str, int]:
        """Return what is queued or under way, by kind; histograms are no samples here."""
        out = dict(NOTHING)
        for s in self._all:
            out["samples"] += s.queue.samples - s.queue.histograms + s.in_flight["samples"]
            out["histograms"] += s.queue.histograms + s.in_flight["histograms"]
            out["exemplars"] += s.queue.exemplars + s.in_flight["exemplars"]
        return out

    def put(self, number: int, piece: Piece) -> None:
        """Queue samples on a shard."""
        shard = self._all[number]
        was_empty = not shard.queue.samples
        shard.queue.put(piece, trio.current_time())
        if was_empty or shard.queue.samples >= self._size:
            shard.wake()

    def queue(self, number: int) -> ShardQueue:
        """Return the queue of a shard."""
        return self._all[number].queue

    async def wait_room(self, capacity: int) -> int:
        """Wait until the queues have room, `capacity` samples for each shard; return how often that had to be waited for.

        Like all that waits here it raises `GivenUp` at an end without answers.
        """
        waits = 0
        while any(s.queue.samples >= capacity for s in self._all):
            waits += 1
            await self._wait_eased()
        return waits

    async def flush(self) -> None:
        """Send everything that is queued, without waiting for more; return when all is done with."""
        self._flushing = True
        while not all(s.is_idle and not s.queue.samples for s in self._all):
            for s in self._all:
                s.wake()
            await self._wait_eased()
        self._flushing = False

    async def finish(self) -> None:
        """Begin no more requests; return when those under way are done with."""
        self._finished = True
        while not all(s.is_idle for s in self._all):
            await self._wait_eased()

    async def resize(self, count: int) -> None:
        """Flush, then go on with another number of shards."""
        await self.flush()
        self._resize(count)

    async def _wait_eased(self) -> None:
        """Wait until some request is done with; raises `GivenUp` when none is for a while although the end has come."""
        eased = self._eased = trio.Event()
        left = END_SECONDS
        while not eased.is_set():
            with trio.move_on_after(LOOK_EVERY_SECONDS):
                await eased.wait()
            left -= LOOK_EVERY_SECONDS if self._is_ending() else 0.0
            if left < 0:
                raise GivenUp

    def _resize(self, count: int) -> None:
        assert self._nursery is not None
        waiting = [shard.queue for shard in self._all]
        for shard in self._all:
            shard.is_closed = True
            shard.wake()
        self._all = [Shard(i) for i in range(count)]
        for i, queue in enumerate(waiting):  # exemplars that still wait; their shard does not matter much
            self._all[i % count].queue.adopt_exemplars(queue)
        for shard in self._all:
            self._nursery.start_soon(self._run, shard)

    async def _run(self, shard: Shard) -> None:
        while await self._wait_due(shard):
            out = shard.queue.take(self._size, trio.current_time())
            native = out.rows.histogram_count
            shard.in_flight = {
                "samples": len(out.rows) - native,
                "histograms": native,
                "exemplars": out.rows.exemplar_count,
            }
            shard.is_idle = False
            await self._deliver(out)
            shard.is_idle, shard.in_flight = True, dict(NOTHING)
            for settlement in out.settlements:
                settlement.done()
            self._eased.set()

    async def _wait_due(self, shard: Shard) -> bool:
        """Wait until a request is due; False when the shard is closed."""
        while True:
            due = shard.queue.due(self._size, 0.0 if self._flushing else self._patience)
            if self._finished or (due is None and shard.is_closed):
                return False
            now = trio.current_time()
            if due is not None and due <= now:
                await trio.lowlevel.checkpoint()
                return True
            shard.changed = trio.Event()
            with trio.move_on_at(float("inf") if due is None else due):
                await shard.changed.wait()
