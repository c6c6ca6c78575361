"""One open WebSocket, as its handler sees it.  How it came to be open: `sockets.py`.

Frames are wsproto's: it refuses what a client may not send (no mask, wrong order, no UTF-8).  Compression is not offered:
for every message and client it would take the event loop longer than all else.  Source: RFC 6455.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
import trio
from starlette.requests import Request
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.utilities import LocalProtocolError

from .sockets import SocketHandler
from .upgrade import Upgraded

PING_SECONDS: Final = 30.0
"""A client that is there answers a ping, and so is heard of within `READ_SECONDS`."""
READ_SECONDS: Final = 60.0
"""How long nothing may come from a client before it is taken for gone."""
WRITE_SECONDS: Final = 10.0
"""How long a client may take to accept a message."""
CLOSE_SECONDS: Final = 5.0
"""How long the other side may take to answer a close, and a handler to deal with what came before one."""
WAITING_MAX: Final = 16
"""Messages that wait for the handler; then no more are read."""
RECEIVE_BYTES: Final = 64 << 10

GOING_AWAY: Final = 1001
TOO_LARGE: Final = 1009
INTERNAL_ERROR: Final = 1011

_LOST: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)

log = structlog.get_logger("web")


class WebSocket:
    """One open WebSocket.

    The handler of its route is called with it.  When the client closes it or goes away, the handler is cancelled, though
    not before it has had every message that came earlier and asked for another.  When the handler returns, the socket is closed.
    """

    def __init__(self, request: Request, upgraded: Upgraded, bytes_max: int) -> None:
        self.request = request
        """The request that opened it: headers, `query_params`, `path_params`, `scope["user"]`."""
        self._stream = upgraded.stream
        self._bytes_max = bytes_max
        self._connection = Connection(ConnectionType.SERVER, trailing_data=upgraded.received)
        self._put, self._take = trio.open_memory_channel[str | bytes](WAITING_MAX)
        self._sending = trio.Lock()
        self._is_torn = False
        self._handling = trio.CancelScope()
        self._is_working = False
        self._progress = trio.Event()
        self._ended = trio.Event()
        self._pieces: list[str | bytes] = []
        self._pieces_bytes = 0

    async def send_text(self, text: str) -> None:
        """Send a message of text; returns when the network has it.  Raises `ConnectionError` when the client is gone."""
        await self._send(TextMessage(text))

    async def send_bytes(self, data: bytes) -> None:
        """Send a message of bytes; see `send_text`."""
        await self._send(BytesMessage(data))

    async def receive(self) -> str | bytes:
        """Return the next message of the client, text as `str`.  At most `WAITING_MAX` wait, then the client has to."""
        self._is_working = False
        self._note_progress()
        message = await self._take.receive()
        self._is_working = True
        self._note_progress()
        return message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say that nothing more will be sent; what still comes is passed over."""
        if self._connection.state is ConnectionState.OPEN:
            await self._send(CloseConnection(code, reason))

    async def serve(self, handler: SocketHandler, finishing: trio.Event) -> None:
        """Call the handler, and close the socket when it or the client is done, or when the server finishes."""
        async with trio.open_nursery() as nursery:
            for task in (self._read, self._ping):
                nursery.start_soon(task)
            nursery.start_soon(self._finish, finishing)
            code = 1000
            with self._handling:
                code = await self._call(handler)
            code = GOING_AWAY if finishing.is_set() else code
            with trio.move_on_after(CLOSE_SECONDS):
                try:
                    if not self._is_torn and not self._ended.is_set():
                        await self.close(code)
                        await self._ended.wait()
                except ConnectionError:
                    pass
            nursery.cancel_scope.cancel()

    async def _call(self, handler: SocketHandler) -> int:
        """Run the handler; return the code to close with."""
        try:
            await handler(self)
        except Exception as e:  # whatever a handler raises must not end the server
            if _is_loss(e):
                return 1000
            log.error("the handler of a WebSocket failed", path=self.request.scope["path"], exc_info=e)
            return INTERNAL_ERROR
        return 1000

    async def _send(self, event: Event) -> None:
        async with self._sending:
            if self._is_torn:
                raise ConnectionResetError("the client is gone")
            try:
                data = self._connection.send(event)
            except LocalProtocolError as e:
                raise ConnectionResetError("the WebSocket is closed") from e
            self._is_torn = True  # a frame that is cut short cannot be followed by another
            with trio.move_on_after(WRITE_SECONDS):
                try:
                    await self._stream.send_all(data)
                except _LOST as e:
                    raise ConnectionResetError("the client is gone") from e
                self._is_torn = False
                return
        self._handling.cancel()
        self._ended.set()
        raise ConnectionResetError("the client did not take a message in time")

    async def _ping(self) -> None:
        try:
            while True:
                await trio.sleep(PING_SECONDS)
                await self._send(Ping())
        except ConnectionError:
            return

    async def _finish(self, finishing: trio.Event) -> None:
        await finishing.wait()
        self._handling.cancel()

    async def _read(self) -> None:
        """Take in what the client sends, to the end of it; then let the handler come to its end."""
        try:
            while await self._take_events():
                data = b""
                with trio.move_on_after(READ_SECONDS):
                    data = await self._stream.receive_some(RECEIVE_BYTES)
                if not data:
                    break
                self._connection.receive_data(bytes(data))
        except (*_LOST, ConnectionError):
            pass
        self._ended.set()
        with trio.move_on_after(CLOSE_SECONDS):
            while self._is_working or self._take.statistics().current_buffer_used:
                self._progress = trio.Event()
                await self._progress.wait()
        self._handling.cancel()

    async def _take_events(self) -> bool:
        """Deal with what has come; tell whether more may come."""
        for event in self._connection.events():
            if isinstance(event, Ping):
                await self._send(event.response())
            elif isinstance(event, Message):
                if not await self._take_piece(event):
                    return False
            elif isinstance(event, CloseConnection):
                if self._connection.state is not ConnectionState.CLOSED:  # theirs, or a fault of theirs
                    await self._send(event.response())
                return False
        return True

    async def _take_piece(self, event: Message[Any]) -> bool:
        """Put a piece to its message, and give that to the handler when it is whole; tell whether it is not too large."""
        if self._connection.state is not ConnectionState.OPEN:
            return True
        piece = event.data
        if piece:
            self._pieces.append(piece)
            self._pieces_bytes += len(piece) if isinstance(piece, bytes) or piece.isascii() else len(piece.encode())
        if self._pieces_bytes > self._bytes_max:
            await self.close(TOO_LARGE, f"a message may have {self._bytes_max} bytes")
            return False
        if event.message_finished:
            empty: Any = "" if isinstance(event, TextMessage) else b""
            message = empty.join(self._pieces)
            self._pieces, self._pieces_bytes = [], 0
            await self._put.send(message)
        return True

    def _note_progress(self) -> None:
        self._progress.set()


def _is_loss(error: Exception) -> bool:
    """Tell whether an error, or each of a group, says that the client is gone."""
    if isinstance(error, ExceptionGroup):
        return error.split(ConnectionError)[1] is None
    return isinstance(error, ConnectionError)
