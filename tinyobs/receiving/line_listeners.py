"""The listeners of a protocol of lines: datagrams and connections, over IP and over Unix sockets, where a configuration says.

Which there are changes with the configuration: then all of them end, and the new ones begin.  Not here: reading from the
sockets (`datagrams.py`, `streams.py`).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio
from attrs import frozen

from ..abc import Reception
from .datagrams import DatagramListener, DatagramStatistics
from .streams import Frames, StreamListener, StreamStatistics

Take = Callable[[bytes, str], Awaitable[bytes]]
"""Takes whole lines with their line breaks, and the address that they came from; returns what to answer over connections."""


@frozen
class Listening:
    """Addresses; "" and () for none."""

    udp: str = ""
    tcp: tuple[str, ...] = ()
    """Addresses for connections, `unix:/path` among them."""
    unixgram: str = ""
    """Path of a Unix socket for datagrams."""
    unix_mode: int | None = None
    """Permission bits of the Unix sockets; None: what the process's umask leaves."""
    messages: tuple[str, ...] = ()
    """Addresses for connections with messages in the place of lines."""

    @property
    def unix_paths(self) -> list[str]:
        """The paths of the Unix sockets."""
        streams = [a.removeprefix("unix:") for a in (*self.tcp, *self.messages) if a.startswith("unix:")]
        return [self.unixgram, *streams] if self.unixgram else streams


@frozen
class LineStatistics:
    """Numbers of the listeners of one protocol."""

    datagrams: tuple[DatagramStatistics, ...]
    """Those for datagrams, together."""
    streams: tuple[StreamStatistics, ...]
    """Those for connections, together."""


class LineListeners:
    """Runs them.  `run` is a task of the receiver's component; `listen` changes where they listen meanwhile."""

    def __init__(
        self,
        reception: Reception,
        take: Take,
        *,
        frames: Frames | None = None,
        messages: tuple[Take, Frames] | None = None,
    ) -> None:
        """frames: see `StreamListener`.  messages: what takes those that come to addresses of their own, and their frames."""
        self.bound: list[str] = []
        """The addresses that are listened on, as `udp://`, `unixgram:`, `tcp://` and `unix:`."""
        self._reception, self._take, self._frames, self._messages = reception, take, frames, messages
        self._nursery: trio.Nursery | None = None
        self._applied: Any = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._datagrams: list[DatagramListener] = []
        self._streams: list[StreamListener] = []

    async def run(
        self, where: Listening, bounds: Any, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until cancelled.  bounds: the section `tinyobs.receivers`.  Raises `UsageError`."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.listen(where, bounds)
            task_status.started()
            await trio.sleep_forever()

    async def listen(self, where: Listening, bounds: Any) -> None:
        """Listen somewhere else, unless nothing changed; raises `UsageError`, and the next call tries again."""
        assert self._nursery is not None
        if (where, bounds) == self._applied:
            return
        if self._applied is not None:
            self._scope.cancel()
            await self._ended.wait()
        self._applied, self.bound = (where, bounds), []
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        try:
            await self._nursery.start(self._listen, where, bounds, self._scope, self._ended)
        except BaseException:
            self._applied = None
            raise

    def statistics(self) -> LineStatistics:
        """Return the numbers as of now."""
        datagrams = [listener.statistics() for listener in self._datagrams]
        streams = [listener.statistics() for listener in self._streams]
        return LineStatistics(
            (_sum_of(datagrams, DatagramStatistics()),), (_sum_of(streams, StreamStatistics(0, 0, 0)),)
        )

    async def _listen(
        self,
        where: Listening,
        bounds: Any,
        scope: trio.CancelScope,
        ended: trio.Event,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Run the listeners until `scope` is cancelled."""
        buffer_bytes = bounds.receive_buffer_size_bytes
        try:
            self._datagrams = [
                DatagramListener(address, self._reception, self._take_datagrams, receive_buffer_bytes=buffer_bytes)
                for address in (where.udp, where.unixgram and f"unix:{where.unixgram}")
                if address
            ]
            self._streams = [
                StreamListener(addresses, self._reception, take, bounds, frames=frames)
                for addresses, (take, frames) in (
                    (where.tcp, (self._take, self._frames)),
                    (where.messages, self._messages or (self._take, None)),
                )
                if addresses
            ]
            with scope:
                async with trio.open_nursery() as nursery:
                    for datagrams in self._datagrams:
                        bound: str = await nursery.start(datagrams.run)
                        self.bound.append(bound.replace("unix:", "unixgram:") if "unix:" in bound else f"udp://{bound}")
                    for listener in self._streams:
                        self.bound += await nursery.start(listener.run)
                    if where.unix_mode is not None:
                        for path in where.unix_paths:
                            os.chmod(path, where.unix_mode)
                    task_status.started()
        finally:
            ended.set()

    async def _take_datagrams(self, lines: bytes, source: str) -> None:
        await self._take(lines + b"\n", source)


def _sum_of(statistics: list[Any], none: Any) -> Any:
    """Return the sum of each number."""
    return type(none)(*(sum(getattr(s, f.name) for s in statistics) for f in attrs.fields(type(none))))
