"""Remote write 1.0, sending: label blocks, samples, native histograms, exemplars -> a snappy-compressed WriteRequest.

The label block of a series (`tinyobs.model.registry.encode_block`) is made once by the caller and used in every
request.  A value of zero is written out, unlike by protobuf libraries, so that every sample is 18 bytes in this era.
Not here: which samples go into which request, HTTP, retries.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import cramjam

from ..model.exemplars import Exemplar
from ..model.histograms import Histogram
from ..model.labels import Labels
from ..model.metadata import MetricMetadata
from ..model.registry import encode_block, varint
from .remote_write_schema import TYPE_OF_NUMBER

_pack_double = struct.Struct("<d").pack


def encode(
    series: Iterable[tuple[Labels, Sequence[int], Sequence[float | Histogram]]],
    metadata: Mapping[str, MetricMetadata] | None = None,
    exemplars: Iterable[tuple[Labels, Sequence[Exemplar]]] = (),
) -> bytes:
    """Return a request with series given as (labels, timestamps in ms, values), exemplars as series of their own."""
    parts = []
    for labels, times, values in series:
        samples = b"".join(
            _field(4, histogram_message(v, t)) if isinstance(v, Histogram) else _sample(t, v)
            for t, v in zip(times, values, strict=True)
        )
        parts.append(_field(1, encode_block(labels) + samples))
    for labels, some in exemplars:
        parts.append(_field(1, encode_block(labels) + b"".join(_field(3, exemplar_message(e)) for e in some)))
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


def histogram_message(h: Histogram, timestamp_ms: int) -> bytes:
    """Return the message `Histogram`; the buckets of an integer histogram as differences."""
    if h.is_integer:
        counts = b"\x08" + _varint64(int(h.count)) + b"\x30" + _varint64(int(h.zero_count))
    else:
        counts = b"\x11" + _pack_double(h.count) + b"\x39" + _pack_double(h.zero_count)
    parts = [
        counts,
        b"\x19" + _pack_double(h.sum),
        b"\x20" + _zigzag(h.schema),
        b"\x29" + _pack_double(h.zero_threshold),
        _side(8, h.negative_spans, h.negative_buckets, h.is_integer),
        _side(11, h.positive_spans, h.positive_buckets, h.is_integer),
        b"\x70" + varint(int(h.reset_hint)),
        b"\x78" + _varint64(timestamp_ms),
    ]
    if h.custom_values:
        parts.append(b"\x82\x01" + varint(8 * len(h.custom_values)) + _doubles(h.custom_values))
    return b"".join(parts)


def exemplar_message(e: Exemplar) -> bytes:
    """Return the message `Exemplar`."""
    return encode_block(e.labels) + b"\x11" + _pack_double(e.value) + b"\x18" + _varint64(e.timestamp_ms)


def _side(first: int, spans: Sequence[tuple[int, int]], buckets: Sequence[float], is_integer: bool) -> bytes:
    """Return the fields `first` .. `first + 2`: spans, and one of deltas and counts."""
    parts = [_field(first, b"\x08" + _zigzag(offset) + b"\x10" + varint(length)) for offset, length in spans]
    if buckets and is_integer:
        deltas = [int(b) - int(a) for a, b in pairwise((0, *buckets))]
        parts.append(_field(first + 1, b"".join(map(_zigzag, deltas))))
    elif buckets:
        parts.append(_field(first + 2, _doubles(buckets)))
    return b"".join(parts)


def _doubles(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def _zigzag(n: int) -> bytes:
    return varint((n << 1) ^ -1 if n < 0 else n << 1)


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
