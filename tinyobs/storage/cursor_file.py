"""The file of a cursor: how far a sink has come in the log, noted often and cheaply.

Each place is appended, and the last sound one counts; a file that has grown is written anew.  A place that is lost
means only that something is read again, so it is made durable now and then, and always before files of the log go.

Not here: what the places are for (`log_cursor.py`).  Format page: docs/format/cursor.md.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import Final

from attrs import frozen

from ..abc.log import LogPosition
from ..errors import FormatVersionError
from .disk import Disk, File
from .layout import CURSOR_FOLDER, TEMPORARY, cursor_file, cursor_of_file, temporary

VERSION: Final = 1
MAGIC: Final = b"TOBSCUR" + bytes([VERSION])
"""The first eight bytes; the last of them is the format version."""
FILE_BYTES_MAX: Final = 65_536
"""Size at which the file is written anew."""
SYNC_EVERY_MS: Final = 1000
"""How often a place is made durable at most."""

_SLOT = struct.Struct("<QQQQQ")
_CRC = struct.Struct("<I")


@frozen
class Place:
    """How far a cursor has come.  start: the file from which what is needed there is defined.

    lost_samples, lost_files: what it missed and its sink was not told of yet.
    """

    start: int
    position: LogPosition
    lost_samples: int = 0
    lost_files: int = 0


def encode_place(place: Place) -> bytes:
    """Return one slot: start, file, offset, lost samples, lost files as u64, and their crc32."""
    at = place.position
    fields = _SLOT.pack(place.start, at.file, at.offset, place.lost_samples, place.lost_files)
    return fields + _CRC.pack(zlib.crc32(fields))


def decode_places(data: bytes) -> list[Place]:
    """Return the sound places of a file up to the first damage; raises `FormatVersionError`."""
    if data[:7] == MAGIC[:7] and data[7:8] > MAGIC[7:]:
        raise FormatVersionError(f"cursor of format {data[7]}; this release reads up to {VERSION}: upgrade TinyObs")
    found: list[Place] = []
    if data[:8] != MAGIC:
        return found
    size = _SLOT.size + _CRC.size
    for at in range(8, len(data) - size + 1, size):
        fields = data[at : at + _SLOT.size]
        if _CRC.unpack_from(data, at + _SLOT.size) != (zlib.crc32(fields),):
            break
        start, file, offset, *lost = _SLOT.unpack(fields)
        found.append(Place(start, LogPosition(file, offset), *lost))
    return found


def read_places(disk: Disk, *, tidy: bool = True) -> dict[str, Place | None]:
    """Return the place of each cursor there is, None for a damaged one.  tidy: remove unfinished files."""
    found: dict[str, Place | None] = {}
    for file in disk.list(CURSOR_FOLDER):
        cursor = cursor_of_file(file)
        if cursor is not None:
            places = decode_places(disk.read(f"{CURSOR_FOLDER}/{file}"))
            found[cursor] = places[-1] if places else None
        elif tidy and file.endswith(TEMPORARY):
            with contextlib.suppress(OSError):
                disk.remove(f"{CURSOR_FOLDER}/{file}")
    return found


class CursorFile:
    """The file of one cursor, open for noting places.  One thread at a time."""

    def __init__(self, disk: Disk, name: str, place: Place) -> None:
        """Write the file anew, durably; raises `OSError`, `ValueError`."""
        self._disk, self._file_name = disk, cursor_file(name)
        self.place = self.synced = place
        """What was noted last, and what is durable."""
        self._synced_at_ms: int | None = None
        self._file: File | None = None
        self._write_anew()

    def note(self, place: Place, now_ms: int, *, may_sync: bool = True) -> None:
        """Note a place; durable within about a second, where others follow.  Raises `OSError`."""
        self.place = place
        if self._file is None or self._file.size > FILE_BYTES_MAX:
            self._write_anew()
            return
        try:
            self._file.append(encode_place(place))
        except OSError:
            self._drop_file()  # nobody reads behind half a place
            raise
        waited_ms = SYNC_EVERY_MS if self._synced_at_ms is None else now_ms - self._synced_at_ms
        if may_sync and not 0 <= waited_ms < SYNC_EVERY_MS:
            self.sync()
            self._synced_at_ms = now_ms

    def sync(self) -> None:
        """Make what was noted durable.  Raises `OSError`."""
        if self._file is None:
            self._write_anew()
        elif self.synced != self.place:
            try:
                self._file.sync()
            except OSError:
                self._drop_file()  # after a failed fsync nothing may be assumed of it
                raise
            self.synced = self.place

    def close(self) -> None:
        """Make what was noted durable and close; idempotent.  Raises `OSError`."""
        if self._file is not None:
            try:
                self.sync()
            finally:
                self._drop_file()

    def _write_anew(self) -> None:
        self._drop_file()
        name = temporary(self._file_name)
        if name.rpartition("/")[2] in self._disk.list(CURSOR_FOLDER):
            self._disk.remove(name)
        file = self._disk.create(name)
        try:
            file.append(MAGIC + encode_place(self.place))
            file.sync()
        finally:
            file.close()
        self._disk.rename(name, self._file_name)
        self._disk.sync_folder(CURSOR_FOLDER)
        self._file, self.synced = self._disk.open_append(self._file_name), self.place

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def remove_cursor(disk: Disk, name: str) -> None:
    """Remove the file of a cursor, durably; raises `OSError`."""
    disk.remove(cursor_file(name))
    disk.sync_folder(CURSOR_FOLDER)
