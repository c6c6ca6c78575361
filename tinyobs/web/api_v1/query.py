"""`/query` and `/query_range`: PromQL over HTTP.

Where a query runs, and when, is the business of the desk (`web/queries/`).  It stops when its time is up, its client
has gone or somebody has stopped it: the engine calls `check` between pieces of work.  The answer's text is made where
the query runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs
from attrs import define
from starlette.requests import Request
from starlette.responses import Response

from ...errors import QueryError, StorageError
from ...exposition import histogram_json, json
from ...promql.explain import Tracer
from ...promql.limits import SAMPLE_BYTES
from ...promql.nodes import ValueType
from ...promql.result import Result
from ..form import Form, read_form
from ..problem import ApiError
from ..queries.active import Question
from ..queries.desk import Place, QueryDesk, client_of
from ..queries.slots import overloaded
from ..services import ApiServices
from . import formats, parameters
from .envelope import TRUNCATED, Bounds, stream, streamed
from .formats import CONTENT_TYPES, Format, wanted_by
from .pace import TooSlowInline, question_key, span_key
from .query_statistics import shown_statistics, shown_step

POINTS_MAX: Final = 11_000
"""Steps of a range query, as in Prometheus: enough for a week by minutes or a year by hours."""

HELD_SAMPLES_MIN: Final = 100_000
"""Samples of a result from which its memory is counted while it is sent; smaller answers are one piece of text by then."""

LOOKBACK_MS: Final = 300_000
"""How far back an instant query looks by default, in milliseconds; here only to tell quick queries apart."""

Evaluate = Callable[[Place], Result]


class QueryApi:
    """The handlers of `/query` and `/query_range`."""

    def __init__(self, services: ApiServices, desk: QueryDesk) -> None:
        self._services = services
        self._desk = desk
        self._bounds_of = desk.options, Bounds()

    async def instant(self, request: Request) -> Response:
        """Answer `/query`."""
        form = await read_form(request)
        wanted = _wanted(form, request)
        time_ms = parameters.time_or(form, "time", self._services.clock.now_ms())
        seconds = self._timeout(form)
        lookback_ms, resolution_ms = parameters.lookback(form), parameters.resolution(form)
        question = _question(request, "instant", form.get("query"), time_ms, time_ms)
        services = self._services

        def evaluate(place: Place) -> Result:
            given = _given(lookback_ms, resolution_ms, place, wanted)
            return services.promql.instant(services.queryable, question.text, time_ms, **given)

        key = self._key(question, 1, (lookback_ms, resolution_ms)) if wanted.inline else None
        work = partial(_answer, evaluate, wanted, self._bounds())
        return await self._desk.run(question, key, seconds, work, request.receive)

    async def range(self, request: Request) -> Response:
        """Answer `/query_range`."""
        form = await read_form(request)
        wanted = _wanted(form, request)
        start_ms, end_ms = parameters.time(form, "start"), parameters.time(form, "end")
        if end_ms < start_ms:
            raise parameters.invalid("end", "end timestamp must not be before start time")
        step_ms = _step(form, end_ms - start_ms)
        seconds = self._timeout(form)
        lookback_ms, resolution_ms = parameters.lookback(form), parameters.resolution(form)
        question = _question(request, "range", form.get("query"), start_ms, end_ms, step_ms)
        services = self._services

        fresh = form.get("nocache") not in ("", "0", "false")

        def evaluate(place: Place) -> Result:
            given = _given(lookback_ms, resolution_ms, place, wanted)
            if fresh:
                given["fresh"] = True
            return services.promql.range(services.queryable, question.text, start_ms, end_ms, step_ms, **given)

        key = self._key(question, step_ms, (lookback_ms, resolution_ms)) if wanted.inline else None
        work = partial(_answer, evaluate, wanted, self._bounds())
        return await self._desk.run(question, key, seconds, work, request.receive)

    def _key(self, asked: Question, step_ms: int, given: tuple[int | None, int | None]) -> int | None:
        """Return the key to remember the pace of a query by; `given` are lookback and resolution."""
        back_ms = LOOKBACK_MS if given[0] is None else given[0]
        span = span_key(asked.start_ms - back_ms, asked.end_ms, self._services.clock.now_ms())
        stored = self._services.series_count().bit_length()
        return question_key((asked.kind, asked.text), span, (asked.end_ms - asked.start_ms) // step_ms, given, stored)

    def _bounds(self) -> Bounds:
        """Return what an answer may cost."""
        options = self._desk.options
        known, bounds = self._bounds_of
        if known is not options or bounds.memory is not self._desk.memory:
            bounds = Bounds(options.answer_bytes_max, options.answer_seconds, self._desk.memory)
            self._bounds_of = options, bounds
        return bounds

    def _timeout(self, form: Form) -> float:
        """Return the seconds that the query may take: the server's limit, or less when the client says so."""
        seconds_max = self._desk.options.query_seconds
        if not form.get("timeout"):
            return seconds_max
        return min(parameters.duration(form, "timeout") / 1000.0, seconds_max)


@define
class _Wanted:
    """What the client wants: at most `limit` series (0: all), statistics ("": none, "all": by step), and in which form."""

    limit: int
    statistics: str
    form: Format
    tracer: Tracer | None = None

    @property
    def inline(self) -> bool:
        """Whether it may be made in the event loop: the library behind Arrow is not for that, and tracing takes time."""
        return self.form is not Format.ARROW and self.tracer is None


def _wanted(form: Form, request: Request) -> _Wanted:
    tracer = Tracer() if form.get("explain") not in ("", "0", "false") else None
    return _Wanted(parameters.limit(form), form.get("stats"), wanted_by(form.get("format"), request.scope), tracer)


def _question(request: Request, kind: str, text: str, start_ms: int, end_ms: int, step_ms: int = 0) -> Question:
    scope = request.scope
    return Question(kind, text, start_ms, end_ms, step_ms, *client_of(scope), scope["method"], scope["path"])


def _given(lookback_ms: int | None, resolution_ms: int | None, place: Place, wanted: _Wanted) -> dict[str, Any]:
    """Return the arguments for the engine."""
    given: dict[str, Any] = {"lookback_ms": lookback_ms, "resolution_ms": resolution_ms, "check": place.check}
    if place.watch is not None:
        given["watch"] = place.watch
    if wanted.statistics == "all":
        given["per_step"] = True
    if wanted.tracer is not None:
        given["observe"] = wanted.tracer
    return given


def _answer(evaluate: Evaluate, wanted: _Wanted, bounds: Bounds, place: Place) -> Response:
    """Evaluate and encode; both call the place's `check`."""
    started = time.monotonic()
    try:
        place.check()
        result, cut = _truncate(evaluate(place), wanted.limit)
        place.statistics = result.statistics
        if result.columns.samples > HELD_SAMPLES_MIN:
            bounds = attrs.evolve(bounds, held=result.columns.samples * SAMPLE_BYTES)
        warnings = (*result.warnings, TRUNCATED) if cut else result.warnings
        if wanted.form is not Format.JSON:
            return _in_form(result, warnings, wanted.form, place, bounds)
        statistics = None
        if wanted.statistics:
            statistics = shown_statistics(result.statistics, place.queued_seconds, time.monotonic() - started)
        explained = wanted.tracer and shown_step(wanted.tracer.explanation())
        return stream(encode(result, statistics, explained), warnings, result.infos, place.check, bounds)
    except TooSlowInline:
        raise
    except QueryError as e:
        if e.kind == "bad_data":
            raise parameters.invalid("query", e) from None
        raise (overloaded(str(e)) if e.kind == "unavailable" else ApiError(e.kind, str(e))) from None
    except StorageError as e:
        raise ApiError("internal", str(e)) from None


def _in_form(result: Result, warnings: tuple[str, ...], form: Format, place: Place, bounds: Bounds) -> Response:
    """Return an answer that is not JSON."""
    if form is Format.CSV:
        return streamed(formats.csv(result), CONTENT_TYPES[form], place.check, bounds, formats.notes(result, warnings))
    return streamed(formats.arrow(result, warnings), CONTENT_TYPES[form], place.check, bounds)


def encode(result: Result, statistics: Any = None, explained: Any = None) -> Iterator[str]:
    """Yield the `data` of a query's answer in pieces of JSON."""
    head = f'{{"resultType":"{result.type}","result":'
    if result.type is ValueType.STRING:
        yield head + json.string(result.time_ms, result.text)
    elif result.type is ValueType.SCALAR:
        yield head + json.scalar(int(result.columns.timestamps_ms[0]), float(result.columns.values[0]))
    else:
        yield head
        writer = json if result.columns.histograms is None else histogram_json
        yield from (writer.vector if result.type is ValueType.VECTOR else writer.matrix)(result.columns)
    if statistics is not None:
        yield f',"stats":{json.dump(statistics)}'
    yield "}" if explained is None else f',"explain":{json.dump(explained)}}}'


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
    return attrs.evolve(result, columns=columns.rows(0, limit)), True
