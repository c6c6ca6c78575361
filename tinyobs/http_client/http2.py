"""HTTP/2: httpcore's connection on a stream of ours, for servers that choose it in the TLS handshake."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator
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
_BROKEN: Final = (httpcore.NetworkError, httpcore.ProtocolError, h2.exceptions.ProtocolError)


class Http2Connection:
    """A connection for many requests at a time."""

    def __init__(self, stream: trio.abc.Stream, place: Place, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.idle_since = 0.0
        self._url = httpcore.URL(scheme=b"https", host=place.host.encode(), port=place.port, target=b"/")
        self._connection = httpcore.AsyncHTTP2Connection(self._url.origin, _Stream(stream))
        self._answered = False

    @property
    def is_open(self) -> bool:
        """Whether it takes another request."""
        return self._connection.is_available()

    @property
    def is_unused(self) -> bool:
        """Whether no request is under way."""
        return self._connection.is_idle() or self._connection.is_closed()

    async def request(self, method: str, place: Place, fields: list[Field], body: bytes | None) -> Http2Exchange:
        """Send a request and return the exchange when the head of the answer is there."""
        url = httpcore.URL(scheme=b"https", host=self._url.host, port=self._url.port, target=place.target)
        headers = [(b"host", place.authority)]
        headers += [(name.lower(), value) for name, value in fields if name.lower() not in _HOP_BY_HOP]
        try:
            response = await self._connection.handle_async_request(
                httpcore.Request(method, url, headers=headers, content=body)
            )
        except httpcore.ConnectionNotAvailable as e:
            raise NoAnswer("no answer: the connection takes no more requests") from e
        except _BROKEN as e:
            kind = NoAnswer if self._answered else HttpError
            raise kind(f"no answer: {describe(e)}") from e
        self._answered = True
        return Http2Exchange(response)

    async def close(self) -> None:
        """Close at once."""
        with trio.CancelScope(shield=True):
            await self._connection.aclose()


class Http2Exchange:
    """A request and its answer, as `tinyobs.http_client.http1.Exchange`."""

    reason = ""
    """HTTP/2 has no reason phrases."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response
        self.status = response.status
        self.headers = Headers(response.headers)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives."""
        stream = self._response.stream
        assert isinstance(stream, AsyncIterator) or hasattr(stream, "__aiter__")
        try:
            async for piece in stream:
                yield piece
        except _BROKEN as e:
            raise HttpError(f"the body of the answer is incomplete: {describe(e)}") from e

    async def close(self) -> None:
        """Give up what was not read."""
        with trio.CancelScope(shield=True):
            await self._response.aclose()


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

    async def aclose(self) -> None:
        await close_at_once(self._stream)

    def get_extra_info(self, info: str) -> Any:
        return None
