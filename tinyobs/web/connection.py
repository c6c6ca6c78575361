"""One connection, from the handshake on: HTTP/2 goes to Hypercorn, HTTP/1.1 to `http1.py`.

Hypercorn's `TCPServer` is driven directly, without its own server loop, which has neither a limit of connections nor
access to the client's certificate.  It is not documented API, so the version is pinned and tests/web/test_tls.py holds
the behaviour that we rely on.  This is the only file that imports Hypercorn.
"""

from __future__ import annotations

import socket
from typing import Any

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from .application import Application
from .http1 import Http1Connection
from .options import ServerOptions
from .tls import TlsContexts, has_allowed_name

log = structlog.get_logger("web")

REQUESTS_PER_CONNECTION_MAX = 1 << 30
"""Hypercorn closes a connection after so many requests; a sender that pushes for weeks must not notice."""


class BoundedStream:
    """A stream whose client cannot hold up a sender for ever: `send_all` has a deadline.

    Everything else is the stream's own, attributes by which Hypercorn tells TLS from plain included.
    """

    def __init__(self, stream: Any, send_seconds: float) -> None:
        self._stream = stream
        self._send_seconds = send_seconds

    async def send_all(self, data: bytes) -> None:
        """Send, or raise `trio.BrokenResourceError` when the client takes too long."""
        with trio.move_on_after(self._send_seconds) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the client did not take the answer in time")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _AnsweredStream:
    """Takes what still arrives for a request that is answered; the flow-control window is given back as usual."""

    async def handle(self, event: Any) -> None:
        """Pass over the event."""


class _Streams(dict[int, Any]):
    """Hypercorn's open streams by id; reading one that is closed gives an `_AnsweredStream`, not an error."""

    def __missing__(self, stream_id: int) -> _AnsweredStream:
        return _AnsweredStream()


class _Http2Connection(TCPServer):
    """Hypercorn's connection, without two of its habits.

    It outlives the client by the keep-alive time, and fails as a whole when a client goes on sending the body of one
    request that is already answered.
    """

    async def _read_data(self) -> None:
        protocol: Any = self.protocol.protocol
        protocol.streams = _Streams(protocol.streams)
        await super()._read_data()
        await self.idle_task.stop()


class ConnectionServer:
    """Serves connections of one application."""

    def __init__(self, app: Application, options: ServerOptions, tls: TlsContexts | None) -> None:
        asgi: Any = app  # Hypercorn types every message of ASGI; ours are mappings
        self._asgi = ASGIWrapper(asgi)
        self._app = app
        self._options = options
        self._tls = tls
        self._config = _hypercorn_config(options)
        self._context = WorkerContext(None)
        self._open: dict[trio.SocketStream, Http1Connection | None] = {}

    @property
    def open_count(self) -> int:
        """The number of open connections."""
        return len(self._open)

    async def serve(self, plain: trio.SocketStream) -> None:
        """Serve one connection until it ends.  Errors of a connection stay within it."""
        self._open[plain] = None
        try:
            stream, state = await self._secure(plain)
            bounded: Any = BoundedStream(stream, self._options.send_seconds)
            if self._tls is not None and stream.selected_alpn_protocol() == "h2":
                await _Http2Connection(self._asgi, self._config, self._context, state, bounded).run()
            else:
                connection = Http1Connection(self._app, self._options, bounded, self._scope(plain, state))
                self._open[plain] = connection
                await connection.run()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as e:
            log.debug("connection lost", reason=str(e))
        except Exception as e:
            log.warning("connection failed", exc_info=e)
        finally:
            del self._open[plain]
            plain.socket.close()

    async def finish(self) -> None:
        """Close idle connections now, and the others after the request that they are at."""
        await self._context.terminated.set()
        for connection in self._open.values():
            if connection is not None:
                connection.finish()

    def cut(self) -> None:
        """Close every connection at once."""
        for stream in self._open:
            stream.socket.close()

    def _scope(self, plain: trio.SocketStream, state: dict[str, Any]) -> dict[str, Any]:
        """Return what the requests of a connection have in common."""
        with_port = plain.socket.family != socket.AF_UNIX
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "scheme": "http" if self._tls is None else "https",
            "root_path": "",
            "client": plain.socket.getpeername()[:2] if with_port else None,
            "server": plain.socket.getsockname()[:2] if with_port else None,
            "state": state,
            "extensions": {},
        }

    async def _secure(self, plain: trio.SocketStream) -> tuple[Any, dict[str, Any]]:
        """Return the stream to speak HTTP on and the state that requests of the connection share."""
        if self._tls is None:
            return plain, {}
        stream: Any = trio.SSLStream(plain, self._tls.current(), server_side=True, https_compatible=True)
        with trio.fail_after(self._options.handshake_seconds):
            await stream.do_handshake()
        certificate = stream.getpeercert() or {}
        if not has_allowed_name(certificate, self._tls.options.client_allowed_sans):
            log.info("client certificate refused: no allowed subject alternative name")
            raise trio.BrokenResourceError("client certificate refused")
        return stream, {"peer_certificate": certificate} if certificate else {}


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
