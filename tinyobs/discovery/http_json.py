"""An API that speaks JSON over HTTP, as most sources of targets do: bounded, with deadlines and errors for operators.

Not here: what the answers mean, and retries.  Addresses may also be those of a daemon on this host,
`unix:///var/run/docker.sock`.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode, urlsplit

import orjson
import trio
from attrs import frozen

from ..config.http_client import HttpClientConfig
from ..errors import TinyObsError
from ..http_client import Answer, Client, HttpError
from .refreshing import DiscoveryError

BODY_BYTES_MAX: Final = 256 * 1024 * 1024
"""Most bytes of an answer, decompressed."""
DEADLINE_SECONDS: Final = 30.0
EXCERPT_CHARS_MAX: Final = 200
"""Most that an error shows of what a server said."""
_EXCERPT_BYTES_MAX: Final = 4096
_UNPACK_BYTES: Final = 256 * 1024

Params: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Parameters of a query; pairs where one has several values."""


class StatusError(DiscoveryError):
    """The server answered with another status than one of success."""

    def __init__(self, text: str, status: int) -> None:
        self.status = status
        super().__init__(text)


@frozen
class JsonAnswer:
    """An answer whose body is JSON."""

    value: Any
    headers: Mapping[str, str]
    """Names in any case."""
    status: int = 200


@frozen
class Body:
    """An answer whose body is any bytes, decompressed."""

    data: bytes
    headers: Mapping[str, str]
    status: int = 200


class JsonClient:
    """Asks one API.  The connection is opened with the first request, and kept.

    Every error is a `DiscoveryError` or an `HttpError`; their texts show neither credentials nor the query of a URL.
    """

    def __init__(
        self,
        config: HttpClientConfig | None = None,
        address: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        """address: what the paths of requests are put behind: `http(s)://host[:port][/prefix]`, `tcp://host:port` for
        HTTP, or `unix:///path/of/socket`.

        headers: go with each request.  deadline_seconds: for a request with its whole body.
        """
        self.deadline_seconds, self.body_bytes_max = deadline_seconds, body_bytes_max
        self._config, self._headers = config, dict(headers or {})
        self._base, self._unix_socket = _base(address)
        self._client: Client | None = None

    async def get(
        self,
        path: str,
        params: Params = (),
        *,
        headers: Mapping[str, str] | None = None,
        deadline_seconds: float | None = None,
    ) -> JsonAnswer:
        """Ask for a path behind the address, or for a whole URL (a next page, say), and return its answer."""
        return await self.request("GET", path, params, headers=headers, deadline_seconds=deadline_seconds)

    async def post(
        self,
        path: str,
        params: Params = (),
        *,
        json: Any = None,
        form: Params | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_seconds: float | None = None,
    ) -> JsonAnswer:
        """Send a value as JSON, or fields of a form, and return the answer."""
        fields = dict(headers or {})
        if form is not None:
            content = urlencode(_pairs(form)).encode()
            fields.setdefault("Content-Type", "application/x-www-form-urlencoded")
        else:
            content = orjson.dumps(json)
            fields.setdefault("Content-Type", "application/json")
        return await self.request(
            "POST", path, params, headers=fields, content=content, deadline_seconds=deadline_seconds
        )

    async def request(
        self,
        method: str,
        path: str,
        params: Params = (),
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        deadline_seconds: float | None = None,
    ) -> JsonAnswer:
        """Send a request and return its answer; any status but 2xx raises `StatusError`."""
        body = await self.fetch(
            method, path, params, headers=headers, content=content, deadline_seconds=deadline_seconds
        )
        try:
            return JsonAnswer(orjson.loads(body.data), body.headers, body.status)
        except orjson.JSONDecodeError as e:
            raise DiscoveryError(f"{method} {shown(self._url(path))}: the answer is no JSON: {e}") from None

    async def fetch(
        self,
        method: str,
        path: str,
        params: Params = (),
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        deadline_seconds: float | None = None,
    ) -> Body:
        """Do the same for a body of any kind."""
        seconds = self.deadline_seconds if deadline_seconds is None else deadline_seconds
        what = f"{method} {shown(self._url(path))}"
        fields = {"Accept": "application/json", **(headers or {})}
        with trio.move_on_after(seconds):
            async with self.stream(method, path, params, headers=fields, content=content) as answer:
                data = await read_body(answer, self.body_bytes_max, what)
                return Body(data, answer.headers, answer.status)
        raise DiscoveryError(f"{what}: no whole answer within {seconds:g} s")

    def stream(
        self,
        method: str,
        path: str,
        params: Params = (),
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> AbstractAsyncContextManager[Answer]:
        """Send a request and yield its answer of status 2xx, whose body is still to be read (`pieces`).

        Without deadline: a watch may take for ever.  Use `unpacked` for a body that may be compressed.
        """
        url = self._url(path)
        if pairs := _pairs(params):
            url += ("&" if "?" in url else "?") + urlencode(pairs)
        fields = {"Accept-Encoding": "gzip", **self._headers, **(headers or {})}
        return self._stream(method, url, fields, content)

    @asynccontextmanager
    async def _stream(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> AsyncIterator[Answer]:
        where = f"{method} {shown(url)}" + (f" at {self._unix_socket}" if self._unix_socket else "")
        try:
            if self._client is None:
                self._client = Client(self._config, unix_socket=self._unix_socket)
            async with self._client.stream(method, url, headers, content) as answer:
                if not 200 <= answer.status < 300:
                    what = f"{where}: the server answered {answer.status} {answer.reason}".rstrip()
                    raise StatusError(f"{what}{await _excerpt(answer)}", answer.status)
                yield answer
        except HttpError as e:
            raise HttpError(f"{where}: {e}") from e

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _url(self, path: str) -> str:
        if path.startswith(("http://", "https://")):
            return path
        return self._base + path


async def read_body(answer: Answer, bytes_max: int, what: str) -> bytes:
    """Return a whole body, decompressed; raises `DiscoveryError` that begins with `what` when it is too long."""
    parts, size = [], 0
    async with aclosing(unpacked(answer)) as pieces:
        async for piece in pieces:
            size += len(piece)
            if size > bytes_max:
                raise DiscoveryError(f"{what}: the answer is longer than {bytes_max} bytes")
            parts.append(piece)
    return b"".join(parts)


async def unpacked(answer: Answer) -> AsyncGenerator[bytes, None]:
    """Yield the body as it arrives, decompressed, in bounded pieces; use it with `contextlib.aclosing`."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise DiscoveryError(f"the server answered with content encoding {encoding!r}, which was not asked for")
    unzip = zlib.decompressobj(wbits=31)
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            if encoding != "gzip":
                yield piece  # noqa: ASYNC119 - used with aclosing, as is the next
                continue
            while piece:
                try:
                    yield unzip.decompress(piece, _UNPACK_BYTES)  # noqa: ASYNC119
                except zlib.error as e:
                    raise DiscoveryError(f"gzip: {e}") from None
                piece = unzip.unconsumed_tail
                await trio.lowlevel.checkpoint()
    if encoding == "gzip":
        yield unzip.flush()
    if encoding == "gzip" and not unzip.eof:
        raise DiscoveryError("gzip: unexpected end of the answer")


def shown(url: str) -> str:
    """Return a URL for a message: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the URL"
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else url.partition("?")[0]


def _base(address: str) -> tuple[str, str]:
    """Return (what URLs begin with, the path of a Unix socket or "")."""
    scheme, sep, rest = address.partition("://")
    if scheme == "unix" and sep:
        return "http://localhost", rest
    if scheme == "tcp" and sep:
        address = f"http://{rest}"
    return address.rstrip("/"), ""


def _pairs(params: Params) -> list[tuple[str, str]]:
    return list(params.items() if isinstance(params, Mapping) else params)


async def _excerpt(answer: Answer) -> str:
    """Return the beginning of what a server said of an error, on one line, for the end of a message."""
    data = b""
    with trio.move_on_after(1), suppress(TinyObsError):
        async with aclosing(unpacked(answer)) as pieces:
            async for piece in pieces:
                data += piece
                if len(data) > _EXCERPT_BYTES_MAX:
                    break
    text = " ".join(data[:_EXCERPT_BYTES_MAX].decode("utf-8", "replace").split())
    printable = "".join(c for c in text if c.isprintable())[:EXCERPT_CHARS_MAX]
    return f": {printable}" if printable else ""
