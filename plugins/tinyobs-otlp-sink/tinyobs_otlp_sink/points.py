"""Data points of OTLP: numbers, histograms with bounds, exponential histograms, summaries.

Each has the attributes of its series as bytes, behind the numbers, as protobuf libraries write it: receivers may go by that.
Times are in ms and become nanoseconds.  A point that says that
a series has ended has a flag instead of a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram

from .wire import double, fixed64, message, packed_doubles, packed_fixed64, packed_varints, signed, unsigned

BUCKETS_MAX: Final = 2048
"""Most buckets of one side of an exponential histogram: OTLP writes the empty ones between; a wider one gets a coarser scale."""
_NO_VALUE: Final = 1
"""DataPointFlags: no recorded value."""
_NS: Final = 1_000_000


def number_point(attributes: bytes, start_ms: int, at_ms: int, value: float | None) -> bytes:
    """Return a NumberDataPoint; start_ms 0 for a gauge, value None for the end of the series."""
    start = fixed64(2, start_ms * _NS) if start_ms else b""
    begin = start + fixed64(3, at_ms * _NS)
    return begin + attributes + unsigned(8, _NO_VALUE) if value is None else begin + double(4, value) + attributes


def ended_point(attributes: bytes, at_ms: int, flags_field: int) -> bytes:
    """Return a point of any histogram or summary that says that its series has ended."""
    return attributes + fixed64(3, at_ms * _NS) + unsigned(flags_field, _NO_VALUE)


def histogram_point(
    attributes: bytes, start_ms: int, at_ms: int, count: float, total: float | None, buckets: Mapping[float, float]
) -> bytes:
    """Return a HistogramDataPoint.  buckets: upper bound -> cumulative count, with or without +Inf."""
    bounds = sorted(b for b in buckets if b != math.inf)
    counts, below = [], 0
    for bound in bounds:
        upto = max(whole(buckets[bound]), below)
        counts.append(upto - below)
        below = upto
    number = max(whole(count), below)
    if bounds:
        counts.append(number - below)
    return _bounded(attributes, start_ms, at_ms, number, total, counts, bounds)


def custom_point(attributes: bytes, start_ms: int, at_ms: int, h: Histogram) -> bytes:
    """Return a HistogramDataPoint for a native histogram with bounds of its own."""
    counts = [0] * (len(h.custom_values) + 1)
    for index, count in _indexed(h.positive_spans, h.positive_buckets):
        if index < len(counts):
            counts[index] = whole(count)
    return _bounded(attributes, start_ms, at_ms, whole(h.count), h.sum, counts, list(h.custom_values))


def exponential_point(attributes: bytes, start_ms: int, at_ms: int, h: Histogram) -> bytes:
    """Return an ExponentialHistogramDataPoint for a native histogram of a standard schema."""
    assert h.schema != CUSTOM_SCHEMA
    # The bucket (base^(i-1), base^i] is number i here, and number i-1 in OTLP.
    sides = [
        {i - 1: whole(c) for i, c in _indexed(spans, buckets)}
        for spans, buckets in ((h.positive_spans, h.positive_buckets), (h.negative_spans, h.negative_buckets))
    ]
    scale = h.schema
    while any(side and max(side) - min(side) >= BUCKETS_MAX for side in sides):
        sides, scale = [_halved(side) for side in sides], scale - 1
    positive, negative = (_side(side) for side in sides)
    return b"".join(
        (
            attributes,
            fixed64(2, start_ms * _NS),
            fixed64(3, at_ms * _NS),
            fixed64(4, whole(h.count)),
            double(5, h.sum),
            signed(6, scale),
            fixed64(7, whole(h.zero_count)),
            message(8, positive) if positive else b"",
            message(9, negative) if negative else b"",
            double(14, h.zero_threshold) if h.zero_threshold else b"",
        )
    )


def summary_point(
    attributes: bytes, start_ms: int, at_ms: int, count: float, total: float, quantiles: Mapping[float, float]
) -> bytes:
    """Return a SummaryDataPoint."""
    values = b"".join(message(6, double(1, q) + double(2, quantiles[q])) for q in sorted(quantiles))
    start, at = fixed64(2, start_ms * _NS), fixed64(3, at_ms * _NS)
    return start + at + fixed64(4, whole(count)) + double(5, total) + values + attributes


def whole(count: float) -> int:
    """Return a count as an unsigned number of 64 bits."""
    return min(max(round(count), 0), 2**64 - 1) if math.isfinite(count) else 0


def _bounded(
    attributes: bytes,
    start_ms: int,
    at_ms: int,
    count: int,
    total: float | None,
    counts: Sequence[int],
    bounds: Sequence[float],
) -> bytes:
    start, at = fixed64(2, start_ms * _NS), fixed64(3, at_ms * _NS)
    told = double(5, total) if total is not None else b""
    return start + at + fixed64(4, count) + told + packed_fixed64(6, counts) + packed_doubles(7, bounds) + attributes


def _indexed(spans: Sequence[tuple[int, int]], buckets: Sequence[float]) -> list[tuple[int, float]]:
    """Return (number, count) of each bucket in some spans."""
    found, index, at = [], 0, 0
    for offset, length in spans:
        index += offset
        for _ in range(length):
            found.append((index, buckets[at]))
            index, at = index + 1, at + 1
    return found


def _halved(side: Mapping[int, int]) -> dict[int, int]:
    """Return buckets of the next coarser scale."""
    merged: dict[int, int] = {}
    for index, count in side.items():
        merged[index >> 1] = merged.get(index >> 1, 0) + count
    return merged


def _side(side: Mapping[int, int]) -> bytes:
    """Return the content of a message Buckets."""
    if not side:
        return b""
    first, last = min(side), max(side)
    return signed(1, first) + packed_varints(2, (side.get(i, 0) for i in range(first, last + 1)))
