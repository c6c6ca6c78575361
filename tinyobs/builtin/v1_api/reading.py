"""How handlers below `/v1` read samples: in a thread and a slot of the query desk, within a time and a number of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from ...abc import Querier, Selection, Services
from ...errors import QueryExecutionError
from ...exposition.json import dump
from ...exposition.v1_times import read_time
from ...model.columns import SeriesColumns
from ...model.labels import NAME
from ...model.matchers import Matcher, MatchType, name_is
from ...promql.limits import MemoryPool
from ...web.api_v1.envelope import Bounds, streamed
from ...web.problem import HttpError
from ...web.queries.active import Question
from ...web.queries.desk import Place, QueryDesk, client_of
from ...web.services import ApiServices
from .settings import V1Settings, settings_of

T = TypeVar("T")

READ_SERIES: Final = 1024
"""Series that are read at a time."""
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
NAME_MAX: Final = 256


class Texts:
    """Pieces of an answer, which count as memory of queries until it is sent."""

    def __init__(self, memory: MemoryPool) -> None:
        self.pieces: list[str] = []
        self.size = 0
        self._memory = memory

    def add(self, text: str) -> None:
        """Add a piece; raises `QueryError` when running queries hold too much."""
        self._memory.take(len(text))
        self.size += len(text)
        self.pieces.append(text)

    def __enter__(self) -> Texts:
        return self

    def __exit__(self, *exc: object) -> None:
        self._memory.give(self.size)


class Reading:
    """What all of them are given."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._own_desk: QueryDesk | None = None

    @property
    def api(self) -> ApiServices:
        """The services of HTTP handlers."""
        found: ApiServices = self.services.api
        return found

    @property
    def settings(self) -> V1Settings:
        """The section of the running configuration."""
        return settings_of(self.services.config)

    @property
    def desk(self) -> QueryDesk:
        """Where queries are taken in."""
        if self.api.desk is not None:
            return self.api.desk
        if self._own_desk is None:
            self._own_desk = QueryDesk(self.services.web_options, self.services.clock.now_ms)
        return self._own_desk

    async def run(
        self,
        request: Request,
        kind: str,
        text: str,
        span: tuple[int, int],
        step_ms: int,
        work: Callable[[Place], T],
        seconds_max: float = math.inf,
    ) -> T:
        """Do work in a thread, as a query that is listed, bounded and cancelled like any other."""
        scope = request.scope
        question = Question(kind, text, *span, step_ms, *client_of(scope), scope["method"], scope["path"])
        seconds = min(seconds_max, self.desk.options.query_seconds)

        def checked(place: Place) -> T:
            place.check()
            return work(place)

        return await self.desk.run(question, None, seconds, checked, request.receive)

    async def read(
        self, request: Request, text: str, span: tuple[int, int], make: Callable[[Place, Texts], Response]
    ) -> Response:
        """Do work that reads samples: within `query_timeout`, and with its texts counted as memory of queries."""

        def work(place: Place) -> Response:
            with Texts(self.desk.memory) as texts:
                return make(place, texts)

        return await self.run(request, "samples", text, span, 0, work, self.settings.query_timeout_ms / 1000)

    def answer(self, texts: Texts, place: Place, headers: Mapping[str, str] | None = None) -> Response:
        """Return the answer whose body the texts are."""
        options = self.desk.options
        bounds = Bounds(options.answer_bytes_max, options.answer_seconds, self.desk.memory, texts.size)
        return streamed(iter(texts.pieces), "application/json", bounded(place), bounds, headers)

    def span(self, request: Request, default_ms: int, window_max_ms: int) -> tuple[int, int]:
        """Return `start` and `end`; raises `HttpError` 400."""
        query = request.query_params
        end = time_of(query.get("end"), "end", self.services.clock.now_ms())
        start = time_of(query.get("start"), "start", end - default_ms)
        if start >= end:
            raise HttpError(400, "start must be before end")
        if end - start > window_max_ms:
            raise HttpError(400, f"time range too large: the maximum is {window_max_ms // DAY_MS} days")
        return start, end


def time_of(text: Any, name: str, default_ms: int) -> int:
    """Return a time that a client gave; raises `HttpError` 400."""
    if not text:
        return default_ms
    if not isinstance(text, str):
        raise HttpError(400, f'invalid {name}: {dump(text)[:60]} is no text such as "2025-01-31T08:00:00Z"')
    try:
        return read_time(text)
    except ValueError as e:
        raise HttpError(400, f"invalid {name}: {e}") from None


def metric_matchers(name: str | None) -> tuple[Matcher, ...]:
    """Return the matchers of one metric, or of all; raises `HttpError` 400 for a name that is too long."""
    if name and len(name.encode()) > NAME_MAX:
        raise HttpError(400, f"metric name too long (max {NAME_MAX} chars)")
    return (name_is(name),) if name else (Matcher(MatchType.NOT_EQUAL, NAME, ""),)


def read_all(
    querier: Querier,
    matchers: Sequence[Matcher],
    check: Callable[[], None],
    samples_max: int,
    selection: Selection | None = None,
) -> Iterator[SeriesColumns]:
    """Yield the samples of all series; raises `QueryExecutionError` beyond a number of them (0: none)."""
    selection = selection or querier.select(matchers, querier.mint_ms, querier.maxt_ms, check)
    count = 0
    for first in range(0, len(selection.labels), READ_SERIES):
        check()
        columns = selection.read(first, min(first + READ_SERIES, len(selection.labels)))
        count += columns.samples
        if samples_max and count > samples_max:
            raise QueryExecutionError(f"more than {samples_max} samples (tinyobs.v1.query_samples_max)")
        yield columns


def bounded(place: Place) -> Callable[[], None]:
    """Return the `check` of a place as it is at the time of the call."""
    return lambda: place.check()
