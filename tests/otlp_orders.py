"""Bodies of OTLP as exporters put them together: the same fields in other orders, with lengths of another form.

The orders are those of the sources: the Collector (`pdata`, since 0.133) writes messages from their end, so that fields come
in descending order but for attributes of points, which are declared first; the SDK of .NET writes scalars before points, and
lengths of four bytes; that of Java the least and greatest value before the buckets.
"""

from __future__ import annotations

from collections.abc import Callable

from tinyobs.exposition.otlp.schema import TABLE
from tinyobs.exposition.protobuf_layout import fields
from tinyobs.model.label_block import varint

Order = Callable[[str, int], float]
"""(message, number of a field) -> its place."""

_POINTS = ("NumberDataPoint", "HistogramDataPoint", "SummaryDataPoint")
_DOTNET = {
    "NumberDataPoint": [4, 6, 2, 3, 7, 5],
    "HistogramDataPoint": [2, 3, 9, 4, 5, 11, 12, 6, 7, 8],
    "ExponentialHistogramDataPoint": [2, 3, 1, 5, 4, 12, 13, 6, 7, 8, 11],
    "Sum": [3, 2, 1],
    "Histogram": [2, 1],
    "ExponentialHistogram": [2, 1],
}
_JAVA = {"HistogramDataPoint": [2, 3, 4, 5, 11, 12, 6, 7, 8, 9]}


def by_tags(message: str, number: int) -> float:
    """As protobuf libraries do."""
    return number


def collector(message: str, number: int) -> float:
    """Backwards."""
    is_attribute = message in _POINTS and number == {"HistogramDataPoint": 9}.get(message, 7)
    return 0 if is_attribute else -number


def dotnet(message: str, number: int) -> float:
    """Scalars before points."""
    order = _DOTNET.get(message, [])
    return order.index(number) if number in order else number


def java(message: str, number: int) -> float:
    """As protobuf libraries do, but for histograms."""
    order = _JAVA.get(message, [])
    return order.index(number) if number in order else number


def reordered(body: bytes, order: Order, message: str = "ExportMetricsServiceRequest") -> bytes:
    """Return a message with its fields in another order, those of the messages in it as well."""
    kinds = {number: kind.lstrip("*").rpartition(":")[2] for number, _, kind in TABLE[message]}
    found, at = [], 0
    for tag, start, stop in fields(body, 0, len(body)):
        raw, number = body[at:stop], tag >> 3
        at = stop
        kind = kinds.get(number, "")
        if kind in TABLE:
            inner = reordered(body[start:stop], order, kind)
            raw = varint(tag) + _length(len(inner), order) + inner
        # What was repeated stays in its order; attributes go last where the Collector puts them.
        found.append((_place(order, message, number), raw))
    return b"".join(raw for _, raw in sorted(found, key=lambda f: f[0]))


def _place(order: Order, message: str, number: int) -> float:
    place = order(message, number)
    return 1 if order is collector and place == 0 else place


def _length(size: int, order: Order) -> bytes:
    if order is not dotnet:
        return varint(size)
    return bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80, size >> 21))
