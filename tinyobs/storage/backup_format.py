"""The folder that backups are kept in: names, and the description of one backup as a value and as JSON.

    LOCK                          held while a backup is made or removed
    objects/<blake2b>.seg         content of a segment, under the hash of it; `.log`, `.journal` and `.manifest` for others
    backups/<time>.json           one backup: when it was made and which files with which hashes it consists of

An object is written once and never changed, and shared by all backups whose directory had the file: that is what
makes each backup but the first incremental, and each complete by itself.  A name that ends in `.tmp` is unfinished.

    {"backup": {"format": 2, "name": ..., "created_ms": ..., "mint_ms": ..., "copied_bytes": ...,
                "files": [{"name": "segments/00000017.seg", "bytes": 4096, "hash": "<64 hex>"}, ...]},
     "hash": "<64 hex>"}

Hashes are BLAKE2b of 32 bytes; that of the description is over the JSON of `backup` with sorted keys and no spaces.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

import attrs
from attrs import frozen

from ..errors import CorruptionError, FormatVersionError, UsageError
from .disk import Disk
from .layout import (
    MANIFEST,
    PUSH_JOURNAL,
    SEGMENT_FOLDER,
    SEGMENT_SUFFIX,
    WAL_FOLDER,
    segment_sequence,
    wal_sequence,
)

FORMAT: Final = 2
OBJECT_FOLDER: Final = "objects"
BACKUP_FOLDER: Final = "backups"
DIGEST_BYTES: Final = 32
SUFFIX: Final = ".json"
FILES_MAX: Final = 1_000_000
"""Files that a backup may have."""

_HASH = re.compile(r"[0-9a-f]{64}\Z")
_SUFFIXES = {MANIFEST: ".manifest", PUSH_JOURNAL: ".journal"}
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z\Z")


@frozen
class BackedFile:
    """A file of the data directory: its name there, its size, and the hash of its content."""

    name: str
    bytes: int
    hash: str

    @property
    def object(self) -> str:
        """The name of its content in the folder of backups."""
        suffix = SEGMENT_SUFFIX if self.name.endswith(SEGMENT_SUFFIX) else _SUFFIXES.get(self.name, ".log")
        return f"{OBJECT_FOLDER}/{self.hash}{suffix}"


@frozen
class Backup:
    """One backup: all that was stored at `created_ms`.

    mint_ms: the oldest sample in its segments, None without one.  copied_bytes: what was new when it was made.
    """

    name: str
    created_ms: int
    mint_ms: int | None
    files: tuple[BackedFile, ...]
    copied_bytes: int = 0

    @property
    def bytes(self) -> int:
        """The size of the directory that it restores to."""
        return sum(f.bytes for f in self.files)

    def covers(self, time_ms: int) -> bool:
        """Tell whether samples of that time can be in it."""
        return self.created_ms >= time_ms and (self.mint_ms is None or self.mint_ms <= time_ms)


def digest_of(data: bytes | memoryview) -> str:
    """Return the hash of a content."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def backup_file(name: str) -> str:
    """Return the name of the file that describes a backup."""
    return f"{BACKUP_FOLDER}/{name}{SUFFIX}"


def encode_backup(backup: Backup) -> bytes:
    """Return the description as a file."""
    plain = {"format": FORMAT, **attrs.asdict(backup)}
    return json.dumps({"backup": plain, "hash": digest_of(_canonical(plain))}, indent=1).encode() + b"\n"


def decode_backup(file: str, data: bytes) -> Backup:
    """Return the backup that a file describes; raises `CorruptionError` or `FormatVersionError`."""
    try:
        whole = json.loads(data)
        plain = whole["backup"]
        if whole["hash"] != digest_of(_canonical(plain)):
            raise ValueError("hash mismatch")
        if plain["format"] > FORMAT:
            raise FormatVersionError(
                f"{file} has format {plain['format']}; this release reads up to {FORMAT}: upgrade TinyObs"
            )
        files = tuple(_file(f) for f in plain["files"][: FILES_MAX + 1])
        if len(files) > FILES_MAX or not _NAME.match(plain["name"]):
            raise ValueError("too many files, or not the name of a backup")
        mint = plain["mint_ms"]
        return Backup(plain["name"], int(plain["created_ms"]), mint, files, int(plain["copied_bytes"]))
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise CorruptionError(file, 0, f"not the description of a backup: {e}") from e


def read_backups(disk: Disk) -> tuple[list[Backup], list[CorruptionError]]:
    """Return the backups in a folder, oldest first, and what is wrong with descriptions that cannot be read.

    Raises `FormatVersionError`.
    """
    found, damaged = [], []
    for file in disk.list(BACKUP_FOLDER):
        if file.endswith(SUFFIX):
            name = f"{BACKUP_FOLDER}/{file}"
            try:
                found.append(decode_backup(name, disk.read(name)))
            except CorruptionError as e:
                damaged.append(e)
    return found, damaged


def list_backups(disk: Disk) -> list[Backup]:
    """Return the backups in a folder, oldest first; raises `CorruptionError` where one cannot be read."""
    found, damaged = read_backups(disk)
    if damaged:
        raise damaged[0]
    return found


def find_backup(disk: Disk, name: str) -> Backup:
    """Return a backup by name; raises `UsageError` that names those there are, and `CorruptionError`."""
    there = [f.removesuffix(SUFFIX) for f in disk.list(BACKUP_FOLDER) if f.endswith(SUFFIX)]
    if name not in there:
        raise UsageError(f"there is no backup {name!r}; there are: {', '.join(there) or 'none'}")
    return decode_backup(backup_file(name), disk.read(backup_file(name)))


def _file(plain: dict[str, Any]) -> BackedFile:
    """Return a file whose name can lie nowhere but in a data directory."""
    name, size, digest = str(plain["name"]), int(plain["bytes"]), str(plain["hash"])
    folder, _, last = name.rpartition("/")
    known = (
        name in (MANIFEST, PUSH_JOURNAL)
        or (folder == SEGMENT_FOLDER and segment_sequence(last) is not None)
        or (folder == WAL_FOLDER and wal_sequence(last) is not None)
    )
    if not known or not _HASH.match(digest) or size < 0:
        raise ValueError(f"{name!r} is no file of a data directory")
    return BackedFile(name, size, digest)


def _canonical(plain: Any) -> bytes:
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
