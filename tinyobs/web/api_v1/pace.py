"""Which queries are so quick that handing them to a worker thread would cost more than they do.

The hand-over and back takes about half a millisecond, which is more than most queries of dashboards and alerting
need.  So a query that was quick the last time runs in the event loop; should it be slow this time, its `check` stops
it after `INLINE_SECONDS_MAX` and it starts again in a thread.  Work between two checks cannot be stopped, so the last
time counts only for a question of nearly the same cost: `question_key` holds what decides that, the times included.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from ...errors import QueryCanceled

QUICK_SECONDS_MAX: Final = 0.005
"""A query that took no longer, encoding its answer included, counts as quick."""
INLINE_SECONDS_MAX: Final = 0.010
"""How long a query may hold up the event loop before it is moved to a thread."""
INLINE_TEXT_MAX: Final = 10_000
"""Characters of a question that may be parsed in the event loop: a few milliseconds' worth."""
CELL_BITS: Final = 18
"""Times are rounded to cells of 2 to this power in milliseconds, about four minutes, to be compared."""
REMEMBERED_MAX: Final = 2000
"""Queries whose last duration is remembered; those not asked for longest are forgotten."""


class TooSlowInline(QueryCanceled):
    """A query that ran in the event loop took too long there."""


class Pace:
    """Remembers the last duration of queries by a hash of each: a query may be long, and a collision does no harm.

    Thread-safe: each step is one operation of a dictionary.
    """

    def __init__(self) -> None:
        self._seconds: OrderedDict[int, float] = OrderedDict()

    def is_quick(self, key: int | None) -> bool:
        """Tell whether the query was quick the last time; one without a key never is."""
        return key is not None and self._seconds.get(key, math.inf) <= QUICK_SECONDS_MAX

    def expected(self, key: int | None) -> float | None:
        """Return the seconds that the query took the last time, None when that is not known."""
        return None if key is None else self._seconds.get(key)

    def note(self, key: int | None, seconds: float) -> None:
        """Remember how long the query took."""
        if key is None:
            return
        self._seconds.pop(key, None)
        self._seconds[key] = seconds
        if len(self._seconds) > REMEMBERED_MAX:
            self._seconds.popitem(last=False)


def seconds_alone(elapsed: float, processor: float) -> float:
    """Return what work in a thread would have taken in the event loop, where nothing runs beside it.

    elapsed, processor: what the clock on the wall and that of the thread say.  A thread shares the interpreter: that it
    waited for others is no reason to count a query as slow.  Where it waited for long, it may have been for a disk.
    """
    return processor if elapsed <= INLINE_SECONDS_MAX else elapsed


def question_key(texts: Iterable[str], span: tuple[int, ...], *more: object) -> int | None:
    """Return a key for `Pace`, or None for a question too long to be parsed in the event loop.

    texts: the kind of question and its text.  span: from `span_key`.  more: what else decides the cost.
    """
    texts = tuple(texts)
    if sum(map(len, texts)) > INLINE_TEXT_MAX:
        return None
    return hash((texts, span, more))


def span_key(start_ms: int, end_ms: int, now_ms: int) -> tuple[int, ...]:
    """Return what two time ranges have in common when about the same data lies in them.

    Both ends are rounded to cells, an end in the future to now: a dashboard that is refreshed keeps its key for some
    minutes, and what is stored meanwhile counts in the end.  A range narrower than a cell may lie between two samples
    of every series or upon them, so it is like no other.
    """
    end_ms = min(end_ms, now_ms)
    if end_ms - start_ms < 1 << CELL_BITS:
        return (0, start_ms, end_ms)
    return (1, start_ms >> CELL_BITS, end_ms >> CELL_BITS)


def inline_check() -> Callable[[], None]:
    """Return the `check` of a query in the event loop; raises `TooSlowInline`."""
    deadline = time.monotonic() + INLINE_SECONDS_MAX

    def check() -> None:
        if time.monotonic() > deadline:
            raise TooSlowInline("the query takes too long for the event loop")

    return check
