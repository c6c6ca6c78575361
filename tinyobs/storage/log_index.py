"""What is known of each file of the log without reading it: its session, when it began, whether it needs others.

Not here: the records (`wal_session.py`), which files may go (`log_keeping.py`).  Format page: docs/format/wal.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from attrs import Factory, define, frozen

from ..abc.log import LogPosition
from ..codec.framing import HEADER, Frame, frame_at, sound_frames
from ..errors import CorruptionError
from . import wal_format as fmt
from .disk import Disk
from .layout import WAL_FOLDER, wal_name, wal_sequence
from .wal_histograms import decode_histograms
from .wal_reader import read_header

_HEAD_BYTES: Final = fmt.FILE_HEADER.size + HEADER.size + 16
"""Enough of a file for its header and the mark behind it."""


@frozen
class LogFile:
    """One file.  begin_ms: when it began, None where that is not noted.  is_start: it needs no file before it."""

    sequence: int
    session: int
    begin_ms: int | None
    is_start: bool


@define(eq=False)
class LogIndex:
    """The files of the log, looked at once each.  Any thread."""

    disk: Disk
    durable: Callable[[], LogPosition]
    _known: dict[int, LogFile] = Factory(dict)
    _sizes: dict[int, int] = Factory(dict)

    def sequences(self) -> list[int]:
        """Return the numbers of the files there are; raises `OSError`."""
        found = sorted(n for n in map(wal_sequence, self.disk.list(WAL_FOLDER)) if n is not None)
        for gone in set(self._known).union(self._sizes).difference(found):
            self._known.pop(gone, None)
            self._sizes.pop(gone, None)
        return found

    def size(self, sequence: int) -> int:
        """Return the durable bytes of a file, 0 for one that is not there."""
        durable = self.durable()
        if sequence >= durable.file:
            return durable.offset if sequence == durable.file else 0
        known = self._sizes.get(sequence)  # one look: another thread may find the file gone, and forget it
        if known is None:
            try:
                known = self._sizes[sequence] = self.disk.size(wal_name(sequence))
            except FileNotFoundError:
                return 0
        return known

    def file(self, sequence: int) -> LogFile:
        """Return what is known of a file; of a damaged one nothing is."""
        known = self._known.get(sequence)
        if known is not None:
            return known
        try:
            data = memoryview(self.disk.read_at(wal_name(sequence), 0, _HEAD_BYTES))
            session = read_header(data, sequence, False)
        except (OSError, CorruptionError):
            return LogFile(sequence, 0, None, False)
        assert session is not None
        first = frame_at(data, fmt.FILE_HEADER.size) if len(data) > fmt.FILE_HEADER.size else ""
        mark, begin_ms = _mark_of(first)
        made = LogFile(sequence, session, begin_ms, session == sequence or mark == fmt.Mark.CHECKPOINT)
        if isinstance(first, Frame) or sequence < self.durable().file:
            self._known[sequence] = made
        return made

    def start_of(self, sequence: int) -> int:
        """Return the last file at or before one that needs none before it, the oldest where there is none."""
        files = [n for n in self.sequences() if n <= sequence]
        return next((n for n in reversed(files) if self.file(n).is_start), files[0] if files else sequence)

    def file_of_time(self, time_ms: int) -> int | None:
        """Return the last file that began at or before a time, None where all that there is began later."""
        begun = [(n, self.file(n).begin_ms) for n in self.sequences()]
        return next((n for n, ms in reversed(begun) if ms is not None and ms <= time_ms), None)

    def place_of_time(self, time_ms: int) -> LogPosition | None:
        """Return the last noted place at or before a time, None where all that there is was written later."""
        last = self.file_of_time(time_ms)
        if last is None:
            return None
        place, limit = LogPosition(last, 0), self.size(last)
        for frame in sound_frames(self.disk.map(wal_name(last))[:limit], fmt.FILE_HEADER.size):
            _, noted_ms = _mark_of(frame)
            if noted_ms is not None and noted_ms <= time_ms:
                place = LogPosition(last, frame.end)
        return place

    def bytes_between(self, first: LogPosition, last: LogPosition) -> int:
        """Return the bytes between two places."""
        if first >= last:
            return 0
        whole = sum(map(self.size, range(first.file, last.file)))
        return max(0, whole + last.offset - first.offset)

    def samples_behind(self, place: LogPosition) -> int:
        """Return the samples of sound records behind a place in its file."""
        try:
            data = self.disk.map(wal_name(place.file))[: self.size(place.file)]
        except OSError:
            return 0
        return sum(samples_in(f) for f in sound_frames(data, max(place.offset, fmt.FILE_HEADER.size)))


def samples_in(frame: Frame) -> int:
    """Return the number of samples in a record, 0 where it cannot be read."""
    try:
        if frame.type == fmt.RecordType.SAMPLES:
            return len(fmt.decode_samples(frame.payload).bits)
        if frame.type == fmt.RecordType.HISTOGRAMS:
            return len(decode_histograms(frame.payload).columns.bits)
    except (ValueError, struct.error):
        pass
    return 0


def _mark_of(frame: Frame | str) -> tuple[int, int | None]:
    """Return the mark of a record and its time, (-1, None) for another record."""
    if isinstance(frame, str) or frame.type != fmt.RecordType.END:
        return -1, None
    return fmt.decode_mark(frame.payload)
