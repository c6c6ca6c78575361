"""`GET /v1/export`: samples as JSON or CSV to keep or to import elsewhere, made while they are sent."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Final

import orjson
import trio
from starlette.requests import Request
from starlette.responses import Response

from ...exposition.v1_times import write_time
from ...exposition.v1_writer import csv_head, csv_rows, json_rows
from ...model.labels import NAME
from ...web.pieces import PiecesResponse
from ...web.problem import HttpError
from .reading import DAY_MS, Reading, metric_matchers, read_all

MEDIA_TYPES: Final = {"json": "application/json", "csv": "text/csv"}
VERSION: Final = "1.0"
RETRY_SECONDS: Final = "30"


class Export:
    """The handler.  Few run at one time: each may read all that is stored."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._running = 0

    async def export(self, request: Request) -> Response:
        """Answer `/v1/export`."""
        reading, query = self._reading, request.query_params
        form = query.get("format") or "json"
        if form not in MEDIA_TYPES:
            raise HttpError(400, "Invalid format. Must be 'json' or 'csv'")
        span = reading.span(request, DAY_MS, reading.settings.export_window_max_ms)
        matchers = metric_matchers(query.get("metric"))
        if self._running >= reading.settings.exports_max:
            raise HttpError(
                503, "too many exports at one time (tinyobs.v1.exports_max)", {"retry-after": RETRY_SECONDS}
            )
        now_ms = reading.services.clock.now_ms()
        metadata = reading.api.metadata()
        gone = trio.from_thread.check_cancelled

        def pieces() -> Iterator[str]:
            with reading.api.queryable.querier(*span) as querier:
                selection = querier.select(matchers, *span, gone)
                if form == "csv":
                    names = sorted({label for labels in selection.labels for label, _ in labels} - {NAME})
                    yield csv_head(names)
                    for columns in read_all(querier, matchers, gone, 0, selection):
                        yield csv_rows(columns, metadata, names)
                    return
                count, comma = 0, '{"metrics":[\n'
                for columns in read_all(querier, matchers, gone, 0, selection):
                    rows = json_rows(columns, metadata)
                    if rows:
                        yield comma + ",\n".join(rows)
                        count, comma = count + len(rows), ",\n"
                yield ("" if count else comma) + f'\n],"metadata":{_metadata(now_ms, span, count)}}}\n'

        stamp = write_time(now_ms)[:19].replace("-", "").replace(":", "").replace("T", "-")
        headers = {"content-disposition": f"attachment; filename=tinyobs-export-{stamp}.{form}"}
        self._running += 1
        try:
            return _Download(
                _encoded(pieces()), MEDIA_TYPES[form], headers, reading.settings.export_timeout_ms / 1000, self._ended
            )
        except BaseException:
            self._ended()
            raise

    def _ended(self) -> None:
        self._running -= 1


class _Download(PiecesResponse):
    """An answer in pieces that tells when it is over."""

    def __init__(
        self,
        pieces: Generator[bytes],
        media_type: str,
        headers: dict[str, str],
        seconds: float,
        ended: Callable[[], None],
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers, seconds=seconds)
        self._ended = ended

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


def _encoded(pieces: Iterator[str]) -> Generator[bytes]:
    for piece in pieces:
        yield piece.encode("utf-8", "replace")


def _metadata(now_ms: int, span: tuple[int, int], count: int) -> str:
    """Return the object `metadata`; it stands behind the metrics, since only then their number is known."""
    found = {
        "exported_at": write_time(now_ms),
        "start_time": write_time(span[0]),
        "end_time": write_time(span[1]),
        "metric_count": count,
        "format": "json",
        "version": VERSION,
    }
    return orjson.dumps(found).decode()
