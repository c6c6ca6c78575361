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
"""Level for data that stays: compacted segments.  Frames are short, so that it takes 5 MB and a sixth of a second a MB."""


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def compress(data: Buffer, level: int) -> bytes:
    """Return one zstd frame."""
    compressor = _contexts.compressors.get(level)
    if compressor is None:
        compressor = zstandard.ZstdCompressor(level, write_checksum=False, write_content_size=False)
        _contexts.compressors[level] = compressor
    return compressor.compress(data)


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
