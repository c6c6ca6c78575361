"""A range selector with `anchored` or `smoothed` as the whole of an instant query, where histograms occur.

As with floats, the values at the borders of the range are shown in place of samples beyond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...model.columns import SeriesColumns
from ...model.histograms import handles
from ...model.ragged import offsets_of
from ..arrays import Floats, Indexes
from ..functions.extended import edges
from ..windows import Windows
from .codec import encoded
from .extended import bordered
from .table import Table, concatenated
from .windows import NativeWindows

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import Node


def bordered_samples(evaluation: Evaluation, node: Node, windows: Windows) -> SeriesColumns:
    """Return the samples in the one window of each series; series without any, or of mixed kinds, are left out."""
    native = NativeWindows(evaluation, node.expr, windows.columns.labels, windows)
    rows, left, right = bordered(native)
    place = dict(zip(rows.tolist(), range(len(rows)), strict=True))
    table = concatenated((left, right, native.table)) if len(rows) else native.table
    whole = handles(0, len(table))
    start, end = int(windows.starts[0]), int(windows.ends[0])
    floats = edges(native.floats, counter=False) if len(native.floats.values) else None
    kept: list[int] = []
    times: list[Indexes] = []
    values: list[Floats] = []
    for row in range(len(windows.columns)):
        if row in place:
            low, high = int(windows.low[row, 0]), int(windows.high[row, 0])
            stamps, numbers = windows.times[low:high], native.numbers[low:high]
            i = place[row]
            first, last, found = whole[i], whole[len(left) + i], whole[np.maximum(numbers, 0) + len(left) + len(right)]
        elif floats is not None and floats.present[row, 0] and not _has_histogram(native, row):
            low, high = int(native.floats.low[row, 0]), int(native.floats.high[row, 0])
            stamps, found = native.floats.times[low:high], native.floats.values[low:high]
            first, last = floats.left[row, 0], floats.right[row, 0]
        else:
            continue
        inner = (stamps > start) & (stamps < end)
        kept.append(row)
        times.append(np.concatenate(([start], stamps[inner], [end])))
        values.append(np.concatenate(([first], found[inner], [last])))
    return _columns(windows.columns, kept, times, values, table)


def _has_histogram(native: NativeWindows, row: int) -> bool:
    a, b = native.windows.columns.offsets[row : row + 2].tolist()
    return bool((native.numbers[a:b] >= 0).any())


def _columns(
    columns: SeriesColumns, kept: list[int], times: list[Indexes], values: list[Floats], table: Table
) -> SeriesColumns:
    labels = [columns.labels[row] for row in kept]
    offsets = offsets_of(np.array([len(t) for t in times], np.int64))
    if not kept:
        return SeriesColumns((), offsets, np.empty(0, np.int64), np.empty(0))
    return SeriesColumns(labels, offsets, np.concatenate(times), np.concatenate(values), encoded(table))
