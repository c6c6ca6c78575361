"""Which of the running queries compute: a few, those that have computed least first.

More threads than processors only slow one another, and all of them the event loop and the writers.  So a query computes
while it has its turn, and its `check` hands the turn to a query that waits, once a slice of time is over.  A new query
needs no estimate to get ahead of a long one: some places more are for fresh ones, and while one is there a long one
stands back.  Between clients turns are shared evenly: whose queries compute at fewer places goes first.  Nobody starves:
waiting makes up for what a query has computed, and `EQUAL_SECONDS` is the most that counts.  Knows threads only, no
event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock
from typing import Final

from attrs import Factory, define

SLICE_SECONDS: Final = 0.010
"""How long a query computes before another may have its turn."""
FRESH_SECONDS: Final = 0.05
"""A query that has computed less is fresh."""
EQUAL_SECONDS: Final = 2.0
"""Queries that have computed for so long count as equally long; so much waiting makes up for it."""
MARGIN_SECONDS: Final = 0.1
"""By how much another query must be ahead: equals change less often than a new query gets in."""
POLL_SECONDS: Final = 0.1
"""How often a query that waits for its turn looks whether it is still wanted."""

Check = Callable[[], None]


@define(eq=False)
class Turn:
    """The part of one query, used by its thread alone.

    used: seconds computed.  since: when the slice or the waiting began.  computing: whether it is its turn.
    """

    client: str
    since: float
    used: float = 0.0
    computing: bool = False
    go: Event = Factory(Event)


class Turns:
    """Shares `width` places among queries.  Thread-safe."""

    def __init__(self, width: int, now: Callable[[], float] = time.monotonic) -> None:
        self.width = width
        self._now = now
        self._lock = Lock()
        self._waiting: list[Turn] = []
        self._computing: dict[str, int] = {}
        self._busy = 0

    def begin(self, client: str, check: Check) -> Turn:
        """Wait for the first turn of a query; raises what `check` raises meanwhile."""
        turn = Turn(client, self._now())
        with self._lock:
            self._waiting.append(turn)
            self._fill()
        self._wait(turn, check)
        return turn

    def rest(self, turn: Turn, check: Check) -> None:
        """Let another query compute when it is time for that; raises what `check` raises meanwhile."""
        now = self._now()
        if now - turn.since < SLICE_SECONDS:
            return
        with self._lock:
            turn.used += now - turn.since
            turn.since = now
            self._stop(turn)
            if not self._must_rest(turn):
                self._start(turn)
                return
            turn.go.clear()
            self._fill()
            self._waiting.append(turn)
            self._fill()
        self._wait(turn, check)

    def end(self, turn: Turn) -> float:
        """Give the turn back; return the seconds for which the query has computed."""
        with self._lock:
            if turn.computing:
                turn.used += self._now() - turn.since
                self._stop(turn)
            elif turn in self._waiting:
                self._waiting.remove(turn)
            self._fill()
            return turn.used

    def resize(self, width: int) -> None:
        """Take another number of places; whoever computes goes on to the end of its slice."""
        with self._lock:
            self.width = width
            self._fill()

    def statistics(self) -> tuple[int, int]:
        """Return how many queries compute and how many wait for their turn."""
        with self._lock:
            return self._busy, len(self._waiting)

    def _wait(self, turn: Turn, check: Check) -> None:
        if turn.computing:
            return
        try:
            while not turn.go.wait(POLL_SECONDS):
                check()
        except BaseException:
            self.end(turn)
            raise

    def _must_rest(self, turn: Turn) -> bool:
        """Tell whether a query that has computed has to let another one do so."""
        if self._busy >= self.width and turn.used >= FRESH_SECONDS:
            return True
        own = (self._computing.get(turn.client, 0), min(turn.used, EQUAL_SECONDS) - MARGIN_SECONDS)
        return bool(self._waiting) and min(map(self._rank, self._waiting)) < own

    def _rank(self, turn: Turn) -> tuple[int, float]:
        waited = self._now() - turn.since
        return self._computing.get(turn.client, 0), min(turn.used, EQUAL_SECONDS) - waited

    def _fill(self) -> None:
        while self._waiting:
            able = self._waiting
            if self._busy >= self.width:
                able = [t for t in able if t.used < FRESH_SECONDS]
                if not able or self._busy >= self.width + max(1, self.width // 4):
                    return
            best = min(able, key=self._rank)
            self._waiting.remove(best)
            self._start(best)

    def _start(self, turn: Turn) -> None:
        turn.computing = True
        turn.since = self._now()
        self._busy += 1
        self._computing[turn.client] = self._computing.get(turn.client, 0) + 1
        turn.go.set()

    def _stop(self, turn: Turn) -> None:
        turn.computing = False
        self._busy -= 1
        left = self._computing[turn.client] - 1
        if left:
            self._computing[turn.client] = left
        else:
            del self._computing[turn.client]
