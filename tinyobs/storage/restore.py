"""Restores a backup into an empty directory, whole or as of a point in time.

Every file is checked against its hash while it is copied, and the manifest comes last: until then the directory is
refused by every start.  A point in time is reached by deleting what is newer, with the engine's own delete, and
letting it give the space back, and by forgetting what was pushed to groups later; the directory is then as any other.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ..errors import CorruptionError, StorageError, UsageError
from ..model.matchers import Matcher, MatchType
from ..model.registry import SeriesRegistry
from .backup import Progress, Rate, pieces, silent, tell
from .backup_format import DIGEST_BYTES, BackedFile, Backup
from .disk import Disk
from .engine import Engine
from .layout import LOCK, MANIFEST, PUSH_JOURNAL, PUSHGATEWAY_FOLDER, SEGMENT_FOLDER, WAL_FOLDER, temporary
from .options import DAY_MS, EngineOptions
from .push_journal import PushJournal
from .time_text import time_text

EVERYTHING: Final = ((Matcher(MatchType.REGEX, "__name__", ".*"),),)
"""A set of matchers that every series fulfils."""
TIME_MAX: Final = (1 << 63) - 1
KEEP_ALL: Final = EngineOptions(retention_ms=1000 * 366 * DAY_MS)
"""Options under which no sample is too old."""


def choose_backup(backups: Sequence[Backup], time_ms: int | None) -> Backup:
    """Return the newest backup, or the one to reach a point in time from: the first made at or after it.

    A later one may lack samples that were deleted or dropped for their age meanwhile.  Raises `UsageError`.
    """
    if not backups:
        raise UsageError("there are no backups here")
    ordered = sorted(backups, key=lambda b: b.created_ms)
    if time_ms is None:
        return ordered[-1]
    for b in ordered:
        if b.covers(time_ms):
            return b
    first, last = ordered[0], ordered[-1]
    if last.created_ms < time_ms:
        raise UsageError(
            f"the newest backup {last.name} is older than {time_text(time_ms)}; --backup chooses one by name"
        )
    begins = min((b.mint_ms for b in ordered if b.mint_ms is not None), default=first.created_ms)
    raise UsageError(f"no backup has samples as old as {time_text(time_ms)}; the oldest are of {time_text(begins)}")


def restore_backup(
    store: Disk, backup: Backup, target: Disk, progress: Progress = silent, rate: Rate | None = None
) -> None:
    """Copy the files of a backup into an empty directory.

    Raises `StorageError` when it is not empty, `CorruptionError` for an object that is missing or not what was stored,
    and `OSError`; the directory is then incomplete and has to be removed.
    """
    folders = [WAL_FOLDER, SEGMENT_FOLDER, PUSHGATEWAY_FOLDER]
    used = [f for folder in ("", *folders) for f in target.list(folder) if f != LOCK]
    if used:
        raise StorageError(f"the directory to restore into is not empty: it has {used[0]}; name a new one")
    if all(f.name != PUSH_JOURNAL for f in backup.files):
        folders.remove(PUSHGATEWAY_FOLDER)
    for folder in folders:
        target.make_folder(folder)
    rate, done = rate or Rate(), 0
    for file in sorted(backup.files, key=lambda f: f.name == MANIFEST):
        name = temporary(MANIFEST) if file.name == MANIFEST else file.name
        if file.name == MANIFEST:
            for folder in folders:
                target.sync_folder(folder)
        _copy(store, file, target, name, rate, partial(tell, progress, file.name, done, backup.bytes))
        done += file.bytes
    target.rename(temporary(MANIFEST), MANIFEST)
    target.sync_folder("")
    progress("", backup.bytes, backup.bytes)


def cut_after(target: Disk, time_ms: int, now_ms: int, note: Callable[[], None] = lambda: None) -> None:
    """Remove every sample newer than a time from a directory that nobody has open, and let the space come back.

    So are pushes to groups, and their deletes: the pushgateway would store the values of them anew.  A journal that is
    damaged stays as it is, and is not read by anybody.

    note: called now and then, for progress.  Raises `StorageError` and its kinds.
    """
    with contextlib.suppress(CorruptionError):
        _cut_journal(target, time_ms)
    engine = Engine.open(target, SeriesRegistry(), KEEP_ALL, lambda: now_ms)
    try:
        engine.delete(EVERYTHING, time_ms + 1, TIME_MAX)
        while engine.clean_tombstones() or engine.maintain(now_ms):
            note()
    finally:
        engine.close()


def _cut_journal(target: Disk, time_ms: int) -> None:
    journal = PushJournal(target)
    try:
        records = journal.open().records
        kept = [r for r in records if r.time_ms <= time_ms]
        if len(kept) < len(records):
            journal.rewrite(kept)
    finally:
        journal.close()


def _copy(store: Disk, file: BackedFile, target: Disk, name: str, rate: Rate, told: Callable[[int], None]) -> None:
    try:
        data = store.map(file.object)
    except FileNotFoundError:
        raise CorruptionError(file.object, 0, f"missing; it is {file.name} of the backup") from None
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    out = target.create(name)
    try:
        for piece in pieces(data, rate, told):
            state.update(piece)
            out.append(piece)
        out.sync()
    finally:
        out.close()
    if len(data) != file.bytes or state.hexdigest() != file.hash:
        raise CorruptionError(file.object, 0, f"not what was stored; it is {file.name} of the backup")
