"""Compressed answers: gzip, zstd and deflate, whole or piece by piece.

A stream is flushed at the end of each piece, since a piece is large (megabytes) or, for live data, wanted at once.
Large pieces are compressed in a worker thread.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Protocol

import trio
import zstandard

GZIP_LEVEL: Final = 1
"""Level 1 makes 2 to 3 times the speed of the usual 6 for about a tenth more bytes on JSON."""
ZSTD_LEVEL: Final = 3
THREAD_BYTES_MIN: Final = 128 << 10
"""Pieces from this size on are compressed in a worker thread, in bytes; a smaller one takes about a millisecond."""
_KINDS: Final = (
    "text/",
    "application/json",
    "application/openmetrics-text",
    "application/javascript",
    "image/svg",
    "application/vnd.apache.arrow",
    "application/vnd.google.protobuf",
    "application/x-ndjson",
    "application/yaml",
)


class Compressor(Protocol):
    """One compressed stream."""

    def piece(self, data: bytes, last: bool) -> bytes:
        """Return what to send for the next piece."""


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._z = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, window_bits)

    def piece(self, data: bytes, last: bool) -> bytes:
        return self._z.compress(data) + self._z.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


class _Zstd:
    def __init__(self) -> None:
        self._z = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()

    def piece(self, data: bytes, last: bool) -> bytes:
        kind = zstandard.COMPRESSOBJ_FLUSH_FINISH if last else zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return self._z.compress(data) + self._z.flush(kind)


_COMPRESSORS: Final[dict[str, Callable[[], Compressor]]] = {
    "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "zstd": _Zstd,
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),  # with the head of zlib, as RFC 9110 has it
}
"""By name, in order of preference."""
_RANKS: Final = {name: i for i, name in enumerate(_COMPRESSORS)}


def choose(accept_encoding: str) -> str | None:
    """Return a name of `_COMPRESSORS`, or None when the client takes none; of equal weights gzip, then zstd comes first.

    accept_encoding: the header (RFC 9110 section 12.5.3); a `*` is read as gzip.
    """
    if not accept_encoding:
        return None
    best: tuple[float, int, str] | None = None
    for part in accept_encoding.lower().split(","):
        name, _, parameters = part.partition(";")
        name = {"*": "gzip", "x-gzip": "gzip"}.get(name.strip(), name.strip())
        weight = _weight(parameters)
        if name in _COMPRESSORS and weight > 0 and (best is None or (-weight, _RANKS[name], name) < best):
            best = (-weight, _RANKS[name], name)
    return best[2] if best else None


def start(encoding: str) -> Compressor:
    """Return a new stream in one of these encodings."""
    return _COMPRESSORS[encoding]()


def is_compressible(content_type: str) -> bool:
    """Tell whether compressing a body of this type is worth it."""
    return content_type.startswith(_KINDS)


async def compress_piece(compressor: Compressor, data: bytes, last: bool) -> bytes:
    """Return the compressed piece, made in a thread when it is large."""
    if len(data) < THREAD_BYTES_MIN:
        return compressor.piece(data, last)
    return await trio.to_thread.run_sync(compressor.piece, data, last)


def _weight(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
