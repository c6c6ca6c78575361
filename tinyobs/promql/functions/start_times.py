"""Start timestamps: since when a counter counts, and what that says about resets and about the value before the first.

Used where the engine's option `use_start_timestamps` lets them through; subqueries have none.  0 stands for a start that
is not known.  Source of the rules: prometheus promql/functions.go (extrapolatedRate, isStartTimestampReset,
checkStartTimeOverlap; 3.14).
"""

from __future__ import annotations

import numpy as np

from ...model.columns import SeriesColumns
from ..blocks import Floats, Indexes, Mask
from ..windows import Windows


def started_anew(columns: SeriesColumns) -> Mask | None:
    """Return bool[N - 1]: whether sample i + 1 counts since after sample i; None where no start is known.

    A start at the sample before is a reset of deltas, but not of a counter whose start is not known; the start of the
    sample before tells these apart.  Pairs of two series mean nothing.
    """
    if columns.starts_ms is None:
        return None
    times, starts = columns.timestamps_ms, columns.starts_ms
    start, before, known = starts[1:], times[:-1], starts[:-1]
    usable = (start != 0) & (start < times[1:])
    after_delta = (known < before) & (known != 0)
    found: Mask = usable & ((start > before) | ((start == before) & after_delta))
    return found


def overlapping(columns: SeriesColumns) -> Mask | None:
    """Return bool[N - 1]: whether sample i + 1 claims to count since another moment before sample i; None as above."""
    if columns.starts_ms is None:
        return None
    start, known = columns.starts_ms[1:], columns.starts_ms[:-1]
    found: Mask = (start != 0) & (start < columns.timestamps_ms[:-1]) & (start != known)
    return found


def any_within(marks: Mask, first: Indexes, last: Indexes) -> Mask:
    """Return, for each window of samples `first` .. `last`, whether a pair of its samples is marked."""
    number = np.zeros(len(marks) + 1, np.int64)
    np.cumsum(marks, out=number[1:])
    within: Mask = number[np.maximum(last, first)] > number[first]
    return within


def begun_within(windows: Windows) -> tuple[Mask, Floats]:
    """Return (whether the first sample of each window has counted since inside the window, since when in ms)."""
    assert windows.columns.starts_ms is not None
    first = windows.first()
    start = windows.columns.starts_ms[first]
    begun: Mask = windows.present & (start != 0) & (start > windows.starts) & (start < windows.times[first])
    return begun, start.astype(np.float64)
