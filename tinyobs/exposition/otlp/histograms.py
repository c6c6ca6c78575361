"""Exponential histograms, and explicit ones where they are to be native -> native histograms.

An exponential histogram of OpenTelemetry counts bucket 0 from 1, ends included above, that of Prometheus up to 1, so that
indexes differ by one.  Scales above 8 are brought down, below -4 there is no schema.  Source: prometheus histograms.go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from ...model.histogram_checks import fault_of
from ...model.histogram_resolution import SCHEMA_MAX, SCHEMA_MIN, compacted, reduced
from ...model.histograms import BUCKETS_MAX, Histogram, ResetHint
from ..custom_buckets import EMPTY_BUCKETS_KEPT, custom_histogram

ZERO_THRESHOLD: Final = 1e-128
"""The width of the zero bucket where the sender does not tell it."""
SCALE_MAX: Final = 64
"""The finest scale that is understood; OpenTelemetry starts at 20."""

CLASSIC_BUCKETS_MAX: Final = 10_000
"""Buckets of an explicit histogram, each of which is a series, and quantiles of a summary."""

Side = tuple[tuple[tuple[int, int], ...], tuple[float, ...]]


def exponential(point: Any, is_delta: bool) -> Histogram:
    """Return the native histogram of a message `ExponentialHistogramDataPoint`; raises `ValueError`."""
    refuse_odd(point)
    positive, negative = _side(point.positive), _side(point.negative)
    made = Histogram(
        point.scale,
        point.zero_threshold if point.zero_threshold > 0 else ZERO_THRESHOLD,
        point.zero_count,
        point.count,
        point.sum,
        *positive,
        *negative,
        reset_hint=ResetHint.GAUGE if is_delta else ResetHint.UNKNOWN,
        is_integer=True,
    )
    return _sound(compacted(reduced(made, SCHEMA_MAX), EMPTY_BUCKETS_KEPT))


def refuse_odd(point: Any) -> None:
    """Raise `ValueError` for an exponential histogram whose scale or zero bucket cannot be."""
    if not SCHEMA_MIN <= point.scale <= SCALE_MAX:
        raise ValueError(
            f"the scale of an exponential histogram must be {SCHEMA_MIN} to {SCALE_MAX}, not {point.scale}"
        )
    if point.zero_threshold == math.inf:
        raise ValueError("the zero bucket is infinitely wide")


def with_custom_buckets(point: Any, is_delta: bool) -> Histogram:
    """Return the native histogram of a message `HistogramDataPoint`, its bounds kept; raises `ValueError`."""
    refuse_many(point.explicit_bounds)
    cumulative, total = [], 0
    for bound, count in zip(point.explicit_bounds, point.bucket_counts, strict=False):
        total += count
        cumulative.append((bound, float(total)))
    made = custom_histogram(
        cumulative, float(point.count), point.sum, ResetHint.GAUGE if is_delta else ResetHint.UNKNOWN
    )
    inside = sum(point.bucket_counts)
    if made is None or (point.bucket_counts and inside != point.count):
        raise ValueError(f"the buckets contradict the count: {inside} observations in them, {point.count} counted")
    return made


def refuse_many(parts: Sequence[Any]) -> None:
    """Raise `ValueError` for more buckets or quantiles than make sense."""
    if len(parts) > CLASSIC_BUCKETS_MAX:
        raise ValueError(f"more than {CLASSIC_BUCKETS_MAX} buckets or quantiles")


def _side(buckets: Any) -> Side:
    """Return spans and counts of one sign, from the first bucket that is not empty on."""
    counts: Sequence[int] = buckets.bucket_counts
    if len(counts) > BUCKETS_MAX:
        raise ValueError(f"an exponential histogram with more than {BUCKETS_MAX} buckets")
    return (((buckets.offset + 1, len(counts)),), tuple(counts)) if any(counts) else ((), ())


def _sound(h: Histogram) -> Histogram:
    if fault := fault_of(h):
        raise ValueError(f"invalid exponential histogram: {fault}")
    return h
