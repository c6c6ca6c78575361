"""The storage engine: the facade over log, head, segments and their upkeep.

Synchronous and without a thread of its own.  One *writer* thread calls `append`, `maintain` and `close`; two may take
turns at `append_in_turn`: while one waits for the disk, the other judges and logs the next batches.  Any thread may
call `querier`, `metadata`, `statistics` and `cardinality`.  One lock guards what makes up a consistent view: the head's
lists and the tuple of segments.  The writer holds it while it applies samples that are already durable and while it
swaps segments; a reader holds it for as long as copying the rows' counts takes.  Neither does I/O under it.

The way of a sample: judged (`admission.py`), logged and made durable (`wal_writer.py`), put into the head (`head.py`),
cut into a segment (`cut.py`), merged into larger ones (`compaction.py`), dropped (`retention.py`).
Design: docs/format/durability.md and docs/decisions/.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..abc import CursorStart, LogCursor, Notice, Storage
from ..errors import CorruptionError, DiskFullError, StorageError
from ..model.batch import AppendResult, Batch
from ..model.blocks import StoredBlock
from ..model.cardinality import Cardinality, CardinalityQuery
from ..model.exemplars import SeriesExemplars
from ..model.matchers import Matcher
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from .cardinality import report_cardinality
from .census import Census
from .changes import ChangeLog
from .churn import ChurnLog
from .deletion import delete_samples
from .disk import Disk
from .engine_statistics import EngineStatistics
from .head_view import HeadView
from .ingest_counts import IngestCounts
from .intake import Intake, refuse_huge
from .log_keeping import FollowedLog
from .memory import return_free_memory
from .notices import NO_ROOM, Notices
from .opening import locked
from .options import DEFAULT_OPTIONS, EngineOptions
from .posix_disk import PosixDisk
from .querier import EngineQuerier
from .recovery import recover
from .reporting import report_blocks, report_statistics
from .segment_reader import SegmentReader
from .segment_set import SegmentSet
from .series_index import SeriesIndex
from .snapshot import take_snapshot
from .tiers import view_of
from .upkeep import Upkeep
from .wal_writer import WalWriter

OVERFULL = 2
"""How many times `head_bytes_max` the head may hold before it takes no more: cutting has failed for long."""


class Engine(Storage):
    """Samples in one directory.  Made by `Engine.open` or `open_directory`."""

    registry: SeriesRegistry
    changes: ChangeLog

    def __init__(
        self,
        disk: Disk,
        registry: SeriesRegistry,
        options: EngineOptions,
        clock: Callable[[], int],
        progress: Callable[[float], None],
    ) -> None:
        """Recover a locked directory; use `open`."""
        self.registry, self.options, self.disk = registry, options, disk
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        """Held by `append` except while it waits for the disk."""
        self._logged: deque[Intake] = deque()
        """Groups of batches that are in the log but not in the head, in order."""
        self._view: HeadView | None = None
        self.notices = Notices()
        self.recovered = recover(disk, registry, options, progress)
        self.notices.note_recovery(self.recovered)
        self.head, self._metadata = self.recovered.head, self.recovered.metadata
        self.exemplar_ring = self.recovered.exemplars
        return_free_memory()
        self.index = SeriesIndex(registry)
        self.segments = SegmentSet(disk, self.recovered.manifest, options)
        self.head.cache = self.segments.cache
        next_sequence = self.recovered.report.next_sequence
        may_wait = bool(
            self.segments.manifest.wal_first
        )  # the first manifest of a directory names a file that is there
        self.wal = WalWriter(disk, registry, options, clock, next_sequence, self.exemplar_ring.all, may_wait=may_wait)
        if self.wal.is_waiting:
            self.notices.note(NO_ROOM)
        if not self.segments.manifest.wal_first:
            self.segments.begin_log(self.wal.sequence)
        self.followed = FollowedLog(
            disk, registry, options, clock, self.wal, lambda: self.segments.manifest.wal_first, self.notices.note
        )
        self.segments.log_floor = self.followed.floor
        self._log_trouble = ""
        self.changes = ChangeLog()
        self.counts = IngestCounts()
        self.upkeep = Upkeep(self)
        self.census, self.churn = Census(registry), ChurnLog(registry)
        self._closed = False

    @classmethod
    def open(
        cls,
        disk: Disk,
        registry: SeriesRegistry,
        options: EngineOptions,
        clock: Callable[[], int],
        progress: Callable[[float], None] = lambda share: None,
    ) -> Engine:
        """Lock the directory, recover what is in it and return the engine.

        registry: where series get their numbers; may be new or shared.  clock: milliseconds since 1970.
        progress: called with the share of the replay that is done, 0 to 1.
        Raises `LockedError`, `CorruptionError`, `FormatVersionError` or `StorageError`.
        """
        with locked(disk):
            return cls(disk, registry, options, clock, progress)

    # -- writing -----------------------------------------------------------------------------------------------

    def check(self, batch: Batch) -> None:
        """Raise `LimitExceeded` for a batch that is too large; `append` would store none of those given with it."""
        refuse_huge(batch)

    def append(self, batches: Sequence[Batch]) -> list[AppendResult]:
        """Store batches durably; they share one write and one fsync.

        Raises `DiskFullError` (nothing of these batches was stored, later calls may succeed), `ReadOnlyError`
        (nothing was acknowledged) or `LimitExceeded` (a batch is too large; nothing was stored).
        """
        return self.append_in_turn(lambda: batches, lambda: None)

    def append_in_turn(
        self, make: Callable[[], Sequence[Batch]], next_may_begin: Callable[[], None]
    ) -> list[AppendResult]:
        """As `append`; once `next_may_begin` was called another thread may begin its own call, and no other work.

        The batches are in the log then, on their way to the disk.  They are made while no other thread is at work here:
        two would hand the interpreter to each other at every array operation.
        """
        with self._writing:
            group = self._log(make())
        next_may_begin()
        try:
            self.wal.settle()
        except BaseException:
            with self._writing:
                if group in self._logged:
                    self._logged.remove(group)
            raise
        with self._writing:
            while group in self._logged:  # those before it are durable as well
                self._store(self._logged.popleft())
        return group.results

    def _log(self, batches: Sequence[Batch]) -> Intake:
        """Judge batches and write them to the log, behind those that are not durable yet."""
        self._refuse_when_closed()
        self._refuse_when_overfull()
        self.head.ensure(len(self.registry))
        self._view = None
        group = Intake(self, self._clock(), tuple(self._logged))
        try:
            for batch in batches:
                group.judge(batch)
            self.wal.log(group.entries, group.metadata, group.exemplars)
        finally:
            group.undo()
        self._logged.append(group)
        return group

    def _store(self, group: Intake) -> None:
        """Let readers see a group that is durable."""
        created = self.head.series_created
        for entry in group.entries:
            self.head.add(entry.layout.refs, entry.samples, entry.layout.unique, self.publish, entry.layout.where)
        if group.metadata:
            self._metadata = {**self._metadata, **group.metadata}
        if group.entries:
            self.changes.note(min([entry.samples.span[0] for entry in group.entries]))
        self.exemplar_ring.add(group.exemplars)
        if self.head.is_compression_due:
            sealed = self.head.seal()
            self.publish(lambda: self.head.put_sealed(*sealed))
        self.counts.count(group.results, group.entries, self.head.series_created - created)

    def maintain(self, now_ms: int) -> bool:
        """Do one bounded slice of background work; tell whether more is waiting."""
        self._refuse_when_closed()
        self.churn.note(now_ms, lambda: self.head.newest_ms)
        more = self.upkeep.step(now_ms)
        return self._let_log_go(now_ms) or more

    def _let_log_go(self, now_ms: int) -> bool:
        try:
            more, self._log_trouble = self.followed.step(now_ms), ""
            return more
        except OSError as e:
            trouble = f"files of the log that are no longer needed could not be removed: {e}"
            if trouble != self._log_trouble:
                self.notices.note(trouble)
            self._log_trouble = trouble
            return False

    def cursor(self, name: str, start: CursorStart) -> LogCursor:
        """Open a cursor over the log; see `abc.Storage.cursor`.  Any thread."""
        self._refuse_when_closed()
        return self.followed.cursor(name, start)

    def forget_cursors(self, kept: Collection[str]) -> list[str]:
        """Remove the cursors that are not open, all but those named; return their names.  Any thread."""
        self._refuse_when_closed()
        return self.followed.forget(kept)

    def delete(self, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> None:
        """Delete what is stored now; see `deletion.py` for the errors."""
        self._refuse_when_closed()
        delete_samples(self, matcher_sets, mint_ms, maxt_ms)

    def clean_tombstones(self) -> bool:
        """Do one slice of regaining the space of deletes; tell whether there is more.  Raises `StorageError`."""
        self._refuse_when_closed()
        return self.upkeep.clean(self._clock())

    def compact(self) -> bool:
        """Do one slice of cutting and merging all there is; tell whether there is more.  Raises `StorageError`."""
        self._refuse_when_closed()
        return self.upkeep.compact(self._clock())

    def snapshot(self, *, skip_head: bool = False) -> str:
        """Make a snapshot and return its name; see `snapshot.py` for the errors."""
        self._refuse_when_closed()
        return take_snapshot(self, self._clock(), skip_head=skip_head)

    def take_sealed(self) -> Sequence[tuple[str, object]]:
        """Return (name, `SegmentInfo`) of the segments written since the last call."""
        sealed = self.segments.sealed
        return [(info.name, info) for info in (sealed.popleft() for _ in range(len(sealed)))]

    def take_notices(self) -> Sequence[Notice]:
        """Return what the operator should know of that happened since the last call."""
        return self.notices.take()

    def close(self) -> None:
        """Make everything durable and release the lock; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self.upkeep.abandon()
            self.followed.close()
            self.wal.close()
        finally:
            self.segments.close()
            self.disk.unlock()

    # -- reading -----------------------------------------------------------------------------------------------

    def querier(self, mint_ms: int, maxt_ms: int) -> EngineQuerier:
        """Return a consistent view of the samples from `mint_ms` to `maxt_ms`, both included.  Any thread."""
        with self._lock:
            view, readers, spans = self._head_view(), self.segments.readers, self.segments.tier_spans
        tiers = view_of(spans, (view.min_ms, view.max_ms), self.options.retention_ms)
        return EngineQuerier(view, readers, self.registry, self.index, mint_ms, maxt_ms, self._note_damage, tiers)

    def current(self) -> tuple[HeadView, tuple[SegmentReader, ...]]:
        """Return what head and segments hold; the lock keeps the head's list of open views whole."""
        with self._lock:
            return self._head_view(), self.segments.readers

    def _head_view(self) -> HeadView:
        view = self._view  # the writer forgets it without the lock, when it begins to log
        if view is None:
            view = self._view = self.head.view()
        return view

    def exemplars(self, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> list[SeriesExemplars]:
        """Return the exemplars of series that fulfil any set of matchers, sorted by label set.  Any thread."""
        ring, found = self.exemplar_ring, []
        refs = ring.refs()
        chosen = [np.intersect1d(refs, self.index.match(matchers)) for matchers in matcher_sets]
        for ref in np.unique(np.concatenate(chosen)).tolist() if chosen else ():
            exemplars = ring.of_series(ref, mint_ms, maxt_ms)
            if exemplars:
                found.append(SeriesExemplars(self.registry.labels(ref), exemplars))
        return sorted(found, key=lambda s: s.series)

    def set_exemplars_max(self, count: int) -> None:
        """Keep at most so many exemplars from now on.  Any thread."""
        self.exemplar_ring.resize(count)

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return what is known of metric families, by family name.  Any thread; never changed in place."""
        return self._metadata

    def statistics(self) -> EngineStatistics:
        """Return the figures of this moment.  Any thread."""
        try:
            free = self.disk.free_bytes()  # not under the lock: a disk may take its time
        except OSError:
            free = 0
        followed = self.followed.statistics()
        with self._lock:
            return report_statistics(self, free, followed)

    def cardinality(self, query: CardinalityQuery) -> Cardinality:
        """Return what takes the room.  Any thread; the lock is not held."""
        return report_cardinality(self, query)

    def blocks(self) -> Sequence[StoredBlock]:
        """Return the segments, oldest first.  Any thread; raises `CorruptionError`."""
        return report_blocks(self.segments.pairs)

    # -- for upkeep --------------------------------------------------------------------------------------------

    def publish(self, change: Callable[[], None]) -> None:
        """Change head and segments at once, so that no reader sees half of it."""
        with self._lock:
            self._view = None
            change()

    def _refuse_when_overfull(self) -> None:
        if self.head.held_bytes > OVERFULL * self.options.head_bytes_max:
            why = self.upkeep.last_failure or "maintenance does not keep up"
            raise DiskFullError(f"no sample is taken until those in memory are in segments: {why}")

    def _note_damage(self, error: CorruptionError) -> None:
        with self._lock:
            self.upkeep.corruption_count += 1
        self.notices.note_damage(error)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StorageError("the engine is closed")


def open_directory(
    path: str | Path,
    registry: SeriesRegistry,
    clock: Callable[[], int],
    options: EngineOptions = DEFAULT_OPTIONS,
    progress: Callable[[float], None] = lambda share: None,
) -> Engine:
    """Open an engine on a directory of the file system, creating it when needed; see `Engine.open`."""
    return Engine.open(PosixDisk(path), registry, options, clock, progress)
