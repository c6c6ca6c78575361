"""Remote write 1.0, sending: label blocks and samples -> a snappy-compressed WriteRequest.

The label block of a series (`tinyobs.model.registry.encode_block`) is made once by the caller and used in every
request.  A value of zero is written out, unlike by protobuf libraries, so that every sample is 18 bytes in this era.
Not here: which samples go into which request, HTTP, retries.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

import cramjam

from ..model.labels import Labels
from ..model.metadata import MetricMetadata
from ..model.registry import encode_block, varint
from .remote_write_schema import TYPE_OF_NUMBER

_pack_double = struct.Struct("<d").pack


def encode(
    series: Iterable[tuple[Labels, Sequence[int], Sequence[float]]],
    metadata: Mapping[str, MetricMetadata] | None = None,
) -> bytes:
    """Return a request with series given as (labels, timestamps in ms, values)."""
    parts = []
    for labels, times, values in series:
        samples = b"".join(_sample(t, v) for t, v in zip(times, values, strict=True))
        parts.append(_field(1, encode_block(labels) + samples))
    return _request(parts, metadata)


def encode_blocks(
    blocks: Sequence[bytes],
    timestamps_ms: Sequence[int],
    values: Sequence[float],
    metadata: Mapping[str, MetricMetadata] | None = None,
) -> bytes:
    """Return a request with one sample for each label block; timestamps in ms."""
    stamps: dict[int, bytes] = {}
    parts = []
    for block, time, value in zip(blocks, timestamps_ms, values, strict=True):
        stamp = stamps.get(time)
        if stamp is None:
            stamp = stamps[time] = b"\x10" + _varint64(time)
        body = block + b"\x12" + varint(9 + len(stamp)) + b"\x09" + _pack_double(value) + stamp
        parts.append(b"\x0a" + varint(len(body)) + body)
    return _request(parts, metadata)


def _request(parts: list[bytes], metadata: Mapping[str, MetricMetadata] | None) -> bytes:
    for name, m in (metadata or {}).items():
        texts = _field(2, name.encode()) + _field(4, m.help.encode()) + _field(5, m.unit.encode())
        parts.append(_field(3, b"\x08" + varint(TYPE_OF_NUMBER.index(m.type)) + texts))
    return bytes(cramjam.snappy.compress_raw(b"".join(parts)))


def _sample(time: int, value: float) -> bytes:
    return _field(2, b"\x09" + _pack_double(value) + b"\x10" + _varint64(time))


def _field(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + varint(len(content)) + content


def _varint64(n: int) -> bytes:
    """Return the varint of a signed 64-bit integer; a negative one takes ten bytes."""
    return varint(n & 0xFFFF_FFFF_FFFF_FFFF)
