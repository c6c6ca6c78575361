"""Opening a stream to a server: over TCP or a Unix socket, directly or through a proxy, with TLS on top.

An HTTP proxy is asked with CONNECT for an https server; for an http server the stream ends at the proxy, which is then
asked with the whole URL.  A SOCKS5 proxy (RFC 1928, with user and password as in RFC 1929) resolves names itself.
Deadlines are cancel scopes of the caller.
"""

from __future__ import annotations

import ipaddress
import random
import ssl
import struct
from typing import Final

import trio
from attrs import frozen

from .errors import HttpError, describe
from .fields import Field
from .http1 import Http1Connection, close_at_once
from .places import Place
from .proxies import Proxy
from .tls import TlsSource

_SOCKS_REFUSALS: Final = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
_NAME_BYTES_MAX: Final = 255
"""Longest host name, user name or password that SOCKS5 carries."""


@frozen
class Route:
    """How a place is reached; connections with the same route serve the same requests.

    origin: None for whatever an HTTP proxy is asked for in plain text.
    """

    origin: tuple[str, str, int] | None
    proxy: Proxy | None


def route_of(place: Place, proxy: Proxy | None) -> Route:
    """Return the route to a place."""
    return Route(None if is_forwarded(place, proxy) else place.origin, proxy)


def is_forwarded(place: Place, proxy: Proxy | None) -> bool:
    """Tell whether the proxy is asked with the whole URL."""
    return proxy is not None and not proxy.is_socks and place.scheme == "http"


class Dialer:
    """Opens streams with the settings of one client."""

    def __init__(
        self, tls: TlsSource, unix_socket: str, connect_fields: list[Field], any_address: bool = False
    ) -> None:
        """any_address: whether each connection goes to an address of the host that is picked by chance."""
        self._any_address = any_address
        self._tls = tls
        self._unix_socket = unix_socket
        self._connect_fields = connect_fields
        """What is sent to a proxy with CONNECT."""

    async def open(self, place: Place, proxy: Proxy | None) -> tuple[trio.abc.Stream, ssl.SSLContext | None]:
        """Return a stream on which a request for a place can be sent, and the TLS context it was made with."""
        stream = await self._connect(place, proxy)
        try:
            if proxy is not None and proxy.is_socks:
                await _socks_connect(stream, proxy, place.host, place.port)
            elif proxy is not None and not is_forwarded(place, proxy):
                await self._ask_proxy(stream, proxy, place)
            if place.scheme == "http":
                return stream, None
            context = self._tls.context(trio.current_time())
            return await _start_tls(stream, context, self._tls.server_name or place.host), context
        except BaseException:
            await close_at_once(stream)  # noqa: ASYNC102 - it shields itself
            raise

    async def _connect(self, place: Place, proxy: Proxy | None) -> trio.abc.Stream:
        """Return the stream to the first hop."""
        try:
            if self._unix_socket:
                return await trio.open_unix_socket(self._unix_socket)
            if proxy is None:
                host = await _one_of(place) if self._any_address else place.host
                return await trio.open_tcp_stream(host, place.port)
            stream = await trio.open_tcp_stream(proxy.host, proxy.port)
        except (OSError, UnicodeError) as e:  # the latter for what can be no name of a host
            raise HttpError(_told(e, proxy)) from e
        if proxy.scheme != "https":
            return stream
        try:
            return await _start_tls(stream, self._tls.context(trio.current_time(), proxy=True), proxy.host)
        except BaseException:
            await close_at_once(stream)  # noqa: ASYNC102 - it shields itself
            raise

    async def _ask_proxy(self, stream: trio.abc.Stream, proxy: Proxy, place: Place) -> None:
        """Have an HTTP proxy connect to the place."""
        where = place.host_and_port.encode()
        lines = [b"CONNECT %b HTTP/1.1" % where, b"Host: " + where]
        lines += [b"%b: %b" % field for field in self._connect_fields]
        given = any(name.lower() == b"proxy-authorization" for name, _ in self._connect_fields)
        if proxy.authorization and not given:
            lines.append(b"Proxy-Authorization: " + proxy.authorization.encode())
        exchange = await Http1Connection(stream).request(b"\r\n".join(lines) + b"\r\n\r\n", bodiless=True)
        if not 200 <= exchange.status < 300:
            raise HttpError(f"the proxy refuses to connect: {exchange.status} {exchange.reason}".rstrip())


async def _one_of(place: Place) -> str:
    """Return one of the addresses of a host."""
    found = await trio.socket.getaddrinfo(place.host, place.port, type=trio.socket.SOCK_STREAM)
    return str(random.choice(found)[4][0])  # noqa: S311 - no secret hangs on it


async def _start_tls(stream: trio.abc.Stream, context: ssl.SSLContext, name: str) -> trio.abc.Stream:
    try:
        tls: trio.SSLStream[trio.abc.Stream] = trio.SSLStream(
            stream, context, server_hostname=name, https_compatible=True
        )
        await tls.do_handshake()
    except (trio.BrokenResourceError, ssl.CertificateError, ValueError) as e:
        raise HttpError(describe(e)) from e
    return tls


async def _socks_connect(stream: trio.abc.Stream, proxy: Proxy, host: str, port: int) -> None:
    """Have a SOCKS5 proxy connect to a host."""
    user, password = proxy.user.encode(), proxy.password.encode()
    name, with_password = host.encode(), bool(user or password)
    if max(len(user), len(password), len(name)) > _NAME_BYTES_MAX:
        raise HttpError(f"SOCKS5 carries no host, user or password of more than {_NAME_BYTES_MAX} bytes")
    try:
        await stream.send_all(b"\x05\x02\x00\x02" if with_password else b"\x05\x01\x00")
        version, method = await _exactly(stream, 2)
        if version != 5 or method not in (0, 2 if with_password else 0):
            raise HttpError("the SOCKS5 proxy wants another kind of authentication")
        if method == 2:
            await stream.send_all(bytes((1, len(user))) + user + bytes((len(password),)) + password)
            if (await _exactly(stream, 2))[1] != 0:
                raise HttpError("the SOCKS5 proxy refuses user and password")
        await stream.send_all(b"\x05\x01\x00" + _socks_address(name) + struct.pack(">H", port))
        _, refusal, _, kind = await _exactly(stream, 4)
        if refusal:
            why = _SOCKS_REFUSALS.get(refusal, f"code {refusal}")
            raise HttpError(f"the SOCKS5 proxy refuses to connect: {why}")
        length = {1: 4, 4: 16}.get(kind)
        await _exactly(stream, (length if length is not None else (await _exactly(stream, 1))[0]) + 2)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
        raise HttpError(f"the SOCKS5 proxy closed the connection: {describe(e)}") from e


def _socks_address(name: bytes) -> bytes:
    """Return a host as SOCKS5 writes it: an address packed, a name with its length."""
    try:
        address = ipaddress.ip_address(name.decode())
    except ValueError:
        return bytes((3, len(name))) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


async def _exactly(stream: trio.abc.Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        if not more:
            raise HttpError("the SOCKS5 proxy closed the connection")
        data += more
    return data


def _told(error: Exception, proxy: Proxy | None) -> str:
    return f"proxy: {describe(error)}" if proxy else describe(error)
