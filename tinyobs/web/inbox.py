"""The receiving half of a request: a bounded body with a deadline, and notice of a client that goes away.

In general a task of its own reads what the server delivers, because only so can a handler that is busy with a query be cancelled
when its client disconnects.  It holds at most one message that the handler has not asked for, so an unwanted body
stays in the network; once the answer is on its way it discards the rest, so that the connection never gets stuck.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeVar

import trio
from starlette.requests import ClientDisconnect, Request

from .body_buffer import BodyBuffer
from .held_bytes import Held
from .problem import HttpError
from .stopping import STOPPING, Stopping

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Arrived = Callable[[], bytes | None]
"""Gives a body that has come as a whole; None, and takes nothing, where some of it is still to come."""
ARRIVED: Final = "tinyobs.arrived"
"""The key under which the scope of a request may have an `Arrived`."""

T = TypeVar("T")
_DISCONNECT: Message = {"type": "http.disconnect"}
_RETRY_SECONDS = "5"


class Inbox:
    """Wraps the `receive` of ASGI.  `watch` runs beside the handler, which calls `receive`."""

    def __init__(
        self, receive: Receive, bytes_max: int, seconds: float, held: Held, stopping: Stopping | None = None
    ) -> None:
        self.disconnected = False
        self._stopping = stopping or Stopping()
        self._receive = receive
        self._held = held
        self._bytes_max = bytes_max
        self._seconds = seconds
        self._deadline: float | None = None
        self._complete = False
        self._discarding = False
        self._put, self._take = trio.open_memory_channel[Message](1)

    async def watch(self, cancel_scope: trio.CancelScope) -> None:
        """Take in messages until the client is gone; then cancel the handler, unless it has answered."""
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                self.disconnected = True
                if not self._discarding:
                    cancel_scope.cancel()
                return
            size += len(message.get("body", b""))
            if self._discarding:
                continue
            if size > self._bytes_max:
                message = {"type": "too large"}
            try:
                await self._put.send(message)
            except trio.BrokenResourceError:
                continue

    async def receive(self) -> Message:
        """Return the next message of ASGI; raises `HttpError` 413 for a large body, 408 for a slow one, 503 when the daemon stops."""
        if self._complete:
            await trio.sleep_forever()  # there is nothing more to hear; `watch` cancels when the client goes
        now = trio.current_time()
        if self._deadline is None:
            self._deadline = now + self._seconds
        with trio.move_on_at(self._deadline) as scope, self._stopping.ends(scope):
            message = await self._take.receive()
            if message["type"] == "too large":
                self._complete = True
                raise HttpError(413, f"the body is larger than {self._bytes_max} bytes")
            self._held.add(len(message.get("body", b"")))
            self._complete = not message.get("more_body", False)
            return message
        raise _not_arrived(self._seconds, self._stopping)

    def discard(self) -> None:
        """The answer begins: whatever still arrives is of no interest."""
        self._discarding = True
        self._take.close()


class BodyReader:
    """Wraps the `receive` of ASGI for a handler that only wants the body: no task beside it, no notice of the client's end.

    It has the methods of `Inbox` that a request needs.  A handler that has the body and then waits for long, asks for
    notice with `while_client_stays`.
    """

    def __init__(
        self,
        receive: Receive,
        bytes_max: int,
        seconds: float,
        held: Held,
        stopping: Stopping | None = None,
        told_bytes: int = 0,
        arrived: Arrived | None = None,
    ) -> None:
        """told_bytes: how long the body will be, as its head says; 0 where it does not.  arrived: spares small bodies the wait."""
        self._receive, self._arrived = receive, arrived
        self._stopping = stopping or Stopping()
        self._held, self._told_bytes = held, told_bytes
        self._bytes_max = bytes_max
        self._seconds = seconds
        self._complete = False

    async def receive(self) -> Message:
        """Return the whole body as one message of ASGI, or that the client is gone; raises as `Inbox.receive` does."""
        if self._complete:
            return await self._receive()
        self._complete = True
        if self._told_bytes > self._bytes_max:
            raise HttpError(413, f"the body is larger than {self._bytes_max} bytes")
        self._held.expect(self._told_bytes)
        whole = None if self._arrived is None else self._arrived()
        if whole is not None:
            self._held.add(len(whole))
            return {"type": "http.request", "body": whole, "more_body": False}
        body = BodyBuffer(self._told_bytes)
        with trio.move_on_after(self._seconds) as scope, self._stopping.ends(scope):
            while True:
                message = await self._receive()
                if message["type"] != "http.request":
                    return _DISCONNECT
                piece = message.get("body", b"")
                if body.size + len(piece) > self._bytes_max:
                    raise HttpError(413, f"the body is larger than {self._bytes_max} bytes")
                self._held.add(len(piece))
                body.add(piece)
                if not message.get("more_body", False):
                    return {"type": "http.request", "body": body.take(), "more_body": False}
        raise _not_arrived(self._seconds, self._stopping)

    def discard(self) -> None:
        """The answer begins; what still arrives of the body is left to the server."""


def _not_arrived(seconds: float, stopping: Stopping) -> HttpError:
    if stopping.came:
        return HttpError(503, STOPPING, {"retry-after": _RETRY_SECONDS})
    return HttpError(408, f"the body did not arrive within {seconds:g} seconds")


async def take_body(request: Request) -> bytes:
    """Return the body of a request, which unlike `Request.body` does not keep it; may be called once.

    Raises `HttpError` as `Inbox.receive` does, and `ClientDisconnect`.
    """
    body, more = BodyBuffer(), True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        body.add(message.get("body", b""))
        more = message.get("more_body", False)
        del message  # a large body must not be there twice
    return body.take()


async def while_client_stays(receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` does, which is cancelled when the client goes away; that raises `ClientDisconnect`.

    receive: that of a request whose body was read.  For handlers of routes with `whole_body`, which have no such watch
    from the beginning: most of them answer at once, and starting a task takes as long as their work.
    """

    gone, done, error = False, False, None

    async def watch() -> None:
        nonlocal gone
        try:
            while (await receive())["type"] == "http.request":
                pass
        except HttpError:
            return  # a body that nobody wanted and that never came: there is no more notice
        gone = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            found = await work()
            done = True
        except Exception as e:  # noqa: BLE001  raised below: the nursery would make a group of it
            error = e
        nursery.cancel_scope.cancel()
    if gone and not done:
        raise ClientDisconnect
    if error is not None:
        try:
            raise error
        finally:
            del error  # it and this frame would hold each other, and a body
    return found
