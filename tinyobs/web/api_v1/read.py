"""`/read`: remote read, as samples or as streamed chunks.

Answers: 400 for what is no request and for more samples than `--storage.remote.read-sample-limit`, 500 for matchers that
cannot be used and for a storage that fails, all in plain text.  Chunks are made while they are sent, so what fails then
cuts the connection.  Source: prometheus storage/remote/read_handler.go; the format is `tinyobs.exposition.remote_read`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any, Final

import cramjam
import numpy as np
import trio
from starlette.requests import Request
from starlette.responses import Response

from ...abc import Selection
from ...errors import LimitExceeded, StorageError, Unavailable, WireError
from ...exposition.remote_read import (
    MatcherError,
    ReadQuery,
    ReadRequest,
    ResponseType,
    decode,
    encode_frames,
    encode_result,
    without_external,
)
from ...model.columns import SeriesColumns
from ...model.select_hints import SelectHints
from ..options import WebOptions
from ..pieces import PiecesResponse
from ..problem import HttpError
from ..services import ApiServices

READ_SERIES: Final = 512
"""Series that are read at a time."""
PIECE_BYTES: Final = 256 << 10
"""Frames are sent together until there are so many bytes of them."""
_SAMPLES: Final = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
_CHUNKS: Final = {"content-type": "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"}


class ReadApi:
    """The handler."""

    def __init__(self, services: ApiServices, options: WebOptions) -> None:
        self._services, self._options = services, options
        self._limiter = trio.CapacityLimiter(options.reads_max or float("inf"))

    async def read(self, request: Request) -> Response:
        """Answer `/read`."""
        body = await request.body()
        return _Answer(self, body)

    async def respond(self, body: bytes) -> Response:
        """Return the answer for a body; the caller holds a place of the limiter."""
        try:
            asked = decode(body)
        except (WireError, LimitExceeded) as e:
            raise HttpError(400, str(e)) from None
        except MatcherError as e:
            raise HttpError(500, str(e)) from None
        if asked.response is ResponseType.SAMPLES:
            data = await trio.to_thread.run_sync(self._samples, asked)
            return Response(data, headers=_SAMPLES)
        frames = self._frames(asked)
        first = await trio.to_thread.run_sync(next, frames, b"")  # what fails now can still be told
        return PiecesResponse(_after(first, frames), headers=_CHUNKS)

    async def answer(self, body: bytes, scope: Any, receive: Any, send: Any) -> None:
        """Wait for a place, and send the answer."""
        statistics = self._services.statistics
        statistics.count_reads(1)
        try:
            async with self._limiter:
                try:
                    response = await self.respond(body)
                except HttpError as e:
                    response = e.response()
                await response(scope, receive, send)
        finally:
            statistics.count_reads(-1)

    def _samples(self, asked: ReadRequest) -> bytes:
        parts = []
        for query in asked.queries:
            columns: list[SeriesColumns] = []
            left = self._options.read_samples_max
            with closing(self._columns(query)) as found:
                for some in found:
                    left -= some.samples
                    if self._options.read_samples_max and left < 0:
                        raise HttpError(400, f"exceeded sample limit ({self._options.read_samples_max})")
                    columns.append(some)
            parts.append(encode_result(columns, self._services.external_labels()))
        return bytes(cramjam.snappy.compress_raw(b"".join(parts)))

    def _frames(self, asked: ReadRequest) -> Generator[bytes]:
        waiting: list[bytes] = []
        size = 0
        for i, query in enumerate(asked.queries):
            external = self._services.external_labels()
            with closing(self._columns(query)) as found:
                for columns in found:
                    for frame in encode_frames(columns, external, i, self._options.read_frame_bytes_max):
                        waiting.append(frame)
                        size += len(frame)
                        if size >= PIECE_BYTES:
                            yield b"".join(waiting)
                            waiting, size = [], 0
        if waiting:
            yield b"".join(waiting)

    def _columns(self, query: ReadQuery) -> Generator[SeriesColumns]:
        """Yield what a query selects, some series at a time; raises `HttpError`.

        Where samples as they were stored are gone, those that downsampling has kept are read.
        """
        gone = trio.from_thread.check_cancelled  # ends the work of a client that went away
        hints = SelectHints("[]", query.maxt_ms, 0, query.maxt_ms - query.mint_ms)
        matchers = without_external(query, dict(self._services.external_labels()))
        try:
            with self._services.queryable.querier(query.mint_ms, query.maxt_ms) as querier:
                selection: Selection = querier.select(matchers, query.mint_ms, query.maxt_ms, gone, hints)
                for first in range(0, len(selection.labels), READ_SERIES):
                    gone()
                    columns = selection.read(first, min(first + READ_SERIES, len(selection.labels)))
                    yield columns if not selection.resolution_ms else _clipped(columns, query)
        except (StorageError, Unavailable) as e:
            raise HttpError(503 if isinstance(e, Unavailable) else 500, str(e)) from None


def _after(first: bytes, rest: Generator[bytes]) -> Generator[bytes]:
    if first:
        yield first
    yield from rest


def _clipped(columns: SeriesColumns, query: ReadQuery) -> SeriesColumns:
    """Return only samples within the range: a tier is read from the beginning of its bucket."""
    kept = (columns.timestamps_ms >= query.mint_ms) & (columns.timestamps_ms <= query.maxt_ms)
    offsets = np.append(0, np.cumsum(kept))[columns.offsets]
    return SeriesColumns(columns.labels, offsets, columns.timestamps_ms[kept], columns.values[kept], columns.histograms)


class _Answer(Response):
    """The answer to a read, made when it is sent: until then it waits for its place."""

    def __init__(self, api: ReadApi, body: bytes) -> None:
        super().__init__()
        self._api, self._request_body = api, body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        await self._api.answer(self._request_body, scope, receive, send)
