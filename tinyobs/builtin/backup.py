"""Scheduled backups (section `tinyobs.backup`): a snapshot, copied into a folder of backups, and old backups removed.

    tinyobs:
      backup: {to: /backup/tinyobs, every: 1d, keep_last: 7, keep_monthly: 12, rate: 50MB}

The next backup is due `every` after the newest one in the folder, whoever made it and whenever the daemon was started;
one that failed is tried again after a pause.  The snapshot is made between two commits and takes no space that the
data does not; it is removed when it is copied, or, when the daemon was killed meanwhile, by the next start.
Format of the folder: `storage/backup_format.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import trio
from attrs import define, field, frozen

from ..abc import Component, ConfigSection, Services, Source, Storage
from ..errors import CorruptionError, StorageError, TinyObsError
from ..hookspecs import hookimpl
from ..model.durations import DurationMs
from ..model.sizes import SizeBytes
from ..storage.backup import Pruned, Rate, make_backup, prune_backups
from ..storage.backup_format import Backup, read_backups
from ..storage.backup_prune import KeepPolicy, kept_backups
from ..storage.backup_snapshot import BackupSnapshot, claim_snapshot, remove_left_snapshots
from ..storage.posix_disk import PosixDisk
from ..storage.read_only_disk import ReadOnlyDisk

SECTION: Final = "backup"
SCHEME: Final = "file:"
DAY_MS: Final = 86_400_000
PAUSE_MS: Final = 600_000
"""Pause after a failure, where `every` is not shorter."""
LONGEST_SLEEP_SECONDS: Final = 3600.0
"""The clock is looked at this often at least: it may be put forward."""

log = structlog.get_logger("backup")


def _not_negative(instance: object, attribute: Any, value: int) -> None:
    if value < 0:
        raise ValueError(f"{attribute.name} must not be negative")


def _at_least_a_minute(instance: object, attribute: Any, value: int) -> None:
    if value < 60_000:
        raise ValueError("every must be 1m at least")


@frozen(kw_only=True)
class BackupSettings:
    """Where to, how often, what to keep.  Without any `keep_` nothing is ever removed."""

    to: str = ""
    """The folder of backups, on another disk if possible; "" switches backups off."""
    every: DurationMs = field(default=DurationMs(DAY_MS), validator=_at_least_a_minute)
    """Time from one backup to the next."""
    keep_last: int = field(default=0, validator=_not_negative)
    """How many of the newest to keep."""
    keep_daily: int = field(default=0, validator=_not_negative)
    """For how many days to keep the newest of the day."""
    keep_weekly: int = field(default=0, validator=_not_negative)
    """For how many weeks to keep the newest of the week."""
    keep_monthly: int = field(default=0, validator=_not_negative)
    """For how many months to keep the newest of the month."""
    rate: SizeBytes = field(default=SizeBytes(0), validator=_not_negative)
    """Bytes a second to read at most; 0 is no bound."""

    @property
    def policy(self) -> KeepPolicy:
        """Which backups stay."""
        return KeepPolicy(self.keep_last, self.keep_daily, self.keep_weekly, self.keep_monthly)


@frozen
class BackupStatistics:
    """How scheduled backups fare."""

    last_success_time_ms: int
    """When the newest backup in the folder was made; 0 when there is none, or backups are off."""
    last_duration_ms: int
    """How long the last one took that this process made."""
    last_copied_bytes: int
    """What was new in it."""
    last_bytes: int
    """The size of the directory that it restores to."""
    copied_bytes_total: int
    """Bytes copied into the folder."""
    successes_total: int
    """Backups made."""
    failures_total: int
    """Backups that failed; they are tried again."""
    removed_total: int
    """Backups removed because no rule keeps them."""
    running: int
    """1 while a backup is being made."""


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `backup`."""
    return [ConfigSection(SECTION, BackupSettings)]


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return the schedule; it sleeps while no folder is configured."""
    return [BackupSchedule(services)]


@define
class _Counts:
    last_success_ms: int = 0
    last_duration_ms: int = 0
    last_copied: int = 0
    last_bytes: int = 0
    copied: int = 0
    successes: int = 0
    failures: int = 0
    removed: int = 0


class BackupSchedule(Source):
    """Makes backups when they are due."""

    name = SECTION

    def __init__(self, services: Services) -> None:
        self._services = services
        self._counts = _Counts()
        self._changed = trio.Event()
        self._running = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Make backups until cancelled; one that is being copied is given up then and leaves nothing behind."""
        task_status.started()
        await self._tidy_up()
        while True:
            self._changed = trio.Event()
            settings: BackupSettings = self._services.config.tinyobs.section(SECTION)
            if not settings.to:
                self._counts.last_success_ms = 0
                await self._changed.wait()
                continue
            await self._follow(settings)

    async def reconfigure(self, config: Any) -> None:
        """Look at the section again; a backup that is being made is finished first."""
        self._changed.set()

    def statistics(self) -> BackupStatistics:
        """Return the figures."""
        c = self._counts
        return BackupStatistics(
            c.last_success_ms,
            c.last_duration_ms,
            c.last_copied,
            c.last_bytes,
            c.copied,
            c.successes,
            c.failures,
            c.removed,
            int(self._running),
        )

    async def _follow(self, settings: BackupSettings) -> None:
        """Make backups by these settings until they may have changed."""
        clock = self._services.clock
        try:
            self._counts.last_success_ms = await trio.to_thread.run_sync(_newest_ms, settings.to)
            # A clock that was put back since then must not put the next one off for long.
            due_ms = min(self._counts.last_success_ms, clock.now_ms()) + settings.every
        except (TinyObsError, OSError) as e:
            due_ms = self._failed(e, settings)
        while not self._changed.is_set():
            left = (due_ms - clock.now_ms()) / 1000
            if left > 0:
                with trio.move_on_after(min(left, LONGEST_SLEEP_SECONDS)):
                    await self._changed.wait()
                continue
            try:
                await self._back_up(settings)
                due_ms = self._counts.last_success_ms + settings.every
            except (TinyObsError, OSError) as e:
                due_ms = self._failed(e, settings)

    def _failed(self, error: Exception, settings: BackupSettings) -> int:
        self._counts.failures += 1
        pause_ms = min(PAUSE_MS, settings.every)
        log.error("backup failed", to=settings.to, error=str(error), again_in_seconds=pause_ms // 1000)
        return self._services.clock.now_ms() + pause_ms

    async def _back_up(self, settings: BackupSettings) -> None:
        """Make one backup, then remove those that no rule keeps.  Raises what can go wrong with disks."""
        counts, began = self._counts, trio.current_time()
        now_ms = self._services.clock.now_ms()
        data = self._data_folder()
        if data is None:
            kind = self._services.settings.storage_url.partition(":")[0]
            raise StorageError(f"only a local storage can be backed up; this one is {kind}:")
        self._running = True
        try:
            await self._tidy_up()
            snapshot = await self._services.run_on_writer(partial(_snapshot, data))
            try:
                made, pruned = await trio.to_thread.run_sync(
                    partial(_copy, snapshot.disk, settings, now_ms), abandon_on_cancel=False
                )
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(_remove, snapshot)
        finally:
            self._running = False
        counts.last_success_ms, counts.last_duration_ms = now_ms, round((trio.current_time() - began) * 1000)
        counts.last_copied, counts.last_bytes = made.copied_bytes, made.bytes
        counts.copied += made.copied_bytes
        counts.successes += 1
        counts.removed += len(pruned.backups) if pruned else 0
        log.info(
            "backup made",
            to=settings.to,
            backup=made.name,
            bytes=made.bytes,
            copied_bytes=made.copied_bytes,
            seconds=round(counts.last_duration_ms / 1000, 1),
            removed=len(pruned.backups) if pruned else 0,
        )

    def _data_folder(self) -> Path | None:
        """Return the data directory, None for a storage of another kind."""
        url: str = self._services.settings.storage_url
        return Path(url.removeprefix(SCHEME)) if url.startswith(SCHEME) else None

    async def _tidy_up(self) -> None:
        """Remove what backups left behind that were killed, those of the command line as well."""
        data = self._data_folder()
        if data is None:
            return
        try:
            for name in await trio.to_thread.run_sync(remove_left_snapshots, data):
                log.info("removed a snapshot that an interrupted backup left behind", snapshot=name)
        except (OSError, TinyObsError) as e:
            log.warning("a snapshot that an interrupted backup left behind could not be removed", error=str(e))

    def restart(self) -> Component:
        """Go on with the same figures."""
        return self


def _snapshot(data: Path, storage: Storage) -> BackupSnapshot:
    return claim_snapshot(data, storage.snapshot())


def _remove(snapshot: BackupSnapshot) -> None:
    """Remove a snapshot; one that cannot be removed is logged, and costs nothing but space."""
    try:
        snapshot.remove()
    except OSError as e:
        log.warning("a snapshot could not be removed", snapshot=snapshot.folder.name, error=str(e))


def _newest_ms(folder: str) -> int:
    """Return when the newest backup in a folder was made, 0 without one or without the folder."""
    if not Path(folder).is_dir():
        return 0
    return max((b.created_ms for b in read_backups(ReadOnlyDisk(folder))[0]), default=0)


def _copy(source: ReadOnlyDisk, settings: BackupSettings, now_ms: int) -> tuple[Backup, Pruned | None]:
    """Copy a snapshot; runs in a worker thread and stops, by way of an exception, when the schedule is cancelled."""
    target = PosixDisk(settings.to)
    target.lock()
    try:
        made = make_backup(source, target, now_ms, _check, Rate(settings.rate, _sleep, _now))
        if settings.policy.is_empty:
            return made, None
        kept = kept_backups(read_backups(target)[0], settings.policy)
        try:
            return made, prune_backups(target, kept | {made.name})
        except CorruptionError as e:  # the new backup is good all the same
            log.warning("old backups were not removed", to=settings.to, error=str(e))
            return made, None
    finally:
        target.unlock()


def _check(file: str, done: int, total: int) -> None:
    trio.from_thread.check_cancelled()


def _sleep(seconds: float) -> None:
    trio.from_thread.run(trio.sleep, seconds)


def _now() -> float:
    return trio.from_thread.run_sync(trio.current_time)
