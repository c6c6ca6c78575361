"""Which queries are so quick that handing them to a worker thread would cost more than they do.

The hand-over and back takes about half a millisecond, which is more than most queries of dashboards and alerting
need.  So a query that was quick the last time runs in the event loop; should it be slow this time, its `check` stops
it after `INLINE_SECONDS_MAX` and it starts again in a thread.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ...errors import QueryCanceled

QUICK_SECONDS_MAX: Final = 0.002
"""A query that took no longer, encoding its answer included, counts as quick."""
INLINE_SECONDS_MAX: Final = 0.010
"""How long a query may hold up the event loop before it is moved to a thread."""
REMEMBERED_MAX: Final = 2000
"""Queries whose last duration is remembered; those not asked for longest are forgotten."""


class TooSlowInline(QueryCanceled):
    """A query that ran in the event loop took too long there."""


class Pace:
    """Remembers the last duration of queries by a hash of each: a query may be long, and a collision does no harm.

    Thread-safe: each step is one operation of a dictionary.
    """

    def __init__(self) -> None:
        self._quick: OrderedDict[int, bool] = OrderedDict()

    def is_quick(self, key: int) -> bool:
        """Tell whether the query was quick the last time."""
        return self._quick.get(key, False)

    def note(self, key: int, seconds: float) -> None:
        """Remember how long the query took."""
        self._quick.pop(key, None)
        self._quick[key] = seconds <= QUICK_SECONDS_MAX
        if len(self._quick) > REMEMBERED_MAX:
            self._quick.popitem(last=False)


def inline_check() -> Callable[[], None]:
    """Return the `check` of a query in the event loop; raises `TooSlowInline`."""
    deadline = time.monotonic() + INLINE_SECONDS_MAX

    def check() -> None:
        if time.monotonic() > deadline:
            raise TooSlowInline("the query takes too long for the event loop")

    return check
