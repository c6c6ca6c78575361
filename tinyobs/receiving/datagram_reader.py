"""Reads datagrams as fast as the kernel has them and hands them on in frames; a thread, or a program of its own.

    python -I -S datagram_reader.py SOCKET FAMILY OUT PAUSE_SECONDS WAITING_BYTES_MAX      (descriptors that are inherited)

Up to 256 datagrams are taken by one `recvmmsg`, during which other threads run.  Between two calls there is a pause, so
that nobody is woken for each datagram; how long it may be depends on what the kernel's buffer holds.  Frames go through a
socket whose other end the daemon reads; when that end is closed, reading ends.

A frame has the datagrams of one source:   payload bytes | datagrams | dropped before it | source bytes   (4 x uint32)
then the source as text, then the datagrams with a line break between each two.

Only the standard library is imported, none of TinyObs: as a program it starts within some ten milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from typing import Any, Final

HEAD: Final = struct.Struct("=IIII")
"""The head of a frame."""
UNIX_SOURCE: Final = "unix"
"""The source of datagrams over a Unix socket, whose senders have no address."""
DATAGRAM_BYTES_MAX: Final = 65_535
"""Longest datagram; of a longer one, which only Unix sockets know, the line that is cut is left out."""

_SLOTS: Final = 256
_SLOT_BYTES: Final = 65_600
"""More than the longest datagram, and no power of two: else all slots would share a few lines of the processor's cache."""
_NAME_BYTES: Final = 32
_FRAME_SECONDS: Final = 0.01
"""How long datagrams are gathered for a frame."""
_FRAME_BYTES: Final = 256 << 10
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""How an address of IPv4 begins within IPv6."""
_DONTWAIT: Final = getattr(socket, "MSG_DONTWAIT", 0x40)


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Head(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("head", _Head), ("length", ctypes.c_uint32))


class Gathered:
    """What came of one source: how many datagrams, and their content in pieces."""

    __slots__ = ("count", "pieces")

    def __init__(self) -> None:
        self.count = 0
        self.pieces: list[bytes] = []


Came = dict[bytes, Gathered]
"""What came, by source: the bytes of its address, b"" over a Unix socket."""


class ManyAtOnce:
    """Takes many datagrams by one call.  Raises `AttributeError` where the C library has no `recvmmsg`."""

    def __init__(self, sock: socket.socket) -> None:
        self._call: Any = ctypes.CDLL(None).recvmmsg
        self._fd, self._family = sock.fileno(), sock.family
        self._data = memoryview(mmap.mmap(-1, _SLOTS * _SLOT_BYTES))  # only what is written to takes memory
        self._names = memoryview(bytearray(_SLOTS * _NAME_BYTES))
        self._vectors = (_IoVec * _SLOTS)()
        self._messages = (_Message * _SLOTS)()
        data, names = _address(self._data), _address(self._names)
        for i, (vector, message) in enumerate(zip(self._vectors, self._messages, strict=True)):
            vector.base, vector.length = data + i * _SLOT_BYTES, DATAGRAM_BYTES_MAX + 1
            message.head.vectors, message.head.vector_count = ctypes.addressof(vector), 1
            if self._family != socket.AF_UNIX:
                message.head.name, message.head.name_length = names + i * _NAME_BYTES, _NAME_BYTES
        words = memoryview(self._messages).cast("B").cast("I")
        self._lengths = words[_Message.length.offset // 4 :: ctypes.sizeof(_Message) // 4]
        self._starts = range(0, _SLOTS * _SLOT_BYTES, _SLOT_BYTES)

    def read(self, came: Came) -> tuple[int, int]:
        """Add what there is, joined by line breaks, to what came of each source; return (datagrams, bytes)."""
        count = int(self._call(self._fd, self._messages, _SLOTS, _DONTWAIT, None))
        if count <= 0:
            return 0, 0
        lengths, data = self._lengths[:count].tolist(), self._data
        datagrams: list[Any] = [data[at : at + length] for at, length in zip(self._starts, lengths, strict=False)]
        if max(lengths) > DATAGRAM_BYTES_MAX:
            datagrams = [d if len(d) <= DATAGRAM_BYTES_MAX else _whole_lines(d) for d in datagrams]
        sources = self._sources(count)
        if sources.count(sources[0]) == count:
            _add(came, sources[0], datagrams)
        else:
            for source in set(sources):
                _add(came, source, [d for d, s in zip(datagrams, sources, strict=True) if s == source])
        return count, sum(lengths)

    def _sources(self, count: int) -> list[bytes]:
        if self._family == socket.AF_UNIX:
            return [b""] * count
        first, last = (8, 24) if self._family == socket.AF_INET6 else (4, 8)
        names = self._names[: count * _NAME_BYTES].tobytes()
        return [names[at + first : at + last] for at in range(0, len(names), _NAME_BYTES)]


class OneByOne:
    """Takes datagrams one after the other, where there is no `recvmmsg`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, came: Came) -> tuple[int, int]:
        """Do as `ManyAtOnce.read`."""
        count = size = 0
        with contextlib.suppress(BlockingIOError):
            while count < _SLOTS:
                data, address = self._sock.recvfrom(DATAGRAM_BYTES_MAX + 1, _DONTWAIT)
                count, size = count + 1, size + len(data)
                source = b"" if self._sock.family == socket.AF_UNIX else _packed(address[0], self._sock.family)
                _add(came, source, [data if len(data) <= DATAGRAM_BYTES_MAX else _whole_lines(memoryview(data))])
        return count, size


class _Out:
    """Frames on their way to the daemon.  What it does not take at once waits, up to a number of bytes."""

    def __init__(self, sock: socket.socket, waiting_bytes_max: int) -> None:
        self._sock, self._waiting_max = sock, waiting_bytes_max
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = self._dropped = 0
        self.is_closed = False

    @property
    def has_waiting(self) -> bool:
        """Whether something waits."""
        return bool(self._waiting)

    def add(self, source: str, payload: bytes, datagrams: int) -> None:
        """Let a frame wait, or drop it."""
        if self._waiting_bytes + len(payload) > self._waiting_max:
            self._dropped += datagrams
            return
        name = source.encode()
        self._let_wait(HEAD.pack(len(payload), datagrams, self._dropped, len(name)) + name + payload)

    def send(self) -> None:
        """Send what can be sent at once."""
        if self._dropped and not self._waiting:
            self._let_wait(HEAD.pack(0, 0, self._dropped, 0))
        try:
            while self._waiting:
                sent = self._sock.send(self._waiting[0], _DONTWAIT)
                self._waiting_bytes -= sent
                if sent == len(self._waiting[0]):
                    self._waiting.popleft()
                else:
                    self._waiting[0] = self._waiting[0][sent:]
        except BlockingIOError:
            return
        except OSError:
            self.is_closed = True

    def _let_wait(self, frame: bytes) -> None:
        self._dropped = 0
        self._waiting.append(memoryview(frame))
        self._waiting_bytes += len(frame)


def serve(sock: socket.socket, out: socket.socket, pause_seconds: float, waiting_bytes_max: int) -> None:
    """Read until the other end of `out` is closed.  sock: bound.  pause_seconds: 0 for no pauses."""
    reader = _reader_of(sock)
    frames = _Out(out, waiting_bytes_max)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while not frames.is_closed:
        poll.register(out, select.POLLOUT if frames.has_waiting else 0)
        if any(fd == out.fileno() and event & ~select.POLLOUT for fd, event in poll.poll()):
            return  # closed
        frames.send()
        _gather(reader, frames, sock, pause_seconds)


def _gather(reader: ManyAtOnce | OneByOne, frames: _Out, sock: socket.socket, pause_seconds: float) -> None:
    """Read until there is nothing more for the moment."""
    came: Came = {}
    size = 0
    due = time.monotonic() + _FRAME_SECONDS
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while True:
        count, read_bytes = reader.read(came)
        size += read_bytes
        left = due - time.monotonic()
        if left <= 0 or size >= _FRAME_BYTES or not count:
            _emit(came, sock.family, frames)
            if not count or frames.is_closed:
                return
            size, due = 0, due - left + _FRAME_SECONDS
        if count < _SLOTS:
            if pause_seconds:
                time.sleep(pause_seconds)
            else:
                poll.poll(max(left, 0) * 1000)


def _emit(came: Came, family: int, frames: _Out) -> None:
    for source, gathered in came.items():
        frames.add(_text(source, family), b"\n".join(gathered.pieces), gathered.count)
    came.clear()
    frames.send()


def _add(came: Came, source: bytes, datagrams: list[Any]) -> None:
    gathered = came.get(source)
    if gathered is None:
        gathered = came[source] = Gathered()
    gathered.count += len(datagrams)
    gathered.pieces.append(b"\n".join(datagrams))


def _whole_lines(datagram: memoryview) -> bytes:
    """Return a datagram that was cut up to its last line break."""
    data = bytes(datagram)
    return data[: data.rfind(b"\n") + 1]


def _text(source: bytes, family: int) -> str:
    """Return an address as text; one of IPv4 that came over a socket for both is written as such."""
    if not source:
        return UNIX_SOURCE
    if source[:12] == _MAPPED and len(source) == 16:
        source, family = source[12:], socket.AF_INET
    return socket.inet_ntop(family, source)


def _packed(host: str, family: int) -> bytes:
    return socket.inet_pton(family, host.partition("%")[0])


def _address(memory: memoryview) -> int:
    return ctypes.addressof((ctypes.c_char * len(memory)).from_buffer(memory))


def _reader_of(sock: socket.socket) -> ManyAtOnce | OneByOne:
    try:
        return ManyAtOnce(sock)
    except (AttributeError, OSError, TypeError):
        return OneByOne(sock)


def main(arguments: list[str]) -> None:
    """Serve as a program; whoever started it decides when it ends, not signals to the whole group of processes."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    sock, out = int(arguments[0]), int(arguments[2])
    with (
        socket.socket(int(arguments[1]), socket.SOCK_DGRAM, fileno=sock) as read,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=out) as written,
    ):
        serve(read, written, float(arguments[3]), int(arguments[4]))


if __name__ == "__main__":
    main(sys.argv[1:])
