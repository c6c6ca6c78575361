"""The names of everything in a data directory: made and parsed here and nowhere else.

    LOCK                    held by the process that owns the directory (its pid inside)
    MANIFEST                which segments are live and where the log begins (docs/format/manifest.md)
    wal/00000042            files of the write-ahead log, numbered without gaps (docs/format/wal.md)
    segments/00000017.seg   immutable segments (docs/format/segment.md)

A name that ends in `.tmp` is unfinished and may be removed at any time.
"""

from __future__ import annotations

import re
from typing import Final

LOCK: Final = "LOCK"
MANIFEST: Final = "MANIFEST"
WAL_FOLDER: Final = "wal"
SEGMENT_FOLDER: Final = "segments"
TEMPORARY: Final = ".tmp"

_WAL = re.compile(r"\d{8,}\Z")
_SEGMENT = re.compile(r"(\d{8,})\.seg\Z")


def wal_name(sequence: int) -> str:
    """Return the name of a log file."""
    return f"{WAL_FOLDER}/{sequence:08d}"


def wal_sequence(file: str) -> int | None:
    """Return the number of a log file from its name within the folder, None for a stranger."""
    return int(file) if _WAL.match(file) else None


def segment_name(sequence: int) -> str:
    """Return the name of a segment."""
    return f"{SEGMENT_FOLDER}/{sequence:08d}.seg"


def segment_sequence(file: str) -> int | None:
    """Return the number of a segment from its name within the folder, None for a stranger."""
    found = _SEGMENT.match(file)
    return int(found[1]) if found else None


def temporary(name: str) -> str:
    """Return the name under which a file is written before it gets its own."""
    return name + TEMPORARY
