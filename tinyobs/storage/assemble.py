"""Putting samples of the same series from several places into one ascending column.

Places are given in order of age: of two samples with the same series and time, the one given later stands.  Work is
done per run (the samples of one series from one place); only when runs overlap in time are samples sorted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..model.ragged import offsets_of, spread
from .runs import Runs, concatenate_runs, empty_runs

Part = tuple[NDArray[np.int64], Runs]
"""Runs and, for each, the number of its series."""


def assemble(parts: Sequence[Part], series_count: int, mint_ms: int, maxt_ms: int) -> Runs:
    """Return one run for each of the series 0 .. series_count-1: ascending, unique times within the range."""
    return _put_right(clip(gather(parts, series_count), mint_ms, maxt_ms))


def gather(parts: Sequence[Part], series_count: int) -> Runs:
    """Return one run for each of the series 0 .. series_count-1: its samples, part after part."""
    if not parts:
        return empty_runs(series_count)
    series, runs = _concatenate(parts)
    lengths = np.diff(runs.offsets)
    if len(series) > 1 and bool((series[1:] < series[:-1]).any()):
        order = np.argsort(series, kind="stable")
        runs = runs.take(runs.offsets, spread(runs.offsets[:-1][order], lengths[order]))
    counts = np.bincount(series, weights=lengths, minlength=series_count).astype(np.int64)
    return runs.with_offsets(offsets_of(counts))


def _concatenate(parts: Sequence[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([series for series, _ in parts]), concatenate_runs([runs for _, runs in parts])


def clip(runs: Runs, mint_ms: int, maxt_ms: int) -> Runs:
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
    times = times[order]
    keep = np.ones(len(times), np.bool_)
    keep[:-1] = (times[1:] != times[:-1]) | is_start[1:-1]
    return _keep(runs.take(runs.offsets, order), keep)


def _keep(runs: Runs, keep: NDArray[np.bool_]) -> Runs:
    kept_before = offsets_of(keep.astype(np.int64))
    return runs.take(kept_before[runs.offsets], keep)
