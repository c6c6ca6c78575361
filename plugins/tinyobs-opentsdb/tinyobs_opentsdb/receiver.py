"""Stores what was put, and answers as OpenTSDB does."""

from __future__ import annotations

from typing import Any

import orjson
import structlog
from attrs import define
from starlette.requests import Request
from starlette.responses import Response
from tinyobs.abc import Dialect, Services
from tinyobs.errors import TinyObsError
from tinyobs.exposition.pushed import PROBLEMS_MAX, Pushed
from tinyobs.model.labels import Labels
from tinyobs.receiving.answers import http_error, refused_error, refused_status
from tinyobs.receiving.names import Names
from tinyobs.receiving.outcome import Outcome, store_decoded
from tinyobs.receiving.pieces import hold_document
from tinyobs.receiving.push import take_push
from tinyobs.receiving.streams import LastAnswer
from tinyobs.web.problem import HttpError

from .points import SeriesMemory
from .put import Failed, read_put
from .settings import SECTION
from .telnet import read_lines

BYTES_PER_POINT = 100
"""What is assumed of a body that is not decoded yet."""
PROBLEMS_SHOWN_MAX = 10

log = structlog.get_logger("opentsdb")


@define
class _Memories:
    """What is remembered of series, for names as they are configured, and for the last labels that a request added."""

    services: Services
    _memory: SeriesMemory | None = None
    _made_for: tuple[Names, Labels] | None = None

    def get(self, extra: Labels = ()) -> SeriesMemory:
        names: Names = self.services.config.tinyobs.section(SECTION).names
        if self._memory is None or self._made_for != (names, extra):
            self._memory = SeriesMemory(self.services.registry, names is Names.KEEP, extra)
            self._made_for = names, extra
        return self._memory


class TelnetReceiver:
    """Takes lines."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception = services.reception(SECTION)
        self._memories = _Memories(services)

    async def take(self, lines: bytes, source: str) -> bytes:
        """Store lines, and return the answer; raises what `Reception.store_from` raises."""
        memory, answer, told = self._memories.get(), b"", 0

        def decode() -> Pushed:
            nonlocal answer, told
            pushed, answer = read_lines(lines, memory)
            told = len(pushed.problems)
            return pushed

        outcome = await store_decoded(decode, lines.count(b"\n"), source, self._reception, self._services.registry)
        if outcome.problems:
            log.debug("lines were refused", source=source, count=outcome.refused, first=outcome.problems[0])
        refused = "".join(f"put: {problem}\n" for problem in outcome.problems[told:]).encode()
        return LastAnswer(answer + refused) if isinstance(answer, LastAnswer) else answer + refused


class HttpReceiver:
    """The handler of `/api/put`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception = services.reception(SECTION)
        self._memories = _Memories(services)

    async def put(self, request: Request) -> Response:
        """Answer 204, 200 with `summary` or `details`, 400 where some points failed; the others are stored."""
        failed: Failed = []
        try:
            push = await take_push(request, self._services, self._reception)
            hold_document(push.body, push.held)
            memory = self._memories.get(push.extra_labels)

            def decode() -> Pushed:
                pushed, found = read_put(push.body, memory)
                failed.extend(found)
                return pushed

            samples = len(push.body) // BYTES_PER_POINT + 1
            outcome = await store_decoded(decode, samples, push.source, self._reception, self._services.registry)
            problems = outcome.problems[min(len(failed), PROBLEMS_MAX) :]
            failed += [({}, problem) for problem in problems]
        except TinyObsError as e:
            raise http_error(e) from None
        return _answer(request, outcome, failed, refused_status(self._services, is_over_limit=outcome.is_over_limit))


def _answer(request: Request, outcome: Outcome, failed: Failed, refused: int) -> Response:
    """Return the answer; refused: its status where some points failed."""
    given = request.query_params
    status = refused if outcome.refused else 200
    if "details" in given or "summary" in given:
        found: dict[str, Any] = {"success": outcome.stored, "failed": outcome.refused}
        if "details" in given:
            found["errors"] = [{"datapoint": point, "error": reason} for point, reason in failed]
        return Response(orjson.dumps(found), status, media_type="application/json")
    if not outcome.refused:
        return Response(status_code=204)
    text = "; ".join(outcome.problems[:PROBLEMS_SHOWN_MAX])
    raise refused_error(refused, f"One or more data points had errors: {text}")


def _refuse(request: Request, error: HttpError) -> Response:
    body = {"error": {"code": error.status, "message": error.message}}
    return Response(orjson.dumps(body), error.status, error.headers, media_type="application/json")


DIALECT = Dialect(_refuse)
