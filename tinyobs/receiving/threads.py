"""Work on bodies in worker threads, few at a time.

Only one thread has the interpreter: forty at once would take as long as one after the other, hold all that they make in
memory meanwhile, and make the event loop wait for each of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

import trio

from ..errors import TinyObsError
from ..web.problem import HttpError, forget_frames
from ..web.wanted import while_wanted

WORKING_MAX: Final = 2
"""Bodies that are unpacked or decoded in threads at one time, of all protocols; others wait."""

_LIMITER: Final = trio.CapacityLimiter(WORKING_MAX)
_THREADS: Final = trio.CapacityLimiter(WORKING_MAX)

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, called in a worker thread when its turn comes.  Raises what it raises, and as `turn` does."""
    async with turn(_LIMITER):
        try:
            return await trio.to_thread.run_sync(work, limiter=_THREADS)
        except (TinyObsError, HttpError) as e:
            forget_frames(e)  # what was made of the body so far
            raise


def check_wanted() -> None:
    """Called in a worker thread: raise `trio.Cancelled` where nobody wants what it works at any more; see `pieces.use_pieces`."""
    with suppress(RuntimeError):  # in a thread of somebody else
        trio.from_thread.check_cancelled()


@asynccontextmanager
async def turn(of: trio.CapacityLimiter | trio.Lock) -> AsyncIterator[None]:
    """Have a turn while the context is open.

    As long as it does not come, it is looked whether it is wanted: raises as `web.wanted.while_wanted` does.  Then it is kept.
    """
    try:
        of.acquire_nowait()
    except trio.WouldBlock:
        await while_wanted(of.acquire)
    try:
        yield
    finally:
        of.release()
