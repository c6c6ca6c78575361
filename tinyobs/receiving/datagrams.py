"""A listener for datagrams of lines, over UDP or a Unix socket: read as fast as they come, and given on in bunches.

Whoever sends datagrams hears nothing of what became of them.  What the kernel's buffer cannot hold it drops, so reading goes
on while the bunch before is being stored, up to a number of bytes; beyond that datagrams are dropped and counted.  Reading is
done by `datagram_reader.py`, in a thread or, where the kernel's buffer is small, in a process of its own, which nothing that
the daemon does can hold up.  Decision record 0086.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import structlog
import trio
from attrs import frozen

from ..abc import Reception
from ..errors import RateLimited, TinyObsError, UsageError
from ..web.listener import parse_address
from . import datagram_reader
from .datagram_reader import DATAGRAM_BYTES_MAX as DATAGRAM_BYTES_MAX

WAITING_BYTES_MAX: Final = 64 << 20
"""Bytes that may wait for a bunch that is being stored."""
BUNCH_BYTES: Final = 1 << 20
"""About the most that is given on at one time."""
QUEUE_FULL: Final = "queue_full"
"""The reason that datagrams beyond that are counted under."""
THREAD_BUFFER_BYTES_MIN: Final = 4 << 20
"""A buffer from which on a thread does: it holds 50 ms of 100 000 small datagrams a second, and a thread may have to wait
for others some 5 ms (`sys.getswitchinterval`)."""

_SMALL_DATAGRAM_BYTES: Final = 768
"""What a small datagram takes of the kernel's buffer."""
_PAUSES: Final = (0.0005, 0.005)
"""The shortest and longest pause between two readings, in seconds."""
_RECEIVE_BYTES: Final = 1 << 20
_STOP_SECONDS: Final = 2.0
_SO_MEMINFO: Final = 55
_DROPS: Final = struct.Struct("=32xI")
"""The number of drops in what SO_MEMINFO tells (linux/sock_diag.h)."""

TakeLines = Callable[[bytes, str], Awaitable[None]]
"""Takes lines, joined by line breaks, and the address that they came from; returns when they are dealt with."""

log = structlog.get_logger("receivers")


@frozen
class DatagramStatistics:
    """Numbers of a listener."""

    datagrams_total: int = 0
    """Datagrams that were read."""
    datagrams_dropped_total: int = 0
    """Datagrams that were dropped because too much waited."""
    waiting_bytes: int = 0
    """Bytes that wait to be dealt with."""
    kernel_dropped_total: int = 0
    """Datagrams that the kernel dropped because its buffer was full (Linux)."""
    kernel_buffer_bytes: int = 0
    """The buffer that the kernel granted; it takes about 768 bytes of it for each small datagram."""


class DatagramListener:
    """One socket.  `run` is a task of the receiver's component; it ends when it is cancelled."""

    def __init__(
        self,
        address: str,
        reception: Reception,
        take: TakeLines,
        *,
        receive_buffer_bytes: int,
        waiting_bytes_max: int = WAITING_BYTES_MAX,
        in_process: bool | None = None,
    ) -> None:
        """address: `host:port`, `:port` for every interface, `unix:/path`.  Raises `UsageError` for what is none.

        in_process: whether a process of its own reads; None: where the kernel's buffer is small.
        """
        self._address, self._parsed = address, parse_address(address)
        self.bound = ""
        """`host:port` or `unix:/path`, once `run` has started."""
        self.is_in_process = False
        """Whether a process of its own reads."""
        self.process_id = 0
        """That process, once it runs."""
        self._reception, self._take = reception, take
        self._buffer_bytes, self._waiting_max = receive_buffer_bytes, waiting_bytes_max
        self._wanted = in_process
        self._waiting: dict[str, deque[bytes]] = {}
        self._waiting_bytes = self._read = self._dropped = self._kernel_dropped = self._granted = 0
        self._sock: socket.socket | None = None
        self._arrived = trio.Event()

    def statistics(self) -> DatagramStatistics:
        """Return the numbers as of now."""
        sock = self._sock
        if sock is not None:
            self._kernel_dropped = _kernel_drops(sock)
        return DatagramStatistics(self._read, self._dropped, self._waiting_bytes, self._kernel_dropped, self._granted)

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; `started` gets the address.  Raises `UsageError` when it cannot be had."""
        with _open(self._address, self._buffer_bytes) as sock:
            self._sock, self.bound = sock, _describe(sock)
            self._granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            is_small = self._granted < THREAD_BUFFER_BYTES_MIN or sock.family == socket.AF_UNIX
            self.is_in_process = is_small if self._wanted is None else self._wanted
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._deliver)
                    nursery.start_soon(self._read_frames, sock)
                    task_status.started(self.bound)
            finally:
                self.statistics()
                self._sock = None
                if sock.family == socket.AF_UNIX:
                    with contextlib.suppress(OSError):
                        os.unlink(self._parsed.path)
                with trio.move_on_after(_STOP_SECONDS, shield=True):
                    await self._deliver_waiting()

    # -- private -----------------------------------------------------------------------------------------------

    async def _read_frames(self, sock: socket.socket) -> None:
        """Let datagrams be read, and take the frames that come of it."""
        pause = 0.0 if sock.family == socket.AF_UNIX else _pause_seconds(self._granted)
        while True:
            ours, theirs = socket.socketpair()
            with ours:
                ours.setblocking(False)
                async with trio.open_nursery() as nursery:
                    if self.is_in_process:
                        nursery.start_soon(self._run_process, sock, theirs, pause)
                    else:
                        nursery.start_soon(_run_thread, sock, theirs, pause, self._waiting_max)
                    try:
                        await self._take_frames(ours)
                    finally:
                        ours.close()  # which ends the reader
            self.is_in_process = False
            log.warning("the process that reads datagrams ended; a thread goes on", address=self.bound)

    async def _run_process(self, sock: socket.socket, theirs: socket.socket, pause: float) -> None:
        """Run the reader as a program until it ends, which it does when our end of the pair is closed."""
        with theirs:
            inherited = (sock.fileno(), theirs.fileno())
            arguments = (inherited[0], int(sock.family), inherited[1], pause, self._waiting_max)
            command = [sys.executable, "-I", "-S", str(Path(datagram_reader.__file__)), *map(str, arguments)]
            try:
                process = await trio.lowlevel.open_process(command, pass_fds=inherited, stdin=subprocess.DEVNULL)
            except OSError as e:
                log.warning("no process for reading datagrams", address=self.bound, error=str(e))
                return
        self.process_id = process.pid
        try:
            await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                with trio.move_on_after(_STOP_SECONDS):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()  # nobody else would, and it would stay as a zombie

    async def _take_frames(self, ours: socket.socket) -> None:
        """Take frames until the reader ends."""
        data = bytearray()
        while True:
            await trio.lowlevel.wait_readable(ours)
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                received = ours.recv(_RECEIVE_BYTES)
                if not received:
                    return
                data += received
                for source, payload, datagrams, dropped in _frames_of(data):
                    self._read += datagrams + dropped
                    self._drop(dropped)
                    if datagrams:
                        self._admit(source, payload, datagrams)
                self._arrived.set()

    def _admit(self, source: str, lines: bytes, datagrams: int) -> None:
        if self._waiting_bytes + len(lines) > self._waiting_max:
            self._drop(datagrams)
            return
        with contextlib.suppress(RateLimited):  # counted there
            self._reception.admit(source, len(lines), datagrams)
            self._waiting.setdefault(source, deque()).append(lines)
            self._waiting_bytes += len(lines)

    def _drop(self, datagrams: int) -> None:
        if datagrams:
            self._dropped += datagrams
            self._reception.refuse(QUEUE_FULL, datagrams)

    async def _deliver(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            await self._deliver_waiting()

    async def _deliver_waiting(self) -> None:
        """Give on what waits, in turns by source, so that one that sends much does not keep the others waiting."""
        while self._waiting:
            for source in list(self._waiting):
                lines, size = _bunch(self._waiting[source])
                if not self._waiting[source]:
                    del self._waiting[source]
                try:
                    await self._take(lines, source)
                except TinyObsError as e:
                    log.warning("datagrams were lost", protocol=self._reception.protocol, error=str(e))
                finally:
                    self._waiting_bytes -= size


def _bunch(waiting: deque[bytes]) -> tuple[bytes, int]:
    """Take from the front what makes up a bunch; return it, and how many bytes of it waited: without the breaks between."""
    taken = [waiting.popleft()]
    size = len(taken[0])
    while waiting and size + len(waiting[0]) <= BUNCH_BYTES:
        taken.append(waiting.popleft())
        size += len(taken[-1])
    return (taken[0] if len(taken) == 1 else b"\n".join(taken)), size


async def _run_thread(sock: socket.socket, theirs: socket.socket, pause: float, waiting_bytes_max: int) -> None:
    """Run the reader in a thread, which ends soon after our end of the pair is closed."""
    with theirs, trio.CancelScope(shield=True):
        limiter = trio.CapacityLimiter(1)  # it stays as long as the listener: it must not take a place that others need
        await trio.to_thread.run_sync(datagram_reader.serve, sock, theirs, pause, waiting_bytes_max, limiter=limiter)


def _frames_of(data: bytearray) -> Iterator[tuple[str, bytes, int, int]]:
    """Take whole frames from the front; yield (source, payload, datagrams, datagrams dropped before)."""
    at, head = 0, datagram_reader.HEAD
    while len(data) - at >= head.size:
        size, datagrams, dropped, source_size = head.unpack_from(data, at)
        begin = at + head.size
        end = begin + source_size + size
        if end > len(data):
            break
        source = bytes(data[begin : begin + source_size]).decode()
        yield source, bytes(memoryview(data)[begin + source_size : end]), datagrams, dropped
        at = end
    del data[:at]


def _pause_seconds(granted: int) -> float:
    """Return a pause in which a quarter of the buffer fills at 200 000 small datagrams a second."""
    shortest, longest = _PAUSES
    return min(max(granted / _SMALL_DATAGRAM_BYTES / 200_000 / 4, shortest), longest)


@contextlib.contextmanager
def _open(address: str, buffer_bytes: int) -> Iterator[socket.socket]:
    """Bind a socket; raises `UsageError`."""
    parsed = parse_address(address)
    family = socket.AF_INET6 if ":" in parsed.host or not parsed.host else socket.AF_INET
    sock = socket.socket(socket.AF_UNIX if parsed.path else family, socket.SOCK_DGRAM)
    with sock:
        try:
            if parsed.path:
                _remove_dead(parsed.path)
            elif not parsed.host:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            _set_buffer(sock, buffer_bytes)
            sock.bind(parsed.path or (parsed.host, parsed.port))
            sock.setblocking(False)
        except OSError as e:
            raise UsageError(f"cannot listen on {address} (datagrams): {e.strerror or e}") from e
        yield sock


def _remove_dead(path: str) -> None:
    """Remove the socket that a dead process left; one that is read stays, and binding fails."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


def _describe(sock: socket.socket) -> str:
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _set_buffer(sock: socket.socket, size: int) -> None:
    """Ask for a buffer; only a privileged process gets more than `net.core.rmem_max`."""
    force: Any = getattr(socket, "SO_RCVBUFFORCE", 33)
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _kernel_drops(sock: socket.socket) -> int:
    """Return what the kernel dropped of a socket, 0 where it does not tell."""
    try:
        return int(_DROPS.unpack_from(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64))[0])
    except (OSError, struct.error):
        return 0
