"""What runs for the section `file_sinks`: for each file a task that follows the log and writes.

Lines are made durable once a second; only then are their records settled, so that what a crash takes with it is read
again, and the file is cut back to where the reading begins (`rotated_file.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
import trio
from attrs import Factory, define, field, frozen

from ...abc import LogFollower, Logged, Services, Sink
from ...errors import PluginError
from ...sinks.chosen import Chosen
from .lines import lines_of
from .rotated_file import RotatedFile
from .settings import SECTION, FileSinkSettings

READ_SAMPLES: Final = 50_000
"""Samples that are read at a time."""
SYNC_EVERY_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = (1.0, 60.0)
"""The first and the longest pause after a failure."""

log = structlog.get_logger("file_sinks")


@frozen
class FileSinksStatistics:
    """How the files fare, by name."""

    samples_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Samples written."""
    bytes_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Bytes written, before compression."""
    rotations_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Files that were full, or old, and followed by the next."""
    failures_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Times that a file could not be written; it is tried again."""
    lost_samples_total: Mapping[str, int] = field(metadata={"label": "sink"})
    """Samples that were not written because the log had outgrown its limits."""
    behind_bytes: Mapping[str, int] = field(metadata={"label": "sink"})
    """Bytes of the log that are still to be read."""


@define
class _Counts:
    samples: int = 0
    bytes: int = 0
    rotations: int = 0
    failures: int = 0
    lost: int = 0
    behind: int = 0


@define(eq=False)
class _Running:
    """A task: its scope, and an event that is set when it has ended."""

    scope: trio.CancelScope = Factory(trio.CancelScope)
    ended: trio.Event = Factory(trio.Event)


class FileSinks(Sink):
    """All files of the section."""

    name = SECTION

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running: dict[FileSinkSettings, _Running] = {}
        self._counts: dict[str, _Counts] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Write until the agent stops and all was written, or until cancelled."""
        self._running.clear()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._start(self._services.config)
            task_status.started()
            nursery.start_soon(trio.sleep_forever)  # files may come with a new configuration

    async def reconfigure(self, config: Any) -> None:
        """Start and stop what changed.  Raises `PluginError`."""
        check_names(config)
        wanted = set(config.tinyobs.section(SECTION))
        gone = [running for s, running in self._running.items() if s not in wanted]
        for running in gone:
            running.scope.cancel()
        for running in gone:
            await running.ended.wait()
        await self._start(config)

    def statistics(self) -> FileSinksStatistics:
        """Return the counters."""
        counts = dict(self._counts)

        def of(name: str) -> dict[str, int]:
            return {sink: getattr(c, name) for sink, c in counts.items()}

        return FileSinksStatistics(*map(of, ("samples", "bytes", "rotations", "failures", "lost", "behind")))

    async def _start(self, config: Any) -> None:
        """Start what does not run; returns when all follow the log."""
        assert self._nursery is not None
        for settings in config.tinyobs.section(SECTION):
            if settings not in self._running:
                running = self._running[settings] = _Running()
                await self._nursery.start(self._supervise, settings, running)

    async def _supervise(
        self, settings: FileSinkSettings, running: _Running, *, task_status: trio.TaskStatus[None]
    ) -> None:
        try:
            with running.scope:
                counts = self._counts.setdefault(settings.name, _Counts())
                await _FileTask(self._services, settings, counts).run(task_status)
        finally:
            del self._running[settings]
            running.ended.set()


def check_names(config: Any) -> None:
    """Raise `PluginError` when two files have one name."""
    names = [s.name for s in config.tinyobs.section(SECTION)]
    for name in names:
        if names.count(name) > 1:
            raise PluginError(f"{SECTION}: two files are called {name!r}")


class _GivenUp(Exception):
    """The agent stops, and the file cannot be written."""


class _FileTask:
    """One file: from the log to the disk."""

    def __init__(self, services: Services, settings: FileSinkSettings, counts: _Counts) -> None:
        self._services, self._settings, self._counts = services, settings, counts
        self._file = RotatedFile(settings)
        self._chosen = Chosen(services.registry, settings.match)
        self._written: list[Logged] = []
        """Records whose lines are not durable yet."""

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Follow the log until the agent stops and all was read."""
        settings = self._settings
        follower = await self._services.follow(f"{SECTION}/{settings.name}", settings.cursor_start())
        task_status.started()
        try:
            await self._follow(follower)
        except _GivenUp:
            log.warning("the rest is left to the next start", sink=settings.name)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._file.close)
                await follower.aclose()

    async def _follow(self, follower: LogFollower) -> None:
        begun = False
        sync_at = trio.current_time()
        while True:
            records: Sequence[Logged] = ()
            with trio.move_on_at(sync_at if self._written else float("inf")) as waiting:
                records = await follower.read(READ_SAMPLES)
            if records and not begun:
                begun = True
                await self._try(partial(self._file.begin, records[0].end, self._services.clock.now_ms()), follower)
            if records:
                await self._try(partial(self._write, records), follower)
                if not self._written:
                    sync_at = trio.current_time() + SYNC_EVERY_SECONDS
                self._written += records
            is_end = not records and not waiting.cancelled_caught
            if self._written and (is_end or trio.current_time() >= sync_at):
                await self._sync(follower)
            if is_end:
                return

    def _write(self, records: Sequence[Logged]) -> None:
        lines, samples = lines_of(records, self._chosen, self._services.registry)
        if lines:
            self._file.write(lines, self._services.clock.now_ms())
        self._counts.samples += samples
        self._counts.bytes += len(lines)

    async def _sync(self, follower: LogFollower) -> None:
        """Make lines durable, then settle their records: the last first, so that no place between them is saved."""
        place = self._written[-1].end
        await self._try(partial(self._file.sync, place), follower)
        for logged in reversed(self._written):
            follower.settle(logged)
        self._written.clear()
        self._counts.lost += follower.take_loss().samples
        self._counts.behind = follower.bytes_behind()
        if await self._try(partial(self._file.rotate_when_due, place, self._services.clock.now_ms()), follower):
            self._counts.rotations += 1
            await self._try(self._file.tidy, follower)

    async def _try(self, work: Any, follower: LogFollower) -> Any:
        """Do work in a thread until it succeeds; when the agent stops it is tried once."""
        pause, longest = PAUSE_SECONDS
        while True:
            try:
                return await trio.to_thread.run_sync(work)
            except OSError as e:
                self._counts.failures += 1
                if pause == PAUSE_SECONDS[0]:
                    log.error("a file cannot be written; it is tried again", sink=self._settings.name, error=str(e))
                if follower.is_draining:
                    raise _GivenUp from e
            await trio.sleep(pause)
            pause = min(2 * pause, longest)
