"""Files of an operator that may change while we run: certificates, keys, passwords, tokens.

A look asks the system for a file's time, size and inode, not more than once a second.  A file that was written just
before a look may be written again without any of these changing, so it counts as changed until it has rested.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .errors import HttpError

LOOK_SECONDS: Final = 1.0
"""Least time between two looks at the same file."""
REST_NS: Final = 2_000_000_000
"""Age from which on a file's time tells it from a later version; the coarsest file systems count in two seconds."""
FILE_BYTES_MAX: Final = 1 << 20
"""Most bytes read of a file with a secret; the rest of a longer one is passed over."""


class WatchedFiles:
    """Tells whether some files may have changed since the last time it was asked."""

    def __init__(self, files: Iterable[str]) -> None:
        self.files = tuple(dict.fromkeys(f for f in files if f))
        self._seen: tuple[tuple[int, ...], ...] | None = None
        self._rested = False
        self._next_look = float("-inf")

    def changed(self, now: float) -> bool:
        """Return True the first time, and when a file differs; `now` in seconds of any clock that runs on."""
        if now < self._next_look:
            return False
        if not self.files:
            self._next_look = float("inf")
            return True
        self._next_look = now + LOOK_SECONDS
        seen = tuple(map(_signature, self.files))
        same = seen == self._seen and self._rested
        self._seen = seen
        self._rested = all(abs(time.time_ns() - one[0]) > REST_NS for one in seen if one)
        return not same

    def look_again(self) -> None:
        """Have the next question answered by a look, and with True."""
        self._next_look, self._seen = float("-inf"), None


def read_secret(file: str) -> str:
    """Return the text of a file without blanks around it; raises `HttpError` that names it."""
    try:
        with Path(file).open("rb") as f:
            return f.read(FILE_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as e:
        reason = e if isinstance(e, OSError) else "it is not UTF-8"
        raise HttpError(f"cannot read credentials from {file}: {reason}") from None


def _signature(file: str) -> tuple[int, ...]:
    """Return what changes when a file does; () while it is not there."""
    try:
        status = os.stat(file)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
