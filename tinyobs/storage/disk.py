"""The port through which the storage engine reaches the operating system.

Nothing else in the package opens data files.  Names are relative paths with `/`, made by `layout.py`.  The semantics
are those of a POSIX file system that may lose anything not yet synced: data of a file is durable after `File.sync`,
the existence or name of a file after `sync_folder` of its folder.  Implementations: `posix_disk.PosixDisk` here,
`MemDisk` and `FaultDisk` in `tinyobs.testing`, which crash on purpose.

All methods raise `OSError` as the operating system does (`FileNotFoundError`, `ENOSPC`, `EIO`, ...).
"""

from __future__ import annotations

import abc


class File(abc.ABC):
    """A file open for appending."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Bytes in the file, including what is not yet durable."""

    @abc.abstractmethod
    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data` at the end; may leave a part of it there when it raises."""

    @abc.abstractmethod
    def sync(self) -> None:
        """Make the content durable; after a failure nothing may be assumed of what was written since the last sync."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close without syncing; idempotent."""


class Disk(abc.ABC):
    """One data directory."""

    @abc.abstractmethod
    def create(self, name: str) -> File:
        """Create a file that must not exist, in an existing folder."""

    @abc.abstractmethod
    def open_append(self, name: str) -> File:
        """Open an existing file for appending."""

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""

    @abc.abstractmethod
    def map(self, name: str) -> memoryview:
        """Return the content of a file without reading it all; stays valid after the file is removed."""

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        """Return `size` bytes of a file from an offset on, fewer where it ends before."""
        return bytes(self.map(name)[offset : offset + size])

    @abc.abstractmethod
    def truncate(self, name: str, size: int) -> None:
        """Cut a file to `size` bytes, durably."""

    @abc.abstractmethod
    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing `new` atomically; durable after `sync_folder`."""

    def link(self, old: str, new: str) -> None:
        """Give a file, which nobody changes any more, a second name that must not exist; durable after `sync_folder`.

        Where the file system has no such names the content is copied, durably.
        """
        data = self.map(old)
        file = self.create(new)
        try:
            file.append(data)
            file.sync()
        finally:
            file.close()

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; durable after `sync_folder`."""

    @abc.abstractmethod
    def list(self, folder: str) -> list[str]:
        """Return the sorted names (without the folder) of the files in a folder; [] when it does not exist."""

    @abc.abstractmethod
    def make_folder(self, folder: str) -> None:
        """Create a folder and its parents, durably; no error when it exists."""

    @abc.abstractmethod
    def sync_folder(self, folder: str) -> None:
        """Make creations, renames and removals in a folder durable; "" is the data directory itself."""

    @abc.abstractmethod
    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""

    @abc.abstractmethod
    def free_bytes(self) -> int:
        """Return the free space of the file system."""

    def total_bytes(self) -> int:
        """Return the size of the file system, 0 where it is not known."""
        return 0

    @abc.abstractmethod
    def lock(self) -> None:
        """Take the directory for this process; raises `LockedError` that names the holder."""

    @abc.abstractmethod
    def unlock(self) -> None:
        """Give the directory back; idempotent."""
