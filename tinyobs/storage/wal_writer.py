"""Writing the log: group commit, definitions, rotation, and what happens when the disk fails.

`write` frames any number of batches, appends them in one call and makes them durable with one fsync.  Series, pairs
and layouts are defined in front of their first use in a session, and again behind every checkpoint.

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
from itertools import pairwise
from typing import Final

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from ..codec.framing import encode_frame
from ..errors import DiskFullError, ReadOnlyError
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from . import wal_format as fmt
from .disk import Disk, File
from .layout import WAL_FOLDER, wal_name
from .options import EngineOptions, SyncMode
from .samples import Samples
from .wal_exemplars import StoredExemplar, cut_exemplars, encode_exemplars
from .wal_layouts import Layout, LayoutTable

SERIES_PER_RECORD: Final = 65_536
"""Series that one record defines at most."""
TEXT_PER_RECORD: Final = 16 << 20
"""Characters of label texts or metadata in one record, about: a reader refuses records of more than 256 MiB."""
END_PAYLOAD: Final = b"\0"
"""A record has a payload of one byte at least."""
AFTER_FAILURE: Final = "nothing that was acknowledged is lost; no more samples are taken until restart: see what the disk has (dmesg) first"
"""What an operator has to know once the log cannot be trusted to grow."""
OUT_OF_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the operating system says when the disk is full; anything else is a failure."""


@frozen(eq=False)
class Entry:
    """Accepted samples of one batch, as the log takes them."""

    layout: Layout
    samples: Samples


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
        self._disk, self._registry, self._options, self._clock = disk, registry, options, clock
        self._session = sequence
        self._kept_exemplars = exemplars
        self.layouts = LayoutTable()
        self.statistics = WalStatistics()
        self.failure = ""
        self._defined_pairs = np.zeros(1024, np.bool_)
        self._defined_series = np.zeros(1024, np.bool_)
        self.sequence = sequence
        self._synced = 0
        self._syncing = threading.RLock()
        """Held while the file is synced, closed or replaced."""
        self._synced_at_ms = clock()
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
            records = _metadata_records(metadata)
            for entry in entries:
                self._encode_entry(entry, records)
            self._encode_exemplars(exemplars, records)
        except BaseException:  # out of memory, say: what counts as defined by now will not be in the log
            self._forget_definitions()
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
            if self._synced == self._file.size:
                return
            size, began = self._file.size, time.perf_counter()
            try:
                self._file.sync()
            except OSError as e:
                raise self._failed("fsync of", self.sequence, e) from e
            self.statistics.fsync_count += 1
            self.statistics.fsync_seconds += time.perf_counter() - began
            self._synced, self._synced_at_ms = size, self._clock()

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
        self._forget_definitions()
        self.log((), metadata, self._kept_exemplars())
        self.note_newest(newest)
        return self.sequence

    def note_newest(self, newest: fmt.NewestRecord) -> None:
        """Log newest samples behind a checkpoint; replay takes the later one, whatever is logged in between."""
        self._refuse_after_failure()
        records: list[tuple[fmt.RecordType, bytes]] = []
        try:
            self._encode_newest(newest, records)
        except BaseException:
            self._forget_definitions()
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

    # -- records -----------------------------------------------------------------------------------------------

    def _encode_entry(self, entry: Entry, records: list[tuple[fmt.RecordType, bytes]]) -> None:
        layout = entry.layout
        if not self.layouts.is_current(layout):
            layout = self.layouts.find(layout.refs)
        if not layout.defined:
            self._define_series(layout.refs, records)
            records.append((fmt.RecordType.LAYOUT, fmt.encode_layout(layout.number, layout.refs)))
            layout.defined = True
        records.append(self.layouts.encode(layout, entry.samples))

    def _encode_newest(self, newest: fmt.NewestRecord, records: list[tuple[fmt.RecordType, bytes]]) -> None:
        for i in range(0, len(newest.numbers), SERIES_PER_RECORD):
            part = slice(i, i + SERIES_PER_RECORD)
            numbers = newest.numbers[part]
            self._define_series(numbers, records)
            record = fmt.NewestRecord(numbers, newest.times_ms[part], newest.values[part])
            records.append((fmt.RecordType.NEWEST, fmt.encode_newest(record)))

    def _encode_exemplars(
        self, exemplars: Sequence[StoredExemplar], records: list[tuple[fmt.RecordType, bytes]]
    ) -> None:
        for part in cut_exemplars(exemplars, TEXT_PER_RECORD):
            self._define_series(np.fromiter((e.ref for e in part), np.uint32, len(part)), records)
            records.append((fmt.RecordType.EXEMPLARS, encode_exemplars(part)))

    def _define_series(self, refs: NDArray[np.uint32], records: list[tuple[fmt.RecordType, bytes]]) -> None:
        self._defined_series = grow(self._defined_series, len(self._registry))
        fresh = refs[~self._defined_series[refs]]
        if not len(fresh):
            return
        for i in range(0, len(fresh), SERIES_PER_RECORD):
            part = np.unique(fresh[i : i + SERIES_PER_RECORD])
            starts, ids = self._registry.pairs_of(part)
            self._defined_pairs = grow(self._defined_pairs, self._registry.pair_count)
            unknown = np.unique(ids[~self._defined_pairs[ids]])
            if len(unknown):
                pairs = [self._registry.pair(p) for p in unknown.tolist()]
                for a, b in _cut_texts([len(n) + len(v) for n, v in pairs]):
                    records.append((fmt.RecordType.PAIRS, fmt.encode_pairs(unknown[a:b], pairs[a:b])))
                self._defined_pairs[unknown] = True
            records.append((fmt.RecordType.SERIES, fmt.encode_series(fmt.SeriesRecord(part, starts, ids))))
        self._defined_series[fresh] = True

    def _forget_definitions(self) -> None:
        self._defined_pairs[:] = False
        self._defined_series[:] = False
        self.layouts.clear()

    # -- the file ----------------------------------------------------------------------------------------------

    def _append(self, records: Sequence[tuple[fmt.RecordType, bytes]]) -> None:
        if not records:
            return
        data = b"".join(encode_frame(kind, payload, self._synced) for kind, payload in records)
        before = self._file.size
        try:
            self._file.append(data)
        except OSError as e:
            self._forget_definitions()
            if e.errno not in OUT_OF_SPACE:
                raise self._failed(f"writing at byte {before} of", self.sequence, e) from e
            self._roll_back(before)
            self.statistics.disk_full_count += 1
            raise DiskFullError(
                f"the disk is full: {wal_name(self.sequence)} cannot grow, and no sample is taken until there is space; "
                "nothing that was acknowledged is lost"
            ) from e
        self.statistics.written_bytes += len(data)

    def _roll_back(self, size: int) -> None:
        name = wal_name(self.sequence)
        with self._syncing:
            try:
                self._file.close()
                self._disk.truncate(name, size)
                self._file = self._disk.open_append(name)
            except OSError as e:
                raise self._failed("cutting off an unfinished record of", self.sequence, e) from e

    def _begin(self) -> None:
        """Create the first file where that has not been possible yet: log files are numbered without gaps."""
        if self.is_waiting:
            self._file = self._create(self.sequence)

    def _rotate(self) -> None:
        with self._syncing:
            self.sync()
            fresh = self._create(self.sequence + 1)
            self._file.close()
            self.sequence, self._file, self._synced = self.sequence + 1, fresh, fresh.size

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
        self._synced = file.size
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


def _metadata_records(metadata: Mapping[str, MetricMetadata]) -> list[tuple[fmt.RecordType, bytes]]:
    items = list(metadata.items())
    cuts = _cut_texts([len(name) + len(m.help) + len(m.unit) for name, m in items])
    return [(fmt.RecordType.METADATA, fmt.encode_metadata(dict(items[a:b]))) for a, b in cuts]


def _cut_texts(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Return the ranges (first, last + 1) in which texts of these lengths go into records."""
    cuts, size = [0], 0
    for i, length in enumerate(lengths):
        size += length
        if size > TEXT_PER_RECORD and i > cuts[-1]:
            cuts.append(i)
            size = length
    return list(pairwise([*cuts, len(lengths)])) if lengths else []


def grow(column: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Return a column of flags with room for `length`, doubling where it must grow."""
    if length <= len(column):
        return column
    longer = np.zeros(max(length, 2 * len(column)), np.bool_)
    longer[: len(column)] = column
    return longer
