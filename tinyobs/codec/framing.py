"""Framed records: length, checksum and type around a payload, in a file that is only ever appended to.

    u32 length of the payload | u32 crc32 | u32 synced | u8 type | payload        little endian

`crc32` covers length, synced, type and payload.  `synced` is the offset in the file up to which everything was
known to be durable when the record was written.  It settles the one question that a damaged record leaves open: when
any sound record *behind* the damage says that the file was durable beyond it, then acknowledged data was destroyed;
otherwise the writer died while writing and nobody was told that the record exists.

Not here: what payloads mean (`storage/wal_format.py`).  Format page: docs/format/wal.md.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import frozen

HEADER: Final = struct.Struct("<IIIB")
_CHECKED = struct.Struct("<IIB")
_LENGTH = struct.Struct("<I")
PAYLOAD_BYTES_MAX: Final = 256 << 20
"""Largest payload of a record, in bytes."""
_SEARCHED_BYTES: Final = 1 << 20
"""Bytes searched at a time for a record behind damage; bounds the memory that this takes."""
TYPE_MAX: Final = 31
"""Highest number a record type may have."""


@frozen
class Frame:
    """One record: its type, its payload and where it begins and ends in the file."""

    type: int
    payload: memoryview
    start: int
    end: int


@frozen
class Damage:
    """Where sound records end before the end of the file, and whether durable data lies behind that place."""

    offset: int
    acknowledged: bool
    reason: str


def encode_frame(type_number: int, payload: bytes, synced: int) -> bytes:
    """Return the bytes of one record."""
    assert 0 < len(payload) <= PAYLOAD_BYTES_MAX
    assert 0 < type_number <= TYPE_MAX
    crc = zlib.crc32(payload, zlib.crc32(_CHECKED.pack(len(payload), synced, type_number)))
    return HEADER.pack(len(payload), crc, synced, type_number) + payload


def frames(data: memoryview, start: int) -> Iterator[Frame | Damage]:
    """Yield the records of a file from offset `start`; the last thing yielded may be a `Damage`."""
    at = start
    while at < len(data):
        found = frame_at(data, at)
        if isinstance(found, str):
            yield Damage(at, _is_durable_behind(data, at), found)
            return
        yield found
        at = found.end


def sound_frames(data: memoryview, start: int) -> Iterator[Frame]:
    """Yield every sound record from offset `start` on, past any damage; what they mean may hang on what is lost."""
    at = start
    while at < len(data):
        found = frame_at(data, at)
        if isinstance(found, Frame):
            yield found
            at = found.end
        else:
            at = _next_sound(data, at + 1)


def _next_sound(data: memoryview, start: int) -> int:
    """Return the offset of the first sound record from `start` on, the end of the data without one."""
    last = len(data) - HEADER.size
    for first in range(start, last, _SEARCHED_BYTES):
        count = min(_SEARCHED_BYTES, last - first)
        raw = np.frombuffer(data[first : first + count + HEADER.size], np.uint8)
        position = np.arange(first, first + count, dtype=np.int64)
        length, synced = (sum(raw[j + i : j + i + count].astype(np.int64) << (8 * i) for i in range(4)) for j in (0, 8))
        plausible = (length > 0) & (length < len(data) - position) & (synced <= position)
        plausible &= raw[12 : 12 + count] <= TYPE_MAX
        for p in position[plausible].tolist():
            if isinstance(frame_at(data, p), Frame):
                return int(p)
    return len(data)


def frame_size(data: memoryview, at: int) -> int | None:
    """Return how many bytes the record has whose header is at `at`, None where no record is so long."""
    (length,) = _LENGTH.unpack_from(data, at)
    return HEADER.size + length if 0 < length <= PAYLOAD_BYTES_MAX else None


def frame_at(data: memoryview, at: int) -> Frame | str:
    """Return the sound record at `at`, or why there is none."""
    body = at + HEADER.size
    if body > len(data):
        return "the file ends within a record header"
    length, crc, synced, type_number = HEADER.unpack_from(data, at)
    if not 0 < length <= PAYLOAD_BYTES_MAX:
        return "impossible record length"
    end = body + length
    if end > len(data):
        return "the file ends within a record"
    payload = data[body:end]
    if zlib.crc32(payload, zlib.crc32(_CHECKED.pack(length, synced, type_number))) != crc:
        return "checksum mismatch"
    return Frame(type_number, payload, at, end)


def _is_durable_behind(data: memoryview, damaged: int) -> bool:
    """Tell whether a sound record behind `damaged` proves that the file was durable beyond that offset.

    Looks at every byte position; only those whose header fields are plausible have their checksum computed.
    """
    last = len(data) - HEADER.size
    for first in range(damaged + 1, last, _SEARCHED_BYTES):
        count = min(_SEARCHED_BYTES, last - first)
        raw = np.frombuffer(data[first : first + count + HEADER.size], np.uint8)
        position = np.arange(first, first + count, dtype=np.int64)
        synced = sum(raw[8 + i : 8 + i + count].astype(np.int64) << (8 * i) for i in range(4))
        plausible = (synced > damaged) & (synced <= position) & (raw[12 : 12 + count] <= TYPE_MAX)
        if any(isinstance(frame_at(data, int(p)), Frame) for p in position[plausible]):
            return True
    return False
