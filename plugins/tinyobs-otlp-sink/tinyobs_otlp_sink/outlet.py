"""Requests to a receiver of OTLP/HTTP and what its answers mean.

Spec: https://opentelemetry.io/docs/specs/otlp/#otlphttp.  A request is sent again after 429, 502, 503, 504 and when no
answer comes, after the time that Retry-After asks for; any other failure refuses it for good.
"""

from __future__ import annotations

import email.utils
import gzip
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Final

import structlog
import trio
from tinyobs.abc import Logged, Services
from tinyobs.http_client import Answer, Client, HttpError, Shared
from tinyobs.sinks.chosen import Chosen
from tinyobs.sinks.group import Counts, Outlet, TryAgain

from .settings import Compression, OtlpSinkSettings
from .translation import Translation

RETRIED: Final = frozenset((429, 502, 503, 504))
RETRY_AFTER_SECONDS_MAX: Final = 300.0
ANSWER_BYTES_MAX: Final = 64 * 1024
EXCERPT_CHARS_MAX: Final = 200
"""Most that the log repeats of what a receiver says."""
COMPRESS_IN_THREAD_BYTES: Final = 64 * 1024

log = structlog.get_logger("otlp_sink")


class OtlpOutlet(Outlet):
    """Translates and sends for one entry of the section."""

    def __init__(self, services: Services, settings: OtlpSinkSettings, counts: Counts) -> None:
        self.read_samples = settings.max_points_per_send
        self._settings, self._counts = settings, counts
        self._clock = services.clock
        self._chosen = Chosen(services.registry, settings.match)
        self._translation = Translation(services.registry, dict(settings.resource_attributes))
        self._client = Client(shared=Shared(settings.client))
        self._waiting: deque[tuple[bytes, int]] = deque()
        """Requests that are not taken yet, compressed, with the number of their points."""

    async def take(self, records: Sequence[Logged]) -> bool:
        """Translate records into requests."""
        for logged in records:
            self._translation.add(self._chosen.of(logged.batch))
            await trio.lowlevel.checkpoint()
        self._counts.refused += self._translation.refused
        self._translation.refused = 0
        for body, points in self._translation.requests(self._settings.max_points_per_send):
            self._waiting.append((await self._compressed(body), points))
        return True

    async def flush(self) -> None:
        """Send the requests."""
        while self._waiting:
            body, points = self._waiting[0]
            refused = await self._send(body, points)
            self._counts.samples += points - refused
            self._counts.refused += refused
            self._counts.sends += 1
            self._counts.bytes += len(body)
            self._waiting.popleft()

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def _compressed(self, body: bytes) -> bytes:
        if self._settings.compression is Compression.NONE:
            return body
        if len(body) < COMPRESS_IN_THREAD_BYTES:
            return gzip.compress(body, 6)
        return await trio.to_thread.run_sync(gzip.compress, body, 6)

    async def _send(self, body: bytes, points: int) -> int:
        """Send a request and return how many of its points were refused."""
        headers = {"Content-Type": "application/x-protobuf"}
        if self._settings.compression is Compression.GZIP:
            headers["Content-Encoding"] = "gzip"
        seconds = self._settings.timeout_ms / 1000
        with trio.move_on_after(seconds):
            try:
                async with self._client.stream("POST", self._settings.url, headers, body) as answer:
                    return self._judge(answer, await _body(answer), points)
            except HttpError as e:
                raise TryAgain(str(e)) from e
        raise TryAgain(f"no answer within {seconds:g} s")

    def _judge(self, answer: Answer, body: bytes, points: int) -> int:
        """Return how many points an answer refuses; raises `TryAgain` where the request is to be sent again."""
        if answer.status in RETRIED:
            after = _retry_after(answer.headers.get("retry-after", ""), self._clock.now_ms() / 1000)
            raise TryAgain(f"the receiver answered {answer.status} {answer.reason}".rstrip(), after)
        if not 200 <= answer.status < 300:
            log.error("a request was refused", sink=self._settings.name, status=answer.status, said=_excerpt(body))
            return points
        refused, said = partial_success(body)
        refused = min(refused, points)
        if refused or said:
            log.warning("some points were refused", sink=self._settings.name, points=refused, said=_excerpt(said))
        return refused


async def _body(answer: Answer) -> bytes:
    """Return the beginning of an answer's body, unpacked where it is compressed."""
    body = b""
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > ANSWER_BYTES_MAX:
                return b""
    return body


def _retry_after(text: str, now: float) -> float | None:
    """Return the seconds that a header Retry-After asks for, None without one that can be read."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_SECONDS_MAX)
    with suppress(ValueError, TypeError):
        until = email.utils.parsedate_to_datetime(text).timestamp()
        return min(max(until - now, 0.0), RETRY_AFTER_SECONDS_MAX)
    return None


def partial_success(body: bytes) -> tuple[int, bytes]:
    """Return (refused points, message) of an ExportMetricsServiceResponse; zeros where it says nothing of that."""
    found = _fields(_fields(body).get(1, b""))
    refused, said = found.get(1, 0), found.get(2, b"")
    return (refused if isinstance(refused, int) else 0), (said if isinstance(said, bytes) else b"")


def _fields(data: bytes | int) -> dict[int, bytes | int]:
    """Return the fields of a protobuf message with lengths and varints; up to where it is damaged."""
    found: dict[int, bytes | int] = {}
    at = 0
    with suppress(IndexError):
        while isinstance(data, bytes) and at < len(data):
            tag, at = _varint(data, at)
            value, at = _varint(data, at)
            if tag & 7 == 2:
                if at + value > len(data):
                    break
                found[tag >> 3] = data[at : at + value]
                at += value
            elif tag & 7 == 0:
                found[tag >> 3] = value
            else:
                break
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80 or shift > 63:
            return value, at


def _excerpt(said: bytes) -> str:
    text = " ".join(said.decode("utf-8", "replace").split())
    return "".join(c for c in text if c.isprintable())[:EXCERPT_CHARS_MAX]
