"""The fast way: from known points of a body to the plan of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .assembly import Columns
from .forms import HISTOGRAM, NUMBER, are_ints
from .known import Found, Known
from .plan import HistogramGroup, Plan
from .rules import ResourceContext
from .walk import Walked

T = TypeVar("T", np.int64, np.uint32)


def columns_of(plan: Plan, words: NDArray[np.uint64], nanos: NDArray[np.uint64]) -> Columns:
    """Return the samples of a plan.  words: of the body; nanos: the times of its points."""
    times_ms = (nanos // np.uint64(1_000_000)).view(np.int64)[plan.point_of]
    return plan.refs, plan.point_of, times_ms, plan.values(words), plan.starts_ms(words)


def spans_of(
    resources: Sequence[tuple[ResourceContext, int]], low: NDArray[np.uint64], high: NDArray[np.uint64]
) -> Iterable[tuple[ResourceContext, int, int]]:
    """Yield (resource, its earliest time, its latest) of those that have any."""
    if not resources:
        return
    firsts = [first for _, first in resources]
    lows, highs = np.minimum.reduceat(low, firsts).tolist(), np.maximum.reduceat(high, firsts).tolist()
    for (resource, _), a, b in zip(resources, lows, highs, strict=True):
        if b:
            yield resource, a, b


def with_points(walked: Walked) -> list[tuple[ResourceContext, int]]:
    """Return the resources of a body that have points, each with the number of its first one."""
    ends = [*(first for _, first in walked.resources[1:]), len(walked)]
    return [r for r, end in zip(walked.resources, ends, strict=True) if end > r[1]]


def plan_of(
    known: Known,
    data: NDArray[np.uint8],
    found: Sequence[Found],
    walked: Walked,
    counts: NDArray[np.bool_],
    is_kept: bool,
) -> Plan:
    """Return where the samples of known points stand.

    data: the body.  counts: of all points, whose start is kept.  is_kept: for other bodies as well, which needs the places of all numbers.
    """
    count = len(walked)
    kept = counts if counts.any() else None
    start_at = None if kept is None else _placed(count, found, [f.form.start for f in found], -1)
    more = []
    if is_kept:
        more = [f.at(at) for f in found for at in f.form.places if at not in (f.form.time, f.form.value)]
    numbers = [f for f in found if f.form.kind == NUMBER]
    histograms = [f for f in found if f.form.kind == HISTOGRAM]
    parts = [*numbers, *histograms]
    refs = _joined([known.refs(f.first, f.form.refs_count).reshape(-1) for f in parts], np.uint32)
    point_of, order = _joined([np.repeat(f.point, f.form.refs_count) for f in parts], np.int64), None
    if len(point_of) and (point_of[1:] < point_of[:-1]).any():
        order = np.argsort(point_of, kind="stable")
        refs, point_of = refs[order], point_of[order]
    value_at = _joined([f.at(f.form.value) for f in numbers if f.form.value is not None], np.int64)
    return Plan(
        _placed(count, found, [f.form.time for f in found], 0),
        start_at,
        value_at,
        are_ints(data, value_at),
        [_group(f) for f in histograms],
        order,
        refs,
        point_of,
        kept,
        _joined(more, np.int64),
        with_points(walked),
    )


def _placed(count: int, found: Sequence[Found], places: Sequence[int | None], none: int) -> NDArray[np.int64]:
    """Return where a number of each point is, by its place in each form; `none` where there is none."""
    if len(found) == 1 and len(found[0].point) == count and places[0] is not None:
        return found[0].at(places[0])
    out = np.full(count, none, np.int64)
    for f, place in zip(found, places, strict=True):
        if place is not None:
            out[f.point] = f.at(place)
    return out


def _joined(parts: Sequence[NDArray[T]], kind: type[T]) -> NDArray[T]:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _group(found: Found) -> HistogramGroup:
    form = found.form
    counts_at = found.at(form.counts_at)[:, None] + 8 * np.arange(form.bucket_count)
    sum_at, count_at = (None if place is None else found.at(place) for place in (form.sum, form.value))
    return HistogramGroup(sum_at, count_at, counts_at)
