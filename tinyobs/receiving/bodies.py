"""Bodies of requests, unpacked within limits: gzip, deflate, zstd and snappy, as `Content-Encoding` says.

What a body is unpacked to is counted with the bodies of all requests (`web.held_bytes`) before it is there, and the packed
form is given up behind it.  Those that are large, or become so, are unpacked in a worker thread.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import Final

import cramjam
import zstandard
from starlette.requests import Request

from ..errors import LimitExceeded, WireError
from ..web.body_buffer import BodyBuffer
from ..web.held_bytes import HELD, Held
from ..web.inbox import take_body
from ..web.problem import HttpError
from .threads import in_thread

THREAD_BYTES_MIN: Final = 128 << 10
"""Bodies from this size on are unpacked in a worker thread, in bytes as sent."""
AT_ONCE_BYTES_MAX: Final = 512 << 10
"""Bytes that smaller ones may become without: a millisecond or two, and a hop to a thread takes a third of one."""
ZSTD_WINDOW_BYTES_MAX: Final = 8 << 20
"""Memory that a frame of zstd may ask for; RFC 8878 recommends that decoders support this."""
ENCODINGS: Final = ("gzip", "deflate", "zstd", "snappy", "identity")

_PIECE_BYTES: Final = 1 << 20
_ZLIB_INPUT_BYTES: Final = 64 << 10
"""The library copies what is left of its input each time."""
_ZSTD_INPUT_BYTES: Final = 256
"""Four bytes of a block can stand for 128 KiB."""
_LIMIT: Final = "tinyobs.receivers.decoded_size_max"

Count = Callable[[int], None]
"""Told how many bytes more are unpacked; raises when that is too many."""


async def read_body(request: Request, decoded_bytes_max: int) -> bytes:
    """Return the body of a request, unpacked.

    Raises `HttpError` 413, 408 or 503 while it arrives, 415 for an encoding that is not known; `WireError` for a damaged
    one, `LimitExceeded` for one that is too long when unpacked.
    """
    body = await take_body(request)
    names = [n.strip().lower() for n in request.headers.get("content-encoding", "").split(",")]
    held: Held | None = request.scope.get(HELD)
    for name in reversed([n for n in names if n not in ("", "identity")]):
        packed_bytes = len(body)
        body = await _unpacked(body, name, decoded_bytes_max, held)
        if held is not None:
            held.give_back(packed_bytes)
    if len(body) > decoded_bytes_max:
        raise _too_long(decoded_bytes_max)
    return body


class _TooLongAtOnce(Exception):
    """A body becomes too long to be unpacked in the event loop."""


async def _unpacked(body: bytes, encoding: str, bytes_max: int, held: Held | None) -> bytes:
    unpack = _UNPACKERS.get(encoding)
    if unpack is None:
        raise HttpError(415, f"content encoding {encoding!r} is not accepted; known are {', '.join(ENCODINGS)}")
    total, is_at_once = 0, len(body) < THREAD_BYTES_MIN

    def count(size: int) -> None:
        nonlocal total
        if is_at_once and total + size > AT_ONCE_BYTES_MAX:
            raise _TooLongAtOnce
        total += size
        if total > bytes_max:
            raise _too_long(bytes_max)
        if held is not None:
            held.add(size)

    if is_at_once:
        try:
            return unpack(body, count)
        except _TooLongAtOnce:
            if held is not None:
                held.give_back(total)
            total, is_at_once = 0, False
    return await in_thread(partial(unpack, body, count))


def _zlib(body: bytes, count: Count, window_bits: int) -> bytes:
    """Unpack one stream after the other, which gzip allows."""
    unpacked, view, at = BodyBuffer(), memoryview(body), 0
    while at < len(view):
        stream = zlib.decompressobj(window_bits)
        while not stream.eof:
            given = view[at : at + _ZLIB_INPUT_BYTES]
            try:
                piece = stream.decompress(given, _PIECE_BYTES)
            except zlib.error as e:
                raise WireError(f"the body cannot be unpacked: {e}") from None
            at += len(given) - len(stream.unused_data if stream.eof else stream.unconsumed_tail)
            count(len(piece))
            unpacked.add(piece)
            if not piece and at >= len(view) and not stream.eof:
                raise WireError("the body cannot be unpacked: it ends too early")
    return unpacked.take()


def _gzip(body: bytes, count: Count) -> bytes:
    return _zlib(body, count, 16 + zlib.MAX_WBITS)


def _deflate(body: bytes, count: Count) -> bytes:
    """The zlib format, as RFC 9110 has it, or the bare one, as some clients do."""
    is_zlib = len(body) >= 2 and body[0] & 0x0F == 8 and not (body[0] << 8 | body[1]) % 31
    return _zlib(body, count, zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)


def _zstd(body: bytes, count: Count) -> bytes:
    """Unpack frame after frame.

    The library's stream with bounded output takes a cut frame for a whole one, so its input is given in small pieces: one can
    become some megabytes at most.
    """
    unpacked = BodyBuffer()
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    view, at = memoryview(body), 0
    while at < len(view):
        frame = decompressor.decompressobj()
        try:
            while not frame.eof and at < len(view):
                part = frame.decompress(view[at : at + _ZSTD_INPUT_BYTES])
                at = min(at + _ZSTD_INPUT_BYTES, len(view))
                count(len(part))
                unpacked.add(part)
        except zstandard.ZstdError as e:
            raise WireError(f"the body cannot be unpacked: {e}") from None
        if not frame.eof:
            raise WireError("the body cannot be unpacked: it ends too early")
        at -= len(frame.unused_data)
    return unpacked.take()


def _snappy(body: bytes, count: Count) -> bytes:
    """One block without frames, as remote write has it; its head tells how long it will be."""
    try:
        count(int(cramjam.snappy.decompress_raw_len(body)))
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as e:
        raise WireError(f"the body is not a snappy block: {e}") from None


_UNPACKERS: Final[dict[str, Callable[[bytes, Count], bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
    "snappy": _snappy,
}


def _too_long(bytes_max: int) -> LimitExceeded:
    return LimitExceeded(_LIMIT, f"the body unpacks to more than {bytes_max} bytes ({_LIMIT})")
