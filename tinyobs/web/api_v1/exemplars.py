"""`/query_exemplars`: the exemplars of the series that a query selects.

Parameters and answer: prometheus web/api/v1/api.go `queryExemplars`.  Only the selectors of the query count; offsets,
ranges and functions mean nothing here.
"""

from __future__ import annotations

from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import Response

from ...errors import QueryParseError, StorageError, Unavailable
from ...exposition.json import format_float
from ...model.exemplars import SeriesExemplars
from ...promql.nodes import VectorSelector, walk
from ..form import read_form
from ..problem import ApiError
from ..services import ApiServices
from . import parameters
from .envelope import success


class ExemplarsApi:
    """The handler of `/query_exemplars`."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    async def exemplars(self, request: Request) -> Response:
        """Answer `/query_exemplars`."""
        form = await read_form(request)
        start_ms = parameters.time_or(form, "start", parameters.TIME_MS_MIN)
        end_ms = parameters.time_or(form, "end", parameters.TIME_MS_MAX)
        if end_ms < start_ms:
            raise ApiError("bad_data", "end timestamp must not be before start timestamp")
        return await trio.to_thread.run_sync(self._answer, form.get("query"), start_ms, end_ms)

    def _answer(self, query: str, start_ms: int, end_ms: int) -> Response:
        try:
            expr = self._services.parse(query)
        except QueryParseError as e:
            raise parameters.invalid("query", e) from None
        sets = [node.matchers for node in walk(expr) if isinstance(node, VectorSelector)]
        try:
            found = self._services.exemplars(sets, start_ms, end_ms) if sets else []
        except Unavailable as e:
            raise ApiError("unavailable", str(e)) from None
        except StorageError as e:
            raise ApiError("internal", str(e)) from None
        return success([_entry(series) for series in found])


def _entry(found: SeriesExemplars) -> dict[str, Any]:
    exemplars = [
        {"labels": dict(e.labels), "value": format_float(e.value), "timestamp": e.timestamp_ms / 1000}
        for e in found.exemplars
    ]
    return {"seriesLabels": dict(found.series), "exemplars": exemplars}
