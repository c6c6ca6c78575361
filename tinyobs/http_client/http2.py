"""HTTP/2: httpcore's connection on a stream of ours, for servers that choose it in the TLS handshake.

httpcore sends no word to the server when an answer is given up, and a cancelled request may have sent half a frame.  So
a connection takes no more requests after an answer that was not read to its end, and closes with its last one; only a
short rest is read first.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing, suppress
from typing import Any, Final

import h2.exceptions
import httpcore
import trio

from .errors import HttpError, describe
from .fields import Field, Headers
from .http1 import NoAnswer, close_at_once
from .places import Place

_HOP_BY_HOP: Final = frozenset((b"host", b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
"""What a request does not carry in HTTP/2; the host stands in the URL."""
REST_BYTES_MAX: Final = 64 * 1024
REST_SECONDS_MAX: Final = 1.0
"""How much is read of an answer that the caller leaves, and for how long, to keep the connection."""
_BROKEN: Final = (httpcore.NetworkError, httpcore.ProtocolError, h2.exceptions.ProtocolError)


class Http2Connection:
    """A connection for many requests at a time."""

    def __init__(self, stream: trio.abc.Stream, place: Place, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.idle_since = 0.0
        self._url = httpcore.URL(scheme=b"https", host=place.host.encode(), port=place.port, target=b"/")
        self._connection = httpcore.AsyncHTTP2Connection(self._url.origin, _Stream(stream))
        self._answered = False
        self._retired = False
        self._under_way = 0

    @property
    def is_open(self) -> bool:
        """Whether it takes another request."""
        return not self._retired and self._connection.is_available()

    @property
    def is_unused(self) -> bool:
        """Whether no request is under way."""
        return not self._under_way

    async def request(self, method: str, place: Place, fields: list[Field], body: bytes | None) -> Http2Exchange:
        """Send a request and return the exchange when the head of the answer is there."""
        url = httpcore.URL(scheme=b"https", host=self._url.host, port=self._url.port, target=place.target)
        headers = [(b"host", place.authority)]
        headers += [(name.lower(), value) for name, value in fields if name.lower() not in _HOP_BY_HOP]
        self._under_way += 1
        try:
            try:
                response = await self._connection.handle_async_request(
                    httpcore.Request(method, url, headers=headers, content=body)
                )
            except BaseException:
                await self.left(over=False)  # noqa: ASYNC102 - it shields itself
                raise
        except httpcore.ConnectionNotAvailable as e:
            raise NoAnswer("no answer: the connection takes no more requests") from e
        except _BROKEN as e:
            kind = NoAnswer if self._answered else HttpError
            raise kind(f"no answer: {describe(e)}") from e
        self._answered = True
        return Http2Exchange(self, response)

    async def left(self, over: bool) -> None:
        """Note that a request is through; over: whether its answer was read to the end."""
        self._under_way -= 1
        self._retired = self._retired or not over
        if self._retired and not self._under_way:
            await self.close()

    async def close(self) -> None:
        """Close at once."""
        with trio.CancelScope(shield=True), suppress(*_BROKEN):
            await self._connection.aclose()


class Http2Exchange:
    """A request and its answer, as `tinyobs.http_client.http1.Exchange`."""

    reason = ""
    """HTTP/2 has no reason phrases."""

    def __init__(self, connection: Http2Connection, response: httpcore.Response) -> None:
        self._connection = connection
        self._response = response
        self._over = self._failed = False
        self.status = response.status
        self.headers = Headers(response.headers)
        assert isinstance(response.stream, AsyncIterable)
        self._pieces = aiter(response.stream)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives."""
        try:
            async for piece in self._pieces:
                yield piece
        except GeneratorExit:
            raise
        except _BROKEN as e:
            self._failed = True
            raise HttpError(f"the body of the answer is incomplete: {describe(e)}") from e
        except BaseException:
            self._failed = True
            raise
        self._over = True

    async def close(self) -> None:
        """Leave the connection; a short rest of the body is read."""
        try:
            if not self._over and not self._failed:
                await self._read_rest()
        finally:
            with trio.CancelScope(shield=True), suppress(*_BROKEN):
                await self._response.aclose()
            await self._connection.left(self._over)  # noqa: ASYNC102 - it shields itself

    async def _read_rest(self) -> None:
        rest = 0
        with suppress(HttpError), trio.move_on_after(REST_SECONDS_MAX):
            async with aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    rest += len(piece)
                    if rest > REST_BYTES_MAX:
                        return


class _Stream(httpcore.AsyncNetworkStream):
    """A trio stream as httpcore wants it.  Its time-outs are not used."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
            raise httpcore.ReadError(describe(e)) from e

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
            raise httpcore.WriteError(describe(e)) from e
        except BaseException:  # frames are lost, of other requests perhaps: let all of them see the end
            await self.aclose()
            raise

    async def aclose(self) -> None:
        await close_at_once(self._stream)

    def get_extra_info(self, info: str) -> Any:
        return None
