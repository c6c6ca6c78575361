"""Distributions of Datadog -> native histograms: sketches of its agent, and plain values of its libraries.

A sketch counts values by keys.  With g = 1 + 2/128, key `k` > 0 stands for values around g^(k - BIAS), no farther from it than
a factor of sqrt(g); `-k` for the negative ones, 0 for what is nearer to zero than the value of key 1, about 1e-9.  Buckets
of native histograms have other bounds, so a count goes to the bucket in which the middle of its key lies.  Number and sum of
the values are exact; a quantile is right within 2 %: 0.8 % of the sketch, and the width of a bucket of schema 6, 1.1 %.

A distribution holds the values of one interval, so its histogram is that of a gauge: `sum_over_time` puts intervals together.
Sources: DataDog/datadog-agent pkg/quantile (config.go, key.go, sparse.go); DataDog/agent-payload, proto/metrics.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tinyobs.model.histogram_resolution import compacted
from tinyobs.model.histograms import Histogram, ResetHint

SCHEMA: Final = 6
"""Of the histograms: a bucket is 1.1 % wider than the one before."""
GAMMA: Final = 1 + 2 / 128
BIAS: Final = 1 - math.floor(math.log(1e-9) / math.log1p(2 / 128))
KEY_MAX: Final = (1 << 15) - 1
ZERO_THRESHOLD: Final = GAMMA ** (1 - BIAS)
"""What is nearer to zero has key 0."""
BINS_MAX: Final = 1 << 16
"""Keys of a sketch, and values of a point."""

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Spans = tuple[tuple[int, int], ...]


def histogram_of_sketch(sketch: Any) -> Histogram | None:
    """Return the histogram of a `Dogsketch`, None for one that counts nothing; raises `ValueError`."""
    if len(sketch.k) != len(sketch.n):
        raise ValueError(f"a sketch has {len(sketch.k)} keys and {len(sketch.n)} counts")
    if len(sketch.k) > BINS_MAX:
        raise ValueError(f"a sketch has more than {BINS_MAX} keys")
    keys, counts = np.array(sketch.k, np.int64), np.array(sketch.n, np.int64)
    if len(keys) and np.abs(keys).max() > KEY_MAX:
        raise ValueError(f"a sketch has a key beyond {KEY_MAX}")
    if not math.isfinite(sketch.sum):
        raise ValueError("the sum of a sketch is not a number")
    middles = np.sign(keys) * GAMMA ** (np.abs(keys) - BIAS)
    middles[keys == 0] = 0.0
    return _histogram(middles, counts, sketch.sum)


def histogram_of_values(values: Any) -> Histogram | None:
    """Return the histogram of a list of numbers, None for an empty one; raises `ValueError`."""
    if not isinstance(values, list):
        raise ValueError("the values of a distribution must be a list")
    if len(values) > BINS_MAX:
        raise ValueError(f"a point has more than {BINS_MAX} values")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("the values of a distribution must be numbers")
    numbers = np.array(values, np.float64)
    with np.errstate(over="ignore"):
        total = float(numbers.sum())
    if not math.isfinite(total):
        raise ValueError("the values of a distribution are too large")
    return _histogram(numbers, np.ones(len(numbers), np.int64), total)


def _histogram(values: F64, counts: I64, total: float) -> Histogram | None:
    """Return the histogram of values of which there are so many."""
    values, counts = values[counts > 0], counts[counts > 0]
    if not len(values):
        return None
    is_zero = np.abs(values) < ZERO_THRESHOLD
    positive_spans, positive = _side(values, counts, ~is_zero & (values > 0))
    negative_spans, negative = _side(-values, counts, ~is_zero & (values < 0))
    return compacted(
        Histogram(
            schema=SCHEMA,
            zero_threshold=ZERO_THRESHOLD,
            zero_count=int(counts[is_zero].sum()),
            count=int(counts.sum()),
            sum=total,
            positive_spans=positive_spans,
            positive_buckets=positive,
            negative_spans=negative_spans,
            negative_buckets=negative,
            reset_hint=ResetHint.GAUGE,
            is_integer=True,
        )
    )


def _side(values: F64, counts: I64, which: NDArray[np.bool_]) -> tuple[Spans, tuple[int, ...]]:
    """Return (spans of one bucket each, counts) of the values that are meant, which are positive."""
    fractions, exponents = np.frexp(values[which])
    indexes = np.ceil((np.log2(fractions) + exponents) * (1 << SCHEMA)).astype(np.int64)
    found, place = np.unique(indexes, return_inverse=True)
    sums = np.bincount(place, counts[which]).astype(np.int64)
    gaps = np.diff(found, prepend=-1) - 1
    if len(found):
        gaps[0] = found[0]
    return tuple((gap, 1) for gap in gaps.tolist()), tuple(sums.tolist())
