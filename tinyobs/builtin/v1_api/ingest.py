"""`POST /v1/ingest`: metrics as JSON, all of them or none."""

from __future__ import annotations

from functools import partial
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from ...abc import Reception, Services
from ...errors import TinyObsError
from ...exposition.v1_metrics import Decoded, SeriesLimit, V1Decoder, V1Fault, load_metrics
from ...model.batch import AppendResult, Batch, Refused
from ...model.labels import Labels
from ...receiving.outcome import is_beyond_shapes, refusals
from ...receiving.pieces import hold_document
from ...receiving.push import MALFORMED, take_push
from ...receiving.threads import in_thread, turn
from ...web.problem import HttpError
from .answers import answer
from .deltas import Deltas
from .settings import V1Settings, settings_of

THREAD_BYTES_MIN: Final = 256 << 10
"""Bodies from this size on are decoded in a worker thread; 1000 metrics are less, as a rule."""
SERIES_LIMIT: Final = "series_limit"
"""The reason that pushes with series beyond `series_max` are counted under."""
RETRY_SECONDS: Final = "60"


class Ingest:
    """The handler, with what is remembered of series."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception: Reception = services.reception("v1")
        self._deltas = Deltas(services.registry)
        self._decoding = trio.Lock()
        self._settings: V1Settings | None = None
        self._decoder: V1Decoder

    @property
    def series_count(self) -> int:
        """Series that count against `series_max`."""
        return 0 if self._settings is None else self._decoder.series_count

    async def ingest(self, request: Request) -> Response:
        """Store a body; returns when it is durable."""
        push = await take_push(request, self._services, self._reception)
        hold_document(push.body, push.held)
        try:
            decoded = await self._decode(push.body, push.extra_labels)
        except V1Fault as e:
            self._reception.refuse(MALFORMED)
            raise HttpError(400, str(e)) from None
        except SeriesLimit as e:
            self._reception.refuse(SERIES_LIMIT)
            raise HttpError(429, str(e), {"retry-after": RETRY_SECONDS}) from None
        if not len(decoded):
            return answer({"status": "success", "count": 0})
        batch, result = await self._store(decoded, push.source)
        self._decoder.told(batch.metadata)
        return self._answer(len(decoded), batch, result)

    async def _decode(self, body: bytes, extra: Labels) -> Decoded:
        settings = settings_of(self._services.config)
        limits = settings.limits()
        is_large = len(body) >= THREAD_BYTES_MIN
        metrics = (
            await in_thread(partial(load_metrics, body, limits.metrics_max))
            if is_large
            else load_metrics(body, limits.metrics_max)
        )
        async with turn(self._decoding):
            if self._settings is None or settings != self._settings:
                self._decoder = V1Decoder(self._services.registry, limits, with_deltas=settings.histogram_deltas)
                self._settings = settings
            now_ms = self._services.clock.now_ms()
            if is_large:
                return await in_thread(partial(self._decoder.take, metrics, extra, now_ms))
            return self._decoder.take(metrics, extra, now_ms)

    async def _store(self, decoded: Decoded, source: str) -> tuple[Batch, AppendResult]:
        now_ms = self._services.clock.now_ms()
        made: list[Batch] = []

        def make() -> Batch:
            made.append(self._deltas.batch(decoded, now_ms))
            return made[0]

        try:
            if len(decoded.deltas):
                result = await self._reception.store_from(make, len(decoded), source)
            else:
                result = await self._reception.store(make(), source)
        except TinyObsError:
            if made:
                self._deltas.undo(decoded)
            raise
        return made[0], result

    def _answer(self, count: int, batch: Batch, result: AppendResult) -> Response:
        """Say what became of it: what the storage refuses is told in `message`, and its good neighbours stay."""
        problems = refusals(self._services.registry, batch, result)
        if Refused.LIMIT in result.refused and not is_beyond_shapes(result):
            raise HttpError(429, "; ".join(problems), {"retry-after": RETRY_SECONDS})
        if problems and not result.stored:
            raise HttpError(400, "; ".join(problems))
        told = {"status": "success", "count": count - min(result.refused_total, count)}
        return answer({**told, "message": "; ".join(problems)} if problems else told)
