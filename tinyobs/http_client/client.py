"""Clients: requests with the settings of one `http_config`, redirects, and a second try where one is due."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import trio

from .. import __version__
from ..config.http_client import HttpClientConfig
from .credentials import Added, Credentials
from .dialing import Dialer, is_forwarded
from .errors import HttpError
from .fields import Field, field
from .http1 import Exchange, Http1Connection, NoAnswer
from .places import Place, place
from .pool import Connection, Pool
from .proxies import Proxy, chooser
from .signing import RequestSigner
from .tls import HTTP1, HTTP2, TlsSource
from .tokens import ANSWER_BYTES_MAX, Post, Tokens

if TYPE_CHECKING:
    from .http2 import Http2Exchange

USER_AGENT: Final = f"TinyObs/{__version__}"
REDIRECTS_MAX: Final = 10
_REPEATABLE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_TAKEN_ALONG: Final = frozenset(("accept", "accept-encoding", "content-encoding", "content-type", "user-agent"))
"""Headers of the caller that another host gets, too; and those that begin with X-Prometheus-."""


class Shared:
    """What clients of one configuration share: TLS contexts, credentials read from files, the OAuth2 token.

    Its making reads nothing; a file that cannot be used is told by the requests that need it.
    """

    def __init__(self, config: HttpClientConfig) -> None:
        self.config = config
        self.tls = TlsSource(config.tls_config, HTTP2 if config.enable_http2 else HTTP1)
        self.credentials = Credentials(config)
        self.tokens = Tokens(config.oauth2, _poster(config)) if config.oauth2 is not None else None
        self.choose_proxy = chooser(config.proxy, os.environ)
        self.connect_fields = [
            field(name, value.reveal()) for name, values in config.proxy.proxy_connect_header for value in values
        ]


class Answer:
    """The head of an answer and its body in pieces, as they come over the wire (not decompressed)."""

    def __init__(self, exchange: Exchange | Http2Exchange) -> None:
        self._exchange = exchange
        self.status: int = exchange.status
        self.headers: Mapping[str, str] = exchange.headers
        """By name, in any case."""

    @property
    def reason(self) -> str:
        """The reason phrase, the usual one where none came."""
        return self._exchange.reason or _usual_reason(self.status)

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Return the body as it arrives; use it with `contextlib.aclosing`."""
        return self._exchange.pieces()


class Client:
    """Connections with the settings of one `http_config`, or with defaults."""

    def __init__(
        self,
        config: HttpClientConfig | None = None,
        shared: Shared | None = None,
        unix_socket: str = "",
        signer: RequestSigner | None = None,
        any_address: bool = False,
    ) -> None:
        """Raises `HttpError` when a certificate cannot be read, or the URL of a proxy is broken.

        shared: what many clients of the configuration have in common, instead of one's own; then nothing is read here.
        unix_socket: the path of a socket that all requests go to, whatever host their URL names.
        signer: adds headers to each request; it is closed with the client.
        any_address: each connection goes to an address of the host that is picked by chance, not to the first.
        """
        if shared is None:
            shared = Shared(config or HttpClientConfig())
            shared.tls.check()
        self._shared, self._signer = shared, signer
        self._follows = shared.config.follow_redirects
        self._choose_proxy = None if unix_socket else shared.choose_proxy
        dialer = Dialer(shared.tls, unix_socket, shared.connect_fields, any_address)
        self._pool = Pool(dialer, lambda: shared.tls.context(trio.current_time()))
        self._last: tuple[str, Place] | None = None
        """The URL that was asked last: many clients ask for one only."""

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> AsyncIterator[Answer]:
        """Send a request; the answer's body is read within the context.  Raises `HttpError` when there is none."""
        if self._last is None or self._last[0] != url:
            self._last = url, place(url)
        request = _Request(method, self._last[1], headers or {}, content)
        round_trip = await self._answered(request)
        try:
            yield Answer(round_trip.exchange)
        finally:
            await round_trip.finish()  # noqa: ASYNC102 - what must be done is shielded there

    async def aclose(self) -> None:
        """Close all connections."""
        with trio.move_on_after(1, shield=True):
            await self._pool.aclose()
            if self._signer is not None:
                await self._signer.aclose()

    async def _answered(self, request: _Request) -> _RoundTrip:
        """Return the round trip whose answer counts: the last of a chain of redirects."""
        for _ in range(REDIRECTS_MAX + 1):
            round_trip = await self._authorized(request)
            status = round_trip.exchange.status
            if status not in _REDIRECTS or not self._follows or "location" not in round_trip.exchange.headers:
                return round_trip
            location = round_trip.exchange.headers["location"]
            await round_trip.finish()
            request.redirect(status, location)
        raise HttpError(f"stopped after {REDIRECTS_MAX} redirects")

    async def _authorized(self, request: _Request) -> _RoundTrip:
        """Make a round trip with the credentials of the configuration; a refused token is replaced once."""
        shared = self._shared
        added = shared.credentials.current(trio.current_time())
        if self._signer is not None and not request.is_elsewhere:
            return await self._signed(request, added, self._signer)
        tokens = shared.tokens
        if tokens is None or request.is_elsewhere or request.has_authorization:
            return await self._round_trip(request, request.fields(added, ""))
        token = await tokens.header()
        round_trip = await self._round_trip(request, request.fields(added, token))
        if round_trip.exchange.status != HTTPStatus.UNAUTHORIZED:
            return round_trip
        await round_trip.finish()
        token = await tokens.renewed(token)
        return await self._round_trip(request, request.fields(added, token))

    async def _signed(self, request: _Request, added: Added, signer: RequestSigner) -> _RoundTrip:
        """Make a round trip with a signature; one that was refused is made anew once."""
        for is_last in (False, True):
            extra = await signer.headers(request.method, request.url, request.headers, request.content or b"")
            signed = [field(*one) for one in extra.items()]
            names = {name.lower() for name, _ in signed}
            fields = [one for one in request.fields(added, "") if one[0].lower() not in names]
            round_trip = await self._round_trip(request, [*fields, *signed])
            if is_last or not signer.may_help(round_trip.exchange.status, round_trip.exchange.headers):
                break
            await round_trip.finish()
        return round_trip

    async def _round_trip(self, request: _Request, fields: list[Field]) -> _RoundTrip:
        """Send a request.

        A connection that was kept may be closed by the server just as it is used again.  What may be repeated is then
        sent once more, as Prometheus' client does.
        """
        proxy = self._choose_proxy(request.place) if self._choose_proxy is not None else None
        connection, was_kept = await self._pool.take(request.place, proxy)
        try:
            return await self._send(connection, request, proxy, fields)
        except NoAnswer:
            if not was_kept or request.method not in _REPEATABLE:
                raise
        connection, _ = await self._pool.take(request.place, proxy, fresh=True)
        return await self._send(connection, request, proxy, fields)

    async def _send(
        self, connection: Connection, request: _Request, proxy: Proxy | None, fields: list[Field]
    ) -> _RoundTrip:
        exchange: Exchange | Http2Exchange
        if isinstance(connection, Http1Connection):
            head = request.head(fields, proxy)
            exchange = await connection.request(head, request.content or b"", request.method == "HEAD")
        else:
            exchange = await connection.request(request.method, request.place, fields, request.content)
        return _RoundTrip(self._pool, connection, exchange, request.place, proxy)


class _Request:
    """What is asked, and how that changes with redirects."""

    def __init__(self, method: str, place: Place, headers: Mapping[str, str], content: bytes | None) -> None:
        self.method, self.place, self.content = method, place, content
        self.is_elsewhere = False
        """Whether a redirect has led to another host than the one that the credentials are for."""
        self._first = place
        self._headers = headers
        self._names = {name.lower() for name in headers}

    @property
    def url(self) -> str:
        """The URL that is asked, without user and password."""
        return f"{self.place.scheme}://{self.place.authority.decode()}{self.place.target.decode()}"

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of the caller."""
        return self._headers

    @property
    def has_authorization(self) -> bool:
        """Whether the caller or the URL brings credentials of their own."""
        return "authorization" in self._names

    def fields(self, added: Added, token: str) -> list[Field]:
        """Return the headers but for Host; a header of the caller stands instead of the configuration's credentials."""
        fields = [field(*header) for header in self._headers.items()]
        if "user-agent" not in self._names:
            fields.append((b"User-Agent", USER_AGENT.encode()))
        if "accept-encoding" not in self._names:
            fields.append((b"Accept-Encoding", b"identity"))
        if self.content is not None or self.method in ("POST", "PUT", "PATCH"):
            fields.append((b"Content-Length", b"%d" % len(self.content or b"")))
        fields += added.open
        if not self.is_elsewhere:
            secret = added.secret
            if self.has_authorization and added.has_authorization:
                secret = tuple(one for one in secret if one[0] != b"Authorization")
            fields += secret
        if token:
            fields.append(field("Authorization", token))
        elif self.place.userinfo and not self.has_authorization and (self.is_elsewhere or not added.has_authorization):
            fields.append(field("Authorization", self.place.userinfo))
        return fields

    def head(self, fields: list[Field], proxy: Proxy | None) -> bytes:
        """Return the head of the request for HTTP/1.1."""
        place, target = self.place, self.place.target
        if proxy is not None and is_forwarded(place, proxy):
            target = b"http://" + place.authority + target
            if proxy.authorization:
                fields = [*fields, field("Proxy-Authorization", proxy.authorization)]
        lines = [b"%b %b HTTP/1.1" % (self.method.encode(), target)]
        if "host" not in self._names:
            lines.append(b"Host: " + place.authority)
        lines += [b"%b: %b" % one for one in fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def redirect(self, status: int, location: str) -> None:
        """Ask what a redirect leads to; credentials stay with the host they are for."""
        self.place = self.place.join(location)
        if self.place.origin != self._first.origin and not _is_upgrade(self._first, self.place):
            self.is_elsewhere = True
            self._keep(lambda name: name in _TAKEN_ALONG or name.startswith("x-prometheus-"))
        if status == HTTPStatus.SEE_OTHER or (status in (301, 302) and self.method == "POST"):
            self.method = "HEAD" if self.method == "HEAD" else "GET"
            self.content = None
            self._keep(lambda name: not name.startswith("content-"))

    def _keep(self, wanted: Callable[[str], bool]) -> None:
        self._headers = {name: value for name, value in self._headers.items() if wanted(name.lower())}
        self._names = {name.lower() for name in self._headers}


class _RoundTrip:
    """A request that was sent, and its answer, of which the body is still to be read."""

    def __init__(
        self, pool: Pool, connection: Connection, exchange: Exchange | Http2Exchange, place: Place, proxy: Proxy | None
    ) -> None:
        self.exchange = exchange
        self._pool, self._connection, self._place, self._proxy = pool, connection, place, proxy

    async def finish(self) -> None:
        """Keep the connection for the next request where the answer is over, else give it up."""
        if not isinstance(self.exchange, Exchange):
            self._connection.idle_since = trio.current_time()
            await self.exchange.close()
        elif isinstance(self._connection, Http1Connection):
            if self.exchange.is_over:
                await self._pool.give_back(self._place, self._proxy, self._connection)
            else:
                await self._connection.close()


def _poster(config: HttpClientConfig) -> Post:
    """Return what sends a form to the token endpoint, with the TLS settings and the proxy that `oauth2` has."""
    assert config.oauth2 is not None
    own = HttpClientConfig(tls_config=config.oauth2.tls_config, proxy=config.oauth2.proxy)

    async def post(url: str, headers: Mapping[str, str], form: bytes) -> tuple[int, str, bytes]:
        client = Client(own)  # tokens are fetched seldom; no connection is kept for that
        try:
            async with client.stream("POST", url, headers, form) as answer, aclosing(answer.pieces()) as pieces:
                body = b""
                async for piece in pieces:
                    body += piece
                    if len(body) > ANSWER_BYTES_MAX:
                        raise HttpError(f"the answer has more than {ANSWER_BYTES_MAX} bytes")
                return answer.status, answer.headers.get("content-type", ""), body
        finally:
            await client.aclose()

    return post


def _is_upgrade(first: Place, now: Place) -> bool:
    """Tell whether the same host is now asked over TLS."""
    return first.host == now.host and first.origin[1:] == (first.host, 80) and now.origin == ("https", now.host, 443)


def _usual_reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
