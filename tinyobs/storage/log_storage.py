"""The storage of agent mode: the log and nothing else, for agents that only pass on what they collect.

The log, its writer and its reader are those of the engine; there is no head with samples and there are no segments, so
nothing can be queried.  What is in memory of a series is its newest sample, which decides what is in order.  A
checkpoint comes often, so that the files that every cursor has read may go and a start reads little.

Synchronous; one writer thread calls `append`, `maintain` and `close`.  Not here: cursors (`log_keeping.py`), the whole
engine (`engine.py`).  Page: docs/agent-mode.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import attrs
import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..abc import CursorStart, LogCursor, Notice, Querier, Storage
from ..errors import StorageError
from ..model.batch import AppendResult, Batch
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from .deletes import Delete
from .disk import Disk
from .exemplars import ExemplarRing
from .head import NEVER, Head
from .ingest_counts import IngestCounts
from .intake import Found, Intake, refuse_huge
from .layout import MANIFEST, SEGMENT_FOLDER, WAL_FOLDER, segment_sequence, wal_name, wal_sequence
from .log_keeping import FollowedLog
from .manifest import Manifest, read_manifest, write_manifest
from .notices import NO_ROOM, Notices
from .opening import locked
from .options import EngineOptions
from .posix_disk import PosixDisk
from .recovery import kept_from, make_durable
from .samples import Samples
from .wal_exemplars import StoredExemplar
from .wal_format import FILE_HEADER
from .wal_reader import ReplayReport, replay
from .wal_writer import WalWriter

CHECKPOINT_EVERY_MS: Final = 600_000
"""How often a checkpoint is made while samples come."""
IDLE_MS: Final = 2 * 3_600_000
"""A series without a sample for so long, by those of others, is forgotten at the next checkpoint."""
UNAVAILABLE: Final = "unavailable with Prometheus Agent"
"""What whoever asks for samples is told."""


@frozen
class LogStorageStatistics:
    """Figures of the log of agent mode at one moment; names that end in `_total` count since the start."""

    active_series: int = field(metadata={"metric": "prometheus_agent_active_series"})
    """Number of active series being tracked by the WAL storage."""
    deleted_series: int = field(metadata={"metric": "prometheus_agent_deleted_series"})
    """Number of series that were forgotten because no sample came for them."""
    samples_appended_total: int
    """Samples accepted."""
    samples_repeated_total: int
    """Samples that repeated the newest of their series exactly and were not stored again."""
    samples_refused_total: Mapping[str, int] = field(metadata={"label": "reason"})
    """Samples refused, by reason."""
    native_samples_appended_total: int
    """Samples accepted that are native histograms."""
    exemplars_appended_total: int = field(metadata={"metric": "prometheus_agent_exemplars_appended_total"})
    """Exemplars accepted."""
    exemplars_refused_total: Mapping[str, int] = field(metadata={"label": "reason"})
    """Exemplars refused, by reason."""
    wal_written_bytes_total: int
    """Bytes appended to the log."""
    wal_fsyncs_total: int
    """Calls of fsync on the log."""
    wal_fsync_seconds_total: float
    """Seconds spent in fsync on the log."""
    wal_failures_total: int
    """Failed writes and fsyncs of the log; the first one ends ingestion until restart."""
    wal_file: int
    """Number of the log file being written."""
    disk_full_total: int
    """Appends refused because the disk was full."""
    read_only: int
    """1 when a failure ended ingestion until restart."""
    checkpoints_total: int = field(metadata={"metric": "prometheus_agent_checkpoint_creations_total"})
    """Checkpoints made."""
    corruptions_total: int = field(metadata={"metric": "prometheus_agent_corruptions_total"})
    """Damage met in the log."""
    log_bytes: int
    """Bytes of the log."""
    log_kept_files: int
    """Log files kept only for cursors."""
    log_kept_bytes: int
    """Their bytes."""
    log_cursor_behind_bytes: Mapping[str, int] = field(metadata={"label": "cursor"})
    """Bytes of the log that a cursor has still to read."""
    log_cursor_lost_samples_total: Mapping[str, int] = field(metadata={"label": "cursor"})
    """Samples that a cursor missed because the log had outgrown its limits."""
    replay_seconds: float = field(metadata={"metric": "prometheus_agent_data_replay_duration_seconds"})
    """Time that the start took for the log."""
    replay_torn_bytes: int
    """Bytes cut off the end of the log at the start: written, but never acknowledged."""


class LogStorage(Storage):
    """The log in one directory.  Made by `open_log`."""

    registry: SeriesRegistry

    def __init__(
        self,
        disk: Disk,
        registry: SeriesRegistry,
        options: EngineOptions,
        clock: Callable[[], int],
        progress: Callable[[float], None],
    ) -> None:
        """Recover a locked directory; use `LogStorage.open`."""
        self.registry, self.options, self.disk = registry, options, disk
        self._clock = clock
        self._began = time.perf_counter()
        self.notices = Notices()
        self.exemplar_ring = ExemplarRing(options.exemplars_max)
        self.head, self._metadata = Head(), dict[str, MetricMetadata]()
        self.segments = SimpleNamespace(maxt_ms=NEVER)
        """There are none."""
        self._manifest, self._report = self._recover(progress)
        self.wal = WalWriter(
            disk,
            registry,
            options,
            clock,
            self._report.next_sequence,
            self.exemplar_ring.all,
            may_wait=bool(self._manifest.wal_first),
        )
        if self.wal.is_waiting:
            self.notices.note(NO_ROOM)
        if not self._manifest.wal_first:
            self._begin_at(self.wal.sequence)
        self.followed = FollowedLog(
            disk, registry, options, clock, self.wal, lambda: self._manifest.wal_first, self.notices.note
        )
        self.counts = IngestCounts()
        self._checkpoints = self._corruptions = self._deleted = 0
        self._checkpoint_ms, self._checkpoint_samples = clock(), 0
        self._checkpoint_file = self.wal.sequence
        self._trouble = ""
        self._closed = False
        self._replay_seconds = time.perf_counter() - self._began

    @classmethod
    def open(
        cls,
        disk: Disk,
        registry: SeriesRegistry,
        options: EngineOptions,
        clock: Callable[[], int],
        progress: Callable[[float], None] = lambda share: None,
    ) -> LogStorage:
        """Lock the directory and return the storage; errors as `Engine.open`."""
        with locked(disk):
            return cls(disk, registry, options, clock, progress)

    # -- writing -----------------------------------------------------------------------------------------------

    def check(self, batch: Batch) -> None:
        """Raise `LimitExceeded` for a batch that is too large."""
        refuse_huge(batch)

    def append(self, batches: Sequence[Batch]) -> list[AppendResult]:
        """Store batches durably; see `Engine.append` for the errors."""
        self._refuse_when_closed()
        self.head.ensure(len(self.registry))
        group = _LogIntake(self, self._clock())  # type: ignore[arg-type]
        try:
            for batch in batches:
                group.judge(batch)
            self.wal.write(group.entries, group.metadata, group.exemplars)
        finally:
            group.undo()
        created = self.head.series_created
        for entry in group.entries:
            _note_newest(self.head, entry.layout.refs, entry.samples)
        if group.metadata:
            self._metadata = {**self._metadata, **group.metadata}
        self.exemplar_ring.add(group.exemplars)
        self.counts.count(group.results, group.entries, self.head.series_created - created)
        return group.results

    def maintain(self, now_ms: int) -> bool:
        """Make a checkpoint when it is time, and let files go; tell whether more is waiting."""
        self._refuse_when_closed()
        try:
            self.wal.sync_when_due()
            if self._is_checkpoint_due(now_ms):
                self._checkpoint(now_ms)
            more, self._trouble = self.followed.step(now_ms), ""
            return more
        except (OSError, StorageError) as e:
            if str(e) != self._trouble:
                self.notices.note(f"files of the log that are no longer needed could not be let go: {e}")
            self._trouble = str(e)
            return False

    def take_notices(self) -> Sequence[Notice]:
        """Return what the operator should know of that happened since the last call."""
        return self.notices.take()

    def close(self) -> None:
        """Make everything durable and release the lock; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self.followed.close()
            self.wal.close()
        finally:
            self.disk.unlock()

    # -- reading -----------------------------------------------------------------------------------------------

    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        """Raise `StorageError`: nothing can be queried."""
        raise StorageError(UNAVAILABLE)

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return what is known of metric families, by family name.  Any thread; never changed in place."""
        return self._metadata

    def cursor(self, name: str, start: CursorStart) -> LogCursor:
        """Open a cursor over the log; see `abc.Storage.cursor`.  Any thread."""
        self._refuse_when_closed()
        return self.followed.cursor(name, start)

    def forget_cursors(self, kept: Collection[str]) -> list[str]:
        """Remove the cursors that are not open, all but those named; return their names.  Any thread."""
        self._refuse_when_closed()
        return self.followed.forget(kept)

    def statistics(self) -> LogStorageStatistics:
        """Return the figures of this moment.  Any thread."""
        counts, wal, followed = self.counts, self.wal.statistics, self.followed.statistics()
        return LogStorageStatistics(
            active_series=int(np.count_nonzero(self.head.newest_ms != NEVER)),
            deleted_series=self._deleted,
            samples_appended_total=counts.stored,
            samples_repeated_total=counts.repeated,
            samples_refused_total=dict(counts.refused),
            native_samples_appended_total=counts.histograms,
            exemplars_appended_total=counts.exemplars_stored,
            exemplars_refused_total=dict(counts.exemplars_refused),
            wal_written_bytes_total=wal.written_bytes,
            wal_fsyncs_total=wal.fsync_count,
            wal_fsync_seconds_total=wal.fsync_seconds,
            wal_failures_total=wal.failure_count,
            wal_file=self.wal.sequence,
            disk_full_total=wal.disk_full_count,
            read_only=int(bool(self.wal.failure)),
            checkpoints_total=self._checkpoints,
            corruptions_total=self._corruptions,
            log_bytes=self.followed.needed_bytes() + followed.kept_bytes,
            log_kept_files=followed.kept_files,
            log_kept_bytes=followed.kept_bytes,
            log_cursor_behind_bytes=followed.behind_bytes,
            log_cursor_lost_samples_total=followed.lost_samples,
            replay_seconds=self._replay_seconds,
            replay_torn_bytes=self._report.torn_bytes,
        )

    # -- private -----------------------------------------------------------------------------------------------

    def _recover(self, progress: Callable[[float], None]) -> tuple[Manifest, ReplayReport]:
        disk = self.disk
        disk.make_folder(WAL_FOLDER)
        manifest = read_manifest(disk)
        if manifest is None:
            logs = [n for n in map(wal_sequence, disk.list(WAL_FOLDER)) if n is not None]
            if any(disk.size(wal_name(n)) > FILE_HEADER.size for n in logs):
                raise StorageError(f"{MANIFEST} is missing, but there is a log; `tinyobs tsdb repair` writes it anew")
            for n in logs:
                disk.remove(wal_name(n))
            return Manifest(0), ReplayReport(1)
        if manifest.segments or any(segment_sequence(f) for f in disk.list(SEGMENT_FOLDER)):
            raise StorageError("this directory has segments: agent mode needs a directory of its own")
        disk.sync_folder("")
        report = replay(
            disk, self.registry, manifest.wal_first, _Receiver(self), progress, kept_from(disk, self.options)
        )
        if report.file_count:
            make_durable(disk, wal_name(report.next_sequence - 1))
        return manifest, report

    def _begin_at(self, sequence: int) -> None:
        """Let the log that is needed begin at a file, durably."""
        manifest = attrs.evolve(self._manifest, wal_first=sequence)
        write_manifest(self.disk, manifest)
        self._manifest = manifest

    def _is_checkpoint_due(self, now_ms: int) -> bool:
        if self.wal.failure or self.counts.stored == self._checkpoint_samples:
            return False
        is_recent = 0 <= now_ms - self._checkpoint_ms < CHECKPOINT_EVERY_MS
        return not is_recent or self.wal.sequence > self._checkpoint_file

    def _checkpoint(self, now_ms: int) -> None:
        newest = self.head.newest_ms
        live = newest[newest != NEVER]
        since_ms = int(live.max()) - IDLE_MS if len(live) else 0
        idle = (newest != NEVER) & (newest < since_ms)
        self._checkpoint_file = self.wal.checkpoint(self.head.newest(since_ms, 0, len(newest)), self._metadata)
        newest[idle] = NEVER
        self._deleted += int(np.count_nonzero(idle))
        self._checkpoint_ms, self._checkpoint_samples = now_ms, self.counts.stored
        self._begin_at(self._checkpoint_file)
        self._checkpoints += 1

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StorageError("the storage is closed")


class _LogIntake(Intake):
    """Judges batches where the newest sample of a series is all that is known."""

    def _proven(self) -> int:
        newest = self.engine.head.newest_ms
        return int(newest.max(initial=NEVER))

    def _stored(self, refs: NDArray[np.uint32], mint_ms: int, maxt_ms: int) -> Found:
        head = self.engine.head
        times = head.newest_ms[refs]
        known = np.flatnonzero((times != NEVER) & (times >= mint_ms) & (times <= maxt_ms))
        return known, times[known], head.newest_values[refs[known]]


@define(eq=False)
class _Receiver:
    """Takes the newest samples from the log; what else is in it is for cursors."""

    storage: LogStorage

    def samples(self, refs: NDArray[np.uint32], samples: Samples, unique: bool) -> None:
        self.storage.head.ensure(len(self.storage.registry))
        _note_newest(self.storage.head, refs, samples)

    def newest(self, refs: NDArray[np.uint32], times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self.storage.head.ensure(len(self.storage.registry))
        self.storage.head.note_newest(refs, times_ms, values)

    def delete(self, delete: Delete) -> None:
        """Nothing can be deleted here."""

    def metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        self.storage._metadata.update(metadata)

    def exemplars(self, exemplars: Sequence[StoredExemplar]) -> None:
        self.storage.exemplar_ring.replay(exemplars)


def _note_newest(head: Head, refs: NDArray[np.uint32], samples: Samples) -> None:
    """Remember the newest sample of each series."""
    order = np.lexsort((samples.times_ms, refs))
    is_last = np.append(refs[order][1:] != refs[order][:-1], True) if len(refs) else np.empty(0, np.bool_)
    last = order[is_last]
    head.note_newest(refs[last], samples.times_ms[last], samples.marks[last])


def open_log(
    path: str | Path,
    registry: SeriesRegistry,
    clock: Callable[[], int],
    options: EngineOptions,
    progress: Callable[[float], None] = lambda share: None,
) -> LogStorage:
    """Open the log in a directory of the file system, creating it when needed."""
    return LogStorage.open(PosixDisk(path), registry, options, clock, progress)
