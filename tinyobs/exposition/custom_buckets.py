"""Classic histograms -> native ones with custom buckets (`convert_classic_histograms_to_nhcb`).

The rules are those of Prometheus' util/convertnhcb: the first of repeated buckets counts, a missing +Inf bucket has the
count of all, a missing count is that of the last bucket.  Classic histograms that contradict themselves have no native one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from ..model.histogram_checks import fault_of
from ..model.histogram_resolution import compacted
from ..model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint

EMPTY_BUCKETS_KEPT: Final = 2
"""Empty buckets between others that an integer histogram keeps in one span with them."""
_INTEGER_MAX: Final = 2.0**63


def custom_histogram(
    buckets: Iterable[tuple[float, float]],
    count: float | None,
    sum_: float,
    hint: ResetHint = ResetHint.UNKNOWN,
) -> Histogram | None:
    """Return the native histogram of a classic one, None where there can be none.

    buckets: (upper bound, cumulative count).  count: of all observations, None where it is not known.
    """
    found: dict[float, float] = {}
    for bound, cumulative in buckets:
        if not cumulative >= 0 or bound != bound:
            return None
        found.setdefault(bound, cumulative)
    bounds = sorted(found)
    if count is None:
        if not bounds:
            return None
        count = found[bounds[-1]]
    if not count >= 0:
        return None
    if not bounds or bounds[-1] != math.inf:
        bounds.append(math.inf)
        found[math.inf] = count
    cumulatives = [found[b] for b in bounds]
    if cumulatives[-1] != count or any(a > b for a, b in pairwise(cumulatives)):
        return None
    is_integer = all(abs(c) < _INTEGER_MAX and c == int(c) for c in cumulatives)
    if is_integer:
        cumulatives, count = [int(c) for c in cumulatives], int(count)
    counts = [b - a for a, b in pairwise([0, *cumulatives])]
    made = Histogram(
        CUSTOM_SCHEMA,
        0.0,
        0 if is_integer else 0.0,
        count,
        sum_,
        ((0, len(counts)),),
        tuple(counts),
        custom_values=tuple(bounds[:-1]),
        reset_hint=hint,
        is_integer=is_integer,
    )
    return None if fault_of(made) else compacted(made, EMPTY_BUCKETS_KEPT if is_integer else 0)
