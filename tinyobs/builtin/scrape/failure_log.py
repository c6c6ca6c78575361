"""The files named in `scrape_failure_log_file`: a line of JSON for each failed scrape.

Lines are written by one task in worker threads, so that a slow disk holds up no scrape; beyond `LINES_WAITING_MAX` they
are lost and counted.  Files are opened at the first line and again after a reload, so that they can be rotated.  Keys
are those of Prometheus (its JSON logger with `job_name` and `target`), but for the place in its source.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import BinaryIO, Final

import structlog
import trio

LINES_WAITING_MAX: Final = 10_000
"""Lines that may wait for the disk, of all files together."""
LAST_LINES_SECONDS_MAX: Final = 2.0
"""How long the end of scraping waits for lines that are still to be written."""

log = structlog.get_logger("scrape")


class FailureLog:
    """All failure log files of an agent; `note` from the event loop, `run` as a task beside the pools."""

    def __init__(self) -> None:
        self.lost = 0
        """Lines that were not written."""
        self._waiting: list[tuple[str, bytes]] = []
        self._arrived = trio.Event()
        self._reopen = False
        self._files: dict[str, BinaryIO] = {}
        self._errors: dict[str, str] = {}

    def note(self, file: str, job: str, target: str, error: str, at_ms: int) -> None:
        """Add a line for a failed scrape."""
        if len(self._waiting) >= LINES_WAITING_MAX:
            self.lost += 1
            return
        time = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"time": time, "level": "ERROR", "msg": error, "job_name": job, "target": target}
        self._waiting.append((file, json.dumps(entry, ensure_ascii=False).encode() + b"\n"))
        self._arrived.set()

    def reopen(self) -> None:
        """Open every file again with its next line."""
        self._reopen = True

    async def run(self) -> None:
        """Write what is noted until cancelled, then what is left."""
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
                    log.error("failed scrapes cannot be logged", file=file, error=str(e))

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
