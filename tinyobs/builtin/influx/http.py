"""Writes over HTTP answered as InfluxDB answers them, and what its clients ask besides before they write.

Both versions take the same bodies; they differ in how they put errors.  Handlers raise `HttpError`; the dialect of a path makes
the answer, also of what is refused before there is a handler.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...abc import Dialect, Route, Services
from ...errors import TinyObsError
from ...exposition.influx_names import Origin
from ...exposition.influx_times import PRECISIONS, Precision
from ...receiving.answers import http_error, refused_error, refused_status
from ...receiving.push import take_push
from ...web.problem import HttpError
from .statements import answer_statements
from .writing import Writer, Written

VERSION: Final = "1.8.10"
"""The version of InfluxDB that clients are told: the one that both protocols are known of."""
MESSAGE_CHARACTERS_MAX: Final = 2000
"""Longest text of an error."""

_HEADERS: Final = {"x-influxdb-version": VERSION, "x-influxdb-build": "TinyObs"}
_TAKEN: Final = Response(status_code=204, headers=_HEADERS)
_CODES: Final[Mapping[int, str]] = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    405: "method not allowed",
    413: "request too large",
    415: "invalid",
    429: "too many requests",
    500: "internal error",
}
"""Status -> `code` of version 2."""
_NOT_IN_HEADERS: Final = re.compile(r"[^ -~]")


class Handlers:
    """The handlers of all routes."""

    def __init__(self, services: Services, writer: Writer) -> None:
        self._services, self._writer = services, writer

    def routes(self) -> Sequence[Route]:
        """Return the routes; `GET /query` is a page, which sends those who ask for databases to `/influx/query`."""
        found = [
            Route("/query", self._query, ("POST",), dialect=VERSION_1),
            Route("/influx/query", self._query, ("GET", "POST"), dialect=VERSION_1),
            Route("/influx/*", _allow, ("OPTIONS",), dialect=VERSION_1),
        ]
        for prefix in ("", "/influx"):
            found += [
                Route(prefix + "/write", self._write_1, ("POST",), True, VERSION_1),
                Route(prefix + "/api/v2/write", self._write_2, ("POST",), True, VERSION_2),
                Route(prefix + "/api/v2/*", _allow, ("OPTIONS",), dialect=VERSION_2),
                Route(prefix + "/ping", self._ping, ("GET", "HEAD"), dialect=VERSION_1),
                Route(prefix + "/health", self._health, ("GET",), dialect=VERSION_2),
            ]
        return found

    async def _write_1(self, request: Request) -> Response:
        return await self._write(request, request.query_params.get("db", ""))

    async def _write_2(self, request: Request) -> Response:
        bucket = request.query_params.get("bucket", "") if self._writer.settings.bucket_is_database else ""
        return await self._write(request, request.query_params.get("db", "") or bucket)

    async def _write(self, request: Request, database: str) -> Response:
        try:
            precision = self._precision(request)
            push = await take_push(request, self._services, self._writer.reception)
            origin = Origin(database or self._writer.settings.database, push.extra_labels)
            written = await self._writer.write(push.body, push.source, precision, origin, push.held)
        except TinyObsError as e:
            raise http_error(e) from None
        if written.dropped:
            status = refused_status(self._services, is_over_limit=written.is_over_limit)
            raise refused_error(status, _in_words(written))
        return _TAKEN

    def _precision(self, request: Request) -> Precision:
        name = request.query_params.get("precision", "")
        if not name:
            return self._writer.settings.precision
        if name not in PRECISIONS:
            self._writer.reception.refuse("precision")
            raise HttpError(400, f"invalid precision {name[:20]!r} (use ns, us, ms, s, m or h)")
        return PRECISIONS[name]

    async def _ping(self, request: Request) -> Response:
        self._check_enabled()
        if request.query_params.get("verbose", "false") not in ("false", "0"):
            return JSONResponse({"version": VERSION}, headers=_HEADERS)
        return Response(status_code=204, headers=_HEADERS)

    async def _health(self, request: Request) -> Response:
        self._check_enabled()
        state = {"name": "influxdb", "message": "ready for queries and writes", "status": "pass", "checks": []}
        return JSONResponse({**state, "version": VERSION}, headers=_HEADERS)

    async def _query(self, request: Request) -> Response:
        """Answer what clients ask before they write; everything else is for PromQL."""
        self._check_enabled()
        text = request.query_params.get("q", "")
        if not text and request.method == "POST":
            text = parse_qs((await request.body()).decode("utf-8", "replace")).get("q", [""])[0]
        results = answer_statements(text, self._writer.settings.database_names)
        if not results:
            raise HttpError(400, 'missing required parameter "q"')
        return JSONResponse({"results": results}, headers=_HEADERS)

    def _check_enabled(self) -> None:
        if not self._services.config.tinyobs.receivers.enabled:
            raise HttpError(404, "404 page not found")


def _in_words(written: Written) -> str:
    """Return what InfluxDB says of a write that was not taken as a whole; clients look for these words."""
    text = "; ".join(written.problems)[:MESSAGE_CHARACTERS_MAX]
    if not written.stored and all(p.startswith("unable to parse") for p in written.problems):
        return text
    return f"partial write: {text} dropped={written.dropped}"


async def _allow(request: Request) -> Response:
    return Response(status_code=204, headers=_HEADERS)


def _refuse_1(request: Request, error: HttpError) -> Response:
    told = {"x-influxdb-error": _NOT_IN_HEADERS.sub("?", error.message)}
    return JSONResponse({"error": error.message}, error.status, {**_HEADERS, **told, **(error.headers or {})})


def _refuse_2(request: Request, error: HttpError) -> Response:
    code = _CODES.get(error.status, "unavailable")
    headers = {**_HEADERS, "x-platform-error-code": code, **(error.headers or {})}
    return JSONResponse({"code": code, "message": error.message}, error.status, headers)


CREDENTIALS: Final = ("u", "p")
"""Parameters of the URL for user and password, in both versions."""
VERSION_1: Final = Dialect(_refuse_1, CREDENTIALS)
VERSION_2: Final = Dialect(_refuse_2, CREDENTIALS)
