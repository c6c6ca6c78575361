"""zstd as two functions: bytes of known size in, bytes out.

Frames carry neither checksum nor content size: both stand in the format around them, which also bounds what is
allocated before a byte is decompressed.  Compression contexts are kept per thread, as they are not thread-safe.
"""

from __future__ import annotations

import threading
from typing import Final, TypeAlias

import zstandard

Buffer: TypeAlias = bytes | memoryview
"""Contiguous bytes."""

FAST: Final = 1
"""Level for data that will be written again soon: head rows, fresh segments."""
DENSE: Final = 19
"""Level for data that stays: compacted segments.  It takes a tenth of a second a megabyte."""
_DENSE_SOURCE_BYTES: Final = 1 << 18
"""Longest input that `DENSE` is made for: its tables take 5 MB, not 90."""
_DENSE_MATCH: Final = 6
"""Shortest match of `DENSE`: byte planes repeat in long stretches or not at all, shorter ones cost time on both sides."""


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def compress(data: Buffer, level: int) -> bytes:
    """Return one zstd frame."""
    compressor = _contexts.compressors.get(level)
    if compressor is None:
        compressor = _compressor_of(level)
        _contexts.compressors[level] = compressor
    return compressor.compress(data)


def _compressor_of(level: int) -> zstandard.ZstdCompressor:
    if level < DENSE:
        return zstandard.ZstdCompressor(level, write_checksum=False, write_content_size=False)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=_DENSE_SOURCE_BYTES,
        min_match=_DENSE_MATCH,
        strategy=zstandard.STRATEGY_BTULTRA,
        write_checksum=False,
        write_content_size=False,
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


def decompress(frame: Buffer, size: int) -> bytes:
    """Return the `size` bytes of a frame; `ValueError` when it is damaged or holds another number of bytes."""
    try:
        if zstandard.frame_content_size(frame) != -1:  # zstd would allocate what the frame says
            raise ValueError("zstd frame that states its size")
        data = _contexts.decompressor.decompress(frame, max_output_size=max(size, 1))
    except zstandard.ZstdError as e:
        raise ValueError(f"zstd: {e}") from None
    if len(data) != size:
        raise ValueError(f"zstd frame holds {len(data)} bytes, not {size}")
    return data
