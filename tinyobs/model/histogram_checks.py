"""Which native histograms are sound, and coarser ones from those that are too fine.

The rules are those of Prometheus' model/histogram (`Validate`, and what its remote-write receiver does with schemas that
are reserved).  Where they come from, a wire format or an exposition, does not matter here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from .histogram_resolution import SCHEMA_MAX, SCHEMA_MIN, Spans, reduced
from .histograms import BUCKETS_MAX, CUSTOM_SCHEMA, PARTS_MAX, Histogram

RESERVED_SCHEMA_MAX: Final = 52
"""The finest exponential schema that is understood; it is brought down to `SCHEMA_MAX`."""

_COUNT_MAX: Final = (1 << 64) - 1
_INDEX_MAX: Final = (1 << 31) - 1


def fault_of(h: Histogram) -> str:
    """Return what is wrong with a histogram, as words for its sender, "" where it is sound."""
    if max(len(h.positive_spans), len(h.negative_spans), len(h.custom_values)) > PARTS_MAX:
        return f"more than {PARTS_MAX} spans or custom values"
    if max(len(h.positive_buckets), len(h.negative_buckets)) > BUCKETS_MAX:
        return f"more than {BUCKETS_MAX} buckets"
    if h.schema == CUSTOM_SCHEMA:
        fault = _custom_fault(h)
    elif SCHEMA_MIN <= h.schema <= SCHEMA_MAX:
        fault = "an exponential schema with custom values" if h.custom_values else ""
    else:
        fault = f"schema {h.schema} is none of {SCHEMA_MIN} to {SCHEMA_MAX} and {CUSTOM_SCHEMA}"
    return (
        fault
        or _side_fault("positive", h.positive_spans, h.positive_buckets)
        or _side_fault("negative", h.negative_spans, h.negative_buckets)
        or _count_fault(h)
    )


def coarsened(h: Histogram) -> Histogram:
    """Return a histogram of a reserved fine schema as one of `SCHEMA_MAX`, all others as they are.

    The spans must fit the buckets, else the histogram stays as it is for `fault_of` to refuse.
    """
    if not SCHEMA_MAX < h.schema <= RESERVED_SCHEMA_MAX or _misfit(h.positive_spans, h.positive_buckets):
        return h
    if _misfit(h.negative_spans, h.negative_buckets):
        return h
    return reduced(h, SCHEMA_MAX)


def _misfit(spans: Spans, buckets: Sequence[float]) -> bool:
    return sum(length for _, length in spans) != len(buckets) or any(offset < 0 for offset, _ in spans[1:])


def _side_fault(side: str, spans: Spans, buckets: Sequence[float]) -> str:
    index = 0
    for i, (offset, length) in enumerate(spans):
        if i and offset < 0:
            return f"{side} side: span number {i + 1} has the negative offset {offset}"
        index += offset + length
    wanted = sum(length for _, length in spans)
    if wanted != len(buckets):
        return f"{side} side: the spans are of {wanted} buckets, there are {len(buckets)}"
    if index > _INDEX_MAX:
        return f"{side} side: a bucket beyond number {_INDEX_MAX}"
    for i, count in enumerate(buckets):
        if count < 0:
            return f"{side} side: bucket number {i + 1} has the negative count {count}"
    return ""


def _count_fault(h: Histogram) -> str:
    if h.zero_count < 0 or h.count < 0:
        return f"a negative count: {h.count} observations, {h.zero_count} of them in the zero bucket"
    if not h.is_integer:
        return ""  # sums of floats need not fit exactly
    inside = int(h.zero_count) + sum(map(int, h.positive_buckets)) + sum(map(int, h.negative_buckets))
    if inside > _COUNT_MAX:
        return "more observations than 64 bits hold"
    # An observation of NaN counts, and is in no bucket.
    if inside > h.count or (inside < h.count and not math.isnan(h.sum)):
        return f"{inside} observations found in the buckets, but the count is {h.count}"
    return ""


def _custom_fault(h: Histogram) -> str:
    if h.zero_count or h.zero_threshold:
        return "custom buckets: the zero bucket must have no count and no width"
    if h.negative_spans or h.negative_buckets:
        return "custom buckets: there must be no negative buckets"
    previous = -math.inf
    for bound in h.custom_values:
        if not bound > previous:
            return f"custom buckets: the bound {bound} must be more than the one before it, {previous}"
        previous = bound
    if previous == math.inf:
        return "custom buckets: the last bound, +Inf, must not be given"
    end = 0
    for offset, length in h.positive_spans:
        if offset < 0:
            return f"custom buckets: a span has the negative offset {offset}"
        end += offset + length
    if end > len(h.custom_values) + 1:
        return f"custom buckets: {len(h.custom_values)} bounds are too few for {end} buckets"
    return ""
