"""`/format_query`, `/parse_query` and `/query_exemplars`: endpoints that read a query without evaluating it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from ...errors import QueryParseError
from ...promql.nodes import Expr
from ..form import Form, read_form
from ..problem import ApiError
from . import parameters
from .envelope import success
from .syntax_tree import to_json


class ExpressionsApi:
    """The handlers.  format is None where there is no printer; then `format` must not be routed to."""

    def __init__(self, parse: Callable[[str], Expr], format: Callable[[Expr], str] | None) -> None:
        self._parse = parse
        self._format = format

    async def format(self, request: Request) -> Response:
        """Answer `/format_query`."""
        assert self._format is not None
        return success(self._format(self._read(await read_form(request))))

    async def parse(self, request: Request) -> Response:
        """Answer `/parse_query`."""
        return success(to_json(self._read(await read_form(request))))

    async def exemplars(self, request: Request) -> Response:
        """Answer `/query_exemplars` of a server that stores none; Grafana asks in any case."""
        form = await read_form(request)
        start_ms = parameters.time_or(form, "start", parameters.TIME_MS_MIN)
        end_ms = parameters.time_or(form, "end", parameters.TIME_MS_MAX)
        if end_ms < start_ms:
            raise ApiError("bad_data", "end timestamp must not be before start timestamp")
        self._read(form)
        return success([])

    def _read(self, form: Form) -> Expr:
        try:
            return self._parse(form.get("query"))
        except QueryParseError as e:
            raise parameters.invalid("query", e) from None
