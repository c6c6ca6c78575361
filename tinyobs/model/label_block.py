"""Label blocks: a label set as the repeated `labels` field of a remote-write TimeSeries.

    0a <varint: bytes of the label>  0a <varint> <name>  12 <varint> <value>      for each label

A block is *canonical* when its labels are in order of their names, no name is there twice, no name or value is empty, all
is UTF-8 and every number is as short as it can be.  A label set has one canonical block.  Source: prompb/types.proto.
"""

from __future__ import annotations

from typing import Final

from ..errors import WireError
from .labels import Labels

LABEL_BYTES_MAX: Final = 1 << 20
"""Longest label name or value that a block may carry, in bytes: a sanity bound, not a policy."""


def encode_block(labels: Labels) -> bytes:
    """Return the canonical block of a label set: its remote-write `labels` fields, in order."""
    out = bytearray()
    for label in labels:
        pair = encode_pair(label)
        out += b"\x0a" + varint(len(pair)) + pair
    return bytes(out)


def varint(n: int) -> bytes:
    """Return the protobuf varint of a non-negative integer."""
    if n < 0x80:
        return bytes((n,))
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return (value, position behind it) of the varint at `at`; raises `WireError` when it is cut or too long."""
    value = shift = 0
    for i in range(at, min(at + 10, len(data))):
        byte = data[i]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, i + 1
        shift += 7
    raise WireError("cut or overlong varint", at)


def encode_pair(pair: tuple[str, str]) -> bytes:
    """Return the content of one label."""
    n, v = pair[0].encode("utf-8", "surrogatepass"), pair[1].encode("utf-8", "surrogatepass")
    return b"\x0a" + varint(len(n)) + n + b"\x12" + varint(len(v)) + v


def decode_pair(raw: bytes) -> tuple[str, str]:
    """Return (name, value) of an encoded label; a missing value is "", unknown fields and empty names are refused."""
    found = {0x0A: b"", 0x12: b""}
    at = 0
    while at < len(raw):
        tag = raw[at]
        if tag not in found:
            raise WireError("unknown field in a label", at)
        size, at = read_varint(raw, at + 1)
        if size > len(raw) - at or size > LABEL_BYTES_MAX:
            raise WireError("label text cut or too long", at)
        found[tag] = raw[at : at + size]
        at += size
    if not found[0x0A]:
        raise WireError("a label without a name", 0)
    try:
        return found[0x0A].decode(), found[0x12].decode()
    except UnicodeDecodeError as e:
        raise WireError(f"label is not UTF-8: {e.reason}", e.start) from None


def labels_of_block(block: bytes) -> list[tuple[int, int, bool]]:
    """Return (start, end, whether its length is in its shortest form) of the content of each label of a block."""
    out = []
    at, end = 0, len(block)
    while at < end:
        if block[at] != 0x0A:
            raise WireError("not a label", at)
        size, content = read_varint(block, at + 1)
        if size > end - content:
            raise WireError("label longer than its series", content)
        out.append((content, content + size, content - at - 1 == len(varint(size))))
        at = content + size
    return out
