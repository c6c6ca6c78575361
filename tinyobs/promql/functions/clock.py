"""Functions of time: the step itself, the times of samples, parts of a date (UTC).

`start`, `end`, `range` and `step` tell about the query as it was asked, inside subqueries too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ...model.columns import SeriesColumns
from ..blocks import Block, Floats, Indexes, Scalar, Value, Vector, mapped, nothing, vector_of
from ..instants import newest_index
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode, Instant


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
    selector = _selector(call)
    if selector is not None:
        return _of_newest(evaluation, call, selector, lambda columns, index: columns.timestamps_ms[index])
    vector = evaluation.vector(call.arguments[0])
    moments = call.grid.times() / 1000.0

    def change(block: Block) -> Block:
        return Block(block.first, np.broadcast_to(moments, block.values.shape), block.present)

    return evaluation.dropped(mapped(vector, vector.labels, change, vector.drop))


@function("start_timestamp", Kind.GENERAL)
def start_timestamp(evaluation: Evaluation, call: CallNode) -> Value:
    """Since when samples under a selector count, in seconds, 0 where that is not known; nothing of an expression."""
    selector = _selector(call)
    if selector is None or not evaluation.options.use_start_timestamps:
        evaluation.evaluate(call.arguments[0])
        return nothing(call.steps)

    def starts(columns: SeriesColumns, index: Indexes) -> Indexes:
        return np.zeros(index.shape, np.int64) if columns.starts_ms is None else columns.starts_ms[index]

    return _of_newest(evaluation, call, selector, starts)


def _selector(call: CallNode) -> Instant | None:
    """Return the selector that is the whole argument of a call."""
    from ..plan import Instant, Repeat

    argument = call.arguments[0]
    while isinstance(argument, Repeat):
        argument = argument.inner
    return argument if isinstance(argument, Instant) and not argument.smoothed else None


def _of_newest(
    evaluation: Evaluation, call: CallNode, selector: Instant, moments: Callable[[SeriesColumns, Indexes], Indexes]
) -> Value:
    """Return a vector of moments in seconds: `moments` gives those of samples, by index, in ms."""
    from ..evaluate import repeated

    def stream() -> Iterator[Block]:
        for first, columns in evaluation.read(selector.source, selector.steps):
            index, present = newest_index(columns, selector.reference, evaluation.lookback(selector))
            found = moments(columns, index) / 1000.0 if columns.samples else np.zeros(index.shape)
            block = Block(first, found, present)
            if evaluation.step_counts is not None:
                evaluation.step_counts.of_instants(selector, block)
            yield repeated(block, call.steps)

    labels = evaluation.selection(selector.source).labels
    return evaluation.dropped(Vector(labels, call.steps, stream))


def _date_part(name: str, part: Callable[[Indexes], Indexes]) -> None:
    """Register a function of whole seconds since 1970."""

    def call_it(evaluation: Evaluation, call: CallNode) -> Value:
        if not call.arguments:
            seconds = call.grid.times() // 1000
            return vector_of([()], part(seconds)[None, :].astype(np.float64), np.ones((1, call.steps), np.bool_))
        vector = evaluation.floats(call.arguments[0])

        def change(block: Block) -> Block:
            return Block(block.first, _of_seconds(block.values, part), block.present)

        return evaluation.dropped(mapped(vector, vector.labels, change, vector.drop))

    function(name, Kind.GENERAL, timed=True)(call_it)


def _of_seconds(values: Floats, part: Callable[[Indexes], Indexes]) -> Floats:
    """Return a part of the date of each time."""
    with np.errstate(all="ignore"):
        usable = np.abs(values) < 2.0**63
        seconds = np.where(usable, values, 0.0).astype(np.int64)
    # What is no int64 (NaN, infinite, too large) becomes the smallest one, as on amd64.
    return part(np.where(usable, seconds, np.iinfo(np.int64).min)).astype(np.float64)


_EPOCH_SECONDS: Final = np.uint64((292_277_022_400 * 146_097 // 400 + 306) * 86_400 + 62_135_596_800)
"""Seconds from the start of Go's absolute time (1 March of the year -292277022400) to 1970."""
_CYCLE_DAYS: Final = np.uint64(146_097)
"""Days of 400 years, after which the calendar repeats."""
_FIRST_MARCH: Final = np.datetime64("2000-03-01", "D")


def _absolute(seconds: Indexes) -> NDArray[np.uint64]:
    """Return seconds of Go's absolute time, which wraps around: any int64 has a date."""
    wrapped: NDArray[np.uint64] = seconds.view(np.uint64) + _EPOCH_SECONDS
    return wrapped


def _days(seconds: Indexes) -> tuple[NDArray[np.datetime64], Indexes]:
    """Return (a day of the years 2000 to 2400 with the same place in the calendar, 400-year cycles before it)."""
    days = _absolute(seconds) // np.uint64(86_400)
    return _FIRST_MARCH + (days % _CYCLE_DAYS).astype(np.int64), (days // _CYCLE_DAYS).astype(np.int64)


def _since(unit: str, seconds: Indexes) -> Indexes:
    """Return days since the first day of the month ("M") or year ("Y")."""
    days, _ = _days(seconds)
    first = days.astype(f"datetime64[{unit}]").astype("datetime64[D]")
    count: Indexes = (days - first).astype(np.int64)
    return count


def _days_in_month(seconds: Indexes) -> Indexes:
    months = _days(seconds)[0].astype("datetime64[M]")
    days = (months + np.timedelta64(1, "M")).astype("datetime64[D]") - months.astype("datetime64[D]")
    count: Indexes = days.astype(np.int64)
    return count


def _year(seconds: Indexes) -> Indexes:
    days, cycles = _days(seconds)
    year: Indexes = days.astype("datetime64[Y]").astype(np.int64) + 1970 - 2000
    return year + cycles * 400 - 292_277_022_400


_date_part("minute", lambda s: (_absolute(s) // np.uint64(60) % np.uint64(60)).astype(np.int64))
_date_part("hour", lambda s: (_absolute(s) // np.uint64(3600) % np.uint64(24)).astype(np.int64))
_date_part("day_of_week", lambda s: (_days(s)[0].astype(np.int64) + 4) % 7)
_date_part("day_of_month", lambda s: _since("M", s) + 1)
_date_part("day_of_year", lambda s: _since("Y", s) + 1)
_date_part("days_in_month", _days_in_month)
_date_part("month", lambda s: _days(s)[0].astype("datetime64[M]").astype(np.int64) % 12 + 1)
_date_part("year", _year)
