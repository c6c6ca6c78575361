"""A disk in memory that can crash: every change is recorded, and any prefix of them can be survived in several ways.

`MemDisk.after_crash(count, loss)` gives the disk that a machine would find after it died behind the first `count`
changes.  What may be lost is what the port (`tinyobs.storage.disk`) allows: data after the last `sync` of a file, and
names after the last `sync_folder`.  For exhaustive tests: for every count and every `Loss`, reopen and check.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from attrs import Factory, define, frozen

from ..errors import LockedError
from ..storage.disk import Disk, File

FREE_BYTES: Final = 1 << 40
"""What `free_bytes` says."""
TOTAL_BYTES: Final = 1 << 41
"""What `total_bytes` says."""


class Loss(StrEnum):
    """What a crash does to changes that were not made durable."""

    NOTHING = "nothing"
    """All of them survive."""
    DATA = "data"
    """Names survive, unsynced data does not."""
    NAMES = "names"
    """Data survives, unsynced creations, renames and removals do not."""
    DATA_AND_NAMES = "data and names"
    """Only what was synced survives."""
    TORN_WRITE = "torn write"
    """All survives but the second half of the last write."""
    ZEROS = "zeros"
    """Files keep their length, but unsynced data is zeros."""
    GARBAGE = "garbage"
    """Files keep their length, but unsynced data is random."""
    HOLE = "hole"
    """The first unsynced half of a file is zeros, the second survives: pages are not written in order."""
    BOTH_NAMES = "both names"
    """Of an unsynced rename the new name is there and the old one as well; unsynced removals did not happen."""


@frozen
class Change:
    """One recorded change: the method of the disk or file, its name and its arguments."""

    method: str
    name: str
    data: bytes = b""
    other: str = ""
    size: int = 0


@define(eq=False)
class _Inode:
    data: bytearray = Factory(bytearray)
    synced: int = 0
    last_write: int = 0


class MemDisk(Disk):
    """A directory in memory.  changes: what was done, in order."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.changes: list[Change] = []
        self._origin = dict(files or {})
        """What was there, durable, before the first change."""
        self._files = {n: _Inode(bytearray(d), len(d)) for n, d in self._origin.items()}
        self._durable: dict[str, _Inode] = dict(self._files)
        self._renamed: dict[str, _Inode] = {}
        self._folders = {"", *map(_folder, self._files)}
        self._locked = False
        self._syncing = threading.Lock()

    # -- crashing ----------------------------------------------------------------------------------------------

    def after_crash(self, count: int, loss: Loss, seed: int = 0) -> MemDisk:
        """Return the disk as found after a crash behind the first `count` changes; `seed` is for the garbage."""
        lost = MemDisk(self._origin)
        for change in self.changes[:count]:
            lost._repeat(change)
        lost._lose(loss, random.Random(seed))  # noqa: S311 - test data, not secrets
        return MemDisk({name: bytes(inode.data) for name, inode in lost._files.items()})

    def _repeat(self, c: Change) -> None:
        match c.method:
            case "append":
                MemFile(self, c.name, self._files[c.name]).append(c.data)
            case "sync":
                MemFile(self, c.name, self._files[c.name]).sync()
            case "truncate":
                self.truncate(c.name, c.size)
            case "rename":
                self.rename(c.name, c.other)
            case "link":
                self.link(c.name, c.other)
            case method:
                getattr(self, method)(c.name)

    def _lose(self, loss: Loss, rng: random.Random) -> None:
        if loss in (Loss.NAMES, Loss.DATA_AND_NAMES):
            self._files = dict(self._durable)
        elif loss is Loss.BOTH_NAMES:
            self._files = {**self._durable, **self._renamed, **self._files}
        inodes = {id(i): i for i in self._files.values()}.values()
        last = max(inodes, key=lambda i: i.last_write, default=None)
        for inode in inodes:
            lost = len(inode.data) - inode.synced
            if loss in (Loss.DATA, Loss.DATA_AND_NAMES):
                del inode.data[inode.synced :]
            elif loss is Loss.ZEROS:
                inode.data[inode.synced :] = bytes(lost)
            elif loss is Loss.GARBAGE:
                inode.data[inode.synced :] = rng.randbytes(lost)
            elif loss is Loss.HOLE:
                inode.data[inode.synced : inode.synced + lost // 2] = bytes(lost // 2)
            elif loss is Loss.TORN_WRITE and inode is last:
                del inode.data[len(inode.data) - lost // 2 :]

    # -- the port ----------------------------------------------------------------------------------------------

    def create(self, name: str) -> File:
        """Create a file that must not exist."""
        if name in self._files:
            raise FileExistsError(name)
        if _folder(name) not in self._folders:
            raise FileNotFoundError(name)
        self.changes.append(Change("create", name))
        self._files[name] = _Inode()
        return MemFile(self, name, self._files[name])

    def open_append(self, name: str) -> File:
        """Open an existing file for appending."""
        return MemFile(self, name, self._inode(name))

    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""
        return bytes(self._inode(name).data)

    def map(self, name: str) -> memoryview:
        """Return the content of a file."""
        return memoryview(self.read(name))

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        """Return a part of a file."""
        return bytes(self._inode(name).data[offset : offset + size])

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to `size` bytes, durably."""
        inode = self._inode(name)
        self.changes.append(Change("truncate", name, size=size))
        del inode.data[size:]
        inode.synced = len(inode.data)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing `new`."""
        inode = self._inode(old)
        self.changes.append(Change("rename", old, other=new))
        self._files[new] = self._renamed[old] = inode
        del self._files[old]

    def link(self, old: str, new: str) -> None:
        """Give a file a second name."""
        inode = self._inode(old)
        if new in self._files:
            raise FileExistsError(new)
        if _folder(new) not in self._folders:
            raise FileNotFoundError(new)
        self.changes.append(Change("link", old, other=new))
        self._files[new] = inode

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._inode(name)
        self.changes.append(Change("remove", name))
        del self._files[name]

    def list(self, folder: str) -> list[str]:
        """Return the sorted names of the files in a folder."""
        return sorted(n.rpartition("/")[2] for n in list(self._files) if _folder(n) == folder)

    def make_folder(self, folder: str) -> None:
        """Create a folder and its parents, durably."""
        self.changes.append(Change("make_folder", folder))
        parts = folder.split("/")
        self._folders.update("/".join(parts[: i + 1]) for i in range(len(parts)))

    def sync_folder(self, folder: str) -> None:
        """Make creations, renames and removals in a folder durable."""
        if folder not in self._folders:
            raise FileNotFoundError(folder)
        self.changes.append(Change("sync_folder", folder))
        with self._syncing:  # folders are synced side by side, those of the log and of cursors
            kept = {n: i for n, i in self._durable.items() if _folder(n) != folder}
            self._durable = {**kept, **{n: i for n, i in list(self._files.items()) if _folder(n) == folder}}
            self._renamed = {n: i for n, i in list(self._renamed.items()) if _folder(n) != folder}

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return len(self._inode(name).data)

    def free_bytes(self) -> int:
        """Return a large number."""
        return FREE_BYTES

    def total_bytes(self) -> int:
        """Return a large number."""
        return TOTAL_BYTES

    def lock(self) -> None:
        """Take the directory."""
        if self._locked:
            raise LockedError("the memory disk is in use by this process")
        self._locked = True

    def unlock(self) -> None:
        """Give the directory back; idempotent."""
        self._locked = False

    def damage(self, name: str, offset: int, mask: int = 0xFF) -> None:
        """Flip bits of one byte, as a bad disk does; not recorded."""
        self._inode(name).data[offset] ^= mask

    def _inode(self, name: str) -> _Inode:
        if name not in self._files:
            raise FileNotFoundError(name)
        return self._files[name]


class MemFile(File):
    """A file of a `MemDisk`."""

    def __init__(self, disk: MemDisk, name: str, inode: _Inode) -> None:
        self._disk, self._name, self._inode = disk, name, inode

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(self._inode.data)

    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data` at the end."""
        self._disk.changes.append(Change("append", self._name, bytes(data)))
        self._inode.data += data
        self._inode.last_write = len(self._disk.changes)

    def sync(self) -> None:
        """Make the content durable."""
        self._disk.changes.append(Change("sync", self._name))
        self._inode.synced = len(self._inode.data)

    def close(self) -> None:
        """Do nothing."""


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
