"""One connection, from the handshake on: HTTP/1.1 goes to `http1.py`, HTTP/2 to `http2.py`."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio

from .application import Application
from .http1 import Http1Connection
from .options import ServerOptions
from .pace import Pace
from .tls import TlsContexts, has_allowed_name

if TYPE_CHECKING:
    from .http2 import Http2Server

log = structlog.get_logger("web")


class BoundedStream:
    """A stream whose client cannot hold up a sender for ever: `send_all` has a deadline.

    Everything else is the stream's own, attributes by which Hypercorn tells TLS from plain included.
    """

    def __init__(self, stream: Any, send_seconds: float, pace: Pace) -> None:
        self._stream = stream
        self._send_seconds = send_seconds
        self._pace = pace

    async def send_all(self, data: bytes) -> None:
        """Send, or raise `trio.BrokenResourceError` when the client takes too long."""
        with trio.move_on_after(self._send_seconds) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the client did not take the answer in time")

    async def receive_some(self, bytes_max: int) -> bytes:
        """Return what the client sends, b"" at its end; as the stream does, but a plain one is not read before there is something.

        A server mostly waits for what has not come yet; the stream would try first, in vain.  So this always waits, which lets
        other tasks have their turn.
        """
        stream = self._stream
        if not isinstance(stream, trio.SocketStream):
            return bytes(await stream.receive_some(bytes_max))
        while (number := stream.socket.fileno()) >= 0:
            await trio.lowlevel.wait_readable(number)
            try:
                return os.read(number, bytes_max)
            except BlockingIOError:
                continue
            except OSError as e:
                raise trio.BrokenResourceError(f"the connection broke: {e}") from e
        raise trio.ClosedResourceError("the connection was closed here")

    def send_at_once(self, data: bytes) -> int:
        """Return how many bytes the kernel took without waiting, none over TLS; what is wrong is for `send_all` to say."""
        if not isinstance(self._stream, trio.SocketStream):
            return 0
        try:
            return os.write(self._stream.socket.fileno(), data)
        except OSError:
            return 0

    async def wait_turn(self) -> None:
        """Return when a request with a large body may be begun."""
        await self._pace.begin()

    async def receive_paced(self, most: int) -> bytes:
        """Return what comes of a large body, b"" at the end."""
        return await self._pace.receive(self._stream, most)

    async def discard(self) -> int:
        """Pass over what comes, and return how many bytes it was, 0 at the end."""
        return await self._pace.discard(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class ConnectionServer:
    """Serves connections of one application."""

    def __init__(self, app: Application, options: ServerOptions, tls: TlsContexts | None) -> None:
        self._app = app
        self._options = options
        self._tls = tls
        self._http2: Http2Server | None = None
        self._pace = Pace()
        self._finishing = False
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
            if self._finishing:
                return  # it was accepted in the last moment, or has been shaking hands since
            bounded: Any = BoundedStream(stream, self._options.send_seconds, self._pace)
            if self._tls is not None and stream.selected_alpn_protocol() == "h2":
                await self._http2_server().serve(state, bounded)
            else:
                wake = partial(trio.lowlevel.notify_closing, plain.socket)
                connection = Http1Connection(self._app, self._options, bounded, self._scope(plain, state), wake)
                self._open[plain] = connection
                await connection.run()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as e:
            log.debug("connection lost", reason=str(e))
        except Exception as e:
            log.warning("connection failed", exc_info=e)
        finally:
            del self._open[plain]
            plain.socket.close()

    async def watch_idle(self) -> None:
        """End connections whose next request has not come in time.

        One task for all of them: whoever begins to wait after a look has time until after the next one.
        """
        while True:
            now = trio.current_time()
            at = now + self._options.keep_alive_seconds
            for connection in self._open.values():
                if connection is not None and connection.idle_until <= now:
                    connection.give_up()
                elif connection is not None:
                    at = min(at, connection.idle_until)
            await trio.sleep_until(at)

    async def finish(self) -> None:
        """Close idle connections now, and the others after the request that they are at; bodies that wait are not waited for."""
        self._finishing = True
        self._app.stop()
        if self._http2 is not None:
            await self._http2.finish()
        for connection in self._open.values():
            if connection is not None:
                connection.finish()

    def cut(self) -> None:
        """Close every connection at once."""
        for stream in self._open:
            stream.socket.close()

    def _http2_server(self) -> Http2Server:
        if self._http2 is None:
            from .http2 import Http2Server  # few clients speak it, and Hypercorn takes two megabytes

            self._http2 = Http2Server(self._app, self._options)
        return self._http2

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
