"""A directory to which nothing is written although an engine works on it: changes stay in memory and are forgotten.

For commands that have to read what an engine would show, the log included, of a directory that they must not touch.
"""

from __future__ import annotations

from .disk import Disk, File
from .read_only_disk import DryDisk


class ScratchDisk(DryDisk):
    """Another disk, read only, with changes on top that live as long as this object."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self._files: dict[str, bytearray] = {}
        self._gone: set[str] = set()

    def create(self, name: str) -> File:
        """Create a file in memory."""
        if name.rpartition("/")[2] in self.list(name.rpartition("/")[0]):
            raise FileExistsError(name)
        self._files[name] = bytearray()
        return _ScratchFile(self._files[name])

    def open_append(self, name: str) -> File:
        """Open a file for appending in memory."""
        return _ScratchFile(self._own(name))

    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""
        return bytes(self._files[name]) if name in self._files else super().read(self._present(name))

    def map(self, name: str) -> memoryview:
        """Return the content of a file."""
        return memoryview(bytes(self._files[name])) if name in self._files else super().map(self._present(name))

    def truncate(self, name: str, size: int) -> None:
        """Cut a file in memory."""
        del self._own(name)[size:]

    def rename(self, old: str, new: str) -> None:
        """Rename a file in memory."""
        self._files[new] = self._own(old)
        self.remove(old)

    def remove(self, name: str) -> None:
        """Remove a file from sight."""
        if self._files.pop(name, None) is None:
            self._present(name)
        self._gone.add(name)

    def list(self, folder: str) -> list[str]:
        """Return the sorted names of the files in a folder."""
        below = {f for f in super().list(folder) if (f"{folder}/{f}" if folder else f) not in self._gone}
        return sorted(below | {n.rpartition("/")[2] for n in self._files if n.rpartition("/")[0] == folder})

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return len(self._files[name]) if name in self._files else super().size(self._present(name))

    def _own(self, name: str) -> bytearray:
        if name not in self._files:
            self._files[name] = bytearray(self.read(name))
        return self._files[name]

    def _present(self, name: str) -> str:
        if name in self._gone:
            raise FileNotFoundError(name)
        return name


class _ScratchFile(File):
    def __init__(self, data: bytearray) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(self._data)

    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data` at the end."""
        self._data += data

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
