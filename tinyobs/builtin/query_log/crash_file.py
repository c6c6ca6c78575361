"""The file `queries.active` in the data directory: what was under way when the daemon was killed.

As in Prometheus: `[`, then entries of 1000 bytes, `{"query":...,"timestamp_sec":...}` and a comma; zeros where nothing
runs.  The file is mapped into memory, so that noting a query takes microseconds and no system call; the kernel keeps
what was written when the process dies, though not when the machine does.  Queries that are answered in the event loop,
being known as quick, are not noted.  Source: prometheus promql/query_logger.go.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from pathlib import Path
from typing import Final

import structlog

NAME: Final = "queries.active"
ENTRY_BYTES: Final = 1000
_EMPTY: Final = bytes(ENTRY_BYTES)
_TEXT_CHARACTERS_MAX: Final = 150
"""Characters of a query that are kept in any case, however long they become as JSON: 6 bytes each at most."""

log = structlog.get_logger("query")


class CrashFile:
    """Entries for `slots` queries.  Not thread-safe."""

    def __init__(self, folder: Path, slots: int) -> None:
        """Name what an earlier process left, and begin anew; raises `OSError`."""
        path = folder / NAME
        for text, seconds in unfinished(path):
            log.warning("a query did not end before the daemon was killed", query=text, started_seconds=seconds)
        size = 1 + slots * ENTRY_BYTES
        with open(path, "w+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk must show here, not at a write to the mapping
            self._map = mmap.mmap(file.fileno(), size)
        self._map[0:1] = b"["
        self._free = list(range(1, size, ENTRY_BYTES))[::-1]

    def enter(self, text: str) -> int:
        """Note a query; return where it stands, 0 when there is no room."""
        if not self._free:
            return 0
        at = self._free.pop()
        entry = _entry(text)
        self._map[at : at + len(entry)] = entry
        self._map[at + ENTRY_BYTES - 1] = ord(",")
        return at

    def leave(self, at: int) -> None:
        """Strike a query that is over."""
        if at:
            self._map[at : at + ENTRY_BYTES] = _EMPTY
            self._free.append(at)

    def close(self) -> None:
        """Close the file, whose entries remain for queries that still run."""
        self._map.close()


def unfinished(path: Path) -> list[tuple[str, int]]:
    """Return (query, seconds since 1970 of its start) of what a file tells; nothing where it is no such file."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    found = []
    for at in range(1, len(data), ENTRY_BYTES):
        entry = data[at : at + ENTRY_BYTES - 1].rstrip(b"\0")
        try:
            parsed = json.loads(entry) if entry else {}
            if entry:
                found.append((str(parsed["query"]), int(parsed["timestamp_sec"])))
        except (ValueError, KeyError, TypeError):
            continue  # half an entry: the process died while it was written
    return found


def _entry(text: str) -> bytes:
    seconds = int(time.time())
    for shown in (text, text[: ENTRY_BYTES // 2], text[:_TEXT_CHARACTERS_MAX]):
        entry = json.dumps({"query": shown, "timestamp_sec": seconds}).encode()
        if len(entry) < ENTRY_BYTES:
            break
    return entry
