"""Runs components: restarts those that crash, with back-off, and tells everyone how they are.

Only the supervisor and the agent own nurseries for components.  A component that returns is done and is not started
again.  `except*` stands here so that no component needs it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final

import structlog
import trio

from ..abc import Clock, Component
from .component import ComponentState, Status

BACKOFF_FIRST_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 60.0
HEALTHY_AFTER_SECONDS: Final = 120.0
"""A component that ran this long before it crashed starts with the first back-off again."""

log = structlog.get_logger("supervisor")


class Supervisor:
    """The components of one agent and their states, by name."""

    def __init__(
        self, clock: Clock, on_status: Callable[[str, str, str], None], config: Callable[[], Any] = lambda: None
    ) -> None:
        """config: the running configuration; one that changes while a component starts is handed to it then."""
        self._clock = clock
        self._config = config
        self._on_status = on_status
        self.states: dict[str, ComponentState] = {}
        self.components: dict[str, Component] = {}

    async def supervise(
        self, component: Component, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run a component until it returns or is cancelled; start it again after each crash.

        `task_status.started()` is called as soon as the component works or has crashed for the first time: one
        broken source does not keep the others from starting.
        """
        state = self.states[component.name] = ComponentState(component.name, since_ms=self._clock.now_ms())
        backoff = BACKOFF_FIRST_SECONDS
        announced = False
        crash: BaseException | None = None
        try:
            while True:
                began, config = trio.current_time(), self._config()
                try:
                    if crash is not None:
                        component = component.restart()
                except Exception as e:  # noqa: BLE001 - of whatever kind it is, it is one more crash
                    crash = e
                else:
                    self.components[component.name] = component
                    crash = await self._run_once(component, config, state, None if announced else task_status)
                announced = True
                if crash is None:
                    return
                if trio.current_time() - began > HEALTHY_AFTER_SECONDS:
                    backoff = BACKOFF_FIRST_SECONDS
                self._move(state, Status.BACKING_OFF, f"{type(crash).__name__}: {crash}")
                # Not `exc_info`: some renderers walk through the variables of a program that goes on (they may raise, which
                # would end the agent), and show what is secret.
                told = "".join(traceback.format_exception(crash))
                log.error(
                    "component crashed",
                    component=component.name,
                    retry_in_s=backoff,
                    error=state.reason,
                    traceback=told,
                )
                await trio.sleep(backoff)
                backoff = min(backoff * 2, BACKOFF_MAX_SECONDS)
                self._move(state, Status.STARTING)
        finally:
            self._move(state, Status.STOPPED)
            self.components.pop(component.name, None)

    async def _run_once(
        self, component: Component, config: Any, state: ComponentState, task_status: trio.TaskStatus[None] | None
    ) -> BaseException | None:
        """Run the component once; return what it crashed with, None when it ended well.

        config: the configuration that the component starts with.
        """
        crash: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._start, component)
                while config is not self._config():
                    config = self._config()
                    await component.reconfigure(config)
                self._move(state, Status.RUNNING)
                if task_status is not None:
                    task_status.started()
                    task_status = None
        except* Exception as group:  # noqa: BLE001 - whatever a component raises, the others go on
            crash = group.exceptions[0] if len(group.exceptions) == 1 else group
        if task_status is not None:
            task_status.started()
        return crash

    async def _start(self, component: Component, *, task_status: trio.TaskStatus[None]) -> None:
        await component.run(task_status=task_status)

    def _move(self, state: ComponentState, status: Status, reason: str = "") -> None:
        state.move(status, self._clock.now_ms(), reason)
        self._on_status(state.name, status.value, reason)
