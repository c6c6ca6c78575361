"""What a scrape for trial works with: a stand-in for the agent, and clients that record and repeat an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

import numpy as np
from attrs import define, field

from ...abc import Clock
from ...exposition.floats import format_float
from ...http_client import Answer
from ...model.batch import AppendResult, Batch
from ...model.histograms import is_handle, numbers_of
from ...model.labels import Labels
from ...model.registry import SeriesRegistry
from ...web.target_trial import TrialSample
from .fetch import Requester
from .statistics import PoolCounters

LIMITS: Final = {
    "sample_limit": "sample_limit",
    "body_size_limit": "body_size_limit",
    "label_limits": "label_limit",
    "bucket_limit": "native_histogram_bucket_limit",
}
"""The counters of limits, and the settings."""


@define
class Scratch:
    """Stands for the agent: a registry of its own, and a place for the batch."""

    clock: Clock
    registry: SeriesRegistry = field(factory=SeriesRegistry)
    counters: PoolCounters = field(factory=PoolCounters)
    batch: Batch = field(factory=lambda: Batch(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0)))

    async def append(self, batch: Batch, *, may_wait: bool = False) -> AppendResult:
        """Keep the batch."""
        self.batch = batch
        return AppendResult(len(batch))

    def limit(self) -> str:
        """Return the setting whose limit was exceeded."""
        return next((setting for counter, setting in LIMITS.items() if getattr(self.counters, counter)), "")

    def samples(self, reports: int, count: int) -> list[TrialSample]:
        """Return the first samples that would be stored; the last of all are reports."""
        batch, end = self.batch, min(len(self.batch) - reports, count)
        values = batch.values[:end]
        native = is_handle(values) if batch.histograms is not None else np.zeros(end, np.bool_)
        refs, times = batch.refs[:end].tolist(), batch.timestamps_ms[:end].tolist()
        return [
            TrialSample(self.registry.labels(refs[i]), self._text(i, native=bool(native[i])), times[i])
            for i in range(end)
        ]

    def series(self, reports: int) -> set[Labels]:
        """Return the series that would be stored, but for reports; takes a while where there are many."""
        refs = np.unique(self.batch.refs[: len(self.batch) - reports])
        return {self.registry.labels(ref) for ref in refs.tolist()}

    def _text(self, i: int, *, native: bool) -> str:
        """Return the value of a sample."""
        batch = self.batch
        if not native or batch.histograms is None:
            return format_float(float(batch.values[i]))
        found = batch.histograms.one(int(numbers_of(batch.values[i : i + 1])[0]))
        return f"native histogram: count {format_float(found.count)}, sum {format_float(found.sum)}"


class Recorder:
    """A client that keeps what it was answered."""

    def __init__(self, client: Requester) -> None:
        self._client = client
        self.status = 0
        self.reason = ""
        self.headers: Mapping[str, str] = {}
        self.pieces: list[bytes] = []

    @asynccontextmanager
    async def stream(self, method: str, url: str, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """Send a request."""
        async with self._client.stream(method, url, headers) as answer:
            self.status, self.reason, self.headers = answer.status, answer.reason, answer.headers
            yield cast(Answer, _Kept(self, answer))


class Replay:
    """A client that answers what another one was answered."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @asynccontextmanager
    async def stream(self, method: str, url: str, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """Answer at once."""
        yield cast(Answer, _Kept(self._recorder, None))


class _Kept:
    """An answer whose pieces are kept while they are read, or are those that were kept."""

    def __init__(self, recorder: Recorder, answer: Answer | None) -> None:
        self.status, self.reason, self.headers = recorder.status, recorder.reason, recorder.headers
        self._kept, self._answer = recorder.pieces, answer

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Return the body in pieces."""
        if self._answer is None:
            for piece in self._kept:
                yield piece
            return
        source = self._answer.pieces()
        try:
            async for piece in source:
                self._kept.append(piece)
                yield piece
        finally:
            await source.aclose()
