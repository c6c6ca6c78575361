"""Samples as messages: JSON objects as those of prometheus-kafka-adapter, or requests of remote write 1.0.

JSON: `{"labels":{"__name__":"up","job":"a"},"name":"up","timestamp":"2026-11-28T23:59:00.000Z","value":"1"}`.  A native
histogram has `"histogram"` (`tinyobs/interchange/histogram_json.py`) in the place of the value, the end of a series
`"value":"NaN"` and `"stale":true`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import orjson
from attrs import frozen
from tinyobs.exposition.floats import format_float
from tinyobs.exposition.remote_write_encoder import encode
from tinyobs.interchange.histogram_json import write_histogram
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, is_handle, numbers_of
from tinyobs.model.labels import Labels, to_text
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import is_stale_value

from .settings import Format, KafkaSinkSettings, Key

REMOTE_WRITE_HEADERS: Final = [
    ("Content-Type", b"application/x-protobuf"),
    ("Content-Encoding", b"snappy"),
    ("X-Prometheus-Remote-Write-Version", b"0.1.0"),
]
"""Headers of messages of remote write, named as those of its requests."""


@frozen(eq=False)
class Message:
    """What goes to Kafka.  key: None for any partition.  samples: how many are in it."""

    key: bytes | None
    value: bytes
    at_ms: int
    samples: int


class Messages:
    """Makes messages of batches."""

    def __init__(self, registry: SeriesRegistry, settings: KafkaSinkSettings) -> None:
        self._registry, self._settings = registry, settings
        self._known: dict[int, tuple[bytes | None, bytes]] = {}
        """Series -> (key, beginning of its JSON)."""

    def of(self, batch: Batch) -> Iterator[Message]:
        """Yield the messages for a batch, in its order for each key."""
        rows = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), _values(batch), strict=True)
        if self._settings.format is Format.JSON:
            for ref, at_ms, value in rows:
                key, head = self._head(ref)
                yield Message(key, head + _tail(at_ms, value), at_ms, 1)
            return
        by_key: dict[bytes | None, list[tuple[int, int, float | Histogram]]] = {}
        for row in rows:
            by_key.setdefault(self._head(row[0])[0], []).append(row)
        size = self._settings.max_samples_per_message
        for key, some in by_key.items():
            for begin in range(0, len(some), size):
                yield self._request(key, some[begin : begin + size])

    def _request(self, key: bytes | None, rows: Sequence[tuple[int, int, float | Histogram]]) -> Message:
        series: dict[int, tuple[list[int], list[float | Histogram]]] = {}
        for ref, at_ms, value in rows:
            times, values = series.setdefault(ref, ([], []))
            times.append(at_ms)
            values.append(value)
        body = encode((self._registry.labels(ref), times, values) for ref, (times, values) in series.items())
        return Message(key, body, max(at_ms for _, at_ms, _ in rows), len(rows))

    def _head(self, ref: int) -> tuple[bytes | None, bytes]:
        known = self._known.get(ref)
        if known is None:
            labels = self._registry.labels(ref)
            known = self._known[ref] = (_key(labels, self._settings.key), _json_head(labels))
        return known


def _key(labels: Labels, key: Key) -> bytes | None:
    if key is Key.NONE:
        return None
    text = to_text(labels) if key is Key.SERIES else dict(labels).get("__name__", "")
    return text.encode("utf-8", "replace")


def _json_head(labels: Labels) -> bytes:
    """Return the object up to where the time begins."""
    readable = {_utf8(name): _utf8(value) for name, value in labels}
    whole = orjson.dumps({"labels": readable, "name": readable.get("__name__", "")})
    return whole[:-1] + b',"timestamp":"'


def _tail(at_ms: int, value: float | Histogram) -> bytes:
    time = datetime.fromtimestamp(at_ms // 1000, UTC)
    head = f'{time:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z",'.encode()
    if isinstance(value, Histogram):
        if not is_stale_value(value.sum):
            return head + b'"histogram":' + write_histogram(value).encode() + b"}"
        value = value.sum
    if is_stale_value(value):
        return head + b'"value":"NaN","stale":true}'
    return head + b'"value":"' + format_float(value).encode() + b'"}'


def _values(batch: Batch) -> list[float | Histogram]:
    values: list[float | Histogram] = batch.values.tolist()
    if batch.histograms is not None and len(batch.histograms):
        at = is_handle(batch.values).nonzero()[0]
        for i, number in zip(at.tolist(), numbers_of(batch.values[at]).tolist(), strict=True):
            values[i] = batch.histograms.one(number)
    return values


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
