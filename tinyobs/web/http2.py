"""HTTP/2 on one connection, by Hypercorn.

Hypercorn's `TCPServer` is driven directly, without its own server loop, which has neither a limit of connections nor
access to the client's certificate.  It is not documented API, so the version is pinned and tests/web/test_tls.py holds
the behaviour that we rely on.  This is the only file that imports Hypercorn, and it is loaded when a client asks for it.
"""

from __future__ import annotations

from typing import Any, Final

import h2.settings
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from .application import Application
from .options import ServerOptions

REQUESTS_PER_CONNECTION_MAX: Final = 1 << 30
"""Hypercorn closes a connection after so many requests; a sender that pushes for weeks must not notice."""


class _AnsweredStream:
    """Takes what still arrives for a request that is answered; the flow-control window is given back as usual."""

    async def handle(self, event: Any) -> None:
        """Pass over the event."""


class _Streams(dict[int, Any]):
    """Hypercorn's open streams by id; reading one that is closed gives an `_AnsweredStream`, not an error."""

    def __missing__(self, stream_id: int) -> _AnsweredStream:
        return _AnsweredStream()


class _Http2Connection(TCPServer):
    """Hypercorn's connection, without three of its habits.

    It outlives the client by the keep-alive time, and fails as a whole when a client goes on sending the body of one
    request that is already answered.  It offers WebSockets, which are served over HTTP/1.1 only: a browser that hears of
    none here opens a connection of its own for them.
    """

    @property
    def protocol(self) -> Any:
        """Hypercorn's state of the connection."""
        return self._protocol

    @protocol.setter
    def protocol(self, wrapper: Any) -> None:
        connection = wrapper.protocol.connection
        offered = dict(connection.local_settings)
        offered.pop(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL, None)
        connection.local_settings = h2.settings.Settings(client=False, initial_values=offered)
        self._protocol = wrapper

    async def _read_data(self) -> None:
        protocol = self.protocol.protocol
        protocol.streams = _Streams(protocol.streams)
        await super()._read_data()
        await self.idle_task.stop()


class Http2Server:
    """Serves connections of one application."""

    def __init__(self, app: Application, options: ServerOptions) -> None:
        asgi: Any = app  # Hypercorn types every message of ASGI; ours are mappings
        self._asgi = ASGIWrapper(asgi)
        self._config = _hypercorn_config(options)
        self._context = WorkerContext(None)

    async def serve(self, state: dict[str, Any], stream: Any) -> None:
        """Serve one connection until it ends; `state` is what its requests share."""
        await _Http2Connection(self._asgi, self._config, self._context, state, stream).run()

    async def finish(self) -> None:
        """Close idle connections now, and the others after the requests that they are at."""
        await self._context.terminated.set()


def _hypercorn_config(options: ServerOptions) -> Config:
    config = Config()
    config.errorlog = None
    config.accesslog = None
    config.include_server_header = False
    config.keep_alive_timeout = options.keep_alive_seconds
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION_MAX
    config.h11_max_incomplete_size = options.head_bytes_max
    config.h2_max_header_list_size = options.head_bytes_max
    config.ssl_handshake_timeout = options.handshake_seconds
    return config
