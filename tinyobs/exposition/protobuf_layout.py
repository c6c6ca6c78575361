"""What one protobuf body of a target looked like: the fast path for the next body, which nearly always looks the same.

A body is a list of families, each after its length.  A counter, gauge or untyped metric without exemplar and time ends
in a value of eight bytes, so that from body to body nothing of such a *plain* family changes but the bytes of its values.
Neighbouring plain families are a *run*: a layout remembers how long each run is, where the values stand in it, and a hash
of all its other bytes.  Every other family is decoded metric by metric, but for metrics whose bytes are as they were.

Bytes are compared by 64-bit hashes seeded per process: a change is overlooked once in 2^64.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..errors import WireError
from ..model.label_block import read_varint
from .client_schema import COUNTER, GAUGE, UNTYPED

I64 = NDArray[np.int64]

VALUE_BYTES: Final = 8
_METRIC_TAG: Final = 0x22
_LABEL_TAG: Final = 0x0A
_VALUE_TAG: Final = 0x09
_CREATED_TAG: Final = 0x1A
_FIELD_TAG: Final = {GAUGE: 0x12, COUNTER: 0x1A, UNTYPED: 0x2A}
"""Of the field of a metric that holds its value, by type of the family."""
_VARINT: Final = 0
_DELIMITED: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}
"""Wire types of fields, and the bytes of those that always have as many."""


@define(slots=True)
class Known:
    """One metric of a family that is not plain, as it was: its bytes (hash), key (hash) and samples."""

    raw: int
    key: int
    values: tuple[float, ...]
    time_ms: int
    start_ms: int
    histogram: bytes


@define
class Family:
    """A family that is not plain.  head: hash of all that is not its metrics; first: place of its first sample."""

    head: int
    first: int
    metrics: list[Known] = field(factory=list)


@frozen
class Run:
    """Plain families that follow one another, lengths included."""

    size: int


@frozen(eq=False)
class Layout:
    """A remembered body.

    entries: in body order.  numbers: int32[n], the series of all samples.  plain_places: places of the samples of runs.
    value_offsets: where their values begin in the runs joined.  starts_ms: int64[n], of plain samples; None without any.
    """

    entries: list[Run | Family]
    numbers: NDArray[np.int32]
    plain_places: I64
    value_offsets: I64
    plain_hash: int
    starts_ms: I64 | None


def values_and_hash(joined: bytes, offsets: I64) -> tuple[NDArray[np.float64], int]:
    """Return the values at the offsets, and a hash of all other bytes."""
    rest = bytearray(joined)
    if not len(offsets):
        return np.empty(0), hash(bytes(rest))
    anywhere = np.ndarray((len(rest) - VALUE_BYTES + 1,), "<u8", rest, 0, (1,))
    values = anywhere[offsets].astype(np.uint64, copy=False).view(np.float64)
    anywhere[offsets] = 0
    return values, hash(bytes(rest))


def next_family(body: bytes, at: int) -> tuple[int, int]:
    """Return (start, end) of the family whose length stands at `at`; raises `WireError` when it is cut short."""
    size = body[at]
    at += 1
    if size >= 0x80:
        size, at = read_varint(body, at - 1)
    if at + size > len(body):
        raise WireError("the body ends within a metric family", at)
    return at, at + size


def plain_values(family: bytes, type_: int) -> list[int] | None:
    """Return where the values of a plain family stand, one a metric; None where the family is not plain."""
    tag = _FIELD_TAG.get(type_)
    if tag is None:
        return None
    offsets = []
    try:
        for kind, start, end in fields(family, 0, len(family)):
            if kind != _METRIC_TAG:
                continue
            value = _value_of(family, start, end, tag)
            if value is None:
                return None
            offsets.append(value)
    except WireError:
        return None
    return offsets


def fields(data: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """Return (tag, start of content, end) of the fields of a message; raises `WireError`."""
    out = []
    while at < end:
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = read_varint(data, at - 1)
        kind = tag & 7
        if kind == _DELIMITED and at < end:
            size = data[at]
            at += 1
            if size >= 0x80:
                size, at = read_varint(data, at - 1)
        elif kind in _FIXED_BYTES:
            size = _FIXED_BYTES[kind]
        elif kind == _VARINT:
            size = read_varint(data, at)[1] - at
        else:
            raise WireError("a field that is cut short, or of a type that there is not", at)
        if at + size > end:
            raise WireError("a field that is cut short", at)
        out.append((tag, at, at + size))
        at += size
    return out


def _value_of(data: bytes, begin: int, end: int, tag: int) -> int | None:
    """Return where the value of a metric stands, None where there is more that may change, or less."""
    at, bare = begin, end - VALUE_BYTES - 3
    if bare >= begin and data[bare : bare + 3] == bytes((tag, VALUE_BYTES + 1, _VALUE_TAG)):
        while at < bare and data[at] == _LABEL_TAG and data[at + 1] < 0x80:
            at += 2 + data[at + 1]
        if at == bare:  # labels that end where a bare value begins, as nearly always: no closer look
            return end - VALUE_BYTES
    found = None
    for kind, start, stop in fields(data, begin, end):
        if kind == _LABEL_TAG:
            continue
        if kind != tag or found is not None:
            return None
        for inner, inner_start, _ in fields(data, start, stop):
            if inner == _VALUE_TAG and found is None:
                found = inner_start
            elif inner != _CREATED_TAG:
                return None
    return found
