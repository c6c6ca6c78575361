"""Protobuf bytes, written by hand: fields of the OTLP metrics protocol.

A data point is some numbers behind attributes that its series has for ever, so that its bytes are those of the series
with 18 more; building messages would cost several times as much.  Format: opentelemetry/proto/metrics/v1/metrics.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

_double = struct.Struct("<d").pack
_fixed64 = struct.Struct("<Q").pack


def varint(n: int) -> bytes:
    """Return an unsigned number of up to 64 bits."""
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def message(number: int, content: bytes) -> bytes:
    """Return a field with a length: a message, a text, packed numbers."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def text(number: int, value: str) -> bytes:
    """Return a field with a text, nothing for an empty one."""
    return message(number, value.encode("utf-8", "replace")) if value else b""


def unsigned(number: int, value: int) -> bytes:
    """Return a field with a varint."""
    return varint(number << 3) + varint(value)


def signed(number: int, value: int) -> bytes:
    """Return a field of type sint32."""
    return varint(number << 3) + varint(value << 1 if value >= 0 else (-value << 1) - 1)


def fixed64(number: int, value: int) -> bytes:
    """Return a field with eight bytes of an unsigned number."""
    return varint(number << 3 | 1) + _fixed64(value)


def double(number: int, value: float) -> bytes:
    """Return a field with a float."""
    return varint(number << 3 | 1) + _double(value)


def packed_doubles(number: int, values: Sequence[float]) -> bytes:
    """Return a field with many floats."""
    return message(number, struct.pack(f"<{len(values)}d", *values)) if values else b""


def packed_fixed64(number: int, values: Sequence[int]) -> bytes:
    """Return a field with many unsigned numbers of eight bytes."""
    return message(number, struct.pack(f"<{len(values)}Q", *values)) if values else b""


def packed_varints(number: int, values: Iterable[int]) -> bytes:
    """Return a field with many varints."""
    content = b"".join(map(varint, values))
    return message(number, content) if content else b""


def attribute(number: int, name: str, value: str) -> bytes:
    """Return a field of type KeyValue with a text."""
    any_value = message(1, value.encode("utf-8", "replace"))  # an empty text is a value, too
    return message(number, text(1, name) + message(2, any_value))
