"""Opening a data directory: from whatever the last process left to a head and a list of segments.

The manifest is the truth.  A file that it does not list was never finished or is no longer needed, and goes; a segment
that it lists must be there.  Then the log is replayed from the checkpoint on.  Opening twice gives the same as once.

A process that was killed may have left what can be read but is not durable yet.  It is made durable before anything is
built on it: the name of the manifest before files go that it does not list, the end of the log before there is a next
file, since only the last one may have a torn tail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from attrs import Factory, define
from numpy.typing import NDArray

from ..errors import StorageError
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from .cursor_file import read_places
from .deletes import Delete
from .deletion import delete_from_head, note_in_manifest
from .disk import Disk
from .exemplars import ExemplarRing
from .head import Head
from .layout import (
    MANIFEST,
    SEGMENT_FOLDER,
    TEMPORARY,
    WAL_FOLDER,
    cursor_file,
    segment_name,
    segment_sequence,
    wal_name,
    wal_sequence,
)
from .manifest import Manifest, read_manifest
from .options import EngineOptions
from .samples import Samples
from .series_index import SeriesIndex
from .wal_exemplars import StoredExemplar
from .wal_format import FILE_HEADER
from .wal_reader import ReplayReport, replay


@define(eq=False)
class Recovered:
    """What was found.  removed: names of unlisted files that were deleted, as is expected after a crash."""

    manifest: Manifest
    head: Head
    metadata: dict[str, MetricMetadata]
    exemplars: ExemplarRing
    report: ReplayReport
    seconds: float
    removed: list[str]


def recover(
    disk: Disk, registry: SeriesRegistry, options: EngineOptions, progress: Callable[[float], None]
) -> Recovered:
    """Bring a locked directory into order.  progress: called with the share of the replay done, 0 to 1.

    Raises `CorruptionError`, `FormatVersionError`, or `StorageError` when a listed segment is missing.
    """
    began = time.perf_counter()
    for folder in (WAL_FOLDER, SEGMENT_FOLDER):
        disk.make_folder(folder)
    manifest = read_manifest(disk)
    if manifest is None:
        manifest = _begin(disk)
    else:
        disk.sync_folder("")
    removed = _remove_unlisted(disk, manifest)
    receiver = _Receiver(registry, ExemplarRing(options.exemplars_max))
    if manifest.wal_first:
        report = replay(disk, registry, manifest.wal_first, receiver, progress, kept_from(disk, options))
        if report.file_count:
            make_durable(disk, wal_name(report.next_sequence - 1))
    else:
        report = ReplayReport(1)
    for delete in receiver.deletes:
        manifest = note_in_manifest(manifest, delete)
    progress(1.0)
    seconds = time.perf_counter() - began
    return Recovered(manifest, receiver.head, receiver.known, receiver.ring, report, seconds, removed)


def kept_from(disk: Disk, options: EngineOptions) -> int | None:
    """Return the first log file that some cursor may need, None where there are no cursors.

    Where a process was killed the place that is read may not be durable; it must be before files go because of it.
    """
    places = read_places(disk)
    for name in places:
        make_durable(disk, cursor_file(name))
    if options.log_keep_ms or None in places.values():
        return 0  # what of it is not needed goes later
    return min((p.start for p in places.values() if p is not None), default=None)


def _begin(disk: Disk) -> Manifest:
    """Return the manifest of a new directory: `wal_first` 0, "there is no log yet".

    Allowed only where no data can be lost.  The engine writes the first manifest once the first log file is there.
    """
    segments = disk.list(SEGMENT_FOLDER)
    logs = [f for f in disk.list(WAL_FOLDER) if wal_sequence(f) is not None]
    if segments or any(disk.size(f"{WAL_FOLDER}/{f}") > FILE_HEADER.size for f in logs):
        raise StorageError(
            f"{MANIFEST} is missing, but there is data; restore it from a copy of the directory, or let "
            "`tinyobs tsdb repair` write it anew from the other files"
        )
    return Manifest(0)


def _remove_unlisted(disk: Disk, manifest: Manifest) -> list[str]:
    live = {s.sequence for s in manifest.segments}
    found = disk.list(SEGMENT_FOLDER)
    present = {segment_sequence(f) for f in found}
    missing = sorted(live - present)
    if missing:
        raise StorageError(
            f"{segment_name(missing[0])} is listed in {MANIFEST} but missing ({len(missing)} in all); "
            "restore it from a copy of the directory or from a backup, or let `tinyobs tsdb repair` go on without it"
        )
    removed = [f"{SEGMENT_FOLDER}/{f}" for f in found if segment_sequence(f) not in live]
    removed += [f for f in disk.list("") if f.endswith(TEMPORARY)]
    if not manifest.wal_first:
        removed += [wal_name(n) for n in map(wal_sequence, disk.list(WAL_FOLDER)) if n is not None]
    for name in removed:
        disk.remove(name)
    if removed:
        disk.sync_folder(SEGMENT_FOLDER)
        disk.sync_folder(WAL_FOLDER)
    return removed


def make_durable(disk: Disk, name: str) -> None:
    """Make the content of a file durable that another process may have written."""
    file = disk.open_append(name)
    try:
        file.sync()
    finally:
        file.close()


@define(eq=False)
class _Receiver:
    """Puts what the log holds into a head."""

    registry: SeriesRegistry
    ring: ExemplarRing
    head: Head = Factory(Head)
    known: dict[str, MetricMetadata] = Factory(dict)
    deletes: list[Delete] = Factory(list)
    _index: SeriesIndex | None = None

    def samples(self, refs: NDArray[np.uint32], samples: Samples, unique: bool) -> None:
        self.head.ensure(len(self.registry))
        self.head.add(refs, samples, unique)
        if self.head.is_compression_due:
            self.head.compress()

    def newest(self, refs: NDArray[np.uint32], times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self.head.ensure(len(self.registry))
        self.head.note_newest(refs, times_ms, values)
        if len(times_ms):  # a checkpoint has all series that were not forgotten
            self.head.forgotten_ms = max(self.head.forgotten_ms, int(times_ms.min()))

    def delete(self, delete: Delete) -> None:
        if self._index is None:
            self._index = SeriesIndex(self.registry)
        delete_from_head(self.head, self._index, delete)
        self.deletes.append(delete)

    def metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        self.known.update(metadata)

    def exemplars(self, exemplars: Sequence[StoredExemplar]) -> None:
        self.ring.replay(exemplars)
