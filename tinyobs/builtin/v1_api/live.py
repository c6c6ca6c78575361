"""`GET /v1/ws`: the samples of the last minute to whoever is connected, every few seconds.

A message is made once for all clients, and only while there are any.  Clients that are slow lose messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
import trio
from attrs import frozen

from ...abc import Services, Source
from ...errors import QueryTimeout, TinyObsError
from ...exposition.v1_writer import json_rows
from ...model.labels import NAME
from ...model.matchers import Matcher, MatchType
from .settings import settings_of

if TYPE_CHECKING:
    from ...web.websocket import WebSocket

COMPONENT: Final = "v1_live"
WINDOW_MS: Final = 60_000
WAITING_MAX: Final = 256
"""Messages that wait for a client; later ones are lost for it."""
READ_SERIES: Final = 250
"""Series that are read at a time, until there are samples enough."""
TRY_AGAIN_LATER: Final = 1013

log = structlog.get_logger("v1")


@frozen
class LiveStatistics:
    """How `/v1/ws` fares."""

    clients: int
    """Clients connected."""
    updates_total: int
    """Messages made."""
    lost_total: int
    """Messages that some client did not get because too many waited for it."""


class Live(Source):
    """Makes the messages."""

    name = COMPONENT

    def __init__(self, services: Services) -> None:
        self._services = services
        self._clients: set[trio.MemorySendChannel[str]] = set()
        self._arrived = trio.Event()
        self._updates = self._lost = 0

    def statistics(self) -> LiveStatistics:
        """Return the numbers as of now."""
        return LiveStatistics(len(self._clients), self._updates, self._lost)

    def restart(self) -> Live:
        """Go on with the same clients."""
        return self

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Tell clients, until cancelled."""
        task_status.started()
        while True:
            await self._arrived.wait()
            await trio.sleep(settings_of(self._services.config).live_interval_ms / 1000)
            if not self._clients:
                self._arrived = trio.Event()
                continue
            try:
                message = await trio.to_thread.run_sync(self._message)
            except TinyObsError as e:
                log.warning("live samples could not be read", error=str(e))
                continue
            if message:
                self._tell(message)

    @contextmanager
    def subscription(self) -> Iterator[trio.MemoryReceiveChannel[str] | None]:
        """Yield a channel of messages, None when there are too many clients."""
        if len(self._clients) >= settings_of(self._services.config).live_clients_max:
            yield None
            return
        send, receive = trio.open_memory_channel[str](WAITING_MAX)
        self._clients.add(send)
        self._arrived.set()
        try:
            yield receive
        finally:
            self._clients.discard(send)
            send.close()
            receive.close()

    def _tell(self, message: str) -> None:
        self._updates += 1
        for send in self._clients:
            try:
                send.send_nowait(message)
            except trio.WouldBlock:
                self._lost += 1

    def _message(self) -> str:
        """Return a message, "" without samples; runs in a worker thread."""
        settings = settings_of(self._services.config)
        deadline = monotonic() + settings.query_timeout_ms / 1000

        def check() -> None:
            trio.from_thread.check_cancelled()
            if monotonic() > deadline:
                raise QueryTimeout("the live samples took too long")

        now_ms = self._services.clock.now_ms()
        metadata = self._services.api.metadata()
        rows: list[str] = []
        with self._services.querier(now_ms - WINDOW_MS, now_ms) as querier:
            found = querier.select((Matcher(MatchType.NOT_EQUAL, NAME, ""),), querier.mint_ms, querier.maxt_ms, check)
            for first in range(0, len(found.labels), READ_SERIES):
                check()
                rows += json_rows(found.read(first, min(first + READ_SERIES, len(found.labels))), metadata)
                if len(rows) >= settings.live_samples_max:
                    break
        del rows[settings.live_samples_max :]
        if not rows:
            return ""
        head = f'{{"type":"metrics_update","timestamp":{now_ms // 1000},"metrics":['
        return f'{head}{",".join(rows)}],"count":{len(rows)}}}'


def live_handler(services: Services) -> Any:
    """Return the handler of the WebSocket."""

    async def handle(socket: WebSocket) -> None:
        live: Any = services.component(COMPONENT)
        if live is None:
            await socket.close(TRY_AGAIN_LATER, "not started yet")
            return
        with live.subscription() as messages:
            if messages is None:
                await socket.close(TRY_AGAIN_LATER, "too many clients (tinyobs.v1.live_clients_max)")
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_over, socket)
                async for message in messages:
                    await socket.send_text(message)

    return handle


async def _pass_over(socket: WebSocket) -> None:
    """Drop what a client says: it is only told."""
    while True:
        await socket.receive()
