"""A disk in memory, just enough to write and read segments."""

from __future__ import annotations

from tinyobs.storage.disk import Disk, File


class MemoryFile(File):
    def __init__(self, files, name):
        self._files, self._name = files, name
        self.synced = False

    @property
    def size(self):
        return len(self._files[self._name])

    def append(self, data):
        self._files[self._name] += data

    def sync(self):
        self.synced = True

    def close(self):
        pass


class MemoryDisk(Disk):
    def __init__(self):
        self.files = {}

    def create(self, name):
        assert name not in self.files
        self.files[name] = b""
        return MemoryFile(self.files, name)

    def open_append(self, name):
        return MemoryFile(self.files, name)

    def read(self, name):
        return self.files[name]

    def map(self, name):
        return memoryview(self.files[name])

    def truncate(self, name, size):
        self.files[name] = self.files[name][:size]

    def rename(self, old, new):
        self.files[new] = self.files.pop(old)

    def remove(self, name):
        del self.files[name]

    def list(self, folder):
        return sorted(self.files)

    def make_folder(self, folder):
        pass

    def sync_folder(self, folder):
        pass

    def size(self, name):
        return len(self.files[name])

    def free_bytes(self):
        return 1 << 40

    def lock(self):
        pass

    def unlock(self):
        pass
