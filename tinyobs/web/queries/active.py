"""The queries that are under way: what is asked, by whom, how far it is, and how it is stopped.

Only queries that wait or run in threads are listed: one that is quick enough for the event loop is over before anybody
could look.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Protocol

import trio
from attrs import Factory, define

from ...errors import QueryCanceled


class Meter(Protocol):
    """What tells how far a query is."""

    samples_read: int


@define
class Question:
    """What is asked, and by whom.

    kind: "instant" or "range"; for the first, start and end are the moment and the step is 0.  client: whose share of the
    slots it takes, `user:NAME` or the address of the peer.  address: of the peer, "" where it has none.  Not changed; a
    frozen class would take a microsecond longer to make.
    """

    kind: str
    text: str
    start_ms: int
    end_ms: int
    step_ms: int = 0
    client: str = ""
    address: str = ""
    method: str = "GET"
    path: str = ""


@define(eq=False)
class ActiveQuery:
    """One query.  begun: in seconds of `time.monotonic()`.  waiting: what ends when the query is cancelled."""

    number: int
    question: Question
    begun_ms: int
    begun: float = Factory(time.monotonic)
    running: bool = False
    canceled: bool = False
    meter: Meter | None = None
    waiting: trio.CancelScope = Factory(trio.CancelScope)

    def watch(self, meter: Meter) -> None:
        """Take note of the meter of the evaluation."""
        self.meter = meter

    def check(self) -> None:
        """Raise `QueryCanceled` when somebody has stopped the query."""
        if self.canceled:
            raise QueryCanceled("query was canceled in expression evaluation")

    @property
    def samples(self) -> int:
        """Samples loaded so far."""
        return self.meter.samples_read if self.meter is not None else 0


class ActiveQueries:
    """All of them, by number.  Of the event loop, which also reads what threads write."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._active: dict[int, ActiveQuery] = {}

    def __iter__(self) -> Iterator[ActiveQuery]:
        return iter(list(self._active.values()))

    def __len__(self) -> int:
        return len(self._active)

    def add(self, question: Question, now_ms: int) -> ActiveQuery:
        """Enter a query."""
        query = ActiveQuery(next(self._numbers), question, now_ms)
        self._active[query.number] = query
        return query

    def remove(self, query: ActiveQuery) -> None:
        """Strike a query that is over."""
        del self._active[query.number]

    def cancel(self, number: int) -> bool:
        """Stop a query; tell whether there was one of that number."""
        query = self._active.get(number)
        if query is None:
            return False
        query.canceled = True
        query.waiting.cancel()
        return True
