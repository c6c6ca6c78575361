"""The manifest: the one file that says what the data directory consists of.

Text: one line of JSON and one line with its crc32.  Replaced as a whole (written beside, fsynced, renamed, folder
fsynced), so that it is always either the old or the new one.  A segment that it does not list does not exist; one
that it lists must exist.

Not here: acting on it (`recovery.py`).  Format page: docs/format/manifest.md.
"""

from __future__ import annotations

import json
import zlib
from typing import Final

import attrs
from attrs import frozen

from ..errors import CorruptionError, FormatVersionError
from .disk import Disk
from .layout import MANIFEST, temporary

FORMAT: Final = 1
"""Version of the whole data directory: it rises when an older TinyObs could not read what a newer one wrote."""


@frozen
class SegmentEntry:
    """A live segment, as the manifest lists it.  Times in ms, both ends included."""

    sequence: int
    level: int
    mint_ms: int
    maxt_ms: int
    series: int
    samples: int
    bytes: int


@frozen
class Manifest:
    """What is live.  wal_first: the log is read from this file on.  next_segment: number for the next segment."""

    wal_first: int
    next_segment: int = 1
    segments: tuple[SegmentEntry, ...] = ()


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the content of the file."""
    text = json.dumps({"format": FORMAT, **attrs.asdict(manifest)}, separators=(",", ":")).encode()
    return text + b"\n%08x\n" % zlib.crc32(text)


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest of a file; raises `CorruptionError` or `FormatVersionError`."""
    text, _, rest = data.partition(b"\n")
    if rest != b"%08x\n" % zlib.crc32(text):
        raise CorruptionError(MANIFEST, 0, "checksum mismatch; restore it from a copy")
    try:
        plain = json.loads(text)
        if plain["format"] > FORMAT:
            message = f"the data directory has format {plain['format']}; this version reads up to {FORMAT}"
            raise FormatVersionError(message)
        segments = tuple(SegmentEntry(**s) for s in plain["segments"])
        return Manifest(plain["wal_first"], plain["next_segment"], segments)
    except (ValueError, KeyError, TypeError) as e:
        raise CorruptionError(MANIFEST, 0, f"not understood: {e}") from e


def write_manifest(disk: Disk, manifest: Manifest) -> None:
    """Replace the manifest, durably; raises `OSError`, after which the old or the new one is there."""
    name = temporary(MANIFEST)
    if name in disk.list(""):
        disk.remove(name)
    file = disk.create(name)
    try:
        file.append(encode_manifest(manifest))
        file.sync()
    finally:
        file.close()
    disk.rename(name, MANIFEST)
    disk.sync_folder("")


def read_manifest(disk: Disk) -> Manifest | None:
    """Return the manifest, None in a new directory."""
    try:
        return decode_manifest(disk.read(MANIFEST))
    except FileNotFoundError:
        return None
