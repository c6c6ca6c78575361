"""The records of the write-ahead log: payloads to and from columns.

Every payload is a u32 size and one zstd frame (level 1) of that many bytes: little-endian columns.  Numbers of pairs, series and layouts are
those of the writing *session* and mean nothing outside it; a new session defines its own from the start.

Values are logged as the exclusive or with the previous column of the same layout, split into byte planes: the values
of one source change little between two batches, so nearly all planes are nearly all zero.

Not here: framing (`codec/framing.py`), files and rotation (`wal_writer.py`), replay (`wal_reader.py`).
Format page: docs/format/wal.md.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..codec.compression import FAST, compress, decompress
from ..model.metadata import MetricMetadata, MetricType
from .samples import Samples

VERSION: Final = 2
"""The format of log files; version 1 had no records of types 6 and 7, and is read as well."""
FILE_MAGIC: Final = b"TOBSWAL" + bytes([VERSION])
"""The first eight bytes of a log file; the last of them is the format version."""
FILE_HEADER: Final = struct.Struct("<8sQQI")
"""magic and version, number of the file, number of the session that wrote it, crc32 of these."""
DECODED_BYTES_MAX: Final = 256 << 20
"""Largest size of a payload after decompression, in bytes."""

_SIZE = struct.Struct("<I")
_MARK = struct.Struct("<Bq")
_SAMPLES = struct.Struct("<IIBq")
_TIMES_CONSTANT, _TIMES_U32, _TIMES_I64 = 0, 1, 2


class RecordType(IntEnum):
    """What a record holds.  8 and 9 are reserved."""

    PAIRS = 1
    SERIES = 2
    LAYOUT = 3
    SAMPLES = 4
    METADATA = 5
    HISTOGRAMS = 6
    EXEMPLARS = 7
    TOMBSTONE = 8
    CURSOR = 9
    NEWEST = 10
    END = 11


class Mark(IntEnum):
    """What an END record says, by the first byte of its payload; behind all but the first stands the time, i64.

    END: the log was closed here.  TIME: no more than that.  CHECKPOINT, first in its file: it needs no file before it,
    and what follows was in the log before, up to REPEATED.
    """

    END = 0
    TIME = 1
    CHECKPOINT = 2
    REPEATED = 3


@frozen(eq=False)
class SeriesRecord:
    """Series by number: the pair ids of series `numbers[i]` are `pair_ids[starts[i]:starts[i+1]]`."""

    numbers: NDArray[np.uint32]
    starts: NDArray[np.uint64]
    pair_ids: NDArray[np.uint32]


@frozen(eq=False)
class NewestRecord:
    """The newest sample of each series: what decides whether the next one is in order."""

    numbers: NDArray[np.uint32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]


def encode_file_header(sequence: int, session: int, version: int = VERSION) -> bytes:
    """Return the beginning of a log file."""
    fields = FILE_HEADER.pack(FILE_MAGIC[:7] + bytes([version]), sequence, session, 0)[:-4]
    return fields + struct.pack("<I", zlib.crc32(fields))


def encode_mark(mark: Mark, now_ms: int) -> bytes:
    """Return the payload of a mark with a time, which unlike all others is not compressed."""
    return _MARK.pack(mark, now_ms)


def decode_mark(payload: memoryview) -> tuple[int, int | None]:
    """Return (mark, time in ms or None); a mark that is not known says nothing but the time."""
    return (*_MARK.unpack(payload),) if len(payload) == _MARK.size else (payload[0], None)


def encode_pairs(ids: NDArray[np.uint32], pairs: Sequence[tuple[str, str]]) -> bytes:
    """Return the payload that defines label pairs: u32 n, u32 id[n], u32 bytes of each name and value[2n], text."""
    texts = [t.encode("utf-8", "surrogatepass") for p in pairs for t in p]
    lengths = np.fromiter(map(len, texts), np.uint32, len(texts))
    return pack_payload(struct.pack("<I", len(ids)), _raw(ids, "<u4"), lengths.tobytes(), b"".join(texts))


def decode_pairs(payload: memoryview) -> tuple[NDArray[np.uint32], list[tuple[str, str]]]:
    """Return (ids, pairs)."""
    data = unpack_payload(payload)
    (n,) = struct.unpack_from("<I", data)
    ids = np.frombuffer(data, "<u4", n, 4)
    ends = np.cumsum(np.frombuffer(data, "<u4", 2 * n, 4 + 4 * n), dtype=np.int64) + 4 + 12 * n
    if n and int(ends[-1]) != len(data):
        raise ValueError("label texts do not fill the record")
    bounds = [4 + 12 * n, *ends.tolist()]
    texts = [data[bounds[i] : bounds[i + 1]].decode("utf-8", "surrogatepass") for i in range(2 * n)]
    return ids, list(zip(texts[::2], texts[1::2], strict=True))


def encode_series(record: SeriesRecord) -> bytes:
    """Return the payload that defines series: u32 n, u32 number[n], u32 pairs of each[n], u32 pair id[]."""
    counts = np.diff(record.starts)
    numbers, ids = _raw(record.numbers, "<u4"), _raw(record.pair_ids, "<u4")
    return pack_payload(struct.pack("<I", len(record.numbers)), numbers, _raw(counts, "<u4"), ids)


def decode_series(payload: memoryview) -> SeriesRecord:
    """Return the series of a record."""
    data = unpack_payload(payload)
    (n,) = struct.unpack_from("<I", data)
    starts = np.zeros(n + 1, np.uint64)
    np.cumsum(np.frombuffer(data, "<u4", n, 4 + 4 * n), out=starts[1:])
    return SeriesRecord(
        np.frombuffer(data, "<u4", n, 4), starts, np.frombuffer(data, "<u4", int(starts[-1]), 4 + 8 * n)
    )


def encode_layout(layout: int, numbers: NDArray[np.uint32]) -> bytes:
    """Return the payload that defines a layout, a sequence of series: u32 layout, u32 n, u32 number[n]."""
    return pack_payload(struct.pack("<II", layout, len(numbers)), _raw(numbers, "<u4"))


def decode_layout(payload: memoryview) -> tuple[int, NDArray[np.uint32]]:
    """Return (layout, series numbers)."""
    data = unpack_payload(payload)
    layout, n = struct.unpack_from("<II", data)
    return layout, np.frombuffer(data, "<u4", n, 8)


@frozen(eq=False)
class Columns:
    """Times and values of a batch as logged; `bits` still has to be combined with the layout's previous column."""

    layout: int
    times_ms: NDArray[np.int64]
    bits: NDArray[np.uint64]


def encode_samples(layout: int, samples: Samples, previous: NDArray[np.uint64] | None) -> bytes:
    """Return the payload of one batch; previous: the bits of the layout's last values, None for its first."""
    return pack_payload(encode_columns(layout, samples, previous))


def decode_samples(payload: memoryview) -> Columns:
    """Return the samples of a record."""
    return decode_columns(unpack_payload(payload), 0)[0]


def encode_columns(layout: int, samples: Samples, previous: NDArray[np.uint64] | None) -> bytes:
    """Return the columns of one batch: u32 layout, u32 n, u8 kind of times, i64 base, times, eight byte planes.

    Times are all `base` (kind 0), u32 offsets from `base` (kind 1) or i64 (kind 2).  previous: the bits of the values
    of the layout's last batch, None for its first.
    """
    times_ms, (base, last) = samples.times_ms, samples.span
    kind, times = _TIMES_CONSTANT, b""
    if last != base:
        kind = _TIMES_U32 if last - base < 1 << 32 else _TIMES_I64
        times = _raw(times_ms - base, "<u4") if kind == _TIMES_U32 else _raw(times_ms, "<i8")
    bits = samples.values.view(np.uint64)
    bits = bits if previous is None else bits ^ previous
    return b"".join((_SAMPLES.pack(layout, len(times_ms), kind, base), times, planes_of(bits)))


def decode_columns(data: bytes, at: int) -> tuple[Columns, int]:
    """Return the columns that begin at a byte, and where they end."""
    layout, n, kind, base = _SAMPLES.unpack_from(data, at)
    at += _SAMPLES.size
    if kind == _TIMES_CONSTANT:
        times = np.full(n, base, np.int64)
    elif kind == _TIMES_U32:
        times = np.frombuffer(data, "<u4", n, at) + np.int64(base)
        at += 4 * n
    elif kind == _TIMES_I64:
        times = np.frombuffer(data, "<i8", n, at)
        at += 8 * n
    else:
        raise ValueError(f"unknown kind of times {kind}")
    return Columns(layout, times, bits_of(data, n, at)), at + 8 * n


def planes_of(bits: NDArray[np.uint64]) -> bytes:
    """Return words as eight byte planes: plane `j` holds byte `j` of each."""
    return np.ascontiguousarray(bits.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8).T).tobytes()


def bits_of(data: bytes, n: int, at: int) -> NDArray[np.uint64]:
    """Return `n` words whose planes begin at a byte."""
    planes = np.frombuffer(data, np.uint8, 8 * n, at).reshape(8, n)
    return np.ascontiguousarray(planes.T).view("<u8").reshape(n)


def encode_newest(record: NewestRecord) -> bytes:
    """Return the payload with the newest samples: u32 n, u32 number[n], i64 time[n], f64 value[n]."""
    head = struct.pack("<I", len(record.numbers))
    return pack_payload(head, _raw(record.numbers, "<u4"), _raw(record.times_ms, "<i8"), _raw(record.values, "<f8"))


def decode_newest(payload: memoryview) -> NewestRecord:
    """Return the newest samples of a record."""
    data = unpack_payload(payload)
    (n,) = struct.unpack_from("<I", data)
    return NewestRecord(
        np.frombuffer(data, "<u4", n, 4),
        np.frombuffer(data, "<i8", n, 4 + 4 * n),
        np.frombuffer(data, "<f8", n, 4 + 12 * n),
    )


def encode_metadata(metadata: Mapping[str, MetricMetadata]) -> bytes:
    """Return the payload of metadata: JSON, `{family: [type, help, unit]}`."""
    plain = {name: [str(m.type), m.help, m.unit] for name, m in metadata.items()}
    return pack_payload(json.dumps(plain, separators=(",", ":")).encode())


def decode_metadata(payload: memoryview) -> dict[str, MetricMetadata]:
    """Return the metadata of a record, by family name."""
    plain = json.loads(unpack_payload(payload))
    return {name: MetricMetadata(MetricType(kind), text, unit) for name, (kind, text, unit) in plain.items()}


def _raw(column: NDArray[np.generic], dtype: str) -> bytes:
    return column.astype(dtype, copy=False).tobytes()


def pack_payload(*parts: bytes) -> bytes:
    """Return a payload with these parts, compressed."""
    data = b"".join(parts)
    return _SIZE.pack(len(data)) + compress(data, FAST)


def unpack_payload(payload: memoryview) -> bytes:
    """Return what a payload holds; `ValueError` on damage."""
    (size,) = _SIZE.unpack_from(payload)
    if size > DECODED_BYTES_MAX:
        raise ValueError(f"record of {size} bytes; the limit is {DECODED_BYTES_MAX}")
    return decompress(payload[_SIZE.size :], size)
