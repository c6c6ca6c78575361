"""The contract of `tinyobs.storage.disk.Disk`, executable."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from ..errors import LockedError
from ..storage.disk import Disk


def check_disk(make: Callable[[], Disk]) -> None:
    """Check an implementation; `make` gives a new view of the same, at first empty, directory each time.

    Raises `AssertionError` for the first promise that is not kept.
    """
    disk = make()
    _check_files(disk)
    _check_names(disk)
    _check_lock(disk, make)


def _check_files(disk: Disk) -> None:
    assert disk.list("a/b") == [], "a missing folder has no files"
    disk.make_folder("a/b")
    disk.make_folder("a/b")
    with _expect(FileNotFoundError):
        disk.open_append("a/b/f")
    with _expect(FileNotFoundError):
        disk.read("a/b/f")
    with _expect(FileNotFoundError):
        disk.create("missing/f")
    file = disk.create("a/b/f")
    assert file.size == 0
    assert bytes(disk.map("a/b/f")) == b"", "an empty file can be mapped"
    file.append(b"hello ")
    file.append(memoryview(b"world"))
    assert file.size == 11
    file.sync()
    file.close()
    file.close()
    disk.sync_folder("a/b")
    assert disk.read("a/b/f") == b"hello world"
    assert disk.size("a/b/f") == 11
    assert [disk.read_at("a/b/f", at, 5) for at in (0, 6, 9, 11)] == [b"hello", b"world", b"ld", b""], (
        "parts can be read"
    )
    with _expect(FileNotFoundError):
        disk.read_at("a/b/x", 0, 1)
    with _expect(FileExistsError):
        disk.create("a/b/f")
    again = disk.open_append("a/b/f")
    assert again.size == 11, "an opened file knows its size"
    again.append(b"!")
    again.sync()
    again.close()
    disk.truncate("a/b/f", 5)
    assert disk.read("a/b/f") == b"hello"
    assert disk.free_bytes() > 0
    assert disk.total_bytes() == 0 or disk.total_bytes() >= disk.free_bytes()


def _check_names(disk: Disk) -> None:
    mapped = disk.map("a/b/f")
    disk.create("a/b/g").close()
    assert disk.list("a/b") == ["f", "g"], "files are listed sorted, without their folder"
    assert disk.list("a") == [], "folders are not listed"
    disk.rename("a/b/f", "a/b/g")
    assert disk.list("a/b") == ["g"], "a rename replaces"
    assert disk.read("a/b/g") == b"hello"
    disk.link("a/b/g", "a/h")
    with _expect(FileExistsError):
        disk.link("a/b/g", "a/h")
    with _expect(FileNotFoundError):
        disk.link("a/b/x", "a/x")
    disk.remove("a/b/g")
    with _expect(FileNotFoundError):
        disk.remove("a/b/g")
    assert disk.read("a/h") == b"hello", "a second name outlives the first"
    disk.remove("a/h")
    disk.sync_folder("a/b")
    disk.sync_folder("")
    assert bytes(mapped) == b"hello", "a mapping outlives its file"


def _check_lock(disk: Disk, make: Callable[[], Disk]) -> None:
    disk.lock()
    with _expect(LockedError):
        make().lock()
    disk.unlock()
    disk.unlock()
    other = make()
    other.lock()
    other.unlock()


class _expect(AbstractContextManager[None]):  # noqa: N801
    """Assert that the block raises one exception."""

    def __init__(self, expected: type[BaseException]) -> None:
        self._expected = expected

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        assert kind is not None, f"{self._expected.__name__} was not raised"
        return issubclass(kind, self._expected)
