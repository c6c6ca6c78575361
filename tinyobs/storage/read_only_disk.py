"""A data directory that is looked at and never changed: `Disk` whose changing methods refuse.

For checking and copying directories, also on read-only file systems.  `DryDisk` is the same over any other disk, but
accepts the tidying that reading the log does and forgets it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from ..errors import LockedError, StorageError
from .disk import Disk, File
from .layout import LOCK
from .posix_disk import PosixDisk


class ReadOnlyDisk(PosixDisk):
    """An existing directory.  Raises `StorageError` when there is none, or no right to read it."""

    def __init__(self, path: str | Path) -> None:  # the parent's would create the directory and want to write to it
        self.path = Path(path)
        self._lock_fd = -1
        if not self.path.is_dir():
            raise StorageError(f"there is no directory {self.path}")
        if not os.access(self.path, os.R_OK | os.X_OK):
            raise StorageError(f"no right to read the directory {self.path}")

    def create(self, name: str) -> File:
        """Refuse."""
        raise _read_only(name)

    def open_append(self, name: str) -> File:
        """Refuse."""
        raise _read_only(name)

    def truncate(self, name: str, size: int) -> None:
        """Refuse."""
        raise _read_only(name)

    def rename(self, old: str, new: str) -> None:
        """Refuse."""
        raise _read_only(old)

    def remove(self, name: str) -> None:
        """Refuse."""
        raise _read_only(name)

    def make_folder(self, folder: str) -> None:
        """Refuse."""
        raise _read_only(folder)

    def lock(self) -> None:
        """Keep every other process from opening the directory; raises `LockedError` that names who has it open.

        A directory that nobody ever opened has nothing to lock, nor need there be.
        """
        try:
            fd = os.open(self.path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as e:
            raise StorageError(f"cannot open {self.path / LOCK}: {e.strerror}") from e
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise LockedError(f"{self.path} is in use by the process with pid {holder}") from e
        self._lock_fd = fd


class DryDisk(Disk):
    """Another disk, read only; removing and cutting files is accepted and does nothing."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def create(self, name: str) -> File:
        """Refuse."""
        raise _read_only(name)

    def open_append(self, name: str) -> File:
        """Refuse."""
        raise _read_only(name)

    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""
        return self._disk.read(name)

    def map(self, name: str) -> memoryview:
        """Return the content of a file."""
        return self._disk.map(name)

    def truncate(self, name: str, size: int) -> None:
        """Do nothing."""

    def rename(self, old: str, new: str) -> None:
        """Refuse."""
        raise _read_only(old)

    def remove(self, name: str) -> None:
        """Do nothing."""

    def list(self, folder: str) -> list[str]:
        """Return the sorted names of the files in a folder."""
        return self._disk.list(folder)

    def make_folder(self, folder: str) -> None:
        """Do nothing."""

    def sync_folder(self, folder: str) -> None:
        """Do nothing."""

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return self._disk.size(name)

    def free_bytes(self) -> int:
        """Return the free space of the file system."""
        return self._disk.free_bytes()

    def lock(self) -> None:
        """Take the other disk."""
        self._disk.lock()

    def unlock(self) -> None:
        """Give the other disk back."""
        self._disk.unlock()


def _read_only(name: str) -> OSError:
    return OSError(errno.EROFS, "opened for reading only", name)
