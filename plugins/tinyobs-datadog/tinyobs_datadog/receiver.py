"""Stores series, and answers as Datadog's API does.

Checks of services, events and descriptions of hosts have no place here: the agent sends them all the same, and would send
them again and again if it got no answer.  They are accepted, counted as refused, and dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from tinyobs.abc import Dialect, Route, Services
from tinyobs.errors import TinyObsError
from tinyobs.exposition.pushed import Pushed
from tinyobs.model.labels import Labels
from tinyobs.receiving.answers import http_error, refused_error, refused_status
from tinyobs.receiving.names import Names
from tinyobs.receiving.outcome import Outcome, store_decoded
from tinyobs.receiving.pieces import hold_document
from tinyobs.receiving.push import take_push
from tinyobs.web.problem import HttpError

from .series import SeriesReader
from .settings import SECTION

BYTES_PER_SAMPLE: Final = 150
"""What is assumed of a body that is not decoded yet."""
PROBLEMS_SHOWN_MAX: Final = 10
NOT_STORED: Final = "not_metrics"
"""The reason that requests are counted under which bring no metrics."""
DROPPED: Final = (
    "/datadog/intake",
    "/datadog/intake/",
    "/datadog/api/v1/check_run",
    "/datadog/api/v1/events",
    "/datadog/api/v1/metadata",
    "/datadog/api/v2/events",
    "/datadog/api/v2/host_metadata",
    "/datadog/api/v2/service_checks",
)
"""Paths whose requests are accepted and dropped."""

Decode = Callable[[SeriesReader, bytes], Pushed]


def routes(services: Services) -> list[Route]:
    """Return the routes."""
    receiver = DatadogReceiver(services)
    found = [
        _pushes("/datadog/api/v1/series", receiver.v1),
        _pushes("/datadog/api/v2/series", receiver.v2),
        _pushes("/datadog/api/v1/distribution_points", receiver.distribution_points),
        _pushes("/datadog/api/beta/sketches", receiver.sketches),
        Route("/datadog/api/v1/validate", receiver.validate, ("GET",), dialect=DIALECT),
    ]
    return found + [_pushes(path, receiver.drop) for path in DROPPED]


def _pushes(path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, handler, ("POST",), whole_body=True, dialect=DIALECT)


class DatadogReceiver:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception = services.reception(SECTION)
        self._reader: SeriesReader | None = None
        self._made_for: tuple[Names, Labels] | None = None

    async def v1(self, request: Request) -> Response:
        """Answer `/api/v1/series`."""
        return await self._answer(request, SeriesReader.v1, {"status": "ok"})

    async def v2(self, request: Request) -> Response:
        """Answer `/api/v2/series`."""
        is_protobuf = "protobuf" in request.headers.get("content-type", "")
        decode = SeriesReader.v2_protobuf if is_protobuf else SeriesReader.v2
        return await self._answer(request, decode, {"errors": []})

    async def distribution_points(self, request: Request) -> Response:
        """Answer `/api/v1/distribution_points`."""
        return await self._answer(request, SeriesReader.distribution_points, {"status": "ok"})

    async def sketches(self, request: Request) -> Response:
        """Answer `/api/beta/sketches`."""
        return await self._answer(request, SeriesReader.sketches, {"errors": []})

    async def validate(self, request: Request) -> Response:
        """Say that the key is good: who may push is decided by the web config file."""
        return Response(b'{"valid":true}', media_type="application/json")

    async def drop(self, request: Request) -> Response:
        """Take what is not metrics, and keep nothing of it."""
        try:
            await take_push(request, self._services, self._reception)
        except TinyObsError as e:
            raise http_error(e) from None
        self._reception.refuse(NOT_STORED)
        return Response(b'{"status":"ok"}', 202, media_type="application/json")

    async def _answer(self, request: Request, decode: Decode, good: Any) -> Response:
        try:
            push = await take_push(request, self._services, self._reception)
            hold_document(push.body, push.held)
            reader = self._reader_for(push.extra_labels)
            outcome = await store_decoded(
                lambda: decode(reader, push.body),
                len(push.body) // BYTES_PER_SAMPLE + 1,
                push.source,
                self._reception,
                self._services.registry,
            )
        except TinyObsError as e:
            raise http_error(e) from None
        if outcome.refused:
            raise refused_error(refused_status(self._services, is_over_limit=outcome.is_over_limit), _text(outcome))
        return Response(orjson.dumps(good), 202, media_type="application/json")

    def _reader_for(self, extra: Labels) -> SeriesReader:
        names: Names = self._services.config.tinyobs.section(SECTION).names
        if self._reader is None or self._made_for != (names, extra):
            self._reader = SeriesReader(self._services.registry, names is Names.KEEP, extra)
            self._made_for = names, extra
        return self._reader


def _text(outcome: Outcome) -> str:
    return f"{outcome.refused} refused, the others are stored: " + "; ".join(outcome.problems[:PROBLEMS_SHOWN_MAX])


def _refuse(request: Request, error: HttpError) -> Response:
    body = orjson.dumps({"errors": [error.message]})
    return Response(body, error.status, error.headers, media_type="application/json")


DIALECT: Final = Dialect(_refuse)
