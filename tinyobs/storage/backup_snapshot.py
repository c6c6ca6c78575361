"""The snapshot that a backup of an open directory copies: marked and locked while it is copied, then removed.

It gets the name `NAME.backup` and its own `LOCK` is held.  A process that is killed leaves it behind, unlocked, and
whoever makes the next backup removes it, as does the next start of the daemon.  A snapshot without the mark belongs to
somebody who asked for it and is never touched.

Not here: making snapshots (`snapshot.py`), copying them (`backup.py`).
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

from attrs import frozen

from ..errors import LockedError, StorageError
from .layout import SNAPSHOT_FOLDER, snapshot_folder
from .posix_disk import PosixDisk
from .read_only_disk import ReadOnlyDisk

MARK: Final = ".backup"
"""Behind the names of snapshots that are made for a backup."""


@frozen
class BackupSnapshot:
    """A snapshot that this process has marked and locked."""

    folder: Path
    _lock: PosixDisk

    @property
    def disk(self) -> ReadOnlyDisk:
        """The snapshot, to be copied."""
        return ReadOnlyDisk(self.folder)

    def remove(self) -> None:
        """Remove the snapshot and give its lock back; raises `OSError`."""
        try:
            _remove(self.folder)
        finally:
            self._lock.unlock()


def claim_snapshot(data: Path, snapshot: str) -> BackupSnapshot:
    """Mark a snapshot of a data directory, by its name, as one of a backup.

    Locked first and marked then: whoever sees the mark can tell whether somebody still copies.  Raises `StorageError`
    when that is not possible; the snapshot is removed then, as far as the disk lets it.
    """
    folder = data / snapshot_folder(snapshot)
    marked = folder.with_name(folder.name + MARK)
    try:
        lock = PosixDisk(folder)
        lock.lock()
        folder.rename(marked)
        PosixDisk(data).sync_folder(SNAPSHOT_FOLDER)
    except (OSError, StorageError) as e:
        for left in (folder, marked):
            shutil.rmtree(left, ignore_errors=True)
        raise StorageError(f"cannot use the snapshot {folder} for a backup: {e}") from e
    return BackupSnapshot(marked, lock)


def remove_left_snapshots(data: Path) -> list[str]:
    """Remove the snapshots that killed backups left in a data directory; return their names.  Raises `OSError`."""
    try:
        marked = sorted(p for p in (data / SNAPSHOT_FOLDER).iterdir() if p.name.endswith(MARK) and p.is_dir())
    except FileNotFoundError:
        return []
    removed = []
    for folder in marked:
        lock = PosixDisk(folder)
        try:
            lock.lock()
        except LockedError:  # a backup is at work on it
            continue
        try:
            _remove(folder)
        finally:
            lock.unlock()
        removed.append(folder.name)
    return removed


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # somebody else finished what a killed process had begun to remove
        shutil.rmtree(folder)
