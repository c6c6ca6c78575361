"""The sending half of a request: adds headers, compresses, and counts what goes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import Response

from . import compression
from .inbox import Message

Send = Callable[[Message], Awaitable[None]]
RawHeaders = Sequence[tuple[bytes, bytes]]


class Reply:
    """Wraps the `send` of ASGI.

    status: 0 until the answer begins.  body_bytes: bytes of body sent, after compression.  begin is called once,
    just before the answer begins.
    """

    def __init__(
        self, send: Send, headers: RawHeaders, encoding: str | None, compress_bytes_min: int, begin: Callable[[], None]
    ) -> None:
        self.status = 0
        self.body_bytes = 0
        self.finished = False
        self._send = send
        self._headers = headers
        self._encoding = encoding
        self._compress_bytes_min = compress_bytes_min
        self._begin = begin
        self._head: Message | None = None
        self._compressor: compression.Compressor | None = None

    async def send_whole(self, response: Response) -> None:
        """Send an answer that is there as a whole, as it would send itself."""
        self._head = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        await self.send({"type": "http.response.body", "body": response.body})

    async def send(self, message: Message) -> None:
        """Take a message of ASGI; the head goes out with the first piece of the body."""
        if message["type"] == "http.response.start":
            self._head = message
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._head is not None:
            head, self._head = self._head, None
            self.status = head["status"]
            self._begin()
            self._start_compressing(head, body, more)
            if self._compressor is not None:
                body = await compression.compress_piece(self._compressor, body, not more)
            headers = [*head.get("headers", ()), *self._headers]
            if self._compressor is not None:
                headers = _compressed_headers(headers, self._encoding or "", None if more else len(body))
            await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        elif self._compressor is not None:
            body = await compression.compress_piece(self._compressor, body, not more)
        self.body_bytes += len(body)
        self.finished = not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def _start_compressing(self, head: Message, body: bytes, more: bool) -> None:
        if self._encoding is None or not (more or len(body) >= self._compress_bytes_min):
            return
        headers = dict(head.get("headers", ()))
        kind = headers.get(b"content-type", b"").decode("latin-1")
        if b"content-encoding" not in headers and compression.is_compressible(kind):
            self._compressor = compression.start(self._encoding)


def _compressed_headers(headers: RawHeaders, encoding: str, length: int | None) -> list[tuple[bytes, bytes]]:
    out = [(k, v) for k, v in headers if k != b"content-length"]
    out.append((b"content-encoding", encoding.encode()))
    out.append((b"vary", b"Accept-Encoding"))
    if length is not None:
        out.append((b"content-length", b"%d" % length))
    return out
