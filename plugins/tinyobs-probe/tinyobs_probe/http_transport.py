"""The connections of an HTTP probe: httpcore on trio, to addresses that we resolve, with every phase timed.

httpcore speaks HTTP/1.1 and HTTP/2 over the streams made here.  Deadlines are cancel scopes of the caller, so
httpcore's own timeouts are ignored.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import trio
from attrs import define
from tinyobs.config.http_client import HttpClientConfig

from .address import Address, choose
from .connection import TlsStream, client_context, close, connect, start_tls
from .report import Report
from .settings import HttpProbe


@define
class Phases:
    """Seconds of one round trip; None for what did not happen."""

    resolve: float | None = None
    connect: float | None = None
    tls: float | None = None
    ready_at: float | None = None
    """When the connection could be used."""


class ProbeStream(httpcore.AsyncNetworkStream):
    """A trio stream as httpcore wants it."""

    def __init__(self, stream: trio.SocketStream | TlsStream, phases: Phases, client: HttpClientConfig) -> None:
        self.stream = stream
        self._phases = phases
        self._client = client

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return the next bytes, none at the end."""
        try:
            data = bytes(await self.stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
            raise httpcore.ReadError(str(e.__cause__ or e)) from e
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send bytes."""
        if buffer:
            try:
                await self.stream.send_all(buffer)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
                raise httpcore.WriteError(str(e.__cause__ or e)) from e

    async def aclose(self) -> None:
        """Close at once."""
        await close(self.stream)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return the stream with TLS on top; the context is the module's, not that of httpcore."""
        assert isinstance(self.stream, trio.SocketStream)
        alpn = ("h2", "http/1.1") if self._client.enable_http2 else ("http/1.1",)
        try:
            context = await client_context(self._client.tls_config, alpn)
            began = trio.current_time()
            tls = await start_tls(self.stream, context, server_hostname or "")
        except BaseException:
            await self.aclose()
            raise
        self._phases.ready_at = trio.current_time()
        self._phases.tls = self._phases.ready_at - began
        return ProbeStream(tls, self._phases, self._client)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks about the connection."""
        if info == "ssl_object":
            return self.stream._ssl_object if isinstance(self.stream, trio.SSLStream) else None
        if info == "is_readable":
            below = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream
            if below.socket.fileno() < 0:
                return True
            poll = select.poll()
            poll.register(below.socket.fileno(), select.POLLIN)
            return bool(poll.poll(0))
        return None


class ProbeBackend(httpcore.AsyncNetworkBackend):
    """Makes connections for one probe.  `phases` is that of the current round trip; the caller replaces it."""

    def __init__(self, probe: HttpProbe, report: Report) -> None:
        self.phases = Phases()
        self._probe = probe
        self._report = report
        self._first: tuple[str, Address] | None = None

    async def resolve(self, host: str) -> Address:
        """Return the address of a host; that of the first host is looked up once and reported."""
        if self._first is not None and self._first[0] == host:
            return self._first[1]
        # Only the target itself is reported; a host that a redirect names is not.
        report = self._report if self._first is None else Report()
        preferred, fallback = self._probe.preferred_ip_protocol, self._probe.ip_protocol_fallback
        address, self.phases.resolve = await choose(host, preferred, fallback, report)
        if self._first is None:
            self._first = (host, address)
        return address

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection to a host."""
        address = await self.resolve(host.strip("[]"))
        began = trio.current_time()
        stream = await connect(address, port)
        self.phases.ready_at = trio.current_time()
        self.phases.connect = self.phases.ready_at - began
        return ProbeStream(stream, self.phases, self._probe.client)

    async def sleep(self, seconds: float) -> None:
        """Wait, between attempts that httpcore would make."""
        await trio.sleep(seconds)


def pool(probe: HttpProbe, backend: ProbeBackend) -> httpcore.AsyncConnectionPool:
    """Return the connections of one probe.

    httpcore gets an empty context: it would read the system's certificates for a plain request, too.
    """
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpcore.AsyncConnectionPool(
        ssl_context=empty, http1=True, http2=probe.client.enable_http2, network_backend=backend, max_connections=4
    )
