"""Scheduled backups: when they are made, what they leave, and what happens when something is wrong."""

from __future__ import annotations

from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tinyobs.builtin.backup import BackupSchedule, tinyobs_config_sections
from tinyobs.config import loader
from tinyobs.errors import ConfigError, DiskFullError
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.runtime.settings import AgentSettings
from tinyobs.runtime.statistics import families
from tinyobs.storage.backup import verify_backups
from tinyobs.storage.backup_format import list_backups
from tinyobs.storage.backup_snapshot import claim_snapshot
from tinyobs.storage.engine import open_directory
from tinyobs.storage.posix_disk import PosixDisk
from tinyobs.storage.read_only_disk import ReadOnlyDisk
from tinyobs.testing.services import EPOCH_MS, FakeServices, VirtualClock

HOUR = 3600.0


class Writer(FakeServices):
    """An engine, and the way to its thread."""

    def __init__(self, path, text):
        super().__init__(config(text))
        self.settings = AgentSettings(storage_url=f"file:{path}")
        self.engine = open_directory(path, self.registry, lambda: EPOCH_MS)
        self.broken = None

    async def run_on_writer(self, work):
        if self.broken is not None:
            raise self.broken
        return await trio.to_thread.run_sync(work, self.engine)

    def store(self, value):
        ref = self.registry.intern(from_mapping({"__name__": "m"}))
        column = np.array([value])
        self.engine.append([Batch(np.array([ref], np.uint32), np.array([EPOCH_MS + int(value)]), column)])


def config(text):
    return loader.parse(f"tinyobs: {{backup: {{{text}}}}}", "test.yml", tinyobs_config_sections())


@pytest.fixture
def make(tmp_path):
    made = []

    def give(text="every: 1h"):
        services = Writer(tmp_path / "data", f"to: {tmp_path / 'store'}, {text}")
        made.append(services)
        return services, BackupSchedule(services)

    yield give
    for services in made:
        services.engine.close()


def backups(tmp_path):
    if not (tmp_path / "store").exists():
        return []
    return list_backups(ReadOnlyDisk(tmp_path / "store"))


def snapshots(tmp_path):
    folder = tmp_path / "data" / "snapshots"
    return list(folder.iterdir()) if folder.exists() else []


async def until(condition):
    """Let other tasks and threads go on until something holds; the clock stands still meanwhile."""
    while not condition():
        await trio.lowlevel.checkpoint()


async def quiet(schedule):
    """Let everything that is due begin; tell whether nothing is being made."""
    await trio.testing.wait_all_tasks_blocked()
    return schedule.statistics().running == 0


@asynccontextmanager
async def running(schedule):
    """The schedule as a task."""
    async with trio.open_nursery() as nursery:
        await nursery.start(schedule.run)
        yield
        nursery.cancel_scope.cancel()


def made(schedule, count):
    """Whether so many backups were made and none is being made."""
    return lambda: schedule.statistics().successes_total == count and not schedule.statistics().running


def failed(schedule, count):
    """Whether so many have failed."""
    return lambda: schedule.statistics().failures_total == count and not schedule.statistics().running


async def test_the_first_is_made_at_once_and_then_one_each_interval(make, tmp_path, mock_clock):
    """Each is complete and sound, and no snapshot stays."""
    services, schedule = make()
    services.store(1.0)
    async with running(schedule):
        await until(made(schedule, 1))
        assert [b.created_ms for b in backups(tmp_path)] == [EPOCH_MS]
        services.store(2.0)
        for count in (2, 3, 4):
            mock_clock.jump(HOUR - 1)
            assert await quiet(schedule)
            mock_clock.jump(1)
            await until(made(schedule, count))
    found = backups(tmp_path)
    assert [round((b.created_ms - EPOCH_MS) / 3_600_000) for b in found] == [0, 1, 2, 3]
    assert verify_backups(ReadOnlyDisk(tmp_path / "store"), found) == []
    assert snapshots(tmp_path) == []
    figures = schedule.statistics()
    assert figures.last_success_time_ms == found[-1].created_ms
    assert figures.last_bytes == found[-1].bytes
    assert figures.copied_bytes_total == sum(b.copied_bytes for b in found)
    names = {f.name for f in families("backup", figures)}
    assert {"tinyobs_backup_last_success_time_seconds", "tinyobs_backup_failures_total"} <= names


async def test_a_restart_goes_by_the_newest_backup_in_the_folder(make, tmp_path, mock_clock):
    """A daemon that is restarted often does not make more backups, nor fewer."""
    services, schedule = make()
    async with running(schedule):
        await until(made(schedule, 1))
    mock_clock.jump(HOUR / 2)
    again = BackupSchedule(services)
    async with running(again):
        await until(lambda: again.statistics().last_success_time_ms == EPOCH_MS)
        mock_clock.jump(HOUR / 4)
        assert await quiet(again)
        assert len(backups(tmp_path)) == 1
        mock_clock.jump(HOUR / 4)
        await until(made(again, 1))
    assert len(backups(tmp_path)) == 2


async def test_what_a_killed_backup_left_behind_is_removed(make, tmp_path, mock_clock):
    """At the start and before each backup; snapshots that somebody asked for stay."""
    services, schedule = make()
    data, asked = tmp_path / "data", services.engine.snapshot()
    claim_snapshot(data, services.engine.snapshot())._lock.unlock()
    async with running(schedule):
        await until(made(schedule, 1))
        assert [p.name for p in snapshots(tmp_path)] == [asked]
        claim_snapshot(data, services.engine.snapshot())._lock.unlock()
        mock_clock.jump(HOUR)
        await until(made(schedule, 2))
    assert [p.name for p in snapshots(tmp_path)] == [asked]


async def test_old_ones_are_removed(make, tmp_path, mock_clock):
    """Only what the rules keep stays; the removed ones are counted."""
    _, schedule = make("every: 1h, keep_last: 2")
    async with running(schedule):
        for count in range(1, 6):
            await until(made(schedule, count))
            mock_clock.jump(HOUR)
        await until(made(schedule, 6))
    assert len(backups(tmp_path)) == 2
    assert schedule.statistics().removed_total == 4


async def test_a_failure_is_logged_counted_and_tried_again(make, tmp_path, mock_clock):
    """After ten minutes; the schedule lives on."""
    services, schedule = make()
    services.broken = DiskFullError("no room for a snapshot")
    with capture_logs() as logs:
        async with running(schedule):
            await until(failed(schedule, 1))
            services.broken = None
            mock_clock.jump(599)
            assert await quiet(schedule)
            mock_clock.jump(1)
            await until(made(schedule, 1))
    (failure,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert failure["error"] == "no room for a snapshot"
    assert failure["again_in_seconds"] == 600
    assert [e["event"] for e in logs if e["log_level"] == "info"] == ["backup made"]


async def test_a_folder_that_cannot_be_used_is_a_failure(make, tmp_path, mock_clock):
    """A file in the place of the folder, a lock that another holds: told, tried again, and no snapshot stays."""
    _, schedule = make()
    (tmp_path / "store").write_text("a file")
    async with running(schedule):
        await until(failed(schedule, 1))
        (tmp_path / "store").unlink()
        other = PosixDisk(tmp_path / "store")
        other.lock()
        mock_clock.jump(600)
        await until(failed(schedule, 2))
        other.unlock()
        mock_clock.jump(600)
        await until(made(schedule, 1))
    assert snapshots(tmp_path) == []


async def test_a_damaged_description_stops_only_the_removal(make, tmp_path, mock_clock):
    """Backups go on at their pace; nothing is removed, since what that backup needs is not known."""
    _, schedule = make("every: 1h, keep_last: 1")
    (tmp_path / "store" / "backups").mkdir(parents=True)
    (tmp_path / "store" / "backups" / "20200101T000000.000Z.json").write_text("{")
    with capture_logs() as logs:
        async with running(schedule):
            await until(made(schedule, 1))
            mock_clock.jump(HOUR)
            await until(made(schedule, 2))
    assert schedule.statistics().failures_total == 0
    assert schedule.statistics().removed_total == 0
    assert [e["event"] for e in logs if e["log_level"] == "warning"] == ["old backups were not removed"] * 2


async def test_it_sleeps_until_a_folder_is_configured(make, tmp_path, mock_clock):
    """A reload switches backups on and off, and changes the interval."""
    services, schedule = make()
    on, off = services.config, config("every: 1h")
    services.config = off
    async with running(schedule):
        mock_clock.jump(5 * HOUR)
        assert await quiet(schedule)
        assert not (tmp_path / "store").exists()
        services.config = on
        await schedule.reconfigure(on)
        await until(made(schedule, 1))
        services.config = config(f"to: {tmp_path / 'store'}, every: 10m")
        await schedule.reconfigure(services.config)
        mock_clock.jump(600)
        await until(made(schedule, 2))
        services.config = off
        await schedule.reconfigure(off)
        await until(lambda: schedule.statistics().last_success_time_ms == 0)
        mock_clock.jump(5 * HOUR)
        assert await quiet(schedule)
    assert len(backups(tmp_path)) == 2


async def test_the_rate_is_kept_and_a_stop_does_not_wait_for_it(make, tmp_path, mock_clock):
    """A slow copy takes its time; when the daemon stops it is given up, and the next one starts over."""
    services, schedule = make("every: 1d, rate: 1KB")
    for i in range(50):
        services.store(float(i))
    async with running(schedule):
        await until(lambda: schedule.statistics().running == 1)
        assert schedule.statistics().successes_total == 0
    assert schedule.statistics().running == 0
    assert backups(tmp_path) == []
    assert snapshots(tmp_path) == []

    def later():
        mock_clock.jump(0.1)
        return made(schedule, 1)()

    async with running(schedule):
        await until(later)
    (backup,) = backups(tmp_path)
    assert schedule.statistics().last_duration_ms > backup.bytes / 2
    assert [f for f in (tmp_path / "store" / "objects").iterdir() if f.suffix == ".tmp"] == []


async def test_other_storages_cannot_be_backed_up(make, tmp_path, mock_clock):
    """The log says so instead of nothing happening."""
    services, schedule = make()
    services.settings = AgentSettings(storage_url="memory:")
    with capture_logs() as logs:
        async with running(schedule):
            await until(failed(schedule, 1))
    assert "only a local storage" in logs[0]["error"]


async def test_a_clock_that_was_put_back_does_not_stop_backups(make, tmp_path, mock_clock):
    """A backup from the future is no reason to wait until then."""
    services, schedule = make()
    services.clock = VirtualClock(EPOCH_MS + 1000 * 86_400_000)
    async with running(schedule):
        await until(made(schedule, 1))
    services.clock = VirtualClock()
    again = BackupSchedule(services)
    async with running(again):
        await until(lambda: again.statistics().last_success_time_ms > EPOCH_MS)
        await quiet(again)
        mock_clock.jump(HOUR)
        await until(made(again, 1))
    assert len(backups(tmp_path)) == 2


def test_settings_are_checked():
    """Too short intervals and negative numbers are faults of the file."""
    for text in ("every: 1s", "keep_last: -1", "too: /x"):
        with pytest.raises(ConfigError):
            config(text)
    assert config("").tinyobs.section("backup").to == ""
