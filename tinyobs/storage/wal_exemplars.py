"""The log record of exemplars: those that a batch brought, and at a checkpoint all that are kept.

    n u32, series u32[n], time i64[n], value f64[n], flags u8[n], bytes of labels u32[n], labels

Flags: bit 0, its source gave the time.  Labels are UTF-8 texts with a byte 0xff, which no UTF-8 has, between name,
value, name ...; nothing without labels.  The kept form of labels is the logged one.  Format page: docs/format/wal.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.labels import Labels
from ..model.ragged import offsets_of
from .wal_format import pack_payload, unpack_payload

HAS_TIME: Final = 1
_SEPARATOR: Final = b"\xff"


@frozen
class StoredExemplar:
    """An exemplar as it is kept and logged: series by number, labels as bytes."""

    ref: int
    time_ms: int
    value: float
    flags: int
    labels: bytes


def encode_labels(labels: Labels) -> bytes:
    """Return labels as bytes."""
    return _SEPARATOR.join([text.encode("utf-8", "surrogatepass") for pair in labels for text in pair])


def decode_labels(data: bytes) -> Labels:
    """Return the labels; `ValueError` on damage."""
    if not data:
        return ()
    texts = [t.decode("utf-8", "surrogatepass") for t in data.split(_SEPARATOR)]
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def encode_exemplars(exemplars: Sequence[StoredExemplar]) -> bytes:
    """Return the payload."""
    n = len(exemplars)
    labels = [e.labels for e in exemplars]
    return pack_payload(
        struct.pack("<I", n),
        np.fromiter((e.ref for e in exemplars), "<u4", n).tobytes(),
        np.fromiter((e.time_ms for e in exemplars), "<i8", n).tobytes(),
        struct.pack(f"<{n}d", *[e.value for e in exemplars]),
        bytes([e.flags for e in exemplars]),
        np.fromiter(map(len, labels), "<u4", n).tobytes(),
        b"".join(labels),
    )


def decode_exemplars(payload: memoryview) -> tuple[NDArray[np.uint32], list[StoredExemplar]]:
    """Return (numbers of the series, exemplars with these numbers as refs); `ValueError` on damage."""
    data = unpack_payload(payload)
    (n,) = struct.unpack_from("<I", data)
    numbers = np.frombuffer(data, "<u4", n, 4)
    times = np.frombuffer(data, "<i8", n, 4 + 4 * n).tolist()
    values = struct.unpack_from(f"<{n}d", data, 4 + 12 * n)
    flags = data[4 + 20 * n : 4 + 21 * n]
    bounds = offsets_of(np.frombuffer(data, "<u4", n, 4 + 21 * n).astype(np.int64)) + 4 + 25 * n
    if int(bounds[-1]) != len(data):
        raise ValueError("labels do not fill the record")
    labels = [data[a:b] for a, b in pairwise(bounds.tolist())]
    for text in labels:
        decode_labels(text)
    rows = zip(numbers.tolist(), times, values, flags, labels, strict=True)
    return numbers, [StoredExemplar(*row) for row in rows]


def cut_exemplars(exemplars: Sequence[StoredExemplar], bytes_max: int) -> Iterator[Sequence[StoredExemplar]]:
    """Yield successive parts with about so many bytes of labels, for records."""
    first = size = 0
    for i, e in enumerate(exemplars):
        size += len(e.labels) + 25
        if size > bytes_max and i > first:
            yield exemplars[first:i]
            first, size = i, len(e.labels) + 25
    if exemplars:
        yield exemplars[first:]
