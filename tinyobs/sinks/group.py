"""A component that runs one task for each entry of its section: from the log, through an `Outlet`, to the other end.

Records are settled when the outlet has flushed them, the last first, so that no place between them is saved.  What the
other end does not take for now is tried again, with pauses that grow; at the end of the agent it is tried once and then
left to the next start.  An outlet that fails in a way nobody thought of is made anew, and reads again from its place.

Not here: what an outlet does with records, and the log (`Services.follow`).
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import attrs
import numpy as np
import structlog
import trio
from attrs import Factory, define, field, frozen

from ..abc import LogFollower, Logged, Services, Sink
from ..errors import PluginError
from ..model.batch import Batch
from .settings import SinkSettings

PAUSE_SECONDS: Final = (0.5, 60.0)
"""Between tries: the first pause and the longest."""
CLOSE_SECONDS_MAX: Final = 5.0
"""How long an outlet may take to close."""
_NOTHING: Final = Batch(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.float64))

log = structlog.get_logger("sinks")
S = TypeVar("S", bound=SinkSettings)


class TryAgain(Exception):
    """The other end does not take it now.  The text says why; seconds: when to try again, None for a usual pause."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        self.seconds = seconds
        super().__init__(reason)


@define
class Counts:
    """How a sink fares.  An outlet counts the first five, the group the rest."""

    samples: int = 0
    refused: int = 0
    """Samples that the other end, or its format, does not take at all."""
    sends: int = 0
    bytes: int = 0
    duplicates: int = 0
    """Samples taken back because they were handed on before."""
    failures: int = 0
    lost: int = 0
    behind: int = 0


class Outlet(abc.ABC):
    """What knows one other end.  Methods are called one after the other."""

    read_samples: int = 10_000
    """How many samples are taken at once."""
    gather_seconds: float = 0.0
    """How long records may wait for a flush; 0 flushes after each `take`."""

    async def begin(self, first: Logged) -> None:  # noqa: B027 - many have nothing to do
        """Get to know the first record that is read.  May raise `TryAgain`."""

    @abc.abstractmethod
    async def take(self, records: Sequence[Logged]) -> bool:
        """Take records, of any series, and tell whether a flush is due."""

    @abc.abstractmethod
    async def flush(self) -> None:
        """Hand on all that was taken; raises `TryAgain` when it must be called again.  What is refused for good is counted."""

    async def aclose(self) -> None:  # noqa: B027 - many have nothing to do
        """Let go of connections and files."""


@frozen
class SinkStatistics:
    """How the sinks of a section fare, by name."""

    samples_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Samples handed on."""
    refused_samples_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Samples that the other end, or its format, does not take at all."""
    sends_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Requests, messages or files that were taken."""
    sent_bytes_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Bytes in them."""
    duplicate_samples_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Samples taken back at a start because they were handed on before."""
    failures_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Tries that failed; what could not be handed on is tried again."""
    lost_samples_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Samples that were not handed on because the log had outgrown its limits."""
    behind_bytes: Mapping[str, int] = field(metadata={"label": "sink"})
    """Bytes of the log that are still to be read."""


@define(eq=False)
class _Running:
    """A task: its scope, and an event that is set when it has ended."""

    scope: trio.CancelScope = Factory(trio.CancelScope)
    ended: trio.Event = Factory(trio.Event)


class SinkGroup(Sink):
    """All sinks of a section, whose schema is `tuple[S, ...]`.  make: gives an outlet for an entry and its counts."""

    def __init__(self, services: Services, section: str, make: Callable[[Services, S, Counts], Outlet]) -> None:
        self.name = section
        self._services, self._make = services, make
        self._running: dict[Any, _Running] = {}
        self._counts: dict[str, Counts] = {}
        self._nursery: trio.Nursery | None = None
        check_names(services.config, section)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Hand on until the agent stops and all was handed on, or until cancelled."""
        self._running.clear()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._start(self._services.config)
            task_status.started()
            nursery.start_soon(trio.sleep_forever)  # entries may come with a new configuration

    async def reconfigure(self, config: Any) -> None:
        """Start and stop what changed.  Raises `PluginError`."""
        check_names(config, self.name)
        wanted = set(config.tinyobs.section(self.name))
        gone = [running for settings, running in self._running.items() if settings not in wanted]
        for running in gone:
            running.scope.cancel()
        for running in gone:
            await running.ended.wait()
        await self._start(config)

    def statistics(self) -> SinkStatistics:
        """Return the counters."""
        fields = ("samples", "refused", "sends", "bytes", "duplicates", "failures", "lost", "behind")
        counts = dict(self._counts)
        return SinkStatistics(*({name: getattr(c, f) for name, c in counts.items()} for f in fields))

    async def _start(self, config: Any) -> None:
        """Start what does not run; returns when all follow the log."""
        assert self._nursery is not None
        for settings in config.tinyobs.section(self.name):
            if settings not in self._running:
                running = self._running[settings] = _Running()
                await self._nursery.start(self._supervise, settings, running)

    async def _supervise(self, settings: Any, running: _Running, *, task_status: trio.TaskStatus[None]) -> None:
        counts = self._counts.setdefault(settings.name, Counts())
        status = task_status
        pause = PAUSE_SECONDS[0]
        try:
            with running.scope:
                while True:
                    task = _Task(self._services, f"{self.name}/{settings.name}", settings, counts)
                    try:
                        await task.run(self._make(self._services, settings, counts), status)
                        break
                    except Exception as e:
                        if not task.has_started:
                            raise
                        counts.failures += 1
                        log.error("a sink failed and begins anew", sink=task.name, exc_info=e)
                    status = trio.TASK_STATUS_IGNORED
                    await trio.sleep(pause)
                    pause = min(2 * pause, PAUSE_SECONDS[1])
        finally:
            del self._running[settings]
            running.ended.set()


def check_names(config: Any, section: str) -> None:
    """Raise `PluginError` when two entries have one name."""
    names = [s.name for s in config.tinyobs.section(section)]
    for name in names:
        if names.count(name) > 1:
            raise PluginError(f"{section}: two sinks are called {name!r}")


class _GivenUp(Exception):
    """The agent stops, and the other end does not take the rest."""


class _Task:
    """One sink: from the log to its outlet."""

    def __init__(self, services: Services, name: str, settings: SinkSettings, counts: Counts) -> None:
        self.name = name
        self.has_started = False
        self._services, self._settings, self._counts = services, settings, counts
        self._taken: list[Logged] = []
        """Records that are not flushed yet, without their batches."""

    async def run(self, outlet: Outlet, task_status: trio.TaskStatus[None]) -> None:
        """Follow the log until the agent stops and all was read."""
        follower = await self._services.follow(self.name, self._settings.cursor_start())
        self.has_started = True
        task_status.started()
        try:
            await self._follow(follower, outlet)
        except _GivenUp:
            log.warning("the rest is left to the next start", sink=self.name)
        finally:
            with trio.move_on_after(CLOSE_SECONDS_MAX, shield=True):
                await outlet.aclose()
            with trio.CancelScope(shield=True):
                await follower.aclose()

    async def _follow(self, follower: LogFollower, outlet: Outlet) -> None:
        begun = False
        flush_at = float("inf")
        while True:
            records: Sequence[Logged] = ()
            with trio.move_on_at(flush_at) as waiting:
                records = await follower.read(outlet.read_samples)
            if records and not begun:
                begun = True
                await self._until_done(partial(outlet.begin, records[0]), follower)
            due = bool(records) and await outlet.take(records)
            if records and not self._taken:
                flush_at = trio.current_time() + outlet.gather_seconds
            self._taken += [attrs.evolve(r, batch=_NOTHING) for r in records]
            is_end = not records and not waiting.cancelled_caught
            if self._taken and (due or is_end or trio.current_time() >= flush_at):
                await self._until_done(outlet.flush, follower)
                self._settle(follower)
                flush_at = float("inf")
            if is_end:
                return

    def _settle(self, follower: LogFollower) -> None:
        for logged in reversed(self._taken):
            follower.settle(logged)
        self._taken.clear()
        self._counts.lost += follower.take_loss().samples
        self._counts.behind = follower.bytes_behind()

    async def _until_done(self, work: Callable[[], Any], follower: LogFollower) -> None:
        """Do work until it succeeds; when the agent stops it is tried once more."""
        pause, longest = PAUSE_SECONDS
        told = ""
        while True:
            was_draining = follower.is_draining
            try:
                await work()
            except TryAgain as e:
                self._counts.failures += 1
                if str(e) != told:
                    log.error("a sink cannot hand on; it tries again", sink=self.name, error=str(e))
                told = str(e)
                if was_draining:
                    raise _GivenUp from e
                await self._pause(pause if e.seconds is None else e.seconds, follower)
            else:
                if told:
                    log.info("a sink hands on again", sink=self.name)
                return
            pause = min(2 * pause, longest)

    async def _pause(self, seconds: float, follower: LogFollower) -> None:
        """Wait, but not longer than until the agent stops."""
        end = trio.current_time() + seconds
        while trio.current_time() < end and not follower.is_draining:  # noqa: ASYNC110 - nothing tells of the end
            await trio.sleep(min(1.0, end - trio.current_time()))
