"""What native histograms are selected for, as far as it shows in annotations.

Upstream reads counts and sums alone where a query wants no more, and then tells of each sample whether a counter reset
precedes it.  That is seen where histograms are added up: conflicting hints bring a warning.  Source: prometheus
promql/engine.go (detectHistogramStatsDecoding), promql/histogram_stats_iterator.go (3.14).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Purpose(IntEnum):
    """All of a histogram, its count and sum alone, or these added up."""

    WHOLE = 0
    STATISTICS = 1
    ADDED = 2

    def below(self, name: str) -> Purpose:
        """Return what histograms below a function or an aggregation are selected for."""
        if name in _CHANGES:
            return min(self, Purpose.STATISTICS)
        if name in _SUMS:
            return Purpose.ADDED if self is not Purpose.WHOLE else self
        return _STATED.get(name, self)


_STATED: Final = {
    **dict.fromkeys(("histogram_avg", "histogram_count", "histogram_sum"), Purpose.STATISTICS),
    **dict.fromkeys(("histogram_fraction", "histogram_quantile", "histogram_quantiles"), Purpose.WHOLE),
}
_SUMS: Final = frozenset(("avg", "avg_over_time", "sum", "sum_over_time"))
_CHANGES: Final = frozenset(("delta", "idelta", "increase", "irate", "rate"))
"""Functions that work out resets themselves; their results are gauges."""
