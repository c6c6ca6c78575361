"""Whether work on the body of a request is still wanted: no more when its client has gone, or when the daemon stops.

Bodies wait for their turn to be unpacked and decoded, and large ones again between their pieces.  Who makes them wait does so
with `while_wanted`: the wait ends, and all that the request holds is given back, as soon as nobody will hear the answer.  What
has begun is finished, since it has to be known whether it was stored.

A client that has closed its sending half counts as gone, as it does in most servers.  Over TCP it looks like one that was killed:
the system says the same of both (`EPOLLIN`, `EPOLLRDHUP`, the state CLOSE_WAIT) until something is sent, upon which one that is
gone answers with a reset.  An interim answer such as 102 would tell, but clients of HTTP/1.0 must not get one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final, TypeVar

import trio
from attrs import frozen
from starlette.requests import ClientDisconnect

from ..errors import Unavailable
from .held_bytes import CLIENT_GONE, IS_STOPPING, HeldBytes
from .inbox import Receive, while_client_stays
from .stopping import STOPPING, Stopping

T = TypeVar("T")


@frozen
class Wanted:
    """What ends the work for one request.  receive: that of a request whose body was read; None where somebody listens already."""

    stopping: Stopping
    bodies: HeldBytes
    receive: Receive | None = None

    async def keep(self, work: Callable[[], Awaitable[T]]) -> T:
        """See `while_wanted`."""
        with trio.CancelScope() as scope, self.stopping.ends(scope):
            if self.receive is None:
                return await work()
            inner = WANTED.set(Wanted(self.stopping, self.bodies))  # two must not listen to one connection
            try:
                return await while_client_stays(self.receive, work)
            except ClientDisconnect:
                self.bodies.dropped[CLIENT_GONE] += 1
                raise
            finally:
                WANTED.reset(inner)
        self.bodies.dropped[IS_STOPPING] += 1
        raise Unavailable(STOPPING)


WANTED: Final[ContextVar[Wanted | None]] = ContextVar("wanted", default=None)
"""Of the request that the task is at; None where samples come otherwise."""


async def while_wanted(work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` does, which is cancelled when it is wanted no more.

    That raises `ClientDisconnect`, or `Unavailable` when the daemon stops.  Work that cannot be ended at any point, shields itself.
    """
    wanted = WANTED.get()
    return await (work() if wanted is None else wanted.keep(work))
