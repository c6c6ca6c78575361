"""A number in [0, 1] for each label set, by which `limit_ratio` samples: the xxHash64 of the labels over 2^64.

Label sets are hashed as Prometheus holds them (model/labels/labels_stringlabels.go): name, value, name, value..., each
behind its length in one byte, or 255 and three bytes.  So both servers pick the same series.  xxHash64 is written out
after its specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), seed 0.
"""

from __future__ import annotations

import struct
from typing import Final

from ..model.labels import Labels

_P1: Final = 0x9E3779B185EBCA87
_P2: Final = 0xC2B2AE3D27D4EB4F
_P3: Final = 0x165667B19E3779F9
_P4: Final = 0x85EBCA77C2B2AE63
_P5: Final = 0x27D4EB2F165667C5
_MASK: Final = (1 << 64) - 1


def offset_of(labels: Labels) -> float:
    """Return the sampling offset of a label set."""
    return xxhash64(b"".join([_sized(part) for pair in labels for part in pair])) / 2.0**64


def xxhash64(data: bytes) -> int:
    """Return the xxHash64 of some bytes."""
    size, at = len(data), 0
    if size >= 32:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        while at + 32 <= size:
            lanes = [_round(a, x) for a, x in zip(lanes, struct.unpack_from("<4Q", data, at), strict=True)]
            at += 32
        h = sum(_rotated(a, r) for a, r in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for a in lanes:
            h = ((h ^ _round(0, a)) * _P1 + _P4) & _MASK
    else:
        h = _P5
    h = (h + size) & _MASK
    while at + 8 <= size:
        h = (_rotated(h ^ _round(0, struct.unpack_from("<Q", data, at)[0]), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= size:
        h = (_rotated(h ^ (struct.unpack_from("<I", data, at)[0] * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        h = _rotated(h ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    h = (h ^ (h >> 33)) * _P2 & _MASK
    h = (h ^ (h >> 29)) * _P3 & _MASK
    return h ^ (h >> 32)


def _sized(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    size = len(data)
    return (bytes((size,)) if size < 255 else b"\xff" + size.to_bytes(3, "little")) + data


def _rotated(x: int, by: int) -> int:
    return ((x << by) | (x >> (64 - by))) & _MASK


def _round(lane: int, x: int) -> int:
    return _rotated((lane + x * _P2) & _MASK, 31) * _P1 & _MASK
