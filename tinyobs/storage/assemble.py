"""Putting samples of the same series from several places into one ascending column.

Places are given in order of age: of two samples with the same series and time, the one given later stands.  Work is
done per run (the samples of one series from one place); only when runs overlap in time are samples sorted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..model.ragged import offsets_of, spread
from .head_rows import Runs

Part = tuple[NDArray[np.int64], Runs]
"""Runs and, for each, the number of its series."""


def assemble(parts: Sequence[Part], series_count: int, mint_ms: int, maxt_ms: int) -> Runs:
    """Return one run for each of the series 0 .. series_count-1: ascending, unique times within the range."""
    if not parts:
        return Runs(np.zeros(series_count + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
    series, runs = _concatenate(parts)
    lengths = np.diff(runs.offsets)
    if len(series) > 1 and bool((series[1:] < series[:-1]).any()):
        order = np.argsort(series, kind="stable")
        at = spread(runs.offsets[:-1][order], lengths[order])
        runs = Runs(runs.offsets, runs.times_ms[at], runs.values[at])
    counts = np.bincount(series, weights=lengths, minlength=series_count).astype(np.int64)
    return _put_right(_clip(Runs(offsets_of(counts), runs.times_ms, runs.values), mint_ms, maxt_ms))


def _concatenate(parts: Sequence[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(runs.offsets) for _, runs in parts])
    times = np.concatenate([runs.times_ms for _, runs in parts])
    values = np.concatenate([runs.values for _, runs in parts])
    return np.concatenate([series for series, _ in parts]), Runs(offsets_of(lengths), times, values)


def _clip(runs: Runs, mint_ms: int, maxt_ms: int) -> Runs:
    """Drop samples outside of the range."""
    keep = (runs.times_ms >= mint_ms) & (runs.times_ms <= maxt_ms)
    return runs if keep.all() else _keep(runs, keep)


def _put_right(runs: Runs) -> Runs:
    """Sort the samples of each series by time and keep the last of equal times, where that is needed at all."""
    times = runs.times_ms
    if len(times) < 2:
        return runs
    is_start = np.zeros(len(times) + 1, np.bool_)
    is_start[runs.offsets] = True
    if bool(((times[1:] > times[:-1]) | is_start[1:-1]).all()):
        return runs
    series = np.repeat(np.arange(len(runs.offsets) - 1), np.diff(runs.offsets))
    order = np.lexsort((times, series))
    times, values = times[order], runs.values[order]
    keep = np.ones(len(times), np.bool_)
    keep[:-1] = (times[1:] != times[:-1]) | is_start[1:-1]
    return _keep(Runs(runs.offsets, times, values), keep)


def _keep(runs: Runs, keep: NDArray[np.bool_]) -> Runs:
    kept_before = offsets_of(keep.astype(np.int64))
    return Runs(kept_before[runs.offsets], runs.times_ms[keep], runs.values[keep])
