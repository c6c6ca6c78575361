"""The manifest: the one file that says what the data directory consists of.

Text: one line of JSON and one line with its crc32.  Replaced as a whole (written beside, fsynced, renamed, folder
fsynced), so that it is always either the old or the new one.  A segment that it does not list does not exist; one
that it lists must exist.

Not here: acting on it (`recovery.py`).  Format page: docs/format/manifest.md.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

import attrs
from attrs import field, frozen

from ..errors import CorruptionError, FormatVersionError
from .deletes import Delete, from_plain, to_plain
from .disk import Disk
from .layout import MANIFEST, temporary

FORMAT: Final = 2
"""Version of the whole data directory: it rises when an older TinyObs could not read what a newer one wrote.

2 has tiers, deletes and the records of the log for them and for histograms; 1 is read and replaced when opened.
"""


@frozen
class SegmentEntry:
    """A live segment, as the manifest lists it.  Times in ms, both ends included.

    tier_ms: distance of its samples, 0 as they were stored (raw).  Of a tier: covers, the stretch of raw samples that
    it stands for, and source, the newest raw segment that it was made from.
    """

    sequence: int
    level: int
    mint_ms: int
    maxt_ms: int
    series: int
    samples: int
    bytes: int
    tier_ms: int = 0
    covers: tuple[int, int] | None = None
    source: int = 0


@frozen
class Manifest:
    """What is live.  wal_first: the log is read from this file on.  next_segment: number for the next segment.

    deletes: those that some segment still holds samples of.  format: the version that was read.
    """

    wal_first: int
    next_segment: int = 1
    segments: tuple[SegmentEntry, ...] = ()
    deletes: tuple[Delete, ...] = ()
    format: int = field(default=FORMAT, eq=False)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the content of the file."""
    plain = {
        "format": FORMAT,
        "wal_first": manifest.wal_first,
        "next_segment": manifest.next_segment,
        "segments": [_plain_entry(e) for e in manifest.segments],
        "deletes": [to_plain(d) for d in manifest.deletes],
    }
    text = json.dumps(plain, separators=(",", ":")).encode()
    return text + b"\n%08x\n" % zlib.crc32(text)


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest of a file; raises `CorruptionError` or `FormatVersionError`."""
    text, _, rest = data.partition(b"\n")
    if rest != b"%08x\n" % zlib.crc32(text):
        raise CorruptionError(MANIFEST, 0, "its checksum does not fit")
    try:
        plain = json.loads(text)
        _refuse_newer(plain)
        segments = tuple(_entry(s) for s in plain["segments"])
        deletes = tuple(from_plain(d) for d in plain.get("deletes", ()))
        return Manifest(plain["wal_first"], plain["next_segment"], segments, deletes, plain["format"])
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise CorruptionError(MANIFEST, 0, f"not understood: {e}") from e


def _plain_entry(entry: SegmentEntry) -> dict[str, Any]:
    plain = attrs.asdict(entry)
    if not entry.tier_ms:  # most are raw, and those who read the file by eye care for these
        del plain["tier_ms"], plain["covers"], plain["source"]
    return plain


def _entry(plain: dict[str, Any]) -> SegmentEntry:
    covers = plain.get("covers")
    return SegmentEntry(**{**plain, "covers": None if covers is None else (int(covers[0]), int(covers[1]))})


def _refuse_newer(plain: dict[str, Any]) -> None:
    """Raise `FormatVersionError` for what a newer version wrote: to ignore a field could be to lose what it means."""
    version = plain["format"]
    if version > FORMAT:
        message = (
            f"{MANIFEST}: the data directory has format {version}; this release reads up to {FORMAT}: upgrade TinyObs"
        )
        raise FormatVersionError(message)
    known = {"format", "wal_first", "next_segment", "segments", "deletes"}
    unknown = set(plain) - known
    for entry in plain["segments"]:
        unknown |= set(entry) - _ENTRY_FIELDS
    if unknown:
        fields = ", ".join(sorted(unknown))
        raise FormatVersionError(f"{MANIFEST} has fields that this release does not know: {fields}; upgrade TinyObs")


_ENTRY_FIELDS: Final = frozenset(a.name for a in attrs.fields(SegmentEntry))


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
