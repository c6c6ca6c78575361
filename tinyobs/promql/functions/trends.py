"""Trends over a range: least squares (`deriv`, `predict_linear`) and double exponential smoothing.

Source of the formulas: prometheus promql/functions.go (linearRegression, funcDoubleExponentialSmoothing).
"""

from __future__ import annotations

import numpy as np

from ...errors import QueryExecutionError
from ..blocks import Floats, Indexes, Mask
from ..sums import kahan_step
from ..windows import Windows
from .registry import Kind, function


@function("deriv", Kind.WINDOW)
def deriv(windows: Windows) -> tuple[Floats, Mask]:
    """Slope per second."""
    return _regression(windows, windows.times[windows.first()])[0], windows.counts >= 2


@function("predict_linear", Kind.WINDOW, timed=True)
def predict_linear(windows: Windows, seconds: Floats) -> tuple[Floats, Mask]:
    """The value that the trend has `seconds` after the step."""
    slope, intercept = _regression(windows, np.broadcast_to(windows.moments, windows.shape))
    with np.errstate(all="ignore"):
        return slope * seconds + intercept, windows.counts >= 2


def _regression(windows: Windows, origin: Indexes) -> tuple[Floats, Floats]:
    """Return (slope, value at `origin`) of each window with two samples or more; `origin` is int64[S, T], ms."""
    slope, intercept = np.zeros(windows.shape), np.zeros(windows.shape)
    for cells, samples in windows.gathered(2):
        y = windows.values[samples]
        x = (windows.times[samples] - origin.flat[cells][:, None]) / 1e3
        with np.errstate(all="ignore"):
            slope.flat[cells], intercept.flat[cells] = _least_squares(x, y)
    return slope, intercept


def _least_squares(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return (slope, value at 0) of each row; x and y are float64[W, n]."""
    n = x.shape[1]
    sums = [(np.zeros(len(x)), np.zeros(len(x))) for _ in range(4)]
    for i in range(n):
        terms = (x[:, i], y[:, i], x[:, i] * y[:, i], x[:, i] * x[:, i])
        sums = [kahan_step(term, *held) for term, held in zip(terms, sums, strict=True)]
    sx, sy, sxy, sxx = (total + rest for total, rest in sums)
    slope = (sxy - sx * sy / n) / (sxx - sx * sx / n)
    intercept = sy / n - slope * sx / n
    flat = (y == y[:, :1]).all(axis=1)
    slope[flat], intercept[flat] = 0.0, y[flat, 0]
    endless = flat & np.isinf(y[:, 0])
    slope[endless] = intercept[endless] = np.nan
    return slope, intercept


@function("double_exponential_smoothing", Kind.WINDOW)
def double_exponential_smoothing(windows: Windows, smoothing: Floats, trend: Floats) -> tuple[Floats, Mask]:
    """The smoothed last value; both factors lie strictly between 0 and 1."""
    used = windows.present.any(axis=0)
    _check_factor("smoothing", smoothing[used])
    _check_factor("trend", trend[used])
    out = np.zeros(windows.shape)
    factors = np.broadcast_to(smoothing, out.shape), np.broadcast_to(trend, out.shape)
    for cells, samples in windows.gathered(2):
        values = windows.values[samples]
        sf, tf = (f.flat[cells] for f in factors)
        level, slope = values[:, 0], values[:, 1] - values[:, 0]
        before = np.zeros_like(level)
        with np.errstate(all="ignore"):
            for i in range(1, values.shape[1]):
                if i > 1:
                    slope = tf * (level - before) + (1 - tf) * slope
                before, level = level, sf * values[:, i] + (1 - sf) * (level + slope)
        out.flat[cells] = level
    return out, windows.counts >= 2


def _check_factor(name: str, values: Floats) -> None:
    wrong = values[(values <= 0) | (values >= 1)]
    if len(wrong):
        raise QueryExecutionError(f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {wrong[0]:f}")
