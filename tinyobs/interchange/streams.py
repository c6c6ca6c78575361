"""Bytes of inputs and outputs: decompressed by what they begin with, compressed by how they are named, cut into lines.

gzip and zstd, also several members one after the other.  A compressed input that ends too early is an error, as is
damage; what came before it has been delivered.  Nothing here knows a format.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import zstandard
from attrs import define, field, frozen

from ..errors import UsageError, WireError
from .chunks import Position, Refusals

STANDARD: Final = "-"
"""The name that stands for standard input and output."""
BLOCK_BYTES: Final = 1 << 18
"""Lines are read in blocks of about this many bytes: what is made of them fits the cache."""
ZSTD_WINDOW_BYTES_MAX: Final = 1 << 27
"""Largest window of a zstd frame that is read; what `zstd --long` uses by default."""
_ZSTD_PIECE: Final = 4096
"""Compressed bytes given to zstd at once: bounds what a bomb may unpack to in one step (128 MiB)."""
_ZSTD_LEVEL: Final = 3
_GZIP_LEVEL: Final = 6


def open_input(name: str) -> BinaryIO:
    """Open a file, or standard input for "-", and decompress it if need be; raises `UsageError`."""
    try:
        raw = sys.stdin.buffer if name == STANDARD else Path(name).open("rb")  # noqa: SIM115 - the caller closes it
    except OSError as e:
        raise UsageError(f"cannot read {name}: {e.strerror}") from None
    return decompressed(cast(BinaryIO, raw))


def decompressed(raw: BinaryIO) -> BinaryIO:
    """Return the content of a stream that may be compressed."""
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, raw))
    magic = buffered.peek(4)[:4]
    if magic[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    if magic == b"\x28\xb5\x2f\xfd":
        return cast(BinaryIO, io.BufferedReader(_ZstdContent(cast(BinaryIO, buffered)), 1 << 18))
    return cast(BinaryIO, buffered)


def compressor(name: str, raw: BinaryIO) -> BinaryIO:
    """Return what compresses into a file as its name says, in .gz or .zst; the file itself otherwise."""
    if name.endswith(".gz"):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0))
    if name.endswith(".zst"):
        return cast(BinaryIO, zstandard.ZstdCompressor(_ZSTD_LEVEL).stream_writer(raw, closefd=False))
    return raw


def skip_to(stream: BinaryIO, offset: int) -> None:
    """Go to a place in the content of a stream just opened; raises `UsageError` where there is none."""
    skip_on(stream, 0, offset)


def skip_on(stream: BinaryIO, now: int, offset: int) -> None:
    """Go from the place `now` to a later one."""
    if offset > now and isinstance(stream, io.BufferedReader) and stream.seekable():
        stream.seek(offset)
        return
    while offset > now:
        got = len(read_some(stream, min(offset - now, BLOCK_BYTES)))
        if not got:
            raise UsageError("the input is shorter than when its import began")
        now += got


class Content(Protocol):
    """What lines are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, b"" at the end."""


def read_some(stream: Content, size: int) -> bytes:
    """Return up to `size` bytes, b"" at the end; raises `WireError` where compressed data is damaged or cut short."""
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    try:
        return read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as e:
        raise WireError(f"compressed data is damaged or cut short: {e}") from None


@frozen
class Block:
    """Whole lines, each with its line end; only the last line of an input may lack it."""

    data: bytes
    start: Position

    def end(self, state: str = "") -> Position:
        """Return the place behind the block."""
        lines = self.data.count(b"\n") + (not self.data.endswith(b"\n"))
        return Position(self.start.offset + len(self.data), self.start.line + lines, state)


@define(eq=False)
class LineBlocks:
    """The lines of a stream in blocks.  A line longer than `line_bytes_max` is refused and left out."""

    stream: Content
    refusals: Refusals
    line_bytes_max: int
    start: Position = field(factory=Position)
    block_bytes: int = field(factory=lambda: BLOCK_BYTES)
    _rest: list[bytes] = field(factory=list)
    """Pieces of a line whose end is not there yet."""
    _fault: WireError | None = None

    def __iter__(self) -> Iterator[Block]:
        at = self.start
        while True:
            fresh = self._read(at)
            cut = fresh.rfind(b"\n") + 1
            held = sum(map(len, self._rest))
            begun = held + (fresh.find(b"\n") + 1 or len(fresh))  # the line that the rest is the beginning of
            if begun > self.line_bytes_max:
                at, fresh = self._skip_line(at, held, fresh)
                cut = fresh.rfind(b"\n") + 1
            if cut or (not fresh and self._rest):
                block = Block(b"".join([*self._rest, fresh[:cut]]), at)
                self._rest = []
                yield block
                at = block.end()
            if not fresh:
                return
            if cut < len(fresh):
                self._rest.append(fresh[cut:])

    def _read(self, at: Position) -> bytes:
        """Return about a block of data, b"" at the end; damage is the end, told once what came before it was delivered."""
        parts: list[bytes] = []
        size = 0
        while size < self.block_bytes and self._fault is None:
            try:
                data = read_some(self.stream, self.block_bytes - size)
            except WireError as e:
                self._fault = e
                break
            if not data:
                break
            parts.append(data)
            size += len(data)
        if not parts and self._fault is not None:
            self.refusals.refuse(at.line + 1, 0, str(self._fault))
        return b"".join(parts)

    def _skip_line(self, at: Position, held: int, fresh: bytes) -> tuple[Position, bytes]:
        """Leave out the line begun at a place, of which `held` bytes came before; return the place behind it, and what follows."""
        self.refusals.refuse(at.line + 1, 1, f"a line longer than {self.line_bytes_max} bytes")
        self._rest = []
        offset = at.offset + held
        while True:
            end = fresh.find(b"\n") + 1
            offset += end or len(fresh)
            if end or not fresh:
                return Position(offset, at.line + 1), fresh[end:] or self._read(at)
            fresh = self._read(at)


class _ZstdContent(io.RawIOBase):
    """What a stream of zstd frames holds.  Unlike the library's reader it tells when the last frame is cut short."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._make = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX).decompressobj
        self._frame = self._make()
        self._begun = False
        self._ready = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer."""
        while not self._ready:
            data = self._raw.read(_ZSTD_PIECE)
            if not data:
                if self._begun:
                    raise EOFError("the last zstd frame is not complete")
                return 0
            self._ready = self._unpack(data)
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n

    def _unpack(self, data: bytes) -> bytes:
        out = []
        while data:
            self._begun = True
            out.append(self._frame.decompress(data))
            if not self._frame.eof:
                break
            data = self._frame.unused_data
            self._frame, self._begun = self._make(), False
        return b"".join(out)

    def close(self) -> None:
        """Close the stream below."""
        self._raw.close()
        super().close()
