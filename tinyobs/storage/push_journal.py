"""The journal of pushed groups: what was pushed and deleted, in order, and now and then written anew without what is past.

Records that are appended together share one fsync.  After a failed write or fsync nothing is assumed of the file: the next
time all of it is written anew, beside it, and takes its place.  Format page: docs/format/pushgateway-journal.md.

Not here: what the records say (`push_journal_format.py`), and what follows from them.  Synchronous.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from ..codec.framing import Damage, frames
from ..errors import CorruptionError, DiskFullError, FormatVersionError, StorageError
from .disk import Disk, File
from .layout import PUSH_JOURNAL, PUSHGATEWAY_FOLDER, temporary
from .push_journal_format import MAGIC, VERSION, Record, decode_record, encode_current, encode_records

REWRITE_BYTES_MIN: Final = 16 << 20
"""Size below which the file is never written anew because of its size."""
GROWTH_MAX: Final = 4
"""Times its size when it was written anew, at which it is again."""
FILE_BYTES_MAX: Final = 2 << 30
"""Size beyond which it is in any case: offsets in it have 32 bits."""
_PIECE_RECORDS: Final = 256


@frozen
class Found:
    """What a journal held: its records, where they end, and how many bytes of an unfinished write are behind them."""

    records: Sequence[Record]
    end: int = 0
    torn_bytes: int = 0


def read_journal(disk: Disk) -> Found:
    """Read the journal of a data directory and change nothing; no records where there is none.

    Raises `CorruptionError`, `FormatVersionError`, `OSError`.
    """
    try:
        data = memoryview(disk.read(PUSH_JOURNAL))
    except FileNotFoundError:
        return Found(())
    if bytes(data[:7]) == MAGIC[:7] and bytes(data[7:8]) > MAGIC[7:]:
        raise FormatVersionError(
            f"{PUSH_JOURNAL}: format {data[7]}; this release reads up to {VERSION}: upgrade TinyObs"
        )
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise CorruptionError(PUSH_JOURNAL, 0, "no journal of a pushgateway begins like this")
    records, end = [], len(MAGIC)
    for found in frames(data, len(MAGIC)):
        if isinstance(found, Damage):
            if found.acknowledged:
                raise CorruptionError(PUSH_JOURNAL, found.offset, found.reason)
            break
        record = decode_record(found)
        if record is not None:
            records.append(record)
        end = found.end
    return Found(records, end, len(data) - end)


class PushJournal:
    """The journal in a data directory.  Methods raise `StorageError`, or `DiskFullError`.

    Any thread; whoever closes it waits until what is being written is durable.
    """

    def __init__(self, disk: Disk, *, rewrite_bytes_min: int = REWRITE_BYTES_MIN) -> None:
        self._disk, self._rewrite_bytes_min = disk, rewrite_bytes_min
        self._file: File | None = None
        self._writing = threading.RLock()
        self._synced = 0
        self._compact_bytes = 0

    @property
    def size(self) -> int:
        """Bytes of the file, 0 while there is none."""
        file = self._file
        return 0 if file is None else file.size

    @property
    def wants_rewrite(self) -> bool:
        """Whether all that is current must be written anew instead of a change being appended."""
        file = self._file
        if file is None:
            return True
        most = max(self._rewrite_bytes_min, GROWTH_MAX * self._compact_bytes)
        return file.size > min(most, FILE_BYTES_MAX)

    def open(self) -> Found:
        """Read the file, cut off a torn end, and get ready to append; raises `CorruptionError`, `FormatVersionError`."""
        try:
            return self._open()
        except OSError as e:
            raise StorageError(f"cannot read the journal of the pushgateway: {e}") from e

    def append(self, records: Sequence[Record]) -> None:
        """Append records, durably."""
        with self._writing:
            if self._file is None:
                raise StorageError("the journal of the pushgateway is closed")
            try:
                self._file.append(encode_records(records, self._synced))
                self._file.sync()
            except OSError as e:
                self.close()
                raise _error(e) from e
            self._synced = self._file.size

    def rewrite(self, records: Iterable[Record]) -> None:
        """Write the file anew, durably, with the records that describe all that is current."""
        with self._writing:
            self.close()
            try:
                self._rewrite(records)
            except OSError as e:
                self.close()
                raise _error(e) from e

    def close(self) -> None:
        """Close the file; idempotent.  What was acknowledged is durable already."""
        with self._writing:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _open(self) -> Found:
        names = self._disk.list(PUSHGATEWAY_FOLDER)
        unfinished = temporary(PUSH_JOURNAL)
        if unfinished.rpartition("/")[2] in names:
            self._disk.remove(unfinished)
        if PUSH_JOURNAL.rpartition("/")[2] not in names:
            return Found(())
        found = read_journal(self._disk)
        if found.torn_bytes:
            self._disk.truncate(PUSH_JOURNAL, found.end)
        self._file = self._disk.open_append(PUSH_JOURNAL)
        # What was read may not be durable yet, where the process was killed between write and fsync.
        self._file.sync()
        self._synced = self._compact_bytes = found.end
        return found

    def _rewrite(self, records: Iterable[Record]) -> None:
        disk, name = self._disk, temporary(PUSH_JOURNAL)
        disk.make_folder(PUSHGATEWAY_FOLDER)
        if name.rpartition("/")[2] in disk.list(PUSHGATEWAY_FOLDER):
            disk.remove(name)
        file = disk.create(name)
        try:
            file.append(MAGIC)
            piece: list[Record] = []
            count = 0
            for record in records:
                piece.append(record)
                count += 1
                if len(piece) == _PIECE_RECORDS:
                    file.append(encode_records(piece, 0))
                    piece = []
            file.append(encode_records(piece, 0))
            file.append(encode_current(count, file.size))
            file.sync()
        finally:
            file.close()
        disk.rename(name, PUSH_JOURNAL)
        disk.sync_folder(PUSHGATEWAY_FOLDER)
        self._file = disk.open_append(PUSH_JOURNAL)
        self._synced = self._compact_bytes = self._file.size


def _error(error: OSError) -> StorageError:
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return kind(f"the journal of the pushgateway cannot be written: {error}")
