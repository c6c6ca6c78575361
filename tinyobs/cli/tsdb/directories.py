"""Opening data directories for commands: to look at, to look at through an engine, to work on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import click

from ...errors import CorruptionError, LockedError, StorageError
from ...model.registry import SeriesRegistry
from ...storage.disk import Disk
from ...storage.engine import Engine
from ...storage.layout import INCOMING_FOLDER, MANIFEST, SEGMENT_FOLDER, SEGMENT_SUFFIX, WAL_FOLDER
from ...storage.options import EngineOptions
from ...storage.posix_disk import PosixDisk
from ...storage.read_only_disk import ReadOnlyDisk
from ...storage.restore import KEEP_ALL
from ...storage.scratch_disk import ScratchDisk
from .figures import counted


def now_ms() -> int:
    """Return the time of the machine."""
    return time.time_ns() // 1_000_000


@contextmanager
def locked_for_reading(path: Path, *, advice: str) -> Iterator[ReadOnlyDisk]:
    """Keep a directory from being opened by others while the block reads it.

    advice: what to do where a daemon has it open.  Raises `StorageError` and its kinds.
    """
    disk = ReadOnlyDisk(path)
    lock(disk, advice)
    try:
        yield disk
    finally:
        disk.unlock()


@contextmanager
def read_engine(path: Path) -> Iterator[Engine]:
    """Open an engine on a directory that is not written to: what it changes stays in memory."""
    with locked_for_reading(path, advice="stop it, or make a snapshot and name that") as disk:
        require_data(disk, path)
        warn_of_imports(disk)
        try:
            yield from _engine(ScratchDisk(_Unlocked(disk)), KEEP_ALL)
        except CorruptionError as e:
            if "tinyobs tsdb" in e.reason:
                raise
            advice = "`tinyobs tsdb verify` tells what is lost, `repair` saves the rest"
            raise CorruptionError(e.file, e.offset, f"{e.reason}; {advice}") from e


@contextmanager
def work_engine(path: Path, options: EngineOptions = KEEP_ALL) -> Iterator[Engine]:
    """Open an engine to work on a directory that nobody else has open."""
    disk = ReadOnlyDisk(path)
    if not waiting_imports(disk):
        require_data(disk, path)
    yield from _engine(PosixDisk(path), options)


def require_data(disk: Disk, path: Path) -> None:
    """Raise `StorageError` where there is no data directory: a mistyped path must not become an empty one."""
    if MANIFEST in disk.list("") or disk.list(SEGMENT_FOLDER) or disk.list(WAL_FOLDER):
        return
    if waiting_imports(disk):
        raise StorageError(
            f"{path} has only what an import left in {INCOMING_FOLDER}/: start the daemon on it, or run"
            " `tinyobs tsdb compact`, which takes that in"
        )
    raise StorageError(f"{path} is no data directory: it has no {MANIFEST}")


def waiting_imports(disk: Disk) -> int:
    """Return the number of segments that an import handed over and that no daemon took in yet."""
    return sum(name.endswith(SEGMENT_SUFFIX) for name in disk.list(INCOMING_FOLDER))


def warn_of_imports(disk: Disk) -> None:
    """Say on standard error what a command leaves out because it waits to be taken in."""
    count = waiting_imports(disk)
    if count:
        click.echo(
            f"WARNING left out: {counted(count, 'segment')} of an import, waiting in {INCOMING_FOLDER}/; a daemon takes"
            " them in by itself, `tinyobs tsdb compact` where none runs",
            err=True,
        )


def lock(disk: Disk, advice: str) -> None:
    """Lock a directory; raises `LockedError` that says what to do."""
    try:
        disk.lock()
    except LockedError as e:
        raise LockedError(f"{e}; {advice}") from None


def _engine(disk: Disk, options: EngineOptions) -> Iterator[Engine]:
    try:
        engine = Engine.open(disk, SeriesRegistry(), attrs.evolve(options), now_ms)
    except LockedError as e:
        raise LockedError(f"{e}; stop it, or ask it with --url where the command has that") from None
    try:
        yield engine
    finally:
        engine.close()


class _Unlocked(ReadOnlyDisk):
    """The same directory for an engine, whose lock is held already."""

    def __init__(self, disk: ReadOnlyDisk) -> None:
        super().__init__(disk.path)

    def lock(self) -> None:
        """Do nothing."""

    def unlock(self) -> None:
        """Do nothing."""
