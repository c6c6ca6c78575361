"""Writing the log: group commit, definitions, rotation, and what happens when the disk fails.

`write` frames any number of batches, appends them in one call and makes them durable with one fsync.

After a failed fsync nothing may be assumed of the file, so the writer refuses everything until restart.  A full disk
is not a failure: the partial record is cut off and the next write tries again.

Not here: what may be stored at all (`admission.py`); replay (`wal_reader.py`).  Format page: docs/format/wal.md.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import define

from ..abc.log import LogPosition
from ..codec.framing import encode_frame
from ..errors import DiskFullError, ReadOnlyError
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from . import wal_format as fmt
from .disk import Disk, File
from .layout import WAL_FOLDER, wal_name
from .options import EngineOptions, SyncMode
from .wal_encoder import Entry, Records, WalEncoder, metadata_records
from .wal_exemplars import StoredExemplar

END_PAYLOAD: Final = b"\0"
"""A record has a payload of one byte at least."""
MARK_EVERY_MS: Final = 10_000
"""How often the time is noted in the log, so that a reader finds what was written at most so long ago."""
AFTER_FAILURE: Final = "nothing that was acknowledged is lost; no more samples are taken until restart: see what the disk has (dmesg) first"
"""What an operator has to know once the log cannot be trusted to grow."""
OUT_OF_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the operating system says when the disk is full; anything else is a failure."""


@define
class WalStatistics:
    """Counted by the writer; see `EngineStatistics` for the meaning."""

    written_bytes: int = 0
    fsync_count: int = 0
    fsync_seconds: float = 0.0
    failure_count: int = 0
    disk_full_count: int = 0


class WalWriter:
    """The log of one session, open for appending.  One thread writes; meanwhile others may `settle` what is written."""

    def __init__(
        self,
        disk: Disk,
        registry: SeriesRegistry,
        options: EngineOptions,
        clock: Callable[[], int],
        sequence: int,
        exemplars: Callable[[], Sequence[StoredExemplar]] = tuple,
        *,
        may_wait: bool = False,
    ) -> None:
        """Begin log file number `sequence`.  exemplars: gives all that are kept, for checkpoints.

        may_wait: on a full disk the file is created once there is room, so that until then queries work.
        """
        self._disk, self._options, self._clock = disk, options, clock
        self._session = sequence
        self._kept_exemplars = exemplars
        self._encoder = WalEncoder(registry)
        self.layouts = self._encoder.layouts
        self.statistics = WalStatistics()
        self.failure = ""
        self.sequence = sequence
        self._synced = 0
        self._end = 0
        """Where the records end that are in the file as a whole; while one is written the file reaches beyond."""
        self._syncing = threading.RLock()
        """Held while the file is synced, closed or replaced."""
        self._synced_at_ms = self._marked_at_ms = clock()
        self.durable = LogPosition(sequence, 0)
        """Up to here readers may read: all that counts as durable as the `sync` option has it."""
        self._file: File = _NoFile()
        try:
            self._begin()
        except DiskFullError:
            if not may_wait:
                raise

    @property
    def is_waiting(self) -> bool:
        """Whether there was no room for a file yet."""
        return isinstance(self._file, _NoFile)

    # -- writing -----------------------------------------------------------------------------------------------

    def write(
        self,
        entries: Sequence[Entry],
        metadata: Mapping[str, MetricMetadata],
        exemplars: Sequence[StoredExemplar] = (),
    ) -> None:
        """Append batches, metadata and exemplars and make them durable as the `sync` option says.

        Raises `DiskFullError` (nothing is in the log; try again later) or `ReadOnlyError`.
        """
        self.log(entries, metadata, exemplars)
        self.settle()

    def log(
        self,
        entries: Sequence[Entry],
        metadata: Mapping[str, MetricMetadata],
        exemplars: Sequence[StoredExemplar] = (),
    ) -> None:
        """Append batches, metadata and exemplars, which are durable after `settle`; raises as `write` does."""
        self._refuse_after_failure()
        self._begin()
        if self._file.size >= self._options.wal_file_bytes_max:
            self._rotate()
        try:
            records = metadata_records(metadata)
            for entry in entries:
                self._encoder.entry(entry, records)
            self._encoder.exemplars(exemplars, records)
        except BaseException:  # out of memory, say: what counts as defined by now will not be in the log
            self._encoder.forget()
            raise
        self._append(records)

    def settle(self) -> None:
        """Make what is logged durable as the `sync` option says.  Any thread; raises `ReadOnlyError`."""
        if self._options.sync is SyncMode.ALWAYS:
            self.sync()
        else:
            self.sync_when_due()

    def write_record(self, kind: fmt.RecordType, payload: bytes) -> None:
        """Append one record and make it durable whatever the `sync` option says; raises as `write` does."""
        self._refuse_after_failure()
        self._begin()
        self._append([(kind, payload)])
        self.sync()

    def sync(self) -> None:
        """Make everything written durable; raises `ReadOnlyError`.  Any thread; what is written meanwhile may not be."""
        with self._syncing:
            self._refuse_after_failure()
            if self._synced == self._end:
                return
            size, began = self._end, time.perf_counter()
            try:
                self._file.sync()
            except OSError as e:
                raise self._failed("fsync of", self.sequence, e) from e
            self.statistics.fsync_count += 1
            self.statistics.fsync_seconds += time.perf_counter() - began
            self._synced, self._synced_at_ms = size, self._clock()
            self._publish()

    def sync_when_due(self) -> None:
        """Do what the `interval` mode promises; to be called now and then."""
        waited_ms = self._clock() - self._synced_at_ms
        due = not 0 <= waited_ms < self._options.sync_interval_ms  # a clock that was put back tells nothing
        if self._options.sync is SyncMode.INTERVAL and due and not self.failure:
            self.sync()

    def checkpoint(self, newest: fmt.NewestRecord, metadata: Mapping[str, MetricMetadata]) -> int:
        """Begin a file that needs none of those before it, and return its number.

        It starts with the definitions of the series in `newest`, their newest samples and all exemplars that are kept.
        The files before it may be removed when all samples they hold are in segments, the newest ones of all other
        series are noted (`note_newest`) and the manifest says so.
        """
        self._refuse_after_failure()
        self._begin()
        self._rotate()
        self._encoder.forget()
        records = [self._mark(fmt.Mark.CHECKPOINT), *metadata_records(metadata)]
        try:
            self._encoder.exemplars(self._kept_exemplars(), records)
        except BaseException:
            self._encoder.forget()
            raise
        self._append([*records, self._mark(fmt.Mark.REPEATED)])
        self.note_newest(newest)
        return self.sequence

    def note_newest(self, newest: fmt.NewestRecord) -> None:
        """Log newest samples behind a checkpoint; replay takes the later one, whatever is logged in between."""
        self._refuse_after_failure()
        records: Records = []
        try:
            self._encoder.newest(newest, records)
        except BaseException:
            self._encoder.forget()
            raise
        self._append(records)
        self.sync()

    def close(self) -> None:
        """Make everything durable, unless the log has failed, and close the file.

        A record at the end says that all before it was durable, so that damage to the last samples is not taken for a
        torn tail.  Without room for it the log is none the worse.
        """
        try:
            if not self.failure:
                self.sync()
                if self._file.size > fmt.FILE_HEADER.size:
                    with contextlib.suppress(DiskFullError, ReadOnlyError):
                        self._append([(fmt.RecordType.END, END_PAYLOAD)])
                        self.sync()
        finally:
            self._file.close()

    # -- the file ----------------------------------------------------------------------------------------------

    def _append(self, records: Records) -> None:
        if not records:
            return
        if self._is_mark_due() and records[0][0] is not fmt.RecordType.END:
            records = [self._mark(fmt.Mark.TIME), *records]
        data = b"".join(encode_frame(kind, payload, self._synced) for kind, payload in records)
        before = self._end
        try:
            self._file.append(data)
        except OSError as e:
            self._encoder.forget()
            if e.errno not in OUT_OF_SPACE:
                raise self._failed(f"writing at byte {before} of", self.sequence, e) from e
            self._roll_back(before)
            self.statistics.disk_full_count += 1
            raise DiskFullError(
                f"the disk is full: {wal_name(self.sequence)} cannot grow, and no sample is taken until there is space; "
                "nothing that was acknowledged is lost"
            ) from e
        self._end = self._file.size
        self.statistics.written_bytes += len(data)
        if self._options.sync is SyncMode.NEVER:
            self.durable = LogPosition(self.sequence, self._end)

    def _mark(self, mark: fmt.Mark) -> tuple[fmt.RecordType, bytes]:
        self._marked_at_ms = now_ms = self._clock()
        return fmt.RecordType.END, fmt.encode_mark(mark, now_ms)

    def _is_mark_due(self) -> bool:
        """Tell whether to note the time: first in each file, then now and then, and when the clock was put back."""
        is_recent = 0 <= self._clock() - self._marked_at_ms < MARK_EVERY_MS
        return not is_recent or self._file.size <= fmt.FILE_HEADER.size

    def _roll_back(self, size: int) -> None:
        name = wal_name(self.sequence)
        with self._syncing:
            try:
                self._file.close()
                self._disk.truncate(name, size)
                self._file = self._disk.open_append(name)
            except OSError as e:
                raise self._failed("cutting off an unfinished record of", self.sequence, e) from e

    def _publish(self) -> None:
        self.durable = LogPosition(self.sequence, self._synced)

    def _begin(self) -> None:
        """Create the first file where that has not been possible yet: log files are numbered without gaps."""
        if self.is_waiting:
            self._file = self._create(self.sequence)
            self._publish()

    def _rotate(self) -> None:
        with self._syncing:
            self.sync()
            fresh = self._create(self.sequence + 1)
            self._file.close()
            self.sequence, self._file = self.sequence + 1, fresh
            self._publish()

    def _create(self, sequence: int) -> File:
        """Create a log file with its header, durably."""
        name = wal_name(sequence)
        file: File | None = None
        try:
            file = self._disk.create(name)
            file.append(fmt.encode_file_header(sequence, self._session))
            file.sync()
            self._disk.sync_folder(WAL_FOLDER)
        except OSError as e:
            if file is not None:
                file.close()
            if e.errno not in OUT_OF_SPACE:
                raise self._failed("creating", sequence, e) from e
            try:
                if name.rpartition("/")[2] in self._disk.list(WAL_FOLDER):
                    self._disk.remove(name)
            except OSError as again:
                raise self._failed("removing the unfinished", sequence, again) from again
            self.statistics.disk_full_count += 1
            raise DiskFullError(
                f"the disk is full: {name} cannot be created, and no sample is taken until there is space"
            ) from e
        self._synced = self._end = file.size
        return file

    def _failed(self, doing: str, sequence: int, error: OSError) -> ReadOnlyError:
        self.failure = f"{doing} {wal_name(sequence)} failed: {error.strerror or error}"
        self.statistics.failure_count += 1
        return ReadOnlyError(f"{self.failure}; {AFTER_FAILURE}")

    def _refuse_after_failure(self) -> None:
        if self.failure:
            raise ReadOnlyError(f"{self.failure}; {AFTER_FAILURE}")


class _NoFile(File):
    """Stands for a log file that there was no room for."""

    @property
    def size(self) -> int:
        """Nothing."""
        return 0

    def append(self, data: bytes | memoryview) -> None:
        """Never called: the file is created before."""
        raise AssertionError("the log has no file")

    def sync(self) -> None:
        """Nothing is there to be made durable."""

    def close(self) -> None:
        """Nothing is open."""
