"""Reading the kernel's pseudo files below configurable roots.

The roots let tests run on fixture trees and let a container look at its host (`/host/proc`).  Everything here is
synchronous and bounded; nothing is cached, since a pseudo file is made anew at each reading.
"""

from __future__ import annotations

import os
from typing import Final

from attrs import frozen

FILE_BYTES_MAX: Final = 16 << 20
"""Most bytes read from one pseudo file: /proc/stat of a machine with thousands of CPUs stays below it."""
_CHUNK_BYTES: Final = 1 << 16


@frozen
class HostFiles:
    """The three trees that collectors read: /proc, /sys and the root file system, none with a trailing slash."""

    procfs: str = "/proc"
    sysfs: str = "/sys"
    rootfs: str = ""

    def proc(self, path: str) -> str:
        """Return the text of a file below /proc; raises `OSError`."""
        return read_text(f"{self.procfs}/{path}")

    def sys(self, path: str) -> str:
        """Return the stripped text of a file below /sys; raises `OSError`."""
        return read_text(f"{self.sysfs}/{path}").strip()

    def root(self, path: str) -> str:
        """Return the text of a file given by its absolute path on the host; raises `OSError`."""
        return read_text(self.rootfs + path)

    def sys_text(self, path: str) -> str | None:
        """Return the stripped text of an optional file below /sys, None where it cannot be read."""
        try:
            return self.sys(path)
        except OSError:
            return None

    def sys_number(self, path: str) -> float | None:
        """Return the number in an optional file below /sys (decimal or 0x...), None where there is none."""
        return to_number(self.sys_text(path))

    def sys_names(self, path: str) -> list[str]:
        """Return the sorted names in a directory below /sys; raises `OSError`."""
        return sorted(os.listdir(f"{self.sysfs}/{path}"))


def read_text(path: str) -> str:
    """Return a whole file as text, undecodable bytes replaced; raises `OSError`.

    Plain system calls: a third of the cost of a Python file object, and one collection reads a hundred files.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        left = FILE_BYTES_MAX
        while left > 0 and (chunk := os.read(fd, min(_CHUNK_BYTES, left))):
            chunks.append(chunk)
            left -= len(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks).decode("utf-8", "replace")


def to_number(text: str | None) -> float | None:
    """Return the number that a text is, decimal or 0x..., else None."""
    if not text:
        return None
    try:
        return float(int(text, 16)) if text.startswith("0x") else float(text)
    except ValueError:
        return None
