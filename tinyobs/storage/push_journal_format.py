"""Records of the journal of pushed groups.  Format page: docs/format/pushgateway-journal.md.

    push      u8 1 when it replaces the group | u8 format of the body | i64 time | u32 bytes of the key | key | body
    delete, failure      i64 time | key
    wipe      i64 time
    current   u32 records before it: all that was current when the file was written anew is there

The payloads of the frames of `codec/framing.py`.  A key is the label block of the grouping key (`model/label_block.py`), in
which, unlike in those of series, values may be empty.  Times are milliseconds since 1970.  Not here: the file
(`push_journal.py`), and what the bodies mean.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from ..codec.framing import Frame, encode_frame
from ..errors import CorruptionError, FormatVersionError, WireError
from ..model.label_block import decode_pair, encode_block, labels_of_block
from ..model.labels import Labels
from .layout import PUSH_JOURNAL

VERSION: Final = 1
MAGIC: Final = b"TOBSPSH" + bytes([VERSION])
"""The first eight bytes; the last of them is the format version."""
PUSH, DELETE, FAILURE, WIPE, CURRENT = 1, 2, 3, 4, 5
"""Types of records."""
TEXT, PROTOBUF, OPENMETRICS = 0, 1, 2
"""Formats of bodies."""

_PUSH = struct.Struct("<BBqI")
_TIME = struct.Struct("<q")
_COUNT = struct.Struct("<I")


@frozen
class Pushed:
    """A body was pushed to a group, instead of all that it had or of the families of the same names."""

    key: Labels
    time_ms: int
    replaces: bool
    format: int
    body: bytes


@frozen
class Deleted:
    """A group was deleted."""

    key: Labels
    time_ms: int


@frozen
class Failed:
    """A push to a group was refused because it was inconsistent."""

    key: Labels
    time_ms: int


@frozen
class Wiped:
    """All groups were deleted."""

    time_ms: int


Record = Pushed | Deleted | Failed | Wiped


def encode_records(records: Iterable[Record], synced: int) -> bytes:
    """Return the frames of records, written when the file was durable up to the offset `synced`."""
    out = bytearray()
    for r in records:
        if isinstance(r, Pushed):
            key = encode_block(r.key)
            payload = _PUSH.pack(r.replaces, r.format, r.time_ms, len(key)) + key + r.body
            out += encode_frame(PUSH, payload, synced)
        elif isinstance(r, Wiped):
            out += encode_frame(WIPE, _TIME.pack(r.time_ms), synced)
        else:
            payload = _TIME.pack(r.time_ms) + encode_block(r.key)
            out += encode_frame(DELETE if isinstance(r, Deleted) else FAILURE, payload, synced)
    return bytes(out)


def encode_current(count: int, offset: int) -> bytes:
    """Return the frame that stands behind the `count` records of a file that was written anew, at an offset.

    It says that all before it is durable: the file gets its name only then.  So damage there is never taken for a torn end.
    """
    return encode_frame(CURRENT, _COUNT.pack(count), offset)


def decode_record(frame: Frame) -> Record | None:
    """Return the record of a sound frame, None for one that only tells what is durable; raises `FormatVersionError` for a type that is not known, `CorruptionError`."""
    payload = bytes(frame.payload)
    try:
        if frame.type == PUSH:
            replaces, format, time_ms, size = _PUSH.unpack_from(payload)
            end = _PUSH.size + size
            if replaces > 1 or format > OPENMETRICS or end > len(payload):
                raise WireError("impossible fields of a push")
            return Pushed(_key(payload[_PUSH.size : end]), time_ms, bool(replaces), format, payload[end:])
        if frame.type == CURRENT:
            return None
        (time_ms,) = _TIME.unpack_from(payload)
        if frame.type == WIPE:
            return Wiped(time_ms)
        if frame.type in (DELETE, FAILURE):
            kind = Deleted if frame.type == DELETE else Failed
            return kind(_key(payload[_TIME.size :]), time_ms)
    except (WireError, struct.error) as e:
        raise CorruptionError(PUSH_JOURNAL, frame.start, str(e)) from None
    raise FormatVersionError(
        f"{PUSH_JOURNAL}: a record of type {frame.type}, which this release does not know: upgrade TinyObs"
    )


def _key(block: bytes) -> Labels:
    return tuple([decode_pair(block[a:b]) for a, b, _ in labels_of_block(block)])
