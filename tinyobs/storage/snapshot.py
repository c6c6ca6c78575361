"""Snapshots: the data directory as it is now, as a directory of its own below `snapshots/`.

Segments and closed log files never change, so they get a second name there; the log file being written is copied as
far as it is durable, and so is the journal of the pushgateway.  The manifest comes last: a snapshot without one is unfinished.  A snapshot is a complete data
directory that can be opened, copied away, or removed with its folder.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs

from ..errors import DiskFullError, StorageError
from .layout import (
    MANIFEST,
    PUSH_JOURNAL,
    PUSHGATEWAY_FOLDER,
    SEGMENT_FOLDER,
    WAL_FOLDER,
    segment_name,
    snapshot_folder,
    wal_name,
)
from .manifest import encode_manifest
from .wal_writer import OUT_OF_SPACE

if TYPE_CHECKING:
    from .disk import Disk
    from .engine import Engine


def take_snapshot(
    engine: Engine, now_ms: int, *, skip_head: bool, random_text: Callable[[], str] = lambda: secrets.token_hex(8)
) -> str:
    """Make a snapshot, durably, and return its name.  Writer thread.

    skip_head: without the samples that are not in segments yet.  Raises `DiskFullError` or `StorageError`; what was
    begun is removed again then, as far as the disk lets it.
    """
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    name = f"{moment:%Y%m%dT%H%M%SZ}-{random_text()}"
    made: list[str] = []
    try:
        _fill(engine, snapshot_folder(name), made, skip_head)
    except (OSError, StorageError) as e:
        for file in reversed(made):
            with contextlib.suppress(OSError):
                engine.disk.remove(file)
        if isinstance(e, StorageError):  # of the log, which says it all
            raise
        kind = DiskFullError if e.errno in OUT_OF_SPACE else StorageError
        raise kind(f"cannot make the snapshot {name}: {e}") from e
    return name


def _fill(engine: Engine, folder: str, made: list[str], skip_head: bool) -> None:
    disk, manifest = engine.disk, engine.segments.manifest
    for part in (SEGMENT_FOLDER, WAL_FOLDER):
        disk.make_folder(f"{folder}/{part}")
    for entry in manifest.segments:
        source = segment_name(entry.sequence)
        made.append(f"{folder}/{source}")
        disk.link(source, made[-1])
    if skip_head:
        manifest = attrs.evolve(manifest, wal_first=0)  # there is no log yet
    else:
        if engine.wal.is_waiting:
            raise OSError(errno.ENOSPC, "there was no room for a log file yet")
        engine.wal.sync()
        last = engine.wal.sequence
        for number in range(manifest.wal_first, last):
            made.append(f"{folder}/{wal_name(number)}")
            disk.link(wal_name(number), made[-1])
        _write(disk, f"{folder}/{wal_name(last)}", disk.map(wal_name(last)), made)
    _copy_journal(disk, folder, made)
    for part in (SEGMENT_FOLDER, WAL_FOLDER):
        disk.sync_folder(f"{folder}/{part}")
    _write(disk, f"{folder}/{MANIFEST}", encode_manifest(manifest), made)
    disk.sync_folder(folder)


def _copy_journal(disk: Disk, folder: str, made: list[str]) -> None:
    """Copy the journal, to which another thread may be appending: what that has not written whole is cut off when it is read.

    Read, not mapped: the pushgateway cuts the file to repair a torn end, and a mapping must not reach behind that.
    """
    try:
        journal = disk.read(PUSH_JOURNAL)
    except FileNotFoundError:
        return
    disk.make_folder(f"{folder}/{PUSHGATEWAY_FOLDER}")
    _write(disk, f"{folder}/{PUSH_JOURNAL}", journal, made)
    disk.sync_folder(f"{folder}/{PUSHGATEWAY_FOLDER}")


def _write(disk: Disk, name: str, data: bytes | memoryview, made: list[str]) -> None:
    """Write a whole file, durably; the folder is left to the caller."""
    made.append(name)
    file = disk.create(name)
    try:
        file.append(data)
        file.sync()
    finally:
        file.close()
