"""A plugin that adds two functions to PromQL, for seasonal metrics: a forecast, and what is unusual.

`seasonal_forecast(v[range], period, ahead)` looks at the samples one, two, three... periods before the moment `ahead`
of now, and takes their median.  `robust_anomalies(v, limit)` keeps the series whose value lies more than `limit`
(default 3.5) robust deviations away from the median of all series.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import tinyobs
from tinyobs.model.functions import Argument, PromqlFunction, Shape

Floats = NDArray[np.float64]


@tinyobs.hookimpl
def tinyobs_promql_functions() -> Sequence[PromqlFunction]:
    """Add the functions."""
    return [
        PromqlFunction(
            "seasonal_forecast",
            seasonal_forecast,
            Shape.WINDOW,
            (Argument.RANGE, Argument.SCALAR, Argument.SCALAR),
            optional=1,
            samples_min=2,
            doc="The median of the samples whole periods before a moment ahead, by default the last sample's.",
        ),
        PromqlFunction(
            "robust_anomalies",
            robust_anomalies,
            Shape.VECTOR,
            (Argument.VECTOR, Argument.SCALAR),
            optional=1,
            keeps_name=True,
            doc="Series that are far from the median of all, measured by their median absolute deviation.",
        ),
    ]


def seasonal_forecast(times: NDArray[np.int64], values: Floats, period: Floats, ahead: Floats | float = 0.0) -> Floats:
    """Return a forecast for each row; period and ahead are in seconds, one number for each row.

    A sample counts when it lies within half the distance of samples from a whole number of periods before the moment.
    """
    seconds = times / 1000.0
    moment = seconds[:, -1] + ahead
    back = (moment[:, None] - seconds) / period[:, None]
    spacing = np.median(np.diff(seconds, axis=1), axis=1) / period
    fits = (np.abs(back - np.round(back)) <= spacing[:, None] / 2) & (np.round(back) >= 1)
    chosen = np.where(fits, values, np.nan)
    some = fits.any(axis=1)
    found = np.full(len(values), np.nan)
    found[some] = np.nanmedian(chosen[some], axis=1)
    return found


def robust_anomalies(
    labels: list[tuple[tuple[str, str], ...]], values: Floats, present: NDArray[np.bool_], limit: Floats | float = 3.5
) -> tuple[list[tuple[tuple[str, str], ...]], Floats, NDArray[np.bool_]]:
    """Return the same series, present only where they are unusual; 0.6745 makes the deviation that of a normal one."""
    if not len(labels):
        return labels, values, present
    known = np.where(present, values, np.nan)
    some = present.any(axis=0)
    middle, spread = np.zeros(known.shape[1]), np.zeros(known.shape[1])
    middle[some] = np.nanmedian(known[:, some], axis=0)
    distance = np.abs(known - middle)
    spread[some] = np.nanmedian(distance[:, some], axis=0)
    unusual = present & (0.6745 * distance > limit * spread)
    return labels, values, unusual
