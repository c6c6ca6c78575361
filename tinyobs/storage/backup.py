"""Backups of a data directory into a folder: making, verifying and removing them.

The source is a directory that does not change: one that nobody has open, or a snapshot.  Content is copied, never
linked: a backup must outlive damage to the source file.  A backup is there when its description is, which is written
last; whatever a crash leaves before that is not referenced and goes with the next `prune`.

Not here: names and descriptions (`backup_format.py`), restoring (`restore.py`), when (`builtin/backup.py`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Final

from attrs import define, frozen

from ..errors import CorruptionError, StorageError
from .backup_format import (
    BACKUP_FOLDER,
    DIGEST_BYTES,
    OBJECT_FOLDER,
    BackedFile,
    Backup,
    backup_file,
    encode_backup,
    list_backups,
)
from .disk import Disk
from .findings import Finding, Severity
from .layout import (
    MANIFEST,
    PUSH_JOURNAL,
    PUSHGATEWAY_FOLDER,
    SEGMENT_SUFFIX,
    TEMPORARY,
    WAL_FOLDER,
    segment_name,
    temporary,
    wal_name,
    wal_sequence,
)
from .manifest import read_manifest
from .page_cache import PageCache
from .segment_reader import SegmentReader
from .time_text import moment_name

PIECE_BYTES: Final = 1 << 20
"""Read, hashed and written at a time."""

Progress = Callable[[str, int, int], None]
"""Called with the file at hand, the bytes done and the bytes in all; may raise to stop."""


def silent(file: str, done: int, total: int) -> None:
    """Take progress and say nothing."""


@define
class Rate:
    """Bounds bytes per second, 0 for no bound; `sleep` and `clock` are those of the process."""

    bytes_per_second: int = 0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _free_at: float = 0.0

    def spend(self, count: int) -> None:
        """Wait until so many bytes may be read or written."""
        if self.bytes_per_second:
            now = self.clock()
            if self._free_at > now:
                self.sleep(self._free_at - now)
            self._free_at = max(self._free_at, now) + count / self.bytes_per_second


def tell(progress: Progress, name: str, before: int, total: int, count: int) -> None:
    """Report `count` bytes of a file, with so many before it."""
    progress(name, before + count, total)


def make_backup(
    source: Disk, target: Disk, now_ms: int, progress: Progress = silent, rate: Rate | None = None
) -> Backup:
    """Copy what is new in a data directory that does not change and write the description of a backup of all of it.

    The caller holds the lock of the target.  Raises `StorageError` where there is no data directory, `CorruptionError`
    for a damaged manifest, and `OSError`.
    """
    rate = rate or Rate()
    manifest = read_manifest(source)
    if manifest is None:
        raise StorageError(f"there is no {MANIFEST}: not a data directory, or a new one")
    for folder in (OBJECT_FOLDER, BACKUP_FOLDER):
        target.make_folder(folder)
    _remove_unfinished(target)
    logs = sorted(n for n in map(wal_sequence, source.list(WAL_FOLDER)) if n is not None and n >= manifest.wal_first)
    names = [segment_name(e.sequence) for e in manifest.segments] + [wal_name(n) for n in logs]
    if PUSH_JOURNAL.rpartition("/")[2] in source.list(PUSHGATEWAY_FOLDER):
        names.append(PUSH_JOURNAL)
    names.append(MANIFEST)
    total, done, copied = sum(map(source.size, names)), 0, 0
    present = set(target.list(OBJECT_FOLDER))
    files = []
    for name in names:
        data = source.map(name)
        file = BackedFile(name, len(data), _hash(data, rate, partial(tell, progress, name, done, total)))
        if file.object.rpartition("/")[2] not in present:
            _copy(target, file.object, data, rate, partial(tell, progress, name, done, total))
            present.add(file.object.rpartition("/")[2])
            copied += len(data)
        files.append(file)
        done += len(data)
    target.sync_folder(OBJECT_FOLDER)
    mint = min((e.mint_ms for e in manifest.segments), default=None)
    backup = Backup(_free_name(target, now_ms), now_ms, mint, tuple(files), copied)
    _copy(target, backup_file(backup.name), memoryview(encode_backup(backup)), Rate(), lambda n: None)
    target.sync_folder(BACKUP_FOLDER)
    progress("", total, total)
    return backup


def verify_backups(
    target: Disk, backups: Sequence[Backup], progress: Progress = silent, rate: Rate | None = None
) -> list[Finding]:
    """Return what is wrong with the objects of some backups: missing, changed, or segments that are damaged inside."""
    rate = rate or Rate()
    users: dict[str, tuple[BackedFile, list[str]]] = {}
    for b in backups:
        for f in b.files:
            users.setdefault(f.object, (f, []))[1].append(b.name)
    total, done = sum(f.bytes for f, _ in users.values()), 0
    findings = []
    for name, (file, used_by) in sorted(users.items()):
        offset, problem = _object_fault(target, name, file, rate, partial(tell, progress, name, done, total))
        if problem:
            of = f"{file.name} of {len(used_by)} backup{'s' * (len(used_by) > 1)}: {', '.join(used_by)}"
            advice = _AGAIN if offset < 0 else _SOURCE
            findings.append(Finding(Severity.DAMAGE, name, offset, problem, of, advice))
        done += file.bytes
    progress("", total, total)
    return findings


@frozen
class Pruned:
    """What was removed."""

    backups: tuple[str, ...]
    objects: int
    bytes: int


def prune_backups(target: Disk, keep: Collection[str]) -> Pruned:
    """Remove all backups but some, and then every object that no backup needs.

    The caller holds the lock of the target.  Raises `CorruptionError` when a description cannot be read: what it needs
    is not known, so nothing is removed.
    """
    backups = list_backups(target)
    gone = [b for b in backups if b.name not in keep]
    for b in gone:
        target.remove(backup_file(b.name))
    target.sync_folder(BACKUP_FOLDER)
    needed = {f.object for b in backups if b.name in keep for f in b.files}
    count = size = 0
    for file in target.list(OBJECT_FOLDER):
        name = f"{OBJECT_FOLDER}/{file}"
        if name not in needed:
            size += target.size(name)
            count += 1
            target.remove(name)
    target.sync_folder(OBJECT_FOLDER)
    _remove_unfinished(target)
    return Pruned(tuple(b.name for b in gone), count, size)


# -- private -----------------------------------------------------------------------------------------------------


_AGAIN: Final = "remove the object and make a new backup while the source still has the file"
_SOURCE: Final = "check the data directory that was backed up (`tinyobs tsdb verify`), repair it and make a new backup"


def _object_fault(
    target: Disk, name: str, file: BackedFile, rate: Rate, told: Callable[[int], None]
) -> tuple[int, str]:
    try:
        data = target.map(name)
    except FileNotFoundError:
        return -1, "missing"
    if len(data) != file.bytes or _hash(data, rate, told) != file.hash:
        return -1, "not what was stored: the hash differs"
    if not file.name.endswith(SEGMENT_SUFFIX):
        return -1, ""
    try:
        reader = SegmentReader(target, name, PageCache())
        reader.verify()
        reader.close()
    except CorruptionError as e:
        return e.offset, f"was damaged before it was stored: {e.reason}"
    return -1, ""


def pieces(data: memoryview, rate: Rate, told: Callable[[int], None]) -> Iterator[memoryview]:
    """Yield a content in pieces, as fast as the rate lets."""
    for at in range(0, len(data), PIECE_BYTES):
        piece = data[at : at + PIECE_BYTES]
        rate.spend(len(piece))
        told(at)
        yield piece


def _hash(data: memoryview, rate: Rate, told: Callable[[int], None]) -> str:
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for piece in pieces(data, rate, told):
        state.update(piece)
    return state.hexdigest()


def _copy(target: Disk, name: str, data: memoryview, rate: Rate, told: Callable[[int], None]) -> None:
    """Write a file beside its place, durably, and give it its name."""
    unfinished = temporary(name)
    file = target.create(unfinished)
    try:
        for piece in pieces(data, rate, told):
            file.append(piece)
        file.sync()
    finally:
        file.close()
    target.rename(unfinished, name)


def _remove_unfinished(target: Disk) -> None:
    for folder in (OBJECT_FOLDER, BACKUP_FOLDER):
        for file in target.list(folder):
            if file.endswith(TEMPORARY):
                target.remove(f"{folder}/{file}")


def _free_name(target: Disk, now_ms: int) -> str:
    taken = set(target.list(BACKUP_FOLDER))
    while f"{moment_name(now_ms)}.json" in taken:
        now_ms += 1
    return moment_name(now_ms)
