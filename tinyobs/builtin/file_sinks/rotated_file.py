"""A file that lines are appended to, that is followed by the next when it is full, and that knows how far it came.

Beside the file stands `PATH.places`: for each place in the log that may have been saved, how long the file was then.
After a crash the file is cut to what belongs to the place from which the log is read again, so that no line is written
twice.  Only lines that went into a file which was full within the last second before a crash may be.

Synchronous; one thread at a time.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import zstandard
from attrs import define, field, frozen

from ...abc import LogPosition
from .settings import Compression, FileSinkSettings

PLACES_BYTES_MAX: Final = 65_536
"""Size at which the file of places is written anew."""
_PLACES_KEPT: Final = 100
_SUFFIX: Final = {Compression.NONE: "", Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}
_STAMP: Final = re.compile(r"\d{8}T\d{9}(?:-\d+)?(?:\.gz|\.zst)?\Z")
_COPIED_BYTES: Final = 1 << 20


@frozen
class _Known:
    """Up to a place in the log the file with this inode number, begun at some time, had so many bytes."""

    place: LogPosition
    inode: int
    length: int
    began_ms: int


@define(eq=False)
class RotatedFile:
    """The file of a sink, its full predecessors and its places.  Methods raise `OSError`."""

    settings: FileSinkSettings
    rotated: int = 0
    """Files that became full."""
    _file: BinaryIO | None = None
    _places: BinaryIO | None = None
    _began_ms: int = 0
    _kept: list[_Known] = field(factory=list)

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.settings.path)

    def begin(self, following: LogPosition, now_ms: int) -> int:
        """Cut off what was written behind the place before the record that ends at `following`; return how many bytes.

        To be called before the first line is written.
        """
        known = _read_places(self._places_path)
        self._kept = [k for k in known if k.place < following]
        file = self._opened(now_ms)
        inode, size = os.fstat(file.fileno()).st_ino, file.tell()
        mine = [k for k in known if k.inode == inode]
        length = size
        if mine and self._kept:
            self._began_ms, last = mine[-1].began_ms, self._kept[-1]
            length = min(size, last.length if last.inode == inode else 0)  # else all of it came later
        if length < size:
            file.truncate(length)
            file.seek(length)
            os.fsync(file.fileno())
        self._note(LogPosition(following.file, following.offset - 1), file)
        return size - length

    def write(self, lines: bytes, now_ms: int) -> None:
        """Append lines; what of them a failure left behind is cut off by the next call."""
        file = self._opened(now_ms)
        size = file.tell()
        try:
            file.write(lines)
        except OSError:
            self.close()
            os.truncate(self.path, size)
            raise

    def sync(self, place: LogPosition) -> None:
        """Make what was written durable, and note that it is what came before a place in the log."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._note(place, self._file)

    def rotate_when_due(self, place: LogPosition, now_ms: int) -> bool:
        """Begin the next file where this one is full or old, synced at a place.  Tells whether it did."""
        if self._file is None or not self._file.tell():
            return False
        age_ms = now_ms - self._began_ms
        if self._file.tell() < self.settings.rotate_bytes and not 0 < self.settings.rotate_ms <= age_ms:
            return False
        self._file.close()
        self._file = None
        self.path.rename(self._free_name(now_ms))
        self._began_ms = now_ms
        self._note(place, self._opened(now_ms))
        _sync_folder(self.path.parent)
        self.rotated += 1
        return True

    def tidy(self) -> None:
        """Compress files that are full, and remove the oldest of them."""
        suffix = _SUFFIX[self.settings.compress]
        for path in self._full():
            if suffix and path.suffix not in (".gz", ".zst"):
                _compress(path, path.with_name(path.name + suffix), self.settings.compress)
        full = self._full()
        for path in full[: max(0, len(full) - self.settings.keep)]:
            path.unlink()

    def close(self) -> None:
        """Close files; idempotent."""
        for file in (self._file, self._places):
            if file is not None:
                file.close()
        self._file = self._places = None

    # -- private -----------------------------------------------------------------------------------------------

    @property
    def _places_path(self) -> Path:
        return self.path.with_name(self.path.name + ".places")

    def _opened(self, now_ms: int) -> BinaryIO:
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
            if not self._began_ms or not self._file.tell():
                self._began_ms = now_ms
        return self._file

    def _note(self, place: LogPosition, file: BinaryIO) -> None:
        """Note, durably, how long the file is at a place."""
        known = _Known(place, os.fstat(file.fileno()).st_ino, file.tell(), self._began_ms)
        self._kept = [*self._kept[-_PLACES_KEPT:], known]
        if self._places is not None and self._places.tell() <= PLACES_BYTES_MAX:
            self._places.write(_encode(known))
            os.fsync(self._places.fileno())
            return
        fresh = self._places_path.with_name(self._places_path.name + ".tmp")
        with fresh.open("wb") as places:
            places.write(b"".join(map(_encode, self._kept)))
            places.flush()
            os.fsync(places.fileno())
        if self._places is not None:
            self._places.close()
        fresh.replace(self._places_path)
        _sync_folder(self.path.parent)
        self._places = self._places_path.open("ab", buffering=0)

    def _full(self) -> list[Path]:
        """Return the full files, oldest first."""
        prefix = self.path.name + "."
        names = [n for n in os.listdir(self.path.parent) if n.startswith(prefix) and _STAMP.match(n[len(prefix) :])]
        return [self.path.with_name(n) for n in sorted(names)]

    def _free_name(self, now_ms: int) -> Path:
        stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S%f")[:-3]
        taken = {p.name for p in self._full()}
        for number in range(1000):
            name = f"{self.path.name}.{stamp}" + (f"-{number}" if number else "")
            if not any(name + suffix in taken for suffix in _SUFFIX.values()):
                return self.path.with_name(name)
        raise FileExistsError(f"a thousand files called {self.path.name}.{stamp}")


def _encode(known: _Known) -> bytes:
    place = known.place
    return b"%d %d %d %d %d\n" % (place.file, place.offset, known.inode, known.length, known.began_ms)


def _read_places(path: Path) -> list[_Known]:
    """Return the places noted in a file; what is no whole line is left out."""
    found = []
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    for line in data.split(b"\n")[:-1]:
        words = line.split(b" ")
        if len(words) == 5 and all(w.isdigit() for w in words):
            file, offset, *rest = map(int, words)
            found.append(_Known(LogPosition(file, offset), *rest))
    return found


def _compress(source: Path, target: Path, how: Compression) -> None:
    """Compress a file; unfinished, it has another name and is begun anew."""
    fresh = target.with_name(target.name + ".tmp")
    with source.open("rb") as read, fresh.open("wb") as raw:
        if how is Compression.GZIP:
            with gzip.GzipFile(source.name, "wb", 6, raw, mtime=0) as out:
                shutil.copyfileobj(read, out, _COPIED_BYTES)
        else:
            zstandard.ZstdCompressor(3).copy_stream(read, raw)
        raw.flush()
        os.fsync(raw.fileno())
    fresh.replace(target)
    source.unlink()
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
