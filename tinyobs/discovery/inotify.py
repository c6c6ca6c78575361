"""Tells when something happens in some directories, by Linux' inotify; where there is none, making a watch fails.

What counts is what changes the content or the place of files: written and closed, moved, deleted, linked.  A file that
is just being written does not count, so nobody reads half of one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, Final

import trio

SUFFIXES: Final = (".json", ".yml", ".yaml")
"""Only files with these names count when they are written: directories may hold logs as well."""
READ_BYTES: Final = 64 * 1024

_CLOSE_WRITE: Final = 0x8
_MOVED: Final = 0x40 | 0x80
_CREATE: Final = 0x100
_DELETE: Final = 0x200
_SELF: Final = 0x400 | 0x800
"""The directory itself is deleted or moved."""
_OVERFLOW: Final = 0x4000
_IGNORED: Final = 0x8000
_ONLY_DIRECTORIES: Final = 0x1000000
_WANTED: Final = _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _SELF | _ONLY_DIRECTORIES
_EVENT: Final = struct.Struct("iIII")


class DirectoryWatch:
    """The directories that are watched.  Raises `OSError` when there is no inotify, or no more of it."""

    def __init__(self) -> None:
        self._fd: int = _call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._paths: dict[int, str] = {}

    @property
    def directories(self) -> set[str]:
        """What is watched now."""
        return set(self._paths.values())

    def follow(self, directories: Iterable[str]) -> set[str]:
        """Watch these directories and no others; return those that cannot be watched, for one they do not exist."""
        found: dict[int, str] = {}
        lacking = set()
        for path in directories:
            try:
                found[_call("inotify_add_watch", self._fd, os.fsencode(path or "."), _WANTED)] = path
            except OSError:
                lacking.add(path)
        for descriptor in self._paths.keys() - found.keys():
            with suppress(OSError):  # a directory that is gone took the watch with it
                _call("inotify_rm_watch", self._fd, descriptor)
        self._paths = found
        return lacking

    async def wait(self) -> set[str]:
        """Return the paths of files that something happened to; may be empty when it happened to something else."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            counted, paths = False, set()
            for counts, path in self._read():
                counted = counted or counts
                if counts and path:
                    paths.add(path)
            if counted:
                return paths

    def _read(self) -> Iterator[tuple[bool, str]]:
        """Yield (whether it counts, path) of the events there are."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        place = 0
        while place < len(data):
            descriptor, mask, _, length = _EVENT.unpack_from(data, place)
            place += _EVENT.size + length
            name = os.fsdecode(data[place - length : place].rstrip(b"\0"))
            if mask & _IGNORED:
                self._paths.pop(descriptor, None)
            path = os.path.join(self._paths.get(descriptor, ""), name) if name else ""
            yield _counts(mask, path), path

    def close(self) -> None:
        """End all watches."""
        os.close(self._fd)


def _counts(mask: int, path: str) -> bool:
    if mask & _CLOSE_WRITE:
        return path.lower().endswith(SUFFIXES)
    if mask & _CREATE:
        # A new file is still to be written; a link has all its content.
        try:
            status = os.lstat(path)
        except OSError:
            return False
        return stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1)
    return bool(mask & (_MOVED | _DELETE | _SELF | _OVERFLOW | _IGNORED))


def _call(name: str, *arguments: Any) -> int:
    """Call a function of the C library; raises `OSError`."""
    function = getattr(_library(), name, None)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    result: int = function(*arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
