"""PromQL functions that Prometheus does not have: `zscore_over_time` and `distinct_over_time`.

They are those of MetricsQL by name and meaning, so that its dashboards keep working.  `--no-plugin over_time_functions`
leaves PromQL as it is in Prometheus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..hookspecs import hookimpl
from ..model.functions import Argument, PromqlFunction, Shape

Floats = NDArray[np.float64]
_RANGE = (Argument.RANGE,)


@hookimpl
def tinyobs_promql_functions() -> Sequence[PromqlFunction]:
    """Add both functions."""
    return [
        PromqlFunction(
            "zscore_over_time",
            zscore_over_time,
            Shape.WINDOW,
            _RANGE,
            doc="How many standard deviations the last sample lies above the mean of the range.",
        ),
        PromqlFunction(
            "distinct_over_time",
            distinct_over_time,
            Shape.WINDOW,
            _RANGE,
            doc="How many different values the range has.",
        ),
    ]


def zscore_over_time(times: NDArray[np.int64], values: Floats) -> Floats:
    """Return (last - mean) / standard deviation of each row; 0 where all values are equal."""
    deviation = values.std(axis=1)
    distance = values[:, -1] - values.mean(axis=1)
    found: Floats = np.divide(distance, deviation, out=np.zeros_like(deviation), where=deviation != 0)
    return found


def distinct_over_time(times: NDArray[np.int64], values: Floats) -> Floats:
    """Return the number of different values of each row; all NaN are one value."""
    ordered = np.sort(values, axis=1)
    before, after = ordered[:, :-1], ordered[:, 1:]
    differs = (before != after) & ~(np.isnan(before) & np.isnan(after))
    found: Floats = 1.0 + differs.sum(axis=1)
    return found
