"""`*_over_time`: aggregations of the samples in a range.

Source of the semantics: prometheus promql/functions.go (3.14).  Stale samples never get here; NaN is a value, which
minima and maxima skip as long as there is a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..blocks import Block, Floats, Indexes, Mask, Value, vector_of
from ..quantiles import quantiles_of_rows
from ..sums import OVERFLOW_SCALE, finished, kahan_step
from ..windows import Windows
from .absence import labels_of_absence
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode


@function("count_over_time", Kind.WINDOW)
def count_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The number of samples."""
    return windows.weights, windows.present


@function("sum_over_time", Kind.WINDOW)
def sum_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The sum, compensated."""
    with np.errstate(all="ignore"):
        total, rest = windows.sum(windows.values)
        found = finished(total, rest)
        over = _overflown(windows, total)
        if over.any():
            scaled = finished(*windows.sum(windows.values * OVERFLOW_SCALE)) / OVERFLOW_SCALE
            found = np.where(over, scaled, found)
        return found, windows.present


def _overflown(windows: Windows, total: Floats) -> Mask:
    """Return where a sum is not finite although all samples are."""
    over: Mask = ~np.isfinite(total)
    if over.any():
        over &= np.isfinite(windows.reduce(np.maximum, np.abs(windows.values)))
    return over


@function("avg_over_time", Kind.WINDOW)
def avg_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The mean; where the sum would overflow, the samples are divided before they are added."""
    counts = np.maximum(windows.weights, 1)
    with np.errstate(all="ignore"):
        total, rest = windows.sum(windows.values)
        mean = np.where(np.isinf(total), total, total / counts + rest / counts)
        over = _overflown(windows, total)
        if over.any():
            total, rest = windows.sum(windows.values * OVERFLOW_SCALE)
            mean = np.where(over, (total / counts + rest / counts) / OVERFLOW_SCALE, mean)
    return mean, windows.present


@function("min_over_time", Kind.WINDOW)
def min_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The smallest value."""
    return windows.reduce(np.fmin, windows.values), windows.present


@function("max_over_time", Kind.WINDOW)
def max_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The largest value."""
    return windows.reduce(np.fmax, windows.values), windows.present


@function("first_over_time", Kind.WINDOW, keeps_name=True)
def first_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The oldest value."""
    return windows.values[windows.first()], windows.present


@function("last_over_time", Kind.WINDOW, keeps_name=True)
def last_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The newest value."""
    return windows.values[windows.last()], windows.present


@function("present_over_time", Kind.WINDOW)
def present_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """1 where there is a sample."""
    return np.ones(windows.shape), windows.present


@function("ts_of_first_over_time", Kind.WINDOW)
def ts_of_first_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The time of the oldest sample, seconds."""
    return windows.times[windows.first()] / 1000.0, windows.present


@function("ts_of_last_over_time", Kind.WINDOW)
def ts_of_last_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The time of the newest sample, seconds."""
    return windows.times[windows.last()] / 1000.0, windows.present


@function("ts_of_max_over_time", Kind.WINDOW)
def ts_of_max_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The time of the last largest sample, seconds."""
    return _time_of(windows, windows.reduce(np.fmax, windows.values))


@function("ts_of_min_over_time", Kind.WINDOW)
def ts_of_min_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The time of the last smallest sample, seconds."""
    return _time_of(windows, windows.reduce(np.fmin, windows.values))


def _time_of(windows: Windows, wanted: Floats) -> tuple[Floats, Mask]:
    """Return the time of the last sample equal to `wanted`; of the last sample where all are NaN."""
    out = np.zeros(windows.shape)
    for cells, samples in windows.gathered():
        same = windows.values[samples] == wanted.flat[cells][:, None]
        back = np.argmax(same[:, ::-1], axis=1)
        last = samples[np.arange(len(cells)), samples.shape[1] - 1 - back]
        out.flat[cells] = windows.times[last] / 1000.0
    return out, windows.present


def _of_samples(windows: Windows, compute: Callable[[Floats, Indexes], Floats]) -> tuple[Floats, Mask]:
    """Return `compute(values float64[W, n], cells int64[W])` for all windows."""
    out = np.zeros(windows.shape)
    with np.errstate(all="ignore"):
        for cells, samples in windows.gathered():
            out.flat[cells] = compute(windows.values[samples], cells)
    return out, windows.present


@function("stdvar_over_time", Kind.WINDOW)
def stdvar_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The population variance."""
    return _of_samples(windows, lambda values, _: _variance(values))


@function("stddev_over_time", Kind.WINDOW)
def stddev_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The population standard deviation."""
    return _of_samples(windows, lambda values, _: np.sqrt(_variance(values)))


def _variance(values: Floats) -> Floats:
    """Return the variance of each row by Welford's method with compensated sums, sample by sample as upstream."""
    mean = mean_rest = squares = squares_rest = np.zeros(len(values))
    for i in range(values.shape[1]):
        distance = values[:, i] - (mean + mean_rest)
        mean, mean_rest = kahan_step(distance / (i + 1), mean, mean_rest)
        after = values[:, i] - (mean + mean_rest)
        squares, squares_rest = kahan_step(distance * after, squares, squares_rest)
    variance: Floats = (squares + squares_rest) / values.shape[1]
    return variance


@function("mad_over_time", Kind.WINDOW)
def mad_over_time(windows: Windows) -> tuple[Floats, Mask]:
    """The median of the distances from the median; NaN where any sample is."""

    def distance(values: Floats, _: Indexes) -> Floats:
        half = np.full(len(values), 0.5)
        middle = quantiles_of_rows(values, half)
        spread = quantiles_of_rows(np.abs(values - middle[:, None]), half)
        return np.where(np.isnan(values).any(axis=1), np.nan, spread)

    return _of_samples(windows, distance)


@function("quantile_over_time", Kind.GENERAL)
def quantile_over_time(evaluation: Evaluation, call: CallNode) -> Value:
    """A quantile, interpolated; warns of one outside 0 .. 1."""
    wanted = evaluation.scalar(call.arguments[0])
    wrong = ~((wanted >= 0) & (wanted <= 1))

    def compute(windows: Windows) -> tuple[Floats, Mask]:
        shape = windows.shape
        quantile = np.broadcast_to(wanted, shape)
        for step in np.flatnonzero(wrong & windows.present.any(axis=0)).tolist():
            evaluation.annotations.invalid_quantile(float(wanted[step]), call.arguments[0].expr)
        return _of_samples(windows, lambda values, cells: quantiles_of_rows(values, quantile.flat[cells]))

    return evaluation.dropped(evaluation.windowed(call, compute), merge=False)


@function("absent_over_time", Kind.GENERAL)
def absent_over_time(evaluation: Evaluation, call: CallNode) -> Value:
    """1 at the steps where no series has a sample; labels come from the selector."""
    found = np.zeros(call.steps, np.bool_)
    for block in evaluation.windowed(call, present_over_time).blocks():
        found |= block.present.any(axis=0)
    block = Block(0, np.ones((1, call.steps)), ~found[None, :])
    return vector_of([labels_of_absence(call.arguments[0].expr)], block.values, block.present)
