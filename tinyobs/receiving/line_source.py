"""The component of a protocol of lines: listens where its section says, and follows changes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ..abc import Component, Services, Source
from .line_listeners import LineListeners, Take
from .line_listeners import Listening as Listening
from .streams import Frames


class LineSource(Source):
    """Runs the listeners of one protocol.  Which they are is read from each configuration anew."""

    def __init__(
        self,
        name: str,
        services: Services,
        listening: Callable[[Any], Listening],
        take: Take,
        protocol: str = "",
        messages: tuple[Take, Frames] | None = None,
    ) -> None:
        """listening: what a configuration asks for.  protocol: the label of metrics, the name by default.

        messages: see `LineListeners`.
        """
        self.name = name
        self._arguments = (services, listening, take, protocol, messages)
        self._services, self._listening = services, listening
        self._listeners = LineListeners(services.reception(protocol or name), take, messages=messages)

    @property
    def bound(self) -> list[str]:
        """The addresses that are listened on; see `LineListeners`."""
        return self._listeners.bound

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Listen until cancelled."""
        await self._listeners.run(*self._wanted(self._services.config), task_status=task_status)

    def restart(self) -> Component:
        """Return a source that listens afresh."""
        return LineSource(self.name, *self._arguments)

    async def reconfigure(self, config: Any) -> None:
        """Listen where the configuration says; listeners that it does not change go on.  Raises `UsageError`."""
        await self._listeners.listen(*self._wanted(config))

    def statistics(self) -> Any:
        """Return the numbers of the listeners."""
        return self._listeners.statistics()

    def _wanted(self, config: Any) -> tuple[Listening, Any]:
        return self._listening(config), config.tinyobs.receivers
