"""The storage engine: the facade over log, head, segments and their upkeep.

Synchronous and without a thread of its own.  One *writer* thread calls `append`, `maintain` and `close`; any thread may
call `querier`, `metadata`, `statistics` and `cardinality`.  One lock guards what makes up a consistent view: the head's
lists and the tuple of segments.  The writer holds it while it applies samples that are already durable and while it
swaps segments; a reader holds it for as long as copying the rows' counts takes.  Neither does I/O under it.

The way of a sample: judged (`admission.py`), logged and made durable (`wal_writer.py`), put into the head (`head.py`),
cut into a segment (`cut.py`), merged into larger ones (`compaction.py`), dropped (`retention.py`).
Design: docs/format/durability.md and docs/decisions/.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..abc import Storage
from ..errors import DiskFullError, LimitExceeded, StorageError
from ..model.batch import AppendResult, Batch
from ..model.matchers import Matcher
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from .admission import admit
from .assemble import Part, assemble
from .deletion import delete_samples
from .disk import Disk
from .engine_statistics import CardinalityReport, EngineStatistics
from .head_view import HeadView
from .ingest_counts import IngestCounts
from .memory import return_free_memory
from .options import DEFAULT_OPTIONS, EngineOptions
from .posix_disk import PosixDisk
from .querier import EngineQuerier
from .recovery import recover
from .reporting import report_cardinality, report_statistics
from .runs import Runs
from .segment_reader import SegmentReader
from .segment_set import SegmentSet
from .series_index import SeriesIndex
from .snapshot import take_snapshot
from .upkeep import Upkeep
from .wal_writer import Entry, WalWriter

BATCH_SAMPLES_MAX = 4 << 20
"""Samples that one batch may hold; a batch is one record of the log."""
METADATA_FAMILIES_MAX = 200_000
"""Families whose metadata is kept; that of further ones is not."""
OVERFULL = 2
"""How many times `head_bytes_max` the head may hold before it takes no more: cutting has failed for long."""

Newest = tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]]
Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


class Engine(Storage):
    """Samples in one directory.  Made by `Engine.open` or `open_directory`."""

    registry: SeriesRegistry

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
        self._view: HeadView | None = None
        self.recovered = recover(disk, registry, progress)
        self.head, self._metadata = self.recovered.head, self.recovered.metadata
        return_free_memory()
        self.index = SeriesIndex(registry)
        self.segments = SegmentSet(disk, self.recovered.manifest, options)
        self.head.cache = self.segments.cache
        self.wal = WalWriter(disk, registry, options, clock, self.recovered.report.next_sequence)
        if not self.segments.manifest.wal_first:
            self.segments.begin_log(self.wal.sequence)
        self.counts = IngestCounts()
        self.upkeep = Upkeep(self)
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
        disk.lock()
        try:
            return cls(disk, registry, options, clock, progress)
        except OSError as e:
            disk.unlock()
            raise StorageError(f"cannot open the data directory: {e}") from e
        except BaseException:
            disk.unlock()
            raise

    # -- writing -----------------------------------------------------------------------------------------------

    def append(self, batches: Sequence[Batch]) -> list[AppendResult]:
        """Store batches durably; they share one write and one fsync.

        Raises `DiskFullError` (nothing of these batches was stored, later calls may succeed), `ReadOnlyError`
        (nothing was acknowledged) or `LimitExceeded` (a batch is too large; nothing was stored).
        """
        self._refuse_when_closed()
        self._refuse_when_overfull()
        self.head.ensure(len(self.registry))
        self._view = None
        now_ms = self._clock()
        entries: list[Entry] = []
        results: list[AppendResult] = []
        metadata: dict[str, MetricMetadata] = {}
        undo: list[Newest] = []
        try:
            for i, batch in enumerate(batches):
                entry, result = self._admit(batch, now_ms, entries)
                results.append(result)
                metadata.update(self._new_metadata(batch))
                if entry is not None:
                    entries.append(entry)
                    if i + 1 < len(batches):
                        undo.append(self._foresee(entry))
            self.wal.write(entries, metadata)
        except BaseException:
            for refs, times, values in reversed(undo):
                self.head.newest_ms[refs], self.head.newest_values[refs] = times, values
            raise
        created = self.head.series_created
        for refs, times, values in reversed(undo):  # the head counts new series itself
            self.head.newest_ms[refs], self.head.newest_values[refs] = times, values
        with self._lock:
            self._view = None  # a reader may have made one while the log was written
            for entry in entries:
                self.head.add(entry.layout.refs, entry.times_ms, entry.values, entry.layout.unique)
            self._metadata = {**self._metadata, **metadata} if metadata else self._metadata
        if self.head.is_compression_due:
            sealed = self.head.seal()
            self.publish(lambda: self.head.put_sealed(*sealed))
        self.counts.count(results, entries, self.head.series_created - created)
        return results

    def _admit(self, batch: Batch, now_ms: int, pending: Sequence[Entry]) -> tuple[Entry | None, AppendResult]:
        """Judge a batch; `pending` are the accepted samples of this group before it."""
        if len(batch) > BATCH_SAMPLES_MAX:
            raise LimitExceeded("BATCH_SAMPLES_MAX", f"batch of {len(batch)} samples; the limit is {BATCH_SAMPLES_MAX}")

        def lookup(refs: NDArray[np.uint32], mint_ms: int, maxt_ms: int) -> Found:
            return self._stored(refs, mint_ms, maxt_ms, pending)

        layout = self.wal.layouts.find(batch.refs)
        admission = admit(self.head, batch, layout.unique, self.options, now_ms, self.segments.maxt_ms, lookup)
        times, values = batch.timestamps_ms, np.ascontiguousarray(batch.values, np.float64)
        if admission.kept is not None:
            layout = self.wal.layouts.find(batch.refs[admission.kept])
            times, values = times[admission.kept], values[admission.kept]
        return (Entry(layout, times, values) if len(times) else None), admission.result

    def _foresee(self, entry: Entry) -> Newest:
        """Let the rest of the group see the newest samples of an entry; return what to put back."""
        refs = entry.layout.refs
        before = refs, self.head.newest_ms[refs], self.head.newest_values[refs]
        created = self.head.series_created
        if entry.layout.unique:
            self.head.note_newest(refs, entry.times_ms, entry.values)
        else:
            order = np.lexsort((entry.times_ms, refs))
            last = order[np.append(refs[order][1:] != refs[order][:-1], True)]
            self.head.note_newest(refs[last], entry.times_ms[last], entry.values[last])
        self.head.series_created = created
        return before

    def _stored(self, refs: NDArray[np.uint32], mint_ms: int, maxt_ms: int, pending: Sequence[Entry]) -> Found:
        """Return (place in refs, time, value) of what is stored or pending for distinct ascending series."""
        parts: list[Part] = self.segments.find(self.registry, refs, mint_ms, maxt_ms)
        parts += self._current()[0].find(refs, mint_ms, maxt_ms).read(0, len(refs))
        for entry in pending:
            mine = np.flatnonzero(np.isin(entry.layout.refs, refs))
            place = np.searchsorted(refs, entry.layout.refs[mine])
            parts.append((place, Runs(np.arange(len(mine) + 1), entry.times_ms[mine], entry.values[mine])))
        runs = assemble(parts, len(refs), mint_ms, maxt_ms)
        return np.repeat(np.arange(len(refs)), np.diff(runs.offsets)), runs.times_ms, runs.values

    def _new_metadata(self, batch: Batch) -> dict[str, MetricMetadata]:
        known, room = self._metadata, METADATA_FAMILIES_MAX - len(self._metadata)
        new = {k: v for k, v in batch.metadata.items() if known.get(k) != v}
        return new if len(new) <= room else {k: v for k, v in new.items() if k in known}

    def maintain(self, now_ms: int) -> bool:
        """Do one bounded slice of background work; tell whether more is waiting."""
        self._refuse_when_closed()
        return self.upkeep.step(now_ms)

    def delete(self, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> None:
        """Delete what is stored now; see `deletion.py` for the errors."""
        self._refuse_when_closed()
        delete_samples(self, matcher_sets, mint_ms, maxt_ms)

    def clean_tombstones(self) -> bool:
        """Do one slice of regaining the space of deletes; tell whether there is more.  Raises `StorageError`."""
        self._refuse_when_closed()
        return self.upkeep.clean(self._clock())

    def snapshot(self, *, skip_head: bool = False) -> str:
        """Make a snapshot and return its name; see `snapshot.py` for the errors."""
        self._refuse_when_closed()
        return take_snapshot(self, self._clock(), skip_head=skip_head)

    def take_sealed(self) -> Sequence[tuple[str, object]]:
        """Return (name, `SegmentInfo`) of the segments written since the last call."""
        sealed = self.segments.sealed
        return [(info.name, info) for info in (sealed.popleft() for _ in range(len(sealed)))]

    def close(self) -> None:
        """Make everything durable and release the lock; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self.upkeep.abandon()
            self.wal.close()
        finally:
            self.segments.close()
            self.disk.unlock()

    # -- reading -----------------------------------------------------------------------------------------------

    def querier(self, mint_ms: int, maxt_ms: int) -> EngineQuerier:
        """Return a consistent view of the samples from `mint_ms` to `maxt_ms`, both included.  Any thread."""
        view, readers = self._current()
        return EngineQuerier(view, readers, self.registry, self.index, mint_ms, maxt_ms, self._note_damage)

    def _current(self) -> tuple[HeadView, tuple[SegmentReader, ...]]:
        """Return what head and segments hold; the lock keeps the head's list of open views whole."""
        with self._lock:
            if self._view is None:
                self._view = self.head.view()
            return self._view, self.segments.readers

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Return what is known of metric families, by family name.  Any thread; never changed in place."""
        return self._metadata

    def statistics(self) -> EngineStatistics:
        """Return the figures of this moment.  Any thread."""
        try:
            free = self.disk.free_bytes()  # not under the lock: a disk may take its time
        except OSError:
            free = 0
        with self._lock:
            return report_statistics(self, free)

    def cardinality(self, top: int = 10) -> CardinalityReport:
        """Return what /api/v1/status/tsdb shows; `top` entries a list.  Any thread; slow with many series."""
        return report_cardinality(self, top)

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

    def _note_damage(self) -> None:
        with self._lock:
            self.upkeep.corruption_count += 1

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
