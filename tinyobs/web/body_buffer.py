"""A body put together from its pieces, without ever being there twice.

Joining a list of pieces needs room for the body once more; what is written to a `BytesIO` stays where it is, and `getvalue` of
CPython gives out the very bytes that it wrote to.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

EXPECTED_BYTES_MIN: Final = 512 << 10
"""From this size on a buffer begins as long as the body will be: growing step by step leaves holes in the heap."""


class BodyBuffer:
    """Takes pieces; one alone is given back as it came."""

    def __init__(self, expected_bytes: int = 0) -> None:
        """expected_bytes: how long the body will be, 0 where that is not known.  Memory is used as pieces come."""
        self.size = 0
        self._expected = expected_bytes if expected_bytes >= EXPECTED_BYTES_MIN else 0
        self._first: bytes = b""
        self._rest: BytesIO | None = None

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        self.size += len(piece)
        if self._rest is not None:
            self._rest.write(piece)
        elif not self._first:
            self._first = piece
        elif piece:
            self._rest = BytesIO(bytes(self._expected))  # zeros that the system provides when they are written to
            self._rest.write(self._first)
            self._rest.write(piece)
            self._first = b""

    def take(self) -> bytes:
        """Return all of it, and keep nothing."""
        found = self._first
        if self._rest is not None:
            self._rest.truncate(self.size)
            found = self._rest.getvalue()
        self._first, self._rest, self.size = b"", None, 0
        return found
