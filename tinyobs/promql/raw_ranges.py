"""A range selector or subquery as the whole of an instant query: its samples as they are.

Selectors with `anchored` or `smoothed` show the values at the borders of the range, as upstream's extendFloats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..model.columns import SeriesColumns, concatenate
from .blocks import Floats, Indexes, Ranges
from .functions.extended import edges
from .windows import Windows

if TYPE_CHECKING:
    from .evaluate import Evaluation
    from .plan import Node


def raw_ranges(evaluation: Evaluation, node: Node) -> Ranges:
    """Return the samples in the one window of each series; series without any are left out."""
    parts = []
    for _, windows in evaluation.windows(node)[1]():
        if len(windows.values):
            part = _of_block(windows)
            evaluation.budget.hold(part.samples)
            parts.append(part)
    return Ranges(concatenate([p for p in parts if len(p)]))


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
    return SeriesColumns(labels, offsets, np.concatenate(times), np.concatenate(values))
