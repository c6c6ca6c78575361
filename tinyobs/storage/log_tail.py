"""Reads the log while it is written: one record after the other, as far as it is durable.

Files are read in pieces, never mapped: a reader that follows for weeks then takes up a megabyte.

Not here: what records mean (`wal_session.py`), replay at the start (`wal_reader.py`).  Format page: docs/format/wal.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from ..abc.log import LogPosition
from ..codec.framing import HEADER, Frame, frame_at, frame_size
from ..errors import CorruptionError
from . import wal_format as fmt
from .disk import Disk
from .layout import wal_name
from .wal_reader import read_header

PIECE_BYTES: Final = 1 << 20
"""Bytes read at a time; a longer record is read as a whole."""


@frozen
class FileBegin:
    """A file begins here, of a session."""

    file: int
    session: int


class LogTail:
    """The records from the beginning of file `start` on.  durable: says how far may be read.  One thread at a time."""

    def __init__(self, disk: Disk, durable: Callable[[], LogPosition], start: int) -> None:
        self._disk, self._durable = disk, durable
        self.file, self.offset = start, 0
        """The place of what `next` returns next."""
        self._piece, self._piece_at = memoryview(b""), 0
        self._size: int | None = None
        """The size of the file, once it is closed."""

    def next(self) -> FileBegin | Frame | None:
        """Return what comes next, None for no more now.

        The offsets of a frame are those in its file.  Raises `CorruptionError`, also where a file is missing; the place
        stays then.
        """
        durable = self._durable()
        if self.file > durable.file:
            return None
        try:
            limit = self._limit(durable)
            while self.offset >= limit:
                if self.file >= durable.file:
                    return None
                self._move(self.file + 1)
                limit = self._limit(durable)
            return self._header(limit) if not self.offset else self._frame(limit)
        except FileNotFoundError:
            raise CorruptionError(wal_name(self.file), 0, "the log file is missing") from None

    def _move(self, file: int) -> None:
        self.file, self.offset, self._size = file, 0, None
        self._piece, self._piece_at = memoryview(b""), 0

    def _limit(self, durable: LogPosition) -> int:
        if self.file == durable.file:
            return durable.offset
        if self._size is None:
            self._size = self._disk.size(wal_name(self.file))
        return self._size

    def _header(self, limit: int) -> FileBegin:
        data = self._disk.read_at(wal_name(self.file), 0, min(limit, fmt.FILE_HEADER.size))
        session = read_header(memoryview(data), self.file, False)
        assert session is not None
        self.offset = fmt.FILE_HEADER.size
        return FileBegin(self.file, session)

    def _frame(self, limit: int) -> Frame:
        size = min(HEADER.size, limit - self.offset)
        self._need(size, limit)
        if size == HEADER.size:
            whole = frame_size(self._piece, self.offset - self._piece_at)
            if whole is not None and self.offset + whole <= limit:
                self._need(whole, limit)
        found = frame_at(self._piece, self.offset - self._piece_at)
        if isinstance(found, str):
            raise CorruptionError(wal_name(self.file), self.offset, found)
        start, self.offset = self.offset, self._piece_at + found.end
        return Frame(found.type, found.payload, start, self.offset)

    def _need(self, size: int, limit: int) -> None:
        """See to it that so many bytes from the place on are at hand."""
        if self.offset + size > self._piece_at + len(self._piece):
            wanted = min(max(size, PIECE_BYTES), limit - self.offset)
            self._piece = memoryview(self._disk.read_at(wal_name(self.file), self.offset, wanted))
            self._piece_at = self.offset
