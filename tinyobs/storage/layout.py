"""The names of everything in a data directory: made and parsed here and nowhere else.

    LOCK                    held by the process that owns the directory (its pid inside)
    MANIFEST                which segments are live and where the log begins (docs/format/manifest.md)
    wal/00000042            files of the write-ahead log, numbered without gaps (docs/format/wal.md)
    segments/00000017.seg   immutable segments (docs/format/segment.md)
    incoming/NAME.seg       finished segments that an importer hands over; NAME.bad: what was none
    incoming/.import-ID.json   how far an import is (docs/interchange.md)
    incoming/LOCK           held by the process that imports; what it works on is in incoming/segments/
    snapshots/NAME/         copies of the directory at some moment, hard links for the most part
    snapshots/NAME.backup/  one that a backup is being copied from; a killed backup leaves it to the next
    cursors/NAME            how far a sink has come in the log (docs/format/cursor.md)
    pushgateway/journal     groups of metrics that were pushed (docs/format/pushgateway-journal.md)
    damaged/TIME/           what a repair took out of use, under the names it had (docs/operations.md)

A name that ends in `.tmp` is unfinished and may be removed at any time.
"""

from __future__ import annotations

import re
import string
from typing import Final
from urllib.parse import unquote

LOCK: Final = "LOCK"
MANIFEST: Final = "MANIFEST"
WAL_FOLDER: Final = "wal"
SEGMENT_FOLDER: Final = "segments"
INCOMING_FOLDER: Final = "incoming"
SNAPSHOT_FOLDER: Final = "snapshots"
SEGMENT_SUFFIX: Final = ".seg"
BAD_SUFFIX: Final = ".bad"
CURSOR_FOLDER: Final = "cursors"
CURSOR_NAME_BYTES_MAX: Final = 200
"""Bytes of the name of a cursor's file."""
PUSHGATEWAY_FOLDER: Final = "pushgateway"
PUSH_JOURNAL: Final = "pushgateway/journal"
DAMAGED_FOLDER: Final = "damaged"
TEMPORARY: Final = ".tmp"

_WAL = re.compile(r"\d{8,}\Z")
_CURSOR = re.compile(r"(?:[A-Za-z0-9_-]|%[0-9a-f]{2})+\Z")
_PLAIN = frozenset(string.ascii_letters + string.digits + "-_")
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


def cursor_file(cursor: str) -> str:
    """Return the name of the file of a cursor: all but letters, digits, `-` and `_` as %xx; `ValueError` when too long."""
    file = "".join(c if c in _PLAIN else "".join(f"%{b:02x}" for b in c.encode()) for c in cursor)
    if not 0 < len(file) <= CURSOR_NAME_BYTES_MAX:
        raise ValueError(f"the name of a cursor takes 1 to {CURSOR_NAME_BYTES_MAX} bytes, not {len(file)}: {cursor!r}")
    return f"{CURSOR_FOLDER}/{file}"


def cursor_of_file(file: str) -> str | None:
    """Return the cursor of a file from its name within the folder, None for a stranger."""
    name = unquote(file, errors="replace") if _CURSOR.match(file) else ""
    return name if name and f"{CURSOR_FOLDER}/{file}" == cursor_file(name) else None


def incoming_name(file: str) -> str:
    """Return the name of a file that an importer hands over, from its name within the folder."""
    return f"{INCOMING_FOLDER}/{file}"


def import_journal_name(import_id: str) -> str:
    """Return the name of an import's journal, within the folder of what is handed over."""
    return f".import-{import_id}.json"


def handover_name(import_id: str, number: int) -> str:
    """Return the name of a segment that an import hands over, within the folder."""
    return f"{import_id}-{number:06d}{SEGMENT_SUFFIX}"


def snapshot_folder(snapshot: str) -> str:
    """Return the folder of a snapshot; what is in it has the names that it has in a data directory."""
    return f"{SNAPSHOT_FOLDER}/{snapshot}"


def bad(name: str) -> str:
    """Return the name that a file gets which an importer handed over and which is no sound segment."""
    return name.removesuffix(SEGMENT_SUFFIX) + BAD_SUFFIX


def damaged_folder(moment: str) -> str:
    """Return the folder that a repair moves files to; what is in it has the names that it had before."""
    return f"{DAMAGED_FOLDER}/{moment}"


def temporary(name: str) -> str:
    """Return the name under which a file is written before it gets its own."""
    return name + TEMPORARY
