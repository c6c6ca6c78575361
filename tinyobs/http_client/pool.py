"""The connections of one client: those that are idle, ready for the next request, and those that speak HTTP/2.

HTTP/1.1: a request takes an idle connection or opens one, and gives it back when the answer is over.  HTTP/2: requests
share a connection.  Deadlines are cancel scopes of the caller.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from .dialing import Dialer, Route, route_of
from .http1 import Http1Connection
from .places import Place
from .proxies import Proxy

IDLE_SECONDS_MAX: Final = 300.0
"""How long a connection is kept for the next request, as in Prometheus."""
IDLE_CONNECTIONS_MAX: Final = 1000
"""Most idle connections to one server, as in Prometheus."""

if TYPE_CHECKING:
    from .http2 import Http2Connection

Connection: TypeAlias = "Http1Connection | Http2Connection"


class Pool:
    """Connections by route.  context: what new TLS connections to servers are made with, to tell older ones apart."""

    def __init__(self, dialer: Dialer, context: Callable[[], ssl.SSLContext]) -> None:
        self._dialer = dialer
        self._context = context
        self._idle: dict[Route, list[Http1Connection]] = {}
        """By route, the one that was used last at the end."""
        self._shared: dict[Route, list[Http2Connection]] = {}

    async def take(self, place: Place, proxy: Proxy | None, fresh: bool = False) -> tuple[Connection, bool]:
        """Return a connection for a request, and whether it has served one before; raises `HttpError`.

        fresh: whether it must be a new one.
        """
        route = route_of(place, proxy)
        if not fresh and (self._idle or self._shared):
            kept = await self._kept(route, place.scheme == "https")
            if kept is not None:
                return kept, True
        stream, context = await self._dialer.open(place, proxy)
        if isinstance(stream, trio.SSLStream) and stream.selected_alpn_protocol() == "h2":
            from .http2 import Http2Connection  # few servers speak it over TLS, and httpcore takes three megabytes

            shared = Http2Connection(stream, place, context)
            self._shared.setdefault(route, []).append(shared)
            return shared, False
        return Http1Connection(stream, context), False

    async def give_back(self, place: Place, proxy: Proxy | None, connection: Http1Connection) -> None:
        """Keep a connection whose answer is over."""
        connection.idle_since = trio.current_time()
        idle = self._idle.setdefault(route_of(place, proxy), [])
        idle.append(connection)
        if len(idle) > IDLE_CONNECTIONS_MAX:
            await idle.pop(0).close()

    async def aclose(self) -> None:
        """Close all connections."""
        connections: list[Connection] = [c for kept in self._idle.values() for c in kept]
        connections += [c for kept in self._shared.values() for c in kept]
        self._idle, self._shared = {}, {}
        for connection in connections:
            await connection.close()

    async def _kept(self, route: Route, tls: bool) -> Connection | None:
        """Return a connection that can be used again; closes those that cannot."""
        context = self._context() if tls else None
        since = trio.current_time() - IDLE_SECONDS_MAX
        found: Connection | None = None
        idle = self._idle.get(route)
        while idle and found is None:
            connection = idle.pop()
            if connection.context is context and connection.idle_since >= since and connection.is_quiet():
                found = connection
            else:
                await connection.close()
        if idle is not None:
            while idle and idle[0].idle_since < since:
                await idle.pop(0).close()
            # Another request may have done so while this one closed a connection.
            if not idle and self._idle.get(route) is idle:
                del self._idle[route]
        if found is None and tls:
            found = await self._shared_one(route, context, since)
        return found

    async def _shared_one(self, route: Route, context: ssl.SSLContext | None, since: float) -> Http2Connection | None:
        found, kept = None, []
        for connection in self._shared.get(route, ()):
            current = connection.context is context and connection.is_open
            if connection.is_unused and (not current or connection.idle_since < since):
                await connection.close()
                continue
            kept.append(connection)
            if current:
                found = connection
        if kept:
            self._shared[route] = kept
        else:
            self._shared.pop(route, None)
        return found
