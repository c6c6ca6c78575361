"""Accepts Prometheus text and OpenMetrics at `/api/v1/import/prometheus`, as VictoriaMetrics does, with or without times.

    /api/v1/import/prometheus[?timestamp=MS][&extra_label=name=value]
    /api/v1/import/prometheus/metrics/job/<JOB>{/<LABEL>/<VALUE>}       the labels of the path win

A body is read in pieces, and each is stored before the next one is read.  Page: docs/receivers/prometheus-text.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ..abc import Reception, Route, Services
from ..errors import TinyObsError, WireError
from ..exposition.grouping_key import grouping_key
from ..exposition.prometheus_lines import LineMemory, LineReader, pieces
from ..exposition.pushed import Pushed
from ..hookspecs import hookimpl
from ..model.labels import Labels
from ..receiving.answers import http_error, refused_error, refused_status
from ..receiving.outcome import Outcome, joined, store_decoded, store_pushed
from ..receiving.pieces import piece_bytes, use_pieces
from ..receiving.push import MALFORMED, Push, take_push, time_ms_of
from ..receiving.threads import in_thread

PROTOCOL: Final = "prometheus"
PATH: Final = "/api/v1/import/prometheus"
IN_WRITER_BYTES: Final = 64 << 10
"""Bodies up to this size are read in the writer's thread, others in one of their own; that is about a thousand lines."""
PIECE_COST: Final = 32
"""Memory that decoding needs for each byte of a piece; see `receiving.pieces`.  Measured: 13 where all series are new."""
PROBLEMS_SHOWN_MAX: Final = 10

_PATH_BEGINS: Final = f"{PATH}/metrics/".encode()


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the routes."""
    handler = PrometheusImport(services)
    below = [f"{PATH}/metrics/{job}/*" for job in ("job", "job@base64")]
    return [Route(path, handler.take, ("POST", "PUT"), whole_body=True) for path in (PATH, *below)]


class PrometheusImport:
    """The handler."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception: Reception = services.reception(PROTOCOL)
        self._memory = LineMemory()

    async def take(self, request: Request) -> Response:
        """Answer 204 when all lines are durable, 400 with the bad ones named when some were left out."""
        try:
            push = await take_push(request, self._services, self._reception)
            try:
                reader = self._reader(request, push)
            except WireError:
                self._reception.refuse(MALFORMED)
                raise
            outcomes = await self._store(reader, push)
        except TinyObsError as e:
            raise http_error(e) from None
        problems = [problem for outcome in outcomes for problem in outcome.problems]
        refused = sum(outcome.refused for outcome in outcomes)
        if problems:
            shown = problems[:PROBLEMS_SHOWN_MAX]
            if refused > len(shown):
                shown.append(f"{refused} lines or samples of this request were left out")
            status = refused_status(self._services, is_over_limit=joined(outcomes).is_over_limit)
            raise refused_error(status, "\n".join(shown))
        # Clients of Pushgateways take no other answer than 200 or 202 for success.
        return Response(status_code=200 if _PATH_BEGINS in request.scope["raw_path"] else 204)

    def _reader(self, request: Request, push: Push) -> LineReader:
        _, below, path = request.scope["raw_path"].partition(_PATH_BEGINS)
        forced: Labels = grouping_key(path) if below else ()
        return LineReader(
            self._services.registry,
            self._memory,
            openmetrics=request.headers.get("content-type", "").startswith("application/openmetrics-text"),
            now_ms=time_ms_of(request, self._services.clock.now_ms()),
            forced=tuple((name, value) for name, value in forced if value),
            added=push.extra_labels,
            origin=PROTOCOL,
        )

    async def _store(self, reader: LineReader, push: Push) -> list[Outcome]:
        registry, reception, body = self._services.registry, self._reception, push.body
        if len(body) <= IN_WRITER_BYTES:
            lines = body.count(b"\n") + 1
            stored = [await store_decoded(lambda: reader.read(body), lines, push.source, reception, registry)]
        else:
            stored = []

            async def store(pushed: Pushed) -> None:
                stored.append(await store_pushed(pushed, push.source, reception, registry, push.held))

            bytes_max = piece_bytes(self._services, PIECE_COST, len(body), push.held)
            if len(body) <= bytes_max:
                await store(await in_thread(partial(reader.read, body)))
            else:
                await use_pieces(map(reader.read, pieces(body, bytes_max)), store)
        return [*stored, await store_pushed(reader.end(), push.source, reception, registry)]
