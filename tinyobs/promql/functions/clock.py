"""Functions of time: the step itself, the times of samples, parts of a date (UTC).

`start`, `end`, `range` and `step` tell about the query as it was asked, inside subqueries too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..blocks import Block, Floats, Indexes, Scalar, Value, Vector, mapped, nothing, vector_of
from ..instants import newest
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode


@function("time", Kind.GENERAL, timed=True)
def time(_: Evaluation, call: CallNode) -> Value:
    """The step in seconds."""
    return Scalar(call.grid.times() / 1000.0)


def _of_query(name: str) -> None:
    def constant(evaluation: Evaluation, call: CallNode) -> Value:
        return Scalar(np.full(call.steps, evaluation.times.value(name)))

    function(name, Kind.GENERAL)(constant)


for _name in ("start", "end", "range", "step"):
    _of_query(_name)


@function("timestamp", Kind.GENERAL, timed=True)
def timestamp(evaluation: Evaluation, call: CallNode) -> Value:
    """The times of samples in seconds: their own under a selector, else those of the steps."""
    from ..evaluate import repeated
    from ..plan import Instant, Repeat

    argument = call.arguments[0]
    while isinstance(argument, Repeat):
        argument = argument.inner
    if isinstance(argument, Instant) and not argument.smoothed:
        selector = argument

        def stream() -> Iterator[Block]:
            for first, columns in evaluation.read(selector.source, selector.steps):
                _, times, present = newest(columns, selector.reference, selector.lookback_ms)
                yield repeated(Block(first, times / 1000.0, present), call.steps)

        labels = evaluation.selection(selector.source).labels
        return evaluation.dropped(Vector(labels, call.steps, stream))
    vector = evaluation.vector(call.arguments[0])
    moments = call.grid.times() / 1000.0

    def change(block: Block) -> Block:
        return Block(block.first, np.broadcast_to(moments, block.values.shape), block.present)

    return evaluation.dropped(mapped(vector, vector.labels, change, vector.drop))


@function("start_timestamp", Kind.GENERAL)
def start_timestamp(_: Evaluation, call: CallNode) -> Value:
    """The start times of samples: nothing, since storage keeps none."""
    return nothing(call.steps)


def _date_part(name: str, part: Callable[[Indexes], Indexes]) -> None:
    """Register a function of whole seconds since 1970."""

    def call_it(evaluation: Evaluation, call: CallNode) -> Value:
        if not call.arguments:
            seconds = call.grid.times() // 1000
            return vector_of([()], part(seconds)[None, :].astype(np.float64), np.ones((1, call.steps), np.bool_))
        vector = evaluation.vector(call.arguments[0])

        def change(block: Block) -> Block:
            return Block(block.first, _of_seconds(block.values, part), block.present)

        return evaluation.dropped(mapped(vector, vector.labels, change, vector.drop))

    function(name, Kind.GENERAL, timed=True)(call_it)


def _of_seconds(values: Floats, part: Callable[[Indexes], Indexes]) -> Floats:
    """Return a part of the date of each time; a time that is none (NaN, too large) counts as upstream's int64 does."""
    with np.errstate(all="ignore"):
        seconds = np.trunc(values)
        usable = np.abs(seconds) < 2.0**53
        found = part(np.where(usable, seconds, 0.0).astype(np.int64)).astype(np.float64)
    return np.where(usable, found, np.nan)


def _days(seconds: Indexes) -> Indexes:
    return seconds // 86_400


def _months(seconds: Indexes) -> Indexes:
    """Return months since January 1970."""
    months: Indexes = _days(seconds).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months


def _first_of_month(months: Indexes) -> Indexes:
    """Return days since 1970 of the first day of a month."""
    days: Indexes = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return days


def _day_of_year(seconds: Indexes) -> Indexes:
    return _days(seconds) - _first_of_month(_months(seconds) // 12 * 12) + 1


_date_part("minute", lambda s: s // 60 % 60)
_date_part("hour", lambda s: s // 3600 % 24)
_date_part("day_of_week", lambda s: (_days(s) + 4) % 7)
_date_part("day_of_month", lambda s: _days(s) - _first_of_month(_months(s)) + 1)
_date_part("day_of_year", _day_of_year)
_date_part("days_in_month", lambda s: _first_of_month(_months(s) + 1) - _first_of_month(_months(s)))
_date_part("month", lambda s: _months(s) % 12 + 1)
_date_part("year", lambda s: _months(s) // 12 + 1970)
