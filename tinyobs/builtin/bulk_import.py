"""Accepts JSON lines at `/api/v1/import` and CSV at `/api/v1/import/csv`, as VictoriaMetrics does, samples of any age.

The formats are those of `tinyobs tsdb import` (`tinyobs.interchange`).  A body is read in pieces, all but small ones in a worker thread,
and each piece is stored before the next one is read; sending a body again stores nothing twice.  Page: docs/receivers/import.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Final

from attrs import evolve
from starlette.requests import Request
from starlette.responses import Response

from ..abc import Reception, Route, Services
from ..errors import TinyObsError, UsageError, WireError
from ..hookspecs import hookimpl
from ..interchange.chunks import Chunk, Reader, Refusals
from ..interchange.csv_columns import ColumnChoice, TimeForm
from ..interchange.csv_format import parse_format
from ..interchange.csv_reader import CsvReader
from ..interchange.json_lines_reader import JsonLinesReader
from ..interchange.streams import BLOCK_BYTES
from ..receiving.answers import http_error, refused_error, refused_status
from ..receiving.extra_labels import LabelAdder
from ..receiving.outcome import Outcome, holding, joined, over_limit, refusals
from ..receiving.pieces import use_pieces
from ..receiving.push import MALFORMED, Push, take_push, time_ms_of
from ..receiving.threads import in_thread
from ..web.held_bytes import HELD
from ..web.problem import HttpError

PROTOCOL: Final = "import"
BODY: Final = "body"
"""What is read, in the place of a file's name."""
INLINE_BYTES_MAX: Final = 4 << 10
"""Bodies up to this size are read in the event loop: some 40 lines in a millisecond, or three where all are new series."""
PROBLEMS_SHOWN_MAX: Final = 10


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the two routes."""
    imports = BulkImport(services)
    return [
        Route("/api/v1/import", imports.json_lines, ("POST",), whole_body=True),
        Route("/api/v1/import/csv", imports.csv, ("POST",), whole_body=True),
    ]


class BulkImport:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception: Reception = services.reception(PROTOCOL)
        self._labels = LabelAdder(services.registry)

    async def json_lines(self, request: Request) -> Response:
        """Answer `/api/v1/import`."""
        held = request.scope.get(HELD)
        return await self._answer(request, JsonLinesReader() if held is None else JsonLinesReader(held.add))

    async def csv(self, request: Request) -> Response:
        """Answer `/api/v1/import/csv`."""
        try:
            reader = self._csv_reader(request)
        except (UsageError, WireError) as e:
            self._reception.refuse(MALFORMED)
            raise HttpError(400, str(e)) from None
        return await self._answer(request, reader)

    def _csv_reader(self, request: Request) -> CsvReader:
        given = request.query_params
        now = time_ms_of(request, self._services.clock.now_ms())
        if given.get("format"):
            return CsvReader(format=parse_format(given["format"]), now_ms=now)
        form = given.get("time_format")
        if form and form not in tuple(TimeForm):
            raise UsageError(f"time_format is one of {', '.join(TimeForm)}, not {form[:100]!r}")
        names = tuple(given["columns"].split(",")) if given.get("columns") else ()
        choice = ColumnChoice(
            names,
            given.get("time_column", ""),
            TimeForm(form) if form else None,
            tuple(given.getlist("value_column")),
            given.get("name", ""),
        )
        return CsvReader(choice)

    async def _answer(self, request: Request, reader: Reader) -> Response:
        try:
            push = await take_push(request, self._services, self._reception)
            outcome = await self._store(push, reader)
        except UsageError as e:
            self._reception.refuse(MALFORMED)
            raise HttpError(400, str(e)) from None
        except TinyObsError as e:
            raise http_error(e) from None
        if outcome.problems:
            status = refused_status(self._services, is_over_limit=outcome.is_over_limit)
            raise refused_error(status, "\n".join(outcome.problems))
        return Response(status_code=204)

    async def _store(self, push: Push, reader: Reader) -> Outcome:
        """Store the pieces of a body; return what became of them."""
        registry, refused = self._services.registry, Refusals(BODY)
        chunks = iter(reader.read(BytesIO(push.body), registry, refused))
        outcomes: list[Outcome] = []

        async def store(chunk: Chunk) -> None:
            batch = self._labels.add(chunk.batch, push.extra_labels) if push.extra_labels else chunk.batch
            if len(batch):
                with holding(push.held, batch):
                    result = await self._reception.store(batch, push.source)
                problems = refusals(registry, batch, result)
                outcomes.append(Outcome(result.stored, result.refused_total, problems, over_limit(result)))

        if len(push.body) > BLOCK_BYTES:
            await use_pieces(chunks, store)
        elif len(push.body) <= INLINE_BYTES_MAX:
            for chunk in chunks:
                await store(chunk)
        else:
            while (chunk := await in_thread(partial(next, chunks, None))) is not None:
                await store(chunk)
        self._reception.refuse_all({MALFORMED: refused.count})
        problems = [f"line {p.line}, column {p.column}: {p.message}" for p in refused.examples]
        if refused.count > len(problems):
            problems.append(f"{refused.count} lines of this request could not be read")
        of_all = joined(outcomes)
        sentences = list(dict.fromkeys(of_all.problems))[:PROBLEMS_SHOWN_MAX]
        return evolve(of_all, refused=of_all.refused + refused.count, problems=(*problems, *sentences))
