"""How much the event loop does in one pass for large bodies, and for what follows a refusal: small requests must not wait for them.

Every read or write gives up the interpreter, and where threads decode it comes back a millisecond later.  With hundreds of
connections that send megabytes, a pass over all of them takes so long that a health check seems to fail.  So a few of them are
dealt with in a pass, and the others wait; requests that are small are not among them.

Over TLS it is known only when it is decrypted that something has come: it waits after that, each record of 16 KiB, for 0.5 ms of
CPU more a MiB.  With 20 connections that flood the longest hundredth of all passes took 1 ms of CPU instead of 2.6 ms.  Over
HTTP/2 there is no pace: where reads waited so, passes were as long as before, since most of their work is Hypercorn's own.
"""

from __future__ import annotations

import mmap
import socket
import sys
from typing import Any, Final

import trio

PACED_BYTES_MIN: Final = 64 << 10
"""Requests with longer bodies are begun, or refused, at this pace, and what comes of a body beyond so many bytes is read so."""
BEGUN_MAX: Final = 2
"""Requests with large bodies that are begun in one pass."""
READS_MAX: Final = 4
"""Large bodies that are read from at one time."""
DISCARDS_MAX: Final = 1
"""Connections from which what nobody wants is taken at one time."""
DISCARD_BYTES: Final = 1 << 20

_TRUNCATE: Final = socket.MSG_TRUNC if sys.platform == "linux" else 0
"""Linux throws away what is received so, without copying it."""


class Pace:
    """One for all connections of a server."""

    def __init__(self) -> None:
        self._beginning = trio.CapacityLimiter(BEGUN_MAX)
        self._reading = trio.CapacityLimiter(READS_MAX)
        self._discarding = trio.CapacityLimiter(DISCARDS_MAX)
        self._nowhere = mmap.mmap(-1, DISCARD_BYTES)  # takes memory only where it is written to

    async def begin(self) -> None:
        """Return when a request with a large body may be begun."""
        async with self._beginning:
            pass  # who waits has its turn in the next pass

    async def receive(self, stream: Any, most: int) -> bytes:
        """Return what a client sends of a large body, as `receive_some` does."""
        if not isinstance(stream, trio.SocketStream):
            data = bytes(await stream.receive_some(most))  # over TLS it is only then known that something has come
            await self.take_turn()
            return data
        await trio.lowlevel.wait_readable(stream.socket)
        async with self._reading:
            return bytes(await stream.receive_some(most))

    async def take_turn(self) -> None:
        """Return when it is the turn of what was read of a large body to be dealt with."""
        async with self._reading:
            await trio.lowlevel.checkpoint()  # for one pass

    async def discard(self, stream: Any) -> int:
        """Take in what a client has sent; return how many bytes that was, 0 when it sends no more."""
        if not isinstance(stream, trio.SocketStream):
            return len(await stream.receive_some(DISCARD_BYTES))
        await trio.lowlevel.wait_readable(stream.socket)
        async with self._discarding:
            return await stream.socket.recv_into(self._nowhere, DISCARD_BYTES, _TRUNCATE)
