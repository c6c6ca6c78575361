"""Writes over HTTP answered as InfluxDB answers them, and what its clients ask besides before they write.

Both versions take the same bodies; they differ in the names of precisions and in how they put errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...abc import Route, Services
from ...errors import TinyObsError
from ...exposition.influx_names import Origin
from ...exposition.influx_times import PRECISIONS, Precision
from ...receiving.answers import http_error
from ...receiving.push import take_push
from ...web.problem import HttpError
from .writing import Writer, Written

VERSION: Final = "1.8.10"
"""The version of InfluxDB that clients are told: the one that both protocols are known of."""
MESSAGE_CHARACTERS_MAX: Final = 2000
"""Longest text of an error."""

_HEADERS: Final = {"x-influxdb-version": VERSION, "x-influxdb-build": "TinyObs"}
_CODES: Final[Mapping[int, str]] = {
    400: "invalid",
    403: "forbidden",
    404: "not found",
    413: "request too large",
    415: "invalid",
    429: "too many requests",
    500: "internal error",
}
"""Status -> `code` of version 2."""
_NOT_IN_HEADERS: Final = re.compile(r"[^ -~]")
_SHOW: Final = re.compile(r"\s*SHOW\s+DATABASES\s*", re.IGNORECASE)
_CREATE: Final = re.compile(r"\s*CREATE\s+(?:DATABASE|RETENTION\s+POLICY)\s.+", re.IGNORECASE | re.DOTALL)


class Handlers:
    """The handlers of all routes."""

    def __init__(self, services: Services, writer: Writer) -> None:
        self._services, self._writer = services, writer

    def routes(self) -> Sequence[Route]:
        """Return the routes; `GET /query` is a page, which sends those who ask for databases to `/influx/query`."""
        found = [Route("/query", self._query, ("POST",)), Route("/influx/query", self._query, ("GET", "POST"))]
        for prefix in ("", "/influx"):
            found += [
                Route(prefix + "/write", self._write_1, ("POST",), whole_body=True),
                Route(prefix + "/api/v2/write", self._write_2, ("POST",), whole_body=True),
                Route(prefix + "/ping", self._ping, ("GET", "HEAD")),
                Route(prefix + "/health", self._health, ("GET",)),
            ]
        return found

    async def _write_1(self, request: Request) -> Response:
        return await self._write(request, _error_1, request.query_params.get("db", ""))

    async def _write_2(self, request: Request) -> Response:
        bucket = request.query_params.get("bucket", "") if self._writer.settings.bucket_is_database else ""
        return await self._write(request, _error_2, request.query_params.get("db", "") or bucket)

    async def _write(self, request: Request, error: Callable[[int, str], Response], database: str) -> Response:
        try:
            precision = self._precision(request)
            push = await take_push(request, self._services, self._writer.reception)
            origin = Origin(database or self._writer.settings.database, push.extra_labels)
            written = await self._writer.write(push.body, push.source, precision, origin, push.held)
        except HttpError as e:
            return _with_headers(error(e.status, e.message), e.headers)
        except TinyObsError as e:
            answer = http_error(e)
            return _with_headers(error(answer.status, answer.message), answer.headers)
        return error(400, _in_words(written)) if written.dropped else Response(status_code=204, headers=_HEADERS)

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
        results: list[dict[str, Any]] = []
        for statement in filter(str.strip, text.split(";")):
            result: dict[str, Any] = {"statement_id": len(results)}
            if _SHOW.fullmatch(statement):
                names = [[name] for name in self._writer.settings.database_names]
                result["series"] = [{"name": "databases", "columns": ["name"], "values": names}]
            elif not _CREATE.fullmatch(statement):
                return _error_1(400, "only SHOW DATABASES and CREATE DATABASE are answered; query with PromQL")
            results.append(result)
        if not results:
            return _error_1(400, 'missing required parameter "q"')
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


def _error_1(status: int, message: str) -> Response:
    headers = {**_HEADERS, "x-influxdb-error": _NOT_IN_HEADERS.sub("?", message)}
    return JSONResponse({"error": message}, status, headers)


def _error_2(status: int, message: str) -> Response:
    return JSONResponse({"code": _CODES.get(status, "unavailable"), "message": message}, status, _HEADERS)


def _with_headers(response: Response, headers: Mapping[str, str] | None) -> Response:
    response.headers.update(headers or {})
    return response
