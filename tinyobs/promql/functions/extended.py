"""Windows that reach beyond their range: `anchored` and `smoothed` selectors.

An anchored window begins with the last sample at or before its start (within the lookback); a smoothed one has values
interpolated at both of its borders.  Source: prometheus promql/functions.go (extendedRate; 3.14).
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from ..blocks import Floats, Indexes, Mask
from ..windows import Windows


@frozen(eq=False)
class Edges:
    """Where extended windows begin and end, each [S, T].

    first, last: samples; of smoothed windows they may lie outside the range.  left, right: the values at the borders.
    """

    first: Indexes
    last: Indexes
    left: Floats
    right: Floats
    present: Mask


def edges(windows: Windows, *, counter: bool) -> Edges:
    """Return the edges of anchored or smoothed windows; `counter` says how to interpolate across a reset."""
    if windows.modifier == "anchored":
        first, last = first_sample(windows), windows.last()
        return Edges(first, last, windows.values[first], windows.values[last], windows.present)
    with np.errstate(all="ignore"):
        return _smoothed(windows, counter)


def first_sample(w: Windows) -> Indexes:
    """Return the sample at or before the start of each window, within the lookback; else the first one after it."""
    base = w.columns.offsets[:-1, None]
    before = np.maximum(w.low - 1, 0)
    usable = (w.low > base) & (w.times[before] > w.starts - w.lookback_ms)
    return np.where(usable, before, np.minimum(w.low, len(w.values) - 1))


def _smoothed(w: Windows, counter: bool) -> Edges:
    starts, ends = w.starts, w.ends
    base, stop = w.columns.offsets[:-1, None], w.columns.offsets[1:, None]
    first = first_sample(w)
    latest = w.last()
    after = np.minimum(w.high, len(w.values) - 1)
    exact = (w.high > base) & (w.times[latest] == ends)
    further = (w.high < stop) & (w.times[after] <= ends + w.lookback_ms)
    last = np.where(exact | ~further, latest, after)
    present = (first >= base) & (last < stop) & (first <= last)
    present &= (w.times[last] > starts) & (w.times[first] <= ends)
    second = np.minimum(first + 1, len(w.values) - 1)
    left = np.where(w.times[first] < starts, _between(w, first, second, starts, counter), w.values[first])
    previous = np.maximum(last - 1, 0)
    inside = (w.times[last] > ends) & (last > first)
    right = np.where(inside, _between(w, previous, last, ends, counter), w.values[last])
    return Edges(first, last, left, right, present)


def _between(w: Windows, one: Indexes, two: Indexes, moments: Indexes, counter: bool) -> Floats:
    """Return the value at `moments` on the line between two samples; a counter that was reset starts from 0."""
    y1, y2 = w.values[one], w.values[two]
    if counter:
        y1 = np.where(y2 < y1, 0.0, y1)
    t1, t2 = w.times[one], w.times[two]
    line: Floats = y1 + (y2 - y1) * (moments - t1) / (t2 - t1)
    return line
