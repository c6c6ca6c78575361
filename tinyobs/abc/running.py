"""What runs under the supervisor: components and their kinds, and the in-process exporters."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..model.families import MetricFamily

if TYPE_CHECKING:
    import trio


class Component(abc.ABC):
    """Something that runs: a source, a listener, a maintenance loop.

    `run` is called once, by the supervisor.  It calls `task_status.started()` when the component works, returns when
    it is done for good, and cleans up before it returns or raises.  A crash is logged, counted, shown in the status,
    and `run` is called again on a fresh object from `restart()` after a back-off.
    """

    name: str

    @abc.abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Do the work until cancelled."""

    def restart(self) -> Component:
        """Return what to run after a crash; `self` where `run` builds all of its state anew."""
        return self

    async def reconfigure(self, config: Any) -> None:  # noqa: B027 - most components have nothing to take over
        """Take over a new configuration while running; only what changed may be disturbed."""

    def statistics(self) -> Any:
        """Return a frozen attrs object of statistics, or None.

        Called in worker threads while the component runs: whoever goes over a dictionary or set that may change takes a copy first
        (`dict(x)`, `list(x.values())`), and hands out copies only.
        """
        return None


class Source(Component):
    """A component that makes batches and gives them to `Services.append`."""


class Sink(Component):
    """A component that hands committed samples on: it follows the log with a `Services.follow` of its own.

    Sinks start before the sources and stop after them.  At the end of the agent they may send what is left: their
    follower says when all is read, and how long the agent waits is limited.  A sink has opened its followers when it
    calls `task_status.started()`, and is done when they are closed; whether `run` returns then does not matter.
    """


class Exporter(abc.ABC):
    """An in-process exporter: its families are collected like a scrape target's."""

    name: str
    """The value of the `job` label."""
    instance: str = ""
    """The value of the `instance` label; "" means the name of the host."""
    interval_ms: int = 0
    """How often it is collected; 0 means the global `scrape_interval`."""

    @abc.abstractmethod
    def collect(self) -> Sequence[MetricFamily]:
        """Return the families as of now.  Runs in a worker thread; may take a second, not a minute."""
