"""Files that get a line of JSON for each event: written by one task in worker threads, so that a slow disk holds up nobody.

Beyond `LINES_WAITING_MAX` lines are lost and counted.  Files are opened at the first line and again after `reopen`, so
that they can be rotated.  Not the log of the daemon itself, which is structlog's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import BinaryIO, Final

import structlog
import trio

LINES_WAITING_MAX: Final = 10_000
"""Lines that may wait for the disk, of all files together."""
LAST_LINES_SECONDS_MAX: Final = 2.0
"""How long the end waits for lines that are still to be written."""

log = structlog.get_logger("log_files")


class LogFiles:
    """Some log files; `add` from the event loop, `run` as a task.  what: is said where they cannot be written."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.lost = 0
        """Lines that were not written."""
        self._waiting: list[tuple[str, bytes]] = []
        self._arrived = trio.Event()
        self._reopen = False
        self._files: dict[str, BinaryIO] = {}
        self._errors: dict[str, str] = {}

    def add(self, file: str, line: bytes) -> None:
        """Add a line, without its end, to a file."""
        if len(self._waiting) >= LINES_WAITING_MAX:
            self.lost += 1
            return
        self._waiting.append((file, line + b"\n"))
        self._arrived.set()

    def reopen(self) -> None:
        """Open every file again with its next line."""
        self._reopen = True

    async def run(self) -> None:
        """Write what is added until cancelled, then what is left."""
        try:
            while True:
                await self._arrived.wait()
                await self._flush()
        finally:
            with trio.move_on_after(LAST_LINES_SECONDS_MAX, shield=True):
                await self._flush()
            self._close()

    async def _flush(self) -> None:
        self._arrived = trio.Event()
        lines, self._waiting = self._waiting, []
        reopen, self._reopen = self._reopen, False
        if lines:
            await trio.to_thread.run_sync(self._write, lines, reopen)

    def _write(self, lines: list[tuple[str, bytes]], reopen: bool) -> None:
        if reopen:
            self._close()
        by_file: dict[str, list[bytes]] = {}
        for file, line in lines:
            by_file.setdefault(file, []).append(line)
        for file, parts in by_file.items():
            try:
                if file not in self._files:
                    self._files[file] = open(file, "ab", buffering=0)  # noqa: SIM115 - closed by `_close`
                self._files[file].write(b"".join(parts))
                self._errors.pop(file, None)
            except OSError as e:
                self.lost += len(parts)
                if self._errors.get(file) != str(e):
                    self._errors[file] = str(e)
                    log.error(f"{self.what} cannot be logged", file=file, error=str(e))

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def log_time(time_ms: int) -> str:
    """Return a moment as log lines have it: RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
