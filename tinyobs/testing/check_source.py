"""The contract of `tinyobs.abc.Component`, executable: for sources and everything else that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from ..abc import Component

START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 10.0


async def check_source(make: Callable[[], Component], config: Any = None) -> None:
    """Check a component; `make` gives a new one each time, ready to run.

    config: given to `reconfigure` while it runs, None to leave that out.  Under an autojump clock the deadlines cost no
    time.  Raises `AssertionError` for the first promise that is not kept.
    """
    component = make()
    assert component.name, "a component has a name"
    assert make().name == component.name, "a component keeps its name"
    await _run(component, config)
    again = component.restart()
    assert again.name == component.name, "what runs after a crash has the same name"
    await _run(again, None)


async def _run(component: Component, config: Any) -> None:
    """Start, let it work, and cancel: it must start in time and end in time."""
    with trio.move_on_after(START_SECONDS_MAX) as starting:
        async with trio.open_nursery() as nursery:
            await nursery.start(_started, component)
            starting.deadline = float("inf")
            await trio.lowlevel.checkpoint()
            statistics = component.statistics()
            if config is not None:
                await component.reconfigure(config)
            nursery.cancel_scope.cancel()
            begun = trio.current_time()
    assert not starting.cancelled_caught, f"task_status.started() was not called within {START_SECONDS_MAX} s"
    assert statistics is None or attrs.has(type(statistics)), "statistics are an attrs object"
    took = trio.current_time() - begun
    assert took <= STOP_SECONDS_MAX, f"it took {took:.1f} s to end after it was cancelled"


async def _started(component: Component, *, task_status: trio.TaskStatus[None]) -> None:
    await component.run(task_status=task_status)
