"""A listener for protocols of lines over TCP: whole lines are given on, in pieces as they arrive.

Nothing is lost when the storage cannot take a piece: it is tried again, and meanwhile nothing is read, so that the sender
has to wait.  A line that is too long is passed over and counted, those around it stay.  What has no line break when the
connection ends may be half a line, and is dropped.

A protocol may have *frames*: four bytes that say how long one is, and then so many bytes.  Clients of Datadog send lines so over
Unix sockets, where others send bare lines: a connection has frames when the fourth byte of it is zero, which no text has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal

import structlog
import trio
from attrs import frozen

from ..abc import Reception
from ..errors import RateLimited, StorageError, TinyObsError, Unavailable
from ..web.listener import close, describe, open_listeners

RECEIVE_BYTES: Final = 256 << 10
"""Most that is taken from a socket at one time."""
ANSWER_SECONDS: Final = 5.0
"""How long an answer may wait for a sender to read it; one that does not is told nothing more, lest both wait for ever."""
RETRY_SECONDS: Final = 1.0
"""How long to wait before a piece that could not be stored is tried again."""
LINE_TOO_LONG: Final = "line_too_long"
CUT_LINE: Final = "cut_line"
"""The reasons that such lines are counted under."""
FRAME_HEAD_BYTES: Final = 4


@frozen
class Frames:
    """How a protocol has frames.

    order: of the four bytes.  holds_lines: what a frame holds is given on like lines, and connections without frames are read
    as lines; else each frame is given on by itself, and there is nothing else.  bytes_max: of a frame, None for the bound of lines.
    """

    order: Literal["little", "big"]
    holds_lines: bool
    bytes_max: int | None = None


LINES_IN_FRAMES: Final = Frames("little", holds_lines=True)
"""DogStatsD over streams."""

TakeLines = Callable[[bytes, str], Awaitable[bytes]]
"""Takes whole lines with their line breaks, and the address that they came from; returns what to answer, b"" for nothing.

What is a `LastAnswer` ends the connection.
"""


class LastAnswer(bytes):
    """An answer after which the connection is closed."""


log = structlog.get_logger("receivers")


@frozen
class StreamStatistics:
    """Numbers of a listener."""

    connections: int
    """Connections open now."""
    connections_accepted_total: int
    """Connections accepted."""
    connections_refused_total: int
    """Connections closed at once because there were too many."""


class StreamListener:
    """Listens on TCP addresses or paths of Unix sockets.  `run` is a task of the receiver's component."""

    def __init__(
        self,
        addresses: Sequence[str],
        reception: Reception,
        take: TakeLines,
        settings: Any,
        *,
        frames: Frames | None = None,
    ) -> None:
        """addresses: see `web.listener`.  settings: the section `tinyobs.receivers`.  frames: where senders may have them."""
        self.bound: list[str] = []
        """`tcp://host:port` of each, once `run` has started."""
        self._addresses, self._reception, self._take, self._settings = addresses, reception, take, settings
        self._frames = frames
        self._open = self._accepted = self._refused = 0

    def statistics(self) -> StreamStatistics:
        """Return the numbers as of now."""
        return StreamStatistics(self._open, self._accepted, self._refused)

    async def run(self, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; `started` gets the addresses.  Raises `UsageError` when one cannot be had."""
        listeners = await open_listeners(self._addresses)
        try:
            self.bound = [describe(listener, "tcp") for listener in listeners]
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(trio.serve_listeners, self._serve, [listener])
                task_status.started(self.bound)
        finally:
            close(listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end; errors stay within it."""
        if self._open >= self._settings.connections_max:
            self._refused += 1
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        self._accepted += 1
        try:
            source, first = _source(stream), b""
            while (
                self._frames
                and self._frames.holds_lines
                and len(first) < FRAME_HEAD_BYTES
                and (more := await self._receive(stream))
            ):
                first += more
            is_framed = first[FRAME_HEAD_BYTES - 1 : FRAME_HEAD_BYTES] == b"\0"
            if self._frames and (is_framed or not self._frames.holds_lines):
                await self._read_frames(stream, source, first, self._frames)
            else:
                await self._read(stream, source, first)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as e:
            log.debug("connection lost", protocol=self._reception.protocol, reason=str(e))
        except Exception as e:  # whatever a protocol's code raises must not end the listener
            log.error("connection failed", protocol=self._reception.protocol, exc_info=e)
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _read(self, stream: trio.SocketStream, source: str, ahead: bytes = b"") -> None:
        begun = b""
        skipping = is_deaf = False
        while data := ahead or await self._receive(stream):
            ahead = b""
            end = data.rfind(b"\n") + 1
            if skipping:  # the end of a line that was too long
                first = data.find(b"\n") + 1
                skipping = not first
                data, end = data[first:] if first else b"", max(end - first, 0)
            if not end:
                begun += data
                if len(begun) > self._settings.line_size_max_bytes:
                    begun, skipping = b"", True
                    self._reception.refuse(LINE_TOO_LONG)
                continue
            lines, long_count = without_long_lines(begun + data[:end], self._settings.line_size_max_bytes)
            if long_count:
                self._reception.refuse(LINE_TOO_LONG, long_count)
            begun = data[end:]
            answer = await self._give(lines, source)
            if answer and not is_deaf:
                with trio.move_on_after(ANSWER_SECONDS) as sending:
                    await stream.send_all(answer)
                is_deaf = sending.cancelled_caught
            if isinstance(answer, LastAnswer):
                return
        if begun:
            self._reception.refuse(CUT_LINE)

    async def _read_frames(self, stream: trio.SocketStream, source: str, data: bytes, kind: Frames) -> None:
        """Give on frame after frame; one that would be too long ends the connection, since then nothing else can be found."""
        bytes_max = kind.bytes_max or self._settings.line_size_max_bytes
        while True:
            frames, data = whole_frames(data, kind.order)
            if frames and kind.holds_lines:
                frames = [b"\n".join(frames) + b"\n"]
            for frame in frames:
                await self._give(frame, source)
            if _frame_bytes(data, kind.order) > bytes_max:
                self._reception.refuse(LINE_TOO_LONG)
                return
            more = await self._receive(stream)
            if not more:
                break
            data += more
        if data:
            self._reception.refuse(CUT_LINE)

    async def _receive(self, stream: trio.SocketStream) -> bytes:
        """Return what arrived, b"" at the end or after too long a silence."""
        with trio.move_on_after(self._settings.idle_timeout_ms / 1000):
            return bytes(await stream.receive_some(RECEIVE_BYTES))
        return b""

    async def _give(self, lines: bytes, source: str) -> bytes:
        """Admit and deal with lines, as often as it takes."""
        admitted = False
        while True:
            try:
                if not admitted:
                    self._reception.admit(source, len(lines))
                    admitted = True
                return await self._take(lines, source)
            except RateLimited as e:
                await trio.sleep(e.retry_after_seconds)
            except (Unavailable, StorageError) as e:
                log.warning("lines wait for the storage", protocol=self._reception.protocol, error=str(e))
                await trio.sleep(RETRY_SECONDS)
            except TinyObsError as e:  # as from datagrams; what comes next may be good
                log.warning("lines were lost", protocol=self._reception.protocol, source=source, error=str(e))
                return b""


def without_long_lines(lines: bytes, bytes_max: int) -> tuple[bytes, int]:
    """Return whole lines without those that are longer than `bytes_max`, and how many those were."""
    at, kept, count = 0, 0, 0
    parts = []
    while len(lines) - at > bytes_max + 1:  # all but what is left here is known to be short
        end = lines.rfind(b"\n", at, at + bytes_max + 1) + 1
        if not end:
            end = lines.find(b"\n", at) + 1
            parts.append(lines[kept:at])
            kept, count = end, count + 1
        at = end
    return (b"".join([*parts, lines[kept:]]), count) if count else (lines, 0)


def whole_frames(data: bytes, order: Literal["little", "big"]) -> tuple[list[bytes], bytes]:
    """Return the frames that are whole, and what is left."""
    frames, at = [], 0
    while len(data) - at >= FRAME_HEAD_BYTES:
        begin = at + FRAME_HEAD_BYTES
        end = begin + _frame_bytes(data[at:begin], order)
        if end > len(data):
            break
        frames.append(data[begin:end])
        at = end
    return frames, data[at:]


def _frame_bytes(head: bytes, order: Literal["little", "big"]) -> int:
    return int.from_bytes(head[:FRAME_HEAD_BYTES], order) if len(head) >= FRAME_HEAD_BYTES else 0


def _source(stream: trio.SocketStream) -> str:
    name = stream.socket.getpeername()
    return str(name[0]) if isinstance(name, tuple) else "unix"
