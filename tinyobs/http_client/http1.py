"""HTTP/1.1 over one stream: a request is written, and the answer's head and body are read by httptools (llhttp).

One exchange at a time.  A connection can be used again when the answer ended where its head says, the server did not
announce to close, and nothing more came.  What is refused: a head longer than `HEAD_BYTES_MAX`, an upgrade that nobody
asked for, a body that ends early.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import AsyncGenerator
from typing import Final

import httptools
import trio

from .errors import HttpError, describe
from .fields import Field, Headers

HEAD_BYTES_MAX: Final = 256 * 1024
"""Longest head of an answer, in bytes."""
READ_BYTES: Final = 64 * 1024
READ_MORE_BYTES: Final = 256 * 1024
"""What is read at once of a body that fills the smaller buffer."""
SEND_AS_ONE_BYTES: Final = 64 * 1024
"""Up to this size, a body is sent in one piece with the head."""


class NoAnswer(HttpError):
    """The connection broke before the first byte of an answer: on a connection that was kept, it may have been closed."""


class _Answer:
    """What httptools calls while it parses one answer."""

    __slots__ = (
        "bodiless",
        "complete",
        "fields",
        "has_head",
        "keeps",
        "parser",
        "parts",
        "reason",
        "status",
        "surplus",
    )

    def __init__(self, bodiless: bool) -> None:
        self.bodiless = bodiless
        """Whether the head is all, whatever it says: the answer to HEAD or CONNECT."""
        self.parser = httptools.HttpResponseParser(self)
        # Go's client takes lines without CR as well.
        self.parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        self.fields: list[Field] = []
        self.reason = b""
        self.status = 0
        self.parts: list[bytes] = []
        self.has_head = self.complete = self.surplus = False
        self.keeps = False
        """Whether the connection stays open; the parser knows it only while it ends a message."""

    def on_message_begin(self) -> None:
        self.surplus = self.complete

    def on_status(self, reason: bytes) -> None:
        if not self.has_head:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.has_head:
            return
        self.status = self.parser.get_status_code()
        if 100 <= self.status < 200 and self.status != 101:
            self.fields, self.reason = [], b""  # only a hint of the answer to come
            return
        self.has_head = True
        if self.bodiless:
            self.complete, self.keeps = True, self.parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.surplus = True
        else:
            self.parts.append(data)

    def on_message_complete(self) -> None:
        if self.has_head and not self.complete:
            self.complete, self.keeps = True, self.parser.should_keep_alive()

    def ends_with_connection(self) -> bool:
        """Tell whether the body is all that comes until the connection ends."""
        return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.fields)


class Http1Connection:
    """A stream on which requests are made, one after the other."""

    def __init__(self, stream: trio.abc.Stream, context: ssl.SSLContext | None = None) -> None:
        self.stream = stream
        self.context = context
        """The TLS context that the connection was made with."""
        self.idle_since = 0.0
        below = stream
        while isinstance(below, trio.SSLStream):
            below = below.transport_stream
        self._poll = select.poll()
        self._poll.register(below.socket.fileno(), select.POLLIN)  # type: ignore[attr-defined]

    def is_quiet(self) -> bool:
        """Tell whether nothing came in while nothing was asked: neither the end nor bytes that nobody expects."""
        return not self._poll.poll(0)

    async def request(self, head: bytes, body: bytes = b"", bodiless: bool = False) -> Exchange:
        """Send a request and return the exchange when the head of the answer is there.

        Raises `NoAnswer` when the connection breaks before any of it came, `HttpError` when it breaks later or does not
        speak HTTP.
        """
        exchange = Exchange(self.stream, bodiless)
        try:
            await exchange.send(head, body)
            await exchange.receive_head()
        except BaseException:
            await self.close()  # noqa: ASYNC102 - it shields itself
            raise
        return exchange

    async def close(self) -> None:
        """Close at once; no farewell is waited for."""
        await close_at_once(self.stream)


class Exchange:
    """A request and its answer: `status`, `reason`, `headers`, then the body in pieces."""

    def __init__(self, stream: trio.abc.Stream, bodiless: bool) -> None:
        self._stream = stream
        self._answer = _Answer(bodiless)
        self._unsent = ""
        self._began = False

    @property
    def status(self) -> int:
        """The status code."""
        return self._answer.status

    @property
    def reason(self) -> str:
        """The reason phrase, as it came."""
        return self._answer.reason.decode("latin-1")

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return Headers(self._answer.fields)

    @property
    def is_over(self) -> bool:
        """Whether the whole answer has arrived and the connection can take another request."""
        answer = self._answer
        return answer.complete and answer.keeps and not answer.surplus and not self._unsent

    async def send(self, head: bytes, body: bytes) -> None:
        """Send the request.  A server may answer and close before it has read all; then the answer counts."""
        try:
            if len(body) <= SEND_AS_ONE_BYTES:
                await self._stream.send_all(head + body)
            else:
                await self._stream.send_all(head)
                await self._stream.send_all(body)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
            self._unsent = describe(e)

    async def receive_head(self) -> None:
        """Read until the head is complete."""
        answer, size = self._answer, 0
        while not answer.has_head:
            size += await self._receive(READ_BYTES)
            if size > HEAD_BYTES_MAX and not answer.has_head:
                raise HttpError(f"the head of the answer is longer than {HEAD_BYTES_MAX} bytes")

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives."""
        answer, size = self._answer, READ_BYTES
        while True:
            parts, answer.parts = answer.parts, []
            for part in parts:
                yield part
            if answer.complete:
                return
            if await self._receive(size) == size:
                size = READ_MORE_BYTES

    async def _receive(self, size_max: int) -> int:
        """Read once and parse; return how many bytes came."""
        answer = self._answer
        try:
            data = await self._stream.receive_some(size_max)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
            raise self._broken(self._unsent or describe(e)) from e
        if not data:
            if answer.has_head and answer.ends_with_connection():
                answer.complete = answer.surplus = True
                return 0
            raise self._broken(self._unsent or "the server closed the connection")
        self._began = True
        try:
            answer.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise HttpError("the server changes to another protocol without being asked") from None
        except httptools.HttpParserError as e:
            if not answer.complete:
                raise HttpError(f"the answer is not HTTP: {e}") from None
            answer.surplus = True
        return len(data)

    def _broken(self, reason: str) -> HttpError:
        if not self._began:
            return NoAnswer(f"no answer: {reason}")
        part = "body" if self._answer.has_head else "head"
        return HttpError(f"the {part} of the answer is incomplete: {reason}")


async def close_at_once(stream: trio.abc.AsyncResource) -> None:
    """Close without a farewell; also while being cancelled."""
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)
