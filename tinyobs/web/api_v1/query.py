"""`/query` and `/query_range`: PromQL over HTTP.

A query runs in a worker thread under a limiter of its own, unless it is known to be quick (`pace.py`).  It stops when
its time is up or its client has gone: the engine calls `check` between pieces of work.  The answer's text is made
where the query runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs
import numpy as np
import trio
from starlette.requests import Request
from starlette.responses import Response

from ...errors import QueryCanceled, QueryError, QueryTimeout, StorageError
from ...exposition import json
from ...model.columns import SeriesColumns
from ...promql.nodes import ValueType
from ...promql.result import QueryStatistics, Result
from ..form import Form, read_form
from ..options import WebOptions
from ..problem import ApiError
from ..services import ApiServices
from . import parameters
from .envelope import TRUNCATED, stream
from .pace import Pace, TooSlowInline, inline_check, question_key, span_key

POINTS_MAX: Final = 11_000
"""Steps of a range query, as in Prometheus: enough for a week by minutes or a year by hours."""

LOOKBACK_MS: Final = 300_000
"""How far back an instant query looks by default, in milliseconds; here only to tell quick queries apart."""

Evaluate = Callable[[Callable[[], None]], Result]


class QueryApi:
    """The handlers of `/query` and `/query_range`."""

    def __init__(self, services: ApiServices, options: WebOptions) -> None:
        self._services = services
        self._seconds_max = options.query_seconds
        self._limiter = trio.CapacityLimiter(options.queries_max)
        self._pace = Pace()

    async def instant(self, request: Request) -> Response:
        """Answer `/query`."""
        form = await read_form(request)
        limit = parameters.limit(form)
        time_ms = parameters.time_or(form, "time", self._services.clock.now_ms())
        seconds = self._timeout(form)
        lookback_ms, resolution_ms = parameters.lookback(form), parameters.resolution(form)
        text, services = form.get("query"), self._services

        def evaluate(check: Callable[[], None]) -> Result:
            given: dict[str, Any] = {"lookback_ms": lookback_ms, "resolution_ms": resolution_ms, "check": check}
            return services.promql.instant(services.queryable, text, time_ms, **given)

        key = self._key("instant", text, time_ms, time_ms, 1, (lookback_ms, resolution_ms))
        return await self._run(key, evaluate, limit, seconds, bool(form.get("stats")))

    async def range(self, request: Request) -> Response:
        """Answer `/query_range`."""
        form = await read_form(request)
        limit = parameters.limit(form)
        start_ms, end_ms = parameters.time(form, "start"), parameters.time(form, "end")
        if end_ms < start_ms:
            raise parameters.invalid("end", "end timestamp must not be before start time")
        step_ms = _step(form, end_ms - start_ms)
        seconds = self._timeout(form)
        lookback_ms, resolution_ms = parameters.lookback(form), parameters.resolution(form)
        text, services = form.get("query"), self._services

        def evaluate(check: Callable[[], None]) -> Result:
            given: dict[str, Any] = {"lookback_ms": lookback_ms, "resolution_ms": resolution_ms, "check": check}
            return services.promql.range(services.queryable, text, start_ms, end_ms, step_ms, **given)

        key = self._key("range", text, start_ms, end_ms, step_ms, (lookback_ms, resolution_ms))
        return await self._run(key, evaluate, limit, seconds, bool(form.get("stats")))

    def _key(
        self, kind: str, text: str, start_ms: int, end_ms: int, step_ms: int, given: tuple[int | None, int | None]
    ) -> int | None:
        """Return the key to remember the pace of a query by; `given` are lookback and resolution."""
        back_ms = LOOKBACK_MS if given[0] is None else given[0]
        span = span_key(start_ms - back_ms, end_ms, self._services.clock.now_ms())
        stored = self._services.series_count().bit_length()
        return question_key((kind, text), span, (end_ms - start_ms) // step_ms, given, stored)

    def _timeout(self, form: Form) -> float:
        """Return the seconds that the query may take: the server's limit, or less when the client says so."""
        if not form.get("timeout"):
            return self._seconds_max
        return min(parameters.duration(form, "timeout") / 1000.0, self._seconds_max)

    async def _run(
        self, key: int | None, evaluate: Evaluate, limit: int, seconds: float, with_statistics: bool
    ) -> Response:
        """Evaluate where it is cheapest."""
        queued = time.monotonic()
        deadline = queued + seconds
        answer = partial(_answer, evaluate, limit, with_statistics, queued)
        if seconds > 0 and self._pace.is_quick(key):
            try:
                return self._timed(key, partial(answer, inline_check()))
            except TooSlowInline:
                queued = time.monotonic()
        with trio.move_on_after(seconds) as waiting:
            await self._limiter.acquire_on_behalf_of(waiting)
        if waiting.cancelled_caught:
            raise ApiError("timeout", "query timed out in query queue")
        try:
            # The limiter above has bounded the threads; this one only says so to trio.
            free = trio.CapacityLimiter(1)
            work = partial(self._timed, key, partial(answer, _thread_check(deadline)))
            return await trio.to_thread.run_sync(work, limiter=free)
        finally:
            self._limiter.release_on_behalf_of(waiting)

    def _timed(self, key: int | None, work: Callable[[], Response]) -> Response:
        """Do the work, noting how long it took."""
        started = time.monotonic()
        try:
            return work()
        finally:
            self._pace.note(key, time.monotonic() - started)


def _thread_check(deadline: float) -> Callable[[], None]:
    """Return the `check` of a query in a worker thread: has the client gone, is the time up?"""

    def check() -> None:
        try:
            trio.from_thread.check_cancelled()
        except trio.Cancelled:
            # In a thread, where cancellation is no longer trio's business but the engine's.
            raise QueryCanceled("query was canceled in expression evaluation") from None  # noqa: ASYNC104
        if time.monotonic() > deadline:
            raise QueryTimeout("query timed out in expression evaluation")

    return check


def _answer(
    evaluate: Evaluate, limit: int, with_statistics: bool, queued: float, check: Callable[[], None]
) -> Response:
    """Evaluate and encode; both call `check`."""
    started = time.monotonic()
    try:
        check()
        result, cut = _truncate(evaluate(check), limit)
        statistics = _statistics(result.statistics, started - queued, time.monotonic() - started)
        warnings = (*result.warnings, TRUNCATED) if cut else result.warnings
        data = encode(result, statistics if with_statistics else None)
        return stream(data, warnings, result.infos, check)
    except TooSlowInline:
        raise
    except QueryError as e:
        if e.kind == "bad_data":
            raise parameters.invalid("query", e) from None
        raise ApiError(e.kind, str(e)) from None
    except StorageError as e:
        raise ApiError("internal", str(e)) from None


def encode(result: Result, statistics: Any = None) -> Iterator[str]:
    """Yield the `data` of a query's answer in pieces of JSON."""
    yield f'{{"resultType":"{result.type}","result":'
    if result.type is ValueType.STRING:
        yield json.string(result.time_ms, result.text)
    elif result.type is ValueType.SCALAR:
        yield json.scalar(int(result.columns.timestamps_ms[0]), float(result.columns.values[0]))
    elif result.type is ValueType.VECTOR:
        yield from json.vector(result.columns)
    else:
        yield from json.matrix(result.columns)
    yield "}" if statistics is None else f',"stats":{json.dump(statistics)}}}'


def _step(form: Form, span_ms: int) -> int:
    step = parameters.duration(form, "step")
    if step <= 0:
        raise parameters.invalid(
            "step", "zero or negative query resolution step widths are not accepted. Try a positive integer"
        )
    if span_ms // step > POINTS_MAX:
        raise ApiError(
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        )
    return max(int(step), 1)


def _truncate(result: Result, limit: int) -> tuple[Result, bool]:
    """Return the result with at most `limit` series (0: all), and whether it lost some."""
    columns = result.columns
    if not limit or len(columns) <= limit or result.type not in (ValueType.VECTOR, ValueType.MATRIX):
        return result, False
    end = int(columns.offsets[limit])
    kept = SeriesColumns(
        columns.labels[:limit],
        np.asarray(columns.offsets[: limit + 1]),
        columns.timestamps_ms[:end],
        columns.values[:end],
    )
    return attrs.evolve(result, columns=kept), True


def _statistics(found: QueryStatistics, queued_seconds: float, total_seconds: float) -> dict[str, Any]:
    return {
        "timings": {
            "evalTotalTime": total_seconds,
            "resultSortTime": 0,
            "queryPreparationTime": found.prepare_seconds,
            "innerEvalTime": found.evaluate_seconds,
            "execQueueTime": queued_seconds,
            "execTotalTime": queued_seconds + total_seconds,
        },
        "samples": {
            "totalQueryableSamples": found.samples_read,
            "peakSamples": found.samples_peak,
            "samplesRead": found.samples_read,
        },
    }
