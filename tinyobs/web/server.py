"""The listener: accepts connections up to a limit, and stops in order.

Stopping has three steps: no new connections, a while for the requests in flight, then the rest is cut.  It begins when
`serve` is cancelled; the while is `ServerOptions.drain_seconds`, during which the cancellation waits.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from typing import Final

import structlog
import trio
from attrs import frozen

from .application import Application
from .connection import ConnectionServer
from .listener import close, describe, open_listeners
from .options import ServerOptions, TlsOptions
from .tls import TlsContexts

log = structlog.get_logger("web")

PAUSE_SECONDS: Final = 0.1
"""Pause after accepting failed for want of a resource of the system, file descriptors mostly."""
ACCEPTED_AT_ONCE_MAX: Final = 32
"""Connections that are accepted before those accepted begin to be served."""
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@frozen
class ServerStatistics:
    """Numbers of the listener."""

    connections: int
    """Connections open now."""
    connections_max: int
    """Connections that may be open at one time."""
    connections_accepted_total: int
    """Connections accepted since the start."""


class Server:
    """Serves one application on any number of addresses.  One object, one run."""

    def __init__(
        self, app: Application, addresses: Sequence[str], options: ServerOptions, tls: TlsOptions | None = None
    ) -> None:
        self._addresses = addresses
        self._options = options
        contexts = TlsContexts(tls, http2=options.http2) if tls is not None else None
        self._scheme = "https" if tls is not None else "http"
        self._connections = ConnectionServer(app, options, contexts)
        self._slots = trio.CapacityLimiter(options.connections_max)
        self._accepted = 0

    def statistics(self) -> ServerStatistics:
        """Return the numbers as of now."""
        return ServerStatistics(self._connections.open_count, self._options.connections_max, self._accepted)

    async def serve(self, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; `task_status.started` gets the URLs that are served.

        Raises `UsageError` when an address cannot be had.
        """
        listeners = await open_listeners(self._addresses)
        try:
            async with trio.open_nursery() as nursery:
                # The connections live behind a shield, else a cancellation would end them before they could finish.
                stop = trio.Event()
                connections = await nursery.start(self._hold_connections, stop)
                try:
                    async with trio.open_nursery() as accepting:
                        for listener in listeners:
                            accepting.start_soon(self._accept, listener, connections)
                        task_status.started([describe(listener, self._scheme) for listener in listeners])
                finally:
                    close(listeners)
                    stop.set()
        finally:
            close(listeners)

    async def _hold_connections(
        self, stop: trio.Event, *, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as outer:
                outer.start_soon(self._connections.watch_idle)
                async with trio.open_nursery() as connections:
                    task_status.started(connections)
                    await stop.wait()
                    await self._connections.finish()
                    outer.start_soon(self._cut)
                outer.cancel_scope.cancel()

    async def _cut(self) -> None:
        """Close the sockets after a while: Hypercorn shields its sending, so cancelling would not be enough."""
        await trio.sleep(self._options.drain_seconds)
        log.warning("connections cut at the end of the time to drain", count=self._connections.open_count)
        self._connections.cut()

    async def _accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        with socket.socket(fileno=os.dup(listener.socket.fileno())) as raw:
            while True:
                # A slot is taken when somebody is there to fill it: else a quiet address would keep one from a busy one.
                await trio.lowlevel.wait_readable(listener.socket)
                await self._accept_one(listener, connections)
                self._accept_at_once(raw, connections)

    async def _accept_one(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        token = object()
        try:
            self._slots.acquire_on_behalf_of_nowait(token)  # else it would take a pass of the event loop
        except trio.WouldBlock:
            await self._slots.acquire_on_behalf_of(token)
        try:
            stream = await listener.accept()
        except OSError as e:
            self._slots.release_on_behalf_of(token)
            if e.errno not in _SCARCE:
                raise
            log.error("cannot accept connections", reason=e.strerror)
            await trio.sleep(PAUSE_SECONDS)
        except BaseException:
            self._slots.release_on_behalf_of(token)
            raise
        else:
            self._start(stream, token, connections)

    def _accept_at_once(self, raw: socket.socket, connections: trio.Nursery) -> None:
        """Accept more that have come, without passes of the event loop for each; what goes wrong `_accept_one` will see again."""
        for _ in range(ACCEPTED_AT_ONCE_MAX):
            token = object()
            try:
                self._slots.acquire_on_behalf_of_nowait(token)
            except trio.WouldBlock:
                return
            try:
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(raw.accept()[0]))
            except OSError:  # most often none is left
                self._slots.release_on_behalf_of(token)
                return
            self._start(stream, token, connections)

    def _start(self, stream: trio.SocketStream, token: object, connections: trio.Nursery) -> None:
        self._accepted += 1
        connections.start_soon(self._serve_one, stream, token)

    async def _serve_one(self, stream: trio.SocketStream, token: object) -> None:
        try:
            await self._connections.serve(stream)
        finally:
            self._slots.release_on_behalf_of(token)
