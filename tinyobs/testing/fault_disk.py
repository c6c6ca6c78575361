"""A disk around another one that fails when told to: full, broken, or at one particular change."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from ..storage.disk import Disk, File


class FaultDisk(Disk):
    """Passes everything on to `inner`, counting changes (creations, writes, syncs, renames, removals).

    faults: number of a change, from 0 -> the errno with which it fails.  A failing write leaves its first half behind.
    full: while true, every write and creation fails with ENOSPC.
    """

    def __init__(self, inner: Disk, faults: Mapping[int, int] | None = None) -> None:
        self.inner = inner
        self.faults = dict(faults or {})
        self.full = False
        self.change_count = 0

    def fault(self, *, takes_space: bool = False) -> int:
        """Count a change; return the errno with which it fails, 0 when it does not."""
        number = self.change_count
        self.change_count += 1
        if takes_space and self.full:
            return errno.ENOSPC
        return self.faults.get(number, 0)

    def _check(self, name: str, *, takes_space: bool = False) -> None:
        raise_errno(self.fault(takes_space=takes_space), name)

    def create(self, name: str) -> File:
        """Create a file, or fail."""
        self._check(name, takes_space=True)
        return FaultFile(self, self.inner.create(name), name)

    def open_append(self, name: str) -> File:
        """Open a file."""
        return FaultFile(self, self.inner.open_append(name), name)

    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""
        return self.inner.read(name)

    def map(self, name: str) -> memoryview:
        """Return the content of a file."""
        return self.inner.map(name)

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        """Return a part of a file."""
        return self.inner.read_at(name, offset, size)

    def truncate(self, name: str, size: int) -> None:
        """Cut a file, or fail."""
        self._check(name)
        self.inner.truncate(name, size)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, or fail."""
        self._check(old)
        self.inner.rename(old, new)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name, or fail."""
        self._check(new, takes_space=True)
        self.inner.link(old, new)

    def remove(self, name: str) -> None:
        """Remove a file, or fail."""
        self._check(name)
        self.inner.remove(name)

    def list(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        return self.inner.list(folder)

    def make_folder(self, folder: str) -> None:
        """Create a folder."""
        self.inner.make_folder(folder)

    def sync_folder(self, folder: str) -> None:
        """Make names durable, or fail."""
        self._check(folder)
        self.inner.sync_folder(folder)

    def size(self, name: str) -> int:
        """Return the size of a file."""
        return self.inner.size(name)

    def free_bytes(self) -> int:
        """Return the free space."""
        return 0 if self.full else self.inner.free_bytes()

    def total_bytes(self) -> int:
        """Return the size of the file system."""
        return self.inner.total_bytes()

    def lock(self) -> None:
        """Take the directory."""
        self.inner.lock()

    def unlock(self) -> None:
        """Give the directory back."""
        self.inner.unlock()


class FaultFile(File):
    """A file of a `FaultDisk`."""

    def __init__(self, disk: FaultDisk, inner: File, name: str = "") -> None:
        self._disk, self._inner, self._name = disk, inner, name

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._inner.size

    def append(self, data: bytes | memoryview) -> None:
        """Write, or write half and fail."""
        number = self._disk.fault(takes_space=True)
        if number:
            self._inner.append(data[: len(data) // 2])
        raise_errno(number, self._name)
        self._inner.append(data)

    def sync(self) -> None:
        """Make the content durable, or fail."""
        raise_errno(self._disk.fault(), self._name)
        self._inner.sync()

    def close(self) -> None:
        """Close."""
        self._inner.close()


def raise_errno(number: int, name: str) -> None:
    """Raise the `OSError` of an errno about a file; 0 is none."""
    if number:
        raise OSError(number, os.strerror(number), name)
