"""`GET /v1/query` and `/v1/query/range`: samples as they are stored; `/v1/metrics/list`: the names of metrics."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ...exposition.v1_writer import json_rows, range_series
from ...model.labels import NAME
from ...model.select_hints import SelectHints
from ...web.problem import HttpError
from ...web.queries.desk import Place
from .answers import answer
from .reading import DAY_MS, HOUR_MS, Reading, Texts, bounded, metric_matchers, read_all

POINTS_DEFAULT: Final = 1000
RESOLUTIONS: Final = {0: "raw", 300_000: "5m", 3_600_000: "1h"}


class Queries:
    """The handlers."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def query(self, request: Request) -> Response:
        """Answer `/v1/query`: every sample of a metric, or of all, in a time range."""
        reading = self._reading
        name = request.query_params.get("metric")
        matchers = metric_matchers(name)
        span = reading.span(request, HOUR_MS, reading.settings.query_window_max_ms)
        metadata, samples_max = reading.api.metadata(), reading.settings.query_samples_max

        def make(place: Place, texts: Texts) -> Response:
            count = 0
            texts.add('{"metrics":[')
            with reading.api.queryable.querier(*span) as querier:
                for columns in read_all(querier, matchers, bounded(place), samples_max):
                    rows = json_rows(columns, metadata)
                    if rows:
                        texts.add(("," if count else "") + ",".join(rows))
                        count += len(rows)
            texts.add(f'],"count":{count}}}')
            return reading.answer(texts, place)

        return await reading.read(request, name or "", span, make)

    async def range(self, request: Request) -> Response:
        """Answer `/v1/query/range`: points for a chart, averages where there are too many samples."""
        reading, query = self._reading, request.query_params
        name = query.get("metric")
        if not name:
            raise HttpError(400, "metric parameter required")
        matchers = metric_matchers(name)
        span = reading.span(request, HOUR_MS, reading.settings.query_window_max_ms)
        points_max = _points(query.get("maxPoints"), reading.settings.points_max)
        samples_max = reading.settings.query_samples_max
        hints = SelectHints("[]", span[0], max((span[1] - span[0]) // points_max, 1))

        def make(place: Place, texts: Texts) -> Response:
            check = bounded(place)
            texts.add('{"data":[')
            with reading.api.queryable.querier(*span) as querier:
                selection = querier.select(matchers, *span, check, hints)
                resolution = RESOLUTIONS.get(selection.resolution_ms, f"{selection.resolution_ms // 1000}s")
                for columns in read_all(querier, matchers, check, samples_max, selection):
                    for series in range_series(columns, points_max, resolution):
                        texts.add(("," if len(texts.pieces) > 1 else "") + series)
            texts.add("]}")
            return reading.answer(texts, place, {"cache-control": "no-cache"})

        return await reading.read(request, name, span, make)

    async def names(self, request: Request) -> Response:
        """Answer `/v1/metrics/list`: the names of metrics with samples in the last day."""
        reading = self._reading
        now_ms = reading.services.clock.now_ms()
        span = now_ms - DAY_MS, now_ms

        def work(place: Place) -> list[str]:
            with reading.api.queryable.querier(*span) as querier:
                return querier.label_values(NAME)

        names = await reading.run(request, "names", "", span, 0, work, reading.settings.query_timeout_ms / 1000)
        return answer({"metrics": names, "count": len(names)})


def _points(text: str | None, points_max: int) -> int:
    if not text:
        return min(POINTS_DEFAULT, points_max)
    if not (text.isascii() and text.lstrip("+-").isdigit() and len(text) < 20):
        raise HttpError(400, f"invalid maxPoints: {text[:40]!r} is not an integer")
    if not 0 < int(text) <= points_max:
        raise HttpError(400, f"maxPoints must be between 1 and {points_max}")
    return int(text)
