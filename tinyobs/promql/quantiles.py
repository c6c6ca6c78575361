"""Quantiles of samples, as upstream's `quantile`: linear between neighbours, NaN sorts first.

Source: prometheus promql/quantile.go.
"""

from __future__ import annotations

import numpy as np

from .blocks import Floats, Mask


def quantiles_of_rows(values: Floats, quantile: Floats, present: Mask | None = None) -> Floats:
    """Return the quantile of each row of float64[W, n]; `quantile` is float64[W].

    Only `present` values count; NaN where there is none or the quantile is NaN, -Inf below 0, +Inf above 1.
    """
    if present is None:
        count = np.full(len(values), values.shape[1])
        nans = np.isnan(values).sum(axis=1)
    else:
        count = present.sum(axis=1)
        nans = (np.isnan(values) & present).sum(axis=1)
        values = np.where(present, values, np.nan)
    # NaN sorts last here: position r of upstream's order is r - nans, and a negative one is a NaN.
    ordered = np.sort(values, axis=1)
    inside = (quantile >= 0) & (quantile <= 1)
    rank = np.where(inside, quantile, 0.0) * np.maximum(count - 1, 0)
    lower = np.floor(rank).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(count - 1, 0))
    weight = rank - lower
    rows = np.arange(len(values))
    with np.errstate(all="ignore"):
        found = _at(ordered, rows, lower - nans) * (1 - weight) + _at(ordered, rows, upper - nans) * weight
    found[count == 0] = np.nan
    outside = np.where(quantile < 0, -np.inf, np.where(quantile > 1, np.inf, np.nan))
    return np.where(inside | (count == 0), found, outside)


def _at(ordered: Floats, rows: np.ndarray, index: np.ndarray) -> Floats:
    return np.where(index >= 0, ordered[rows, np.maximum(index, 0)], np.nan)
