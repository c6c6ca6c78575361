"""Replay of the log: from its files to batches in the numbering of this process.

A damaged record at the end of the last file that nobody was told about is a torn tail: cut off, counted, gone on.
Any other damage is a `CorruptionError` (see `codec/framing.py` for how the two are told apart).  Small records are
united, so that the receiver works on columns of useful length however small the batches were.

Not here: what records mean (`wal_session.py`), what replayed samples do (`recovery.py`), reading while the log is
written (`log_tail.py`), writing (`wal_writer.py`).  Format page: docs/format/wal.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..codec.framing import Damage, frames
from ..errors import CorruptionError, FormatVersionError
from ..model.registry import SeriesRegistry
from . import wal_format as fmt
from .disk import Disk
from .layout import WAL_FOLDER, wal_name, wal_sequence
from .wal_session import Receiver as Receiver
from .wal_session import ReplayReport as ReplayReport
from .wal_session import Session


def replay(
    disk: Disk,
    registry: SeriesRegistry,
    first: int,
    receiver: Receiver,
    progress: Callable[[float], None],
    kept_from: int | None = None,
) -> ReplayReport:
    """Read the log from file `first` on.  progress: called with the share done, 0 to 1.

    Removes files below `kept_from`, `first` by default, and a torn tail.  Raises `CorruptionError` or `FormatVersionError`.
    """
    last = _check_files(disk, first, first if kept_from is None else min(first, kept_from))
    report = ReplayReport(last + 1)
    session = Session(0, registry, receiver, report)
    for sequence in range(first, last + 1):
        data = disk.map(wal_name(sequence))
        header = read_header(data, sequence, sequence == last)
        if header is None:
            report.note_torn(wal_name(sequence), 0, len(data))
            disk.remove(wal_name(sequence))
            disk.sync_folder(WAL_FOLDER)
            report.next_sequence = sequence
            break
        if header != session.number:
            session.flush()
            session = Session(header, registry, receiver, report)
        end = _replay_file(data, sequence, sequence == last, session)
        report.file_count += 1
        if end < len(data):
            report.note_torn(wal_name(sequence), end, len(data) - end)
            disk.truncate(wal_name(sequence), end)
        progress((sequence - first + 1) / (last - first + 1))
    session.flush()
    return report


def _check_files(disk: Disk, first: int, kept_from: int) -> int:
    """Remove files below `kept_from` and return the number of the last one; from `first` on there must be no gap."""
    found = sorted(n for n in map(wal_sequence, disk.list(WAL_FOLDER)) if n is not None)
    for n in [n for n in found if n < kept_from]:
        disk.remove(wal_name(n))
    kept = [n for n in found if n >= first]
    for expected, n in enumerate(kept or [first + 1], first):
        if n != expected:
            raise CorruptionError(wal_name(expected), 0, "the log file is missing")
    return kept[-1]


def read_header(data: memoryview, sequence: int, is_last: bool) -> int | None:
    """Return the session of a file, None where the file was never finished."""
    name = wal_name(sequence)
    if len(data) < fmt.FILE_HEADER.size or bytes(data[:8]) == bytes(8):
        if is_last:
            return None
        raise CorruptionError(name, 0, "the file header is missing")
    magic, number, session, _ = fmt.FILE_HEADER.unpack_from(data)
    if magic[:7] == fmt.FILE_MAGIC[:7] and magic[7] > fmt.VERSION:
        raise FormatVersionError(
            f"{name} has log format {magic[7]}; this release reads up to {fmt.VERSION}: upgrade TinyObs"
        )
    if number != sequence or bytes(data[: fmt.FILE_HEADER.size]) != fmt.encode_file_header(sequence, session, magic[7]):
        if is_last and len(data) == fmt.FILE_HEADER.size:
            return None
        raise CorruptionError(name, 0, "not a log file, or one that was renamed")
    return int(session)


def _replay_file(data: memoryview, sequence: int, is_last: bool, session: Session) -> int:
    """Replay the records of a file; return where the sound ones end."""
    name = wal_name(sequence)
    end = fmt.FILE_HEADER.size
    for found in frames(data, end):
        if isinstance(found, Damage):
            if found.acknowledged or not is_last:
                raise CorruptionError(name, found.offset, found.reason)
            break
        try:
            session.take(found)
        except (ValueError, LookupError, TypeError, struct.error) as e:
            raise CorruptionError(name, found.start, f"unreadable record: {e}") from e
        end = found.end
    return end
