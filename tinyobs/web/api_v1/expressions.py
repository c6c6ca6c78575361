"""`/format_query`: PromQL in, PromQL out."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from ...errors import QueryParseError
from ...promql.nodes import Expr
from ..form import read_form
from . import parameters
from .envelope import success


class ExpressionsApi:
    """The handler."""

    def __init__(self, parse: Callable[[str], Expr], format: Callable[[Expr], str]) -> None:
        self._parse = parse
        self._format = format

    async def format(self, request: Request) -> Response:
        """Answer `/format_query`."""
        text = (await read_form(request)).get("query")
        try:
            return success(self._format(self._parse(text)))
        except QueryParseError as e:
            raise parameters.invalid("query", e) from None
