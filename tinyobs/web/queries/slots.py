"""The slots for queries, and the queue before them: bounded, fair between clients, short queries first.

A slot that comes free goes to the client with the fewest queries in slots, and of its queries to the one that ranks
first by arrival plus expected duration: a short one overtakes a long one, and a long one that has waited so long does
not let itself be overtaken any more.  The last slots (an eighth) are kept for clients without any and for short queries,
so that the long queries of one client never hold all.
"""

from __future__ import annotations

import math
from typing import Final

import trio
from attrs import Factory, define, frozen

from ..problem import ApiError

SHORT_SECONDS: Final = 0.1
"""A query that is expected to take no longer is a short one."""
UNKNOWN_SECONDS: Final = 1.0
"""How long a query is expected to take of which nothing is known."""
OVERTAKING_SECONDS_MAX: Final = 30.0
"""The longest expectation that counts: after so long a wait nobody is overtaken any more."""
RETRY_SECONDS: Final = 1
"""After how long a client that was refused may ask again, at least."""


@frozen
class SlotStatistics:
    """How the slots fare."""

    running: int
    """Queries in slots."""
    waiting: int
    """Queries in the queue."""
    refused_total: int
    """Queries that found the queue full."""
    late_total: int
    """Queries that waited in the queue until their time was up."""
    wait_seconds: float
    """Seconds that queries have waited, summed up."""


@define(eq=False)
class _Waiter:
    client: str
    short: bool
    rank: float
    granted: trio.Event = Factory(trio.Event)


class QuerySlots:
    """Slots of the event loop's tasks; not thread-safe."""

    def __init__(self, slots_max: int, waiting_max: int) -> None:
        self.slots_max, self.waiting_max = slots_max, waiting_max
        self._held: dict[str, int] = {}
        self._taken = 0
        self._waiting: list[_Waiter] = []
        self._refused = self._late = 0
        self._wait_seconds = 0.0

    async def take(self, client: str, expected_seconds: float | None, seconds: float) -> None:
        """Take a slot, waiting at most so long; the caller gives it back by `leave`.

        Raises `ApiError`: 503 `unavailable` when the queue is full, 503 `timeout` when the time is up.
        """
        expected = UNKNOWN_SECONDS if expected_seconds is None else expected_seconds
        short = expected <= SHORT_SECONDS
        if not self._waiting and self._fits(client, short):
            self._grant(client)
            return
        if len(self._waiting) >= self.waiting_max:
            self._refused += 1
            raise overloaded(
                f"{len(self._waiting)} queries are waiting, more cannot (query_queue_max)", self._retry_seconds()
            )
        began = trio.current_time()
        waiter = _Waiter(client, short, began + min(expected, OVERTAKING_SECONDS_MAX))
        self._waiting.append(waiter)
        self._fill()
        try:
            with trio.move_on_after(seconds) as limit:
                await waiter.granted.wait()
        except trio.Cancelled:
            self._withdraw(waiter)
            raise
        finally:
            self._wait_seconds += trio.current_time() - began
        if limit.cancelled_caught:
            self._withdraw(waiter)
            self._late += 1
            raise ApiError("timeout", "query timed out in query queue")

    def leave(self, client: str) -> None:
        """Give a slot back."""
        self._taken -= 1
        left = self._held[client] - 1
        if left:
            self._held[client] = left
        else:
            del self._held[client]
        self._fill()

    def resize(self, slots_max: int, waiting_max: int) -> None:
        """Take other limits; who waits or runs already is not sent away."""
        self.slots_max, self.waiting_max = slots_max, waiting_max
        self._fill()

    def statistics(self) -> SlotStatistics:
        """Return the figures."""
        return SlotStatistics(self._taken, len(self._waiting), self._refused, self._late, self._wait_seconds)

    def _withdraw(self, waiter: _Waiter) -> None:
        if waiter.granted.is_set():
            self.leave(waiter.client)
        else:
            self._waiting.remove(waiter)

    def _fits(self, client: str, short: bool) -> bool:
        kept = 0 if short or client not in self._held else self.slots_max // 8
        return self._taken < self.slots_max - kept

    def _fill(self) -> None:
        while self._taken < self.slots_max:
            fitting = [w for w in self._waiting if self._fits(w.client, w.short)]
            if not fitting:
                return
            best = min(fitting, key=lambda w: (self._held.get(w.client, 0), w.rank))
            self._waiting.remove(best)
            self._grant(best.client)
            best.granted.set()

    def _grant(self, client: str) -> None:
        self._taken += 1
        self._held[client] = self._held.get(client, 0) + 1

    def _retry_seconds(self) -> int:
        """Return when it may be worth while to ask again: the longer the queue the later."""
        return max(RETRY_SECONDS, math.ceil(len(self._waiting) / max(self.slots_max, 1) * SHORT_SECONDS))


def overloaded(message: str, retry_seconds: int = RETRY_SECONDS) -> ApiError:
    """Return the error that says "not now"."""
    error = ApiError("unavailable", message)
    error.headers = {"retry-after": str(retry_seconds)}
    return error
