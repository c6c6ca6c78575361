"""Bodies of HTTP/1.1 requests as they arrive: of a known length, or in chunks (RFC 9112, section 7.1).

Both take bytes from the front of what a connection has received and leave what belongs to the next request.  Chunked
bodies are read here, not by the library that reads heads, since that cannot tell where in its input a request ended.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

LINE_BYTES_MAX: Final = 4096
"""Length of the line before a chunk, its extensions included."""
TRAILER_BYTES_MAX: Final = 16 << 10
"""Headers behind the last chunk, all together; they are passed over."""

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\x00]*)?\r\n")


class BodyError(Exception):
    """What arrives is no body."""


class Body(Protocol):
    """A body that is being received."""

    complete: bool

    def take(self, received: bytearray) -> bytes:
        """Take what there is of the body out of `received`; raises `BodyError`."""

    def take_new(self, data: bytes, received: bytearray) -> bytes:
        """Take what there is of the body when `data` has come in behind `received`, and leave the rest there; raises `BodyError`."""


class LengthBody:
    """A body of a known length."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete = not length

    def take(self, received: bytearray) -> bytes:
        """Take what there is of the body out of `received`."""
        piece = _front(received, self._left)
        self._left -= len(piece)
        self.complete = not self._left
        return piece

    def take_new(self, data: bytes, received: bytearray) -> bytes:
        """Take what there is of the body; where all of `data` is of it, that is not copied."""
        if received or len(data) > self._left:
            received += data
            return self.take(received)
        self._left -= len(data)
        self.complete = not self._left
        return data


class ChunkedBody:
    """A body in chunks; their borders mean nothing to the application."""

    def __init__(self) -> None:
        self.complete = False
        self._left = 0
        self._between = False
        """The line break behind a chunk's data is due."""
        self._trailer = 0
        self._ended = False
        """The last chunk was seen; trailers follow."""

    def take(self, received: bytearray) -> bytes:
        """Take what there is of the body out of `received`; raises `BodyError`."""
        pieces = []
        while not self.complete:
            if self._left:
                if not received:
                    break
                piece = _front(received, self._left)
                self._left -= len(piece)
                self._between = not self._left
                pieces.append(piece)
            elif not (self._skip_trailer(received) if self._ended else self._next_chunk(received)):
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def take_new(self, data: bytes, received: bytearray) -> bytes:
        """Take what there is of the body when `data` has come in behind `received`."""
        received += data
        return self.take(received)

    def _next_chunk(self, received: bytearray) -> bool:
        """Read the line before a chunk; tell whether it was there."""
        if self._between:
            if len(received) < 2:
                if received and received[0] != ord("\r"):
                    raise BodyError("a chunk is longer than it said")
                return False
            if received[:2] != b"\r\n":
                raise BodyError("a chunk is longer than it said")
            del received[:2]
            self._between = False
        found = _CHUNK.match(received)
        if found is None:
            if b"\n" in received[:LINE_BYTES_MAX] or len(received) >= LINE_BYTES_MAX:
                raise BodyError("the size of a chunk cannot be read")
            return False
        self._left, end = int(found.group(1), 16), found.end()
        del found  # it would keep `received` from shrinking
        del received[:end]
        self._ended = not self._left
        return True

    def _skip_trailer(self, received: bytearray) -> bool:
        """Pass over a line behind the last chunk; tell whether it was there."""
        end = received.find(b"\r\n")
        self._trailer += max(end, 0)
        if self._trailer > TRAILER_BYTES_MAX or (end < 0 and len(received) > TRAILER_BYTES_MAX):
            raise BodyError("too much behind the last chunk")
        if end < 0:
            return False
        del received[: end + 2]
        self.complete = not end
        return True


def _front(received: bytearray, most: int) -> bytes:
    """Take up to `most` bytes from the front."""
    with memoryview(received) as view:
        piece = bytes(view[:most])
    del received[: len(piece)]
    return piece
