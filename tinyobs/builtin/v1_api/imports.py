"""`POST /v1/import`: an export of this API, or of the first TinyObs, as JSON or CSV."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from attrs import define, field
from starlette.requests import Request
from starlette.responses import Response

from ...abc import Reception, Services
from ...errors import TinyObsError
from ...exposition.pushed import Pushed
from ...exposition.v1_import import BATCH_SAMPLES, V1Importer, csv_entries, json_entries
from ...exposition.v1_metrics import V1Fault
from ...exposition.v1_times import write_time
from ...receiving.answers import http_error
from ...receiving.outcome import store_pushed
from ...receiving.pieces import hold_document
from ...receiving.push import MALFORMED, Push, take_push
from ...receiving.threads import in_thread
from ...web.problem import HttpError
from .answers import answer
from .settings import settings_of

ERRORS_MAX: Final = 100
"""Sentences about what was passed over; all of it is counted."""
MEDIA_TYPES: Final = ("application/json", "text/csv")


@define
class _Done:
    """What became of an import so far."""

    imported: int = 0
    batches: int = 0
    skipped: int = 0
    errors: list[str] = field(factory=list)
    first_ms: int | None = None
    last_ms: int | None = None

    def note(self, pushed: Pushed, stored: int, refused: int, problems: tuple[str, ...]) -> None:
        """Count a batch."""
        self.imported += stored
        self.batches += 1
        self.skipped += refused
        self.errors += problems[: max(ERRORS_MAX - len(self.errors), 0)]
        if len(pushed.batch):
            times = pushed.batch.timestamps_ms
            first, last = int(times.min()), int(times.max())
            self.first_ms = first if self.first_ms is None else min(self.first_ms, first)
            self.last_ms = last if self.last_ms is None else max(self.last_ms, last)

    def shown(self, now_ms: int) -> dict[str, Any]:
        """Return the body of the answer."""
        span = "empty"
        if self.first_ms is not None and self.last_ms is not None:
            span = f"{write_time(self.first_ms)} to {write_time(self.last_ms)}"
        more = self.skipped - len(self.errors)
        errors = [*self.errors, f"and {more} more"] if more > 0 and len(self.errors) >= ERRORS_MAX else self.errors
        return {
            "metrics_imported": self.imported,
            "batches_written": self.batches,
            "time_range": span,
            "imported_at": write_time(now_ms),
            "errors": errors,
        }


class Import:
    """The handler."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception: Reception = services.reception("v1")

    async def imports(self, request: Request) -> Response:
        """Store an export in batches; what is passed over is told, and its neighbours stay."""
        push = await take_push(request, self._services, self._reception)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in MEDIA_TYPES:
            self._reception.refuse(MALFORMED)
            raise HttpError(400, "Content-Type must be application/json or text/csv")
        settings = settings_of(self._services.config)
        importer = V1Importer(
            self._services.registry, settings.limits(), self._services.clock.now_ms(), push.extra_labels
        )
        done = _Done()
        try:
            hold_document(push.body, push.held)
            entries = await in_thread(partial(_entries, push.body, kind))
            await self._store(entries, importer, push, done)
        except V1Fault as e:
            self._reception.refuse(MALFORMED)
            raise HttpError(400, f"import failed: {e}{_so_far(done)}") from None
        except TinyObsError as e:
            known = http_error(e)
            raise HttpError(known.status, f"import failed: {e}{_so_far(done)}", known.headers) from None
        return answer(done.shown(self._services.clock.now_ms()))

    async def _store(self, entries: Iterator[Any], importer: V1Importer, push: Push, done: _Done) -> None:
        first, source, held = 0, push.source, push.held

        def next_piece() -> tuple[int, Pushed]:
            piece = list(islice(entries, BATCH_SAMPLES))
            return len(piece), importer.take(piece, first)

        while True:
            count, pushed = await in_thread(next_piece)
            if not count:
                return
            first += count
            outcome = await store_pushed(pushed, source, self._reception, self._services.registry, held)
            done.note(pushed, outcome.stored, outcome.refused, outcome.problems)


def _entries(body: bytes, kind: str) -> Iterator[Any]:
    return csv_entries(body) if kind == "text/csv" else iter(json_entries(body))


def _so_far(done: _Done) -> str:
    return f" (after {done.imported} metrics in {done.batches} batches, which are stored)" if done.batches else ""
