"""Large bodies are decoded in pieces, each of which is stored before the next is decoded.

What a decoder makes of a body is many times as large as the body: series that were never seen take some 15 times as much, a
body made to do harm 100 times.  So that this fits in the part of `tinyobs.web.bodies_size_max` that is left for it
(`web.held_bytes`), pieces are small, and few are under way at one time.  How small, each protocol says by what its decoder needs
for a byte at worst.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, TypeVar

import trio

from ..abc import Services
from ..exposition.json_cost import json_bytes
from ..web.held_bytes import WORK_SHARE, Held
from ..web.wanted import while_wanted
from .threads import WORKING_MAX, in_thread, turn

PIECE_BYTES_MIN: Final = 64 << 10
PIECE_BYTES_MAX: Final = 2 << 20
DOCUMENT_BYTES_MIN: Final = 256 << 10
"""Longer documents of JSON are counted by what they become."""

_UNDER_WAY: Final = trio.CapacityLimiter(WORKING_MAX)

T = TypeVar("T")


def piece_bytes(services: Services, cost: int, body_bytes: int, held: Held | None) -> int:
    """Return how long pieces of a body may be.  cost: bytes of memory that a decoder needs for each byte of a piece, at worst.

    Where one request may have so many samples or series only, its body is decoded as a whole: they must all be counted before
    any is stored.  What that needs is counted in `held`; raises `HttpError` when it does not fit.
    """
    room: int = services.config.tinyobs.web.bodies_size_max_bytes // WORK_SHARE // WORKING_MAX
    found = min(max(room // cost, PIECE_BYTES_MIN), PIECE_BYTES_MAX)
    limits = services.config.tinyobs.limits
    if body_bytes <= found or not (limits.samples_per_request_max or limits.series_per_request_max):
        return found
    if held is not None:
        held.add(body_bytes * cost)
    return body_bytes


def hold_document(document: bytes, held: Held | None) -> None:
    """Count what a document of JSON becomes, which cannot be read in pieces; raises `HttpError` when that does not fit.

    Small ones are not counted: what is left for decoding is enough for them.
    """
    if held is not None and len(document) > DOCUMENT_BYTES_MIN:
        held.add(json_bytes(document))


async def use_pieces(pieces: Iterator[T], use: Callable[[T], Awaitable[None]]) -> None:
    """Have each piece made in a worker thread and used, a few of all bodies at one time.

    Raises what both raise, and between two pieces as `web.wanted.while_wanted` does; what was used stays so.  Where a piece takes
    long to make, and nothing is lost when it is not made, calling `threads.check_wanted` ends that as well.
    """
    await while_wanted(partial(_use_pieces, pieces, use))


async def _use_pieces(pieces: Iterator[T], use: Callable[[T], Awaitable[None]]) -> None:
    while True:
        await trio.lowlevel.checkpoint_if_cancelled()  # where nobody else waits, a turn comes without
        async with turn(_UNDER_WAY):
            piece = await in_thread(partial(next, pieces, None))  # ends early only where it calls `check_wanted`
            if piece is None:
                return
            with trio.CancelScope(shield=True):  # a piece that was made is stored and counted
                await use(piece)
                del piece  # before it waits for its turn again
