"""The body of an answer: counted, decoded and, where patterns want it, kept."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import httpcore

from .address import ProbeError
from .settings import Compression, HttpProbe

BODY_BYTES_MAX: Final = 64 << 20
"""Longest body, decoded, that is read where the module sets no limit."""
_STEP_BYTES: Final = 1 << 20
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class Body:
    """Takes a body piece by piece; `length` is in bytes after decoding."""

    def __init__(self, probe: HttpProbe, encoding: str) -> None:
        self.length = 0
        self._limit = probe.body_size_limit or BODY_BYTES_MAX
        self._kept: list[bytes] | None = [] if wants_body(probe) else None
        self._decoder = None
        if probe.compression is not Compression.NONE and encoding in ("gzip", "deflate"):
            self._decoder = zlib.decompressobj(_GZIP_WINDOW if encoding == "gzip" else zlib.MAX_WBITS)

    async def read(self, pieces: AsyncIterator[bytes], abandon: Callable[[], Awaitable[None]]) -> None:
        """Read to the end; raises `ProbeError` when the body is too long or not in its encoding.

        abandon: breaks the connection.  The iterator is run to its end even then: httpcore nests generators, and one
        that is left half-way is not closed.
        """
        fault: ProbeError | None = None
        try:
            async for piece in pieces:
                if fault is None:
                    try:
                        self._feed(piece)
                    except ProbeError as e:
                        fault = e
                        await abandon()
        except httpcore.NetworkError:
            if fault is None:
                raise
        if fault is not None:
            raise fault

    def text(self) -> str:
        """Return the body as text, undecodable bytes replaced; only where patterns want it."""
        return b"".join(self._kept or ()).decode("utf-8", "replace")

    def _feed(self, piece: bytes) -> None:
        if self._decoder is None:
            self._take(piece)
            return
        while piece:
            # Bounded output for each step: a small body may unpack to gigabytes.
            try:
                self._take(self._decoder.decompress(piece, _STEP_BYTES))
            except zlib.error as e:
                raise ProbeError(f"failed to decompress response body: {e}") from e
            piece = self._decoder.unconsumed_tail

    def _take(self, data: bytes) -> None:
        self.length += len(data)
        if self.length > self._limit:
            raise ProbeError(f"response body longer than {self._limit} bytes")
        if self._kept is not None:
            self._kept.append(data)


def wants_body(probe: HttpProbe) -> bool:
    """Tell whether the text of the body matters."""
    return bool(probe.fail_if_body_matches_regexp or probe.fail_if_body_not_matches_regexp)
