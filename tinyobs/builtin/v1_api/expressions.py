"""`POST /v1/query/execute` and `/v1/query/instant`: PromQL, evaluated by the engine of `/api/v1/query`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import orjson
from starlette.requests import Request
from starlette.responses import Response

from ...exposition.json import dump
from ...exposition.v1_times import read_duration, read_time
from ...promql.nodes import ValueType
from ...promql.result import Result
from ...web.api_v1.envelope import Bounds, streamed
from ...web.api_v1.query import POINTS_MAX, encode
from ...web.form import Form, read_form
from ...web.problem import HttpError
from ...web.queries.desk import Place
from .reading import HOUR_MS, Reading, bounded, time_of

STEP_MS: Final = 15_000
BODY_BYTES_MAX: Final = 1 << 20
"""Size of the body of a query."""


class Expressions:
    """The handlers."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def execute(self, request: Request) -> Response:
        """Answer `/v1/query/execute`: an expression over a time range."""
        reading = self._reading
        asked = await _document(request)
        text = asked.get("query")
        if not isinstance(text, str) or not text:
            raise HttpError(400, "query parameter is required")
        end = time_of(_set(asked.get("end")), "end", reading.services.clock.now_ms())
        start = time_of(_set(asked.get("start")), "start", end - HOUR_MS)
        if start >= end:
            raise HttpError(400, "start must be before end")
        if end - start > reading.settings.query_window_max_ms:
            raise HttpError(400, "time range too large (tinyobs.v1.query_window_max)")
        step = min(_step(asked.get("step")), end - start)
        if (end - start) // step > POINTS_MAX:
            raise HttpError(400, f"more than {POINTS_MAX} steps: choose a longer step")
        promql, queryable = reading.api.promql, reading.api.queryable

        def evaluate(check: Callable[[], None]) -> Result:
            return promql.range(queryable, text, start, end, step, check=check)

        return await self._answer(request, text, (start, end), step, evaluate)

    async def instant(self, request: Request) -> Response:
        """Answer `/v1/query/instant`: an expression at one time; parameters come in the URL or in a form."""
        reading = self._reading
        form = await read_form(request)
        text = form.get("query")
        if not text:
            raise HttpError(400, "query parameter is required")
        at = _moment(form, reading.services.clock.now_ms())
        promql, queryable = reading.api.promql, reading.api.queryable

        def evaluate(check: Callable[[], None]) -> Result:
            return _as_vector(promql.instant(queryable, text, at, check=check))

        return await self._answer(request, text, (at, at), 0, evaluate)

    async def _answer(
        self,
        request: Request,
        text: str,
        span: tuple[int, int],
        step_ms: int,
        evaluate: Callable[[Callable[[], None]], Result],
    ) -> Response:
        reading = self._reading
        options = reading.desk.options

        def work(place: Place) -> Response:
            check = bounded(place)
            result = evaluate(check)
            place.statistics = result.statistics
            bounds = Bounds(options.answer_bytes_max, options.answer_seconds, reading.desk.memory)
            return streamed(_pieces(text, result), "application/json", check, bounds)

        return await reading.run(request, "range" if step_ms else "instant", text, span, step_ms, work)


def _pieces(text: str, result: Result) -> Iterator[str]:
    yield '{"status":"success","data":'
    yield from encode(result)
    if result.warnings:
        yield f',"warnings":{dump(list(result.warnings))}'
    yield f',"query":{dump(text)}}}'


def _as_vector(result: Result) -> Result:
    """Return a number as the series without labels that clients of this API expect."""
    return attrs.evolve(result, type=ValueType.VECTOR) if result.type is ValueType.SCALAR else result


async def _document(request: Request) -> dict[str, Any]:
    body = await request.body()
    if len(body) > BODY_BYTES_MAX:
        raise HttpError(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise HttpError(400, f"invalid JSON: {e}") from None
    if not isinstance(found, dict):
        raise HttpError(400, "invalid JSON: not an object")
    return found


def _set(time: Any) -> Any:
    """Return a time, None for what Go writes for one that was never set."""
    return None if isinstance(time, str) and time.startswith("0001-01-01T00:00:00") else time


def _step(text: Any) -> int:
    if text in (None, ""):
        return STEP_MS
    if not isinstance(text, str):
        raise HttpError(400, f'invalid step duration: {dump(text)[:60]} is no text such as "15s" or "1m30s"')
    try:
        step = int(read_duration(text))
    except ValueError as e:
        raise HttpError(400, f"invalid step duration: {e}") from None
    if step <= 0:
        raise HttpError(400, "invalid step duration: it must be a millisecond at least")
    return step


def _moment(form: Form, now_ms: int) -> int:
    text = form.get("time")
    if not text:
        return now_ms
    try:
        return read_time(text)
    except ValueError as e:
        raise HttpError(400, f"invalid time: {e}") from None
