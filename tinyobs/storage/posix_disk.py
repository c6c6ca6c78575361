"""The real disk: `Disk` over a directory of a POSIX file system.

Appending uses O_APPEND, durability fsync of files and folders, reading mmap, and the lock flock, which the kernel
gives back when the process dies however it dies.  Nothing here knows what the files mean.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import shutil
from pathlib import Path

from ..errors import LockedError, StorageError
from .disk import Disk, File
from .layout import LOCK

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""What file systems say that cannot give a file a second name."""
_WRITE = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC


class PosixFile(File):
    """A file descriptor open for appending.  Its `OSError`s name the file, as those of the disk do."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd, self._path = fd, path
        self._size = os.fstat(fd).st_size

    @property
    def size(self) -> int:
        """Bytes in the file, including what is not yet durable."""
        return self._size

    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data` at the end."""
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(self._fd, rest)
            except OSError as e:
                raise OSError(e.errno, e.strerror, str(self._path)) from e
            self._size += written
            rest = rest[written:]

    def sync(self) -> None:
        """Make the content durable."""
        try:
            os.fsync(self._fd)
        except OSError as e:
            raise OSError(e.errno, e.strerror, str(self._path)) from e

    def close(self) -> None:
        """Close without syncing; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class PosixDisk(Disk):
    """A directory.  Raises `StorageError` when it cannot be made, read or written."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock_fd = -1
        try:
            _make_durably(self.path)
        except OSError as e:
            raise StorageError(f"cannot create the data directory {self.path}: {e.strerror}") from e
        if os.statvfs(self.path).f_flag & os.ST_RDONLY:
            raise StorageError(
                f"the file system of the data directory {self.path} is read-only: find out why (dmesg), mount it "
                "writable and start again; `tinyobs tsdb verify`, `export` and `backup` work on it as it is"
            )
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise StorageError(f"no right to read and write the data directory {self.path}")

    def create(self, name: str) -> File:
        """Create a file that must not exist."""
        path = self.path / name
        return PosixFile(os.open(path, _WRITE | os.O_CREAT | os.O_EXCL, 0o640), path)

    def open_append(self, name: str) -> File:
        """Open an existing file for appending."""
        return PosixFile(os.open(self.path / name, _WRITE), self.path / name)

    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""
        return (self.path / name).read_bytes()

    def map(self, name: str) -> memoryview:
        """Return the content of a file as a read-only mapping."""
        fd = os.open(self.path / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(fd)

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        """Return `size` bytes of a file from an offset on, fewer where it ends before."""
        fd = os.open(self.path / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, size, offset)
        finally:
            os.close(fd)

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to `size` bytes, durably."""
        fd = os.open(self.path / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing `new` atomically."""
        (self.path / old).replace(self.path / new)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name; copy it where there are no such names."""
        try:
            os.link(self.path / old, self.path / new)
        except OSError as e:
            if e.errno not in _NO_LINKS:
                raise
            super().link(old, new)

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self.path / name).unlink()

    def list(self, folder: str) -> list[str]:
        """Return the sorted names of the files in a folder."""
        try:
            with os.scandir(self.path / folder) as entries:
                return sorted(e.name for e in entries if e.is_file())
        except FileNotFoundError:
            return []

    def make_folder(self, folder: str) -> None:
        """Create a folder and its parents, durably."""
        made = self.path / folder
        made.mkdir(parents=True, exist_ok=True)
        for parent in Path(folder).parents:
            self.sync_folder(str(parent))

    def sync_folder(self, folder: str) -> None:
        """Make creations, renames and removals in a folder durable."""
        fd = os.open(self.path / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return (self.path / name).stat().st_size

    def free_bytes(self) -> int:
        """Return the free space of the file system."""
        return shutil.disk_usage(self.path).free

    def total_bytes(self) -> int:
        """Return the size of the file system."""
        return shutil.disk_usage(self.path).total

    def lock(self) -> None:
        """Take the directory for this process; raises `LockedError` that names the holder."""
        path = self.path / LOCK
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as e:
            raise StorageError(f"cannot open {path}: {e.strerror}") from e
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise LockedError(f"{self.path} is in use by the process with pid {holder}") from e
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        except OSError:  # a full disk must not keep the queries of a restarted process from working
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
        self._lock_fd = fd

    def unlock(self) -> None:
        """Give the directory back; idempotent."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _make_durably(path: Path) -> None:
    """Create a folder and those above it; each is durable only when the folder that names it is."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        try:
            fd = os.open(made.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:  # a folder in which one may make files but not list them
            continue
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
