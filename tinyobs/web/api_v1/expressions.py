"""`/format_query` and `/parse_query`: endpoints that read a query without evaluating it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio
from starlette.requests import Request
from starlette.responses import Response

from ...errors import QueryParseError
from ...promql.nodes import Expr
from ...promql.signatures import FUNCTIONS, Signature
from ..form import Form, read_form
from . import parameters
from .envelope import success
from .pace import INLINE_TEXT_MAX
from .syntax_tree import to_json


class ExpressionsApi:
    """The handlers; a long text is read in a worker thread.  format is None where there is no printer; then `format` must not be routed to."""

    def __init__(
        self,
        parse: Callable[[str], Expr],
        format: Callable[[Expr], str] | None,
        functions: Mapping[str, Signature] = FUNCTIONS,
    ) -> None:
        self._parse = parse
        self._functions = functions
        self._format = format

    async def format(self, request: Request) -> Response:
        """Answer `/format_query`."""
        write = self._format
        assert write is not None
        return await self._run(await read_form(request), lambda expr: success(write(expr)))

    async def parse(self, request: Request) -> Response:
        """Answer `/parse_query`."""
        return await self._run(await read_form(request), lambda expr: success(to_json(expr, self._functions)))

    async def _run(self, form: Form, answer: Callable[[Expr], Response]) -> Response:
        def work() -> Response:
            return answer(self._read(form))

        return work() if len(form.get("query")) <= INLINE_TEXT_MAX else await trio.to_thread.run_sync(work)

    def _read(self, form: Form) -> Expr:
        try:
            return self._parse(form.get("query"))
        except QueryParseError as e:
            raise parameters.invalid("query", e) from None
