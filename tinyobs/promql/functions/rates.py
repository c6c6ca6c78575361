"""Change over a range: `rate`, `increase`, `delta` and their relatives, plain, `anchored` and `smoothed`.

Source of the formulas: prometheus promql/functions.go (extrapolatedRate, extendedRate, instantValue; 3.14).  Counter
resets are found once per block: a running number of resets tells which windows have any, and only those are summed.
What start timestamps add is in `start_times.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...model.labels import NAME, Labels, get, metric_name
from ..blocks import Block, Floats, Indexes, Mask, Value, floats_of, mapped
from ..windows import Windows, reduce_between
from .even_rates import even_change
from .extended import edges, first_sample
from .registry import Kind, function
from .start_times import any_within, begun_within, overlapping, started_anew

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..nodes import Expr
    from ..plan import CallNode

_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")
_BOTH = frozenset(("anchored", "smoothed"))
_ANCHORED = frozenset(("anchored",))


@function("rate", Kind.GENERAL, extended=_BOTH)
def rate(evaluation: Evaluation, call: CallNode) -> Value:
    """Per-second increase of counters."""
    return _of_counters(evaluation, call, per_second=True)


@function("increase", Kind.GENERAL, extended=_BOTH)
def increase(evaluation: Evaluation, call: CallNode) -> Value:
    """Increase of counters over the range."""
    return _of_counters(evaluation, call, per_second=False)


@function("delta", Kind.WINDOW, extended=_BOTH)
def delta(windows: Windows) -> tuple[Floats, Mask]:
    """Difference of gauges over the range."""
    return change(windows, counter=False, per_second=False)


def _of_counters(evaluation: Evaluation, call: CallNode, *, per_second: bool) -> Value:
    node = call.place

    def compute(windows: Windows) -> tuple[Floats, Mask]:
        _check_starts(evaluation, windows, node)
        return change(windows, counter=True, per_second=per_second)

    found = evaluation.windowed(call, compute)
    by_type = evaluation.options.type_and_unit_labels
    doubtful = evaluation.labels.get(found.labels, ("doubtful", by_type), lambda labels: _doubtful(labels, by_type))
    if not doubtful:
        return evaluation.dropped(found, merge=False)
    names = np.fromiter(doubtful, np.int64, len(doubtful))

    def watch(block: Block) -> Block:
        here = names[(names >= block.first) & (names < block.first + len(block))]
        seen = here[floats_of(block).present[here - block.first].any(axis=1)].tolist()
        for metric, kind in {doubtful[row] for row in seen}:
            if by_type:
                evaluation.annotations.not_a_counter_by_type(metric, kind, node)
            else:
                evaluation.annotations.not_a_counter(metric, node)
        return block

    return evaluation.dropped(mapped(found, found.labels, watch, found.drop), merge=False)


def _check_starts(evaluation: Evaluation, windows: Windows, node: Expr) -> None:
    """Warn of metrics with a sample that claims to count since before the one before it."""
    marks = None if windows.modifier else overlapping(windows.columns)
    if marks is None or not marks.any():
        return
    for row in np.flatnonzero(any_within(marks, windows.first(), windows.last()).any(axis=1)).tolist():
        evaluation.annotations.overlapping_start(metric_name(windows.columns.labels[row]), node)


def _doubtful(labels: Sequence[Labels], by_type: bool) -> dict[int, tuple[str, str]]:
    """Return row -> (name, type) of the series that may be no counters."""
    names = [x[0][1] if x and x[0][0] == NAME else metric_name(x) for x in labels]
    if by_type:
        kinds = [get(x, "__type__") for x in labels]
        pairs = enumerate(zip(names, kinds, strict=True))
        return {row: pair for row, pair in pairs if pair[0] and pair[1] not in ("counter", "histogram")}
    bad = {name for name in set(names) if name and not name.endswith(_COUNTER_SUFFIXES)}
    return {row: (name, "") for row, name in enumerate(names) if name in bad} if bad else {}


def change(windows: Windows, *, counter: bool, per_second: bool) -> tuple[Floats, Mask]:
    """Return (change over each window, present)."""
    with np.errstate(all="ignore"):
        if windows.even is not None:
            return even_change(windows, windows.even, counter=counter, per_second=per_second)
        if not windows.modifier:
            return _extrapolated(windows, counter, per_second)
        found, present = _extended(windows, counter)
    if per_second:
        found /= windows.seconds
    elif windows.rounding is not None:
        found *= windows.range_ms / 1000 / windows.seconds
    return found, present


def _extrapolated(w: Windows, counter: bool, per_second: bool) -> tuple[Floats, Mask]:
    present = w.counts >= 2
    first, last = w.first(), w.last()
    start, end = w.values[first], w.values[last]
    risen = end - start
    if counter:
        risen += _resets_between(w.values, first, last, started_anew(w.columns))
    t1, t2 = w.times[first], w.times[last]
    sampled = (t2 - t1) / 1000.0
    between = sampled / (w.weights - 1)
    to_start = (t1 - w.starts) / 1000.0
    to_end = (w.ends - t2) / 1000.0
    threshold = between * 1.1
    half = between / 2
    np.copyto(to_start, half, where=to_start >= threshold)
    if counter:
        to_zero = sampled * (start / risen)
        np.copyto(to_start, to_zero, where=(risen > 0) & (start >= 0) & (to_zero < to_start))
        if w.columns.starts_ms is not None:
            present = _from_start(w, start, present, risen, (sampled, between, half, to_start, threshold))
    np.copyto(to_end, half, where=to_end >= threshold)
    to_end += sampled
    to_end += to_start
    to_end /= sampled
    if per_second:
        to_end /= w.seconds
    elif w.rounding is not None:
        to_end *= w.range_ms / 1000 / w.seconds
    risen *= to_end
    return risen, present


def _from_start(w: Windows, start: Floats, present: Mask, risen: Floats, spans: tuple[Floats, ...]) -> Mask:
    """Let windows whose counters began inside them count from 0 at that moment; changes the arrays in place.

    spans: seconds between first and last sample, between samples, half of that, to extrapolate to the start, threshold.
    Returns where there is a result: a single sample is enough then.
    """
    begun, began_ms = begun_within(w)
    sampled, between, half, to_start, threshold = spans
    single = w.counts == 1
    for span in (between, half, threshold):
        span[single] = 0.0  # nothing is known about the distance of samples: no extrapolation
    np.copyto(sampled, (w.times[w.last()] - began_ms) / 1000.0, where=begun)
    np.copyto(to_start, 0.0, where=begun)
    np.add(risen, start, out=risen, where=begun)
    return present | begun


def _resets_between(values: Floats, first: Indexes, last: Indexes, anew: Mask | None = None) -> Floats | float:
    """Return, for each window, the sum of the values that were lost in resets after sample `first` up to `last`.

    anew: bool[N - 1], further resets.  Falls from one series to the next are found too, but lie in no window.
    """
    fallen = values[1:] < values[:-1]
    before = np.flatnonzero(fallen if anew is None else fallen | anew)
    if not len(before):
        return 0.0
    number = np.zeros(len(values), np.int64)
    number[before + 1] = 1
    np.cumsum(number, out=number)
    low, high = number[first], number[last]
    lost: Floats = np.zeros(first.shape)
    some = np.flatnonzero(high > low)
    if len(some):
        falls = values[before]
        lost.flat[some] = reduce_between(np.add, falls, low.flat[some], high.flat[some], 0.0)
    return lost


def _extended(w: Windows, counter: bool) -> tuple[Floats, Mask]:
    e = edges(w, counter=counter)
    found = e.right - e.left
    if counter:
        # Only samples strictly inside the range are compared; the borders join them at both sides.
        a = e.first + (w.times[e.first] <= w.starts)
        b = e.last - (w.times[e.last] >= w.ends)
        some = a <= b
        a, b = np.where(some, a, e.first), np.where(some, b, e.first)
        found += np.where(some, _resets_between(w.values, a, b), 0.0)
        va, vb = w.values[a], w.values[b]
        found += np.where(some & (va < e.left), e.left, 0.0)
        found += np.where(some & (e.right < vb), vb, 0.0)
        found += np.where(~some & (e.right < e.left), e.left, 0.0)
    return found, e.present


@function("irate", Kind.WINDOW)
def irate(windows: Windows) -> tuple[Floats, Mask]:
    """Per-second increase between the last two samples."""
    before, now, present = _last_two(windows)
    seconds = (windows.times[windows.last()] - windows.times[np.maximum(windows.last() - 1, 0)]) / 1000.0
    reset = now < before
    if (anew := started_anew(windows.columns)) is not None and len(anew):
        reset |= anew[np.maximum(windows.last() - 1, 0)]
    with np.errstate(all="ignore"):
        return np.where(reset, now, now - before) / seconds, present


@function("idelta", Kind.WINDOW)
def idelta(windows: Windows) -> tuple[Floats, Mask]:
    """Difference between the last two samples."""
    before, now, present = _last_two(windows)
    with np.errstate(all="ignore"):
        return now - before, present


def _last_two(w: Windows) -> tuple[Floats, Floats, Mask]:
    last = w.last()
    return w.values[np.maximum(last - 1, 0)], w.values[last], w.counts >= 2


@function("resets", Kind.WINDOW, extended=_ANCHORED)
def resets(windows: Windows) -> tuple[Floats, Mask]:
    """The number of times that a value was lower than the one before."""
    fallen = windows.values[1:] < windows.values[:-1]
    anew = None if windows.modifier else started_anew(windows.columns)
    return count_steps(windows, fallen if anew is None else fallen | anew)


@function("changes", Kind.WINDOW, extended=_ANCHORED)
def changes(windows: Windows) -> tuple[Floats, Mask]:
    """The number of times that a value differed from the one before; NaN does not differ from NaN."""
    a, b = windows.values[:-1], windows.values[1:]
    return count_steps(windows, (a != b) & ~(np.isnan(a) & np.isnan(b)))


def count_steps(w: Windows, different: Mask) -> tuple[Floats, Mask]:
    """Return how many samples of each window differ from the one before, by bool[N - 1]."""
    number = np.zeros(len(w.values), np.int64)
    np.cumsum(different, out=number[1:])
    first = first_sample(w) if w.modifier else w.first()
    return (number[w.last()] - number[first]).astype(np.float64), w.present
