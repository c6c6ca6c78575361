"""A range selector or subquery as the whole of an instant query: its samples as they are.

Selectors with `anchored` or `smoothed` show the values at the borders of the range, as upstream's extendFloats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve

from ..errors import QueryExecutionError
from ..model.columns import SeriesColumns, concatenate
from ..model.histograms import renumbered
from .blocks import SAME_LABELS, Floats, Indexes, Ranges, Vector, without_name
from .functions.extended import edges
from .native.raw import bordered_samples
from .windows import Windows

if TYPE_CHECKING:
    from .evaluate import Evaluation
    from .plan import Node


def raw_ranges(evaluation: Evaluation, node: Node) -> Ranges:
    """Return the samples in the one window of each series; series without any are left out."""
    parts = []
    series, found_windows = evaluation.windows(node)
    for _, windows in found_windows:
        if len(windows.values):
            native = windows.modifier and windows.columns.histograms is not None
            part = bordered_samples(evaluation, node, windows) if native else _of_block(windows)
            evaluation.budget.hold(part.samples)
            parts.append(part)
    found = concatenate([p for p in parts if len(p)])
    return Ranges(found if series.drop is None else _cleaned(found, series))


def _cleaned(columns: SeriesColumns, series: Vector) -> SeriesColumns:
    """Return the samples after the delayed removal of names."""
    assert series.drop is not None
    flags = dict(zip(series.labels, series.drop.tolist(), strict=True))
    bare = without_name(columns.labels)
    labels = [short if flags[full] else full for full, short in zip(columns.labels, bare, strict=True)]
    if len(set(labels)) < len(labels):
        raise QueryExecutionError(SAME_LABELS)
    return evolve(columns, labels=labels)


def _of_block(windows: Windows) -> SeriesColumns:
    borders = edges(windows, counter=False) if windows.modifier else None
    labels, counts = [], []
    times: list[Indexes] = []
    values: list[Floats] = []
    start, end = int(windows.starts[0]), int(windows.ends[0])
    for row, series in enumerate(windows.columns.labels):
        low, high = int(windows.low[row, 0]), int(windows.high[row, 0])
        stamps, found = windows.times[low:high], windows.values[low:high]
        if borders is not None:
            if not borders.present[row, 0]:
                continue
            inner = (stamps > start) & (stamps < end)
            stamps = np.concatenate(([start], stamps[inner], [end]))
            found = np.concatenate((borders.left[row], found[inner], borders.right[row]))
        if len(stamps):
            labels.append(series)
            counts.append(len(stamps))
            times.append(stamps)
            values.append(found)
    offsets = np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int64)
    if not labels:
        return SeriesColumns((), offsets, np.empty(0, np.int64), np.empty(0))
    together, numbers = renumbered(np.concatenate(values))
    histograms = windows.columns.histograms
    if histograms is not None:
        histograms = histograms.take(numbers) if len(numbers) else None
    return SeriesColumns(labels, offsets, np.concatenate(times), together, histograms)
