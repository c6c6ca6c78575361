"""Which files of the log are kept beyond what the storage itself needs: those that a cursor has still to read.

That has limits, of size and of age.  Beyond them the oldest files go, all at a time that build on one another, and
what each cursor misses is counted, in slices, before they go.

Not here: reading (`log_cursor.py`), what the storage needs (`manifest.py`).  Format page: docs/format/cursor.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Final

from attrs import define, field, frozen

from ..abc.log import CursorStart, LogPosition
from ..errors import StorageError
from ..model.registry import SeriesRegistry
from .cursor_file import CursorFile, Place, read_places, remove_cursor
from .disk import Disk
from .jobs import Watch
from .layout import CURSOR_FOLDER, WAL_FOLDER, wal_name
from .log_cursor import EngineCursor
from .log_dropping import LogDrop
from .log_index import LogIndex
from .options import EngineOptions, SyncMode
from .wal_writer import WalWriter

CURSORS_MAX: Final = 1000
"""Cursors that a log may have."""


@frozen
class LogKeepingStatistics:
    """Figures of the cursors of a log, for the statistics of its storage."""

    kept_files: int
    kept_bytes: int
    behind_bytes: Mapping[str, int]
    lost_samples: Mapping[str, int]


@define(eq=False)
class FollowedLog:
    """The log with its cursors.  wal_first: the first file that the storage needs.  note: tells the operator a line.

    `step` and `floor` are the writer's; all else may be called by any thread.
    """

    disk: Disk
    registry: SeriesRegistry
    options: EngineOptions
    now_ms: Callable[[], int]
    wal: WalWriter
    wal_first: Callable[[], int]
    note: Callable[[str], None]
    session: int = field(init=False)
    """The number of the session that this process writes."""
    _index: LogIndex = field(init=False)
    _places: dict[str, Place] = field(init=False)
    """Of the cursors that are not open."""
    _open: dict[str, EngineCursor] = field(init=False, factory=dict)
    _lost: dict[str, int] = field(init=False, factory=dict)
    lock: threading.RLock = field(init=False, factory=threading.RLock)
    """Held while cursors come and go, and while files do; who needs those of a cursor as well takes this one first."""
    _drop: LogDrop | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.session = self.wal.sequence
        self._index = LogIndex(self.disk, self.durable)
        self._places = {}
        for name, place in read_places(self.disk).items():
            if place is None:
                oldest = min(self._index.sequences(), default=self.session)
                self.note(
                    f"the place of the cursor {name} is damaged: it goes on with the oldest that the log still has, "
                    "and hands some samples on again"
                )
                place = Place(oldest, LogPosition(oldest, 0))
            self._places[name] = place

    # -- for cursors -------------------------------------------------------------------------------------------

    def durable(self) -> LogPosition:
        """Return how far the log may be read."""
        return self.wal.durable

    @property
    def may_sync(self) -> bool:
        """Whether places are made durable now and then."""
        return self.options.sync is not SyncMode.NEVER

    def bytes_between(self, first: LogPosition, last: LogPosition) -> int:
        """Return the bytes between two places."""
        return self._index.bytes_between(first, last)

    def samples_behind(self, place: LogPosition) -> int:
        """Return the samples behind a place in its file, as far as they can be read."""
        return self._index.samples_behind(place)

    def following(self, sequence: int) -> int:
        """Return the next file there is, the next number where there is none."""
        return next((n for n in self._index.sequences() if n > sequence), sequence + 1)

    def closed(self, name: str, place: Place) -> None:
        """Take note of the place at which a cursor was closed."""
        with self.lock:
            self._open.pop(name, None)
            self._places[name] = place

    # -- for the storage ---------------------------------------------------------------------------------------

    def cursor(self, name: str, start: CursorStart) -> EngineCursor:
        """Open a cursor; see `Storage.cursor`.  Raises `StorageError`."""
        with self.lock:
            if name in self._open:
                raise StorageError(f"the cursor {name} is in use")
            place = self._places.get(name)
            if place is None and len(self._open) + len(self._places) >= CURSORS_MAX:
                raise StorageError(f"there are {CURSORS_MAX} cursors; that is the limit")
            try:
                if place is None:
                    self.disk.make_folder(CURSOR_FOLDER)
                    place = self._begin(start)
                file = CursorFile(self.disk, name, place)
            except (OSError, ValueError) as e:
                raise StorageError(f"the cursor {name} cannot be opened: {e}") from e
            self._places.pop(name, None)
            made = self._open[name] = EngineCursor(self, name, file)
            return made

    def forget(self, kept: Collection[str]) -> list[str]:
        """Remove all cursors but these and those that are open; return their names.  Raises `StorageError`."""
        with self.lock:
            gone = sorted(set(self._places).difference(kept))
            for name in gone:
                try:
                    remove_cursor(self.disk, name)
                except OSError as e:
                    raise StorageError(f"the cursor {name} cannot be removed: {e}") from e
                del self._places[name]
            return gone

    def close(self) -> None:
        """Close the cursors that are open."""
        for cursor in list(self._open.values()):
            cursor.close()

    def statistics(self) -> LogKeepingStatistics:
        """Return the figures of this moment."""
        first, durable = self.wal_first(), self.durable()
        try:
            kept = [n for n in self._index.sequences() if n < first]
        except OSError:
            kept = []
        places = {n: p.position for n, p in self._places.copy().items()}
        places |= {n: c.position for n, c in self._open.copy().items()}
        behind = {n: self.bytes_between(p, durable) for n, p in places.items()}
        return LogKeepingStatistics(len(kept), sum(map(self._index.size, kept)), behind, dict(self._lost))

    def needed_bytes(self) -> int:
        """Return the bytes of the files that the storage itself needs; raises `OSError`."""
        first = self.wal_first()
        return sum(self._index.size(n) for n in self._index.sequences() if n >= first)

    def floor(self, wal_first: int) -> int:
        """Return the first file that is needed, by the storage or by a cursor.  Raises `OSError`."""
        with self.lock:
            needed = [wal_first, *(p.start for p in self._places.values())]
            needed += [c.needs_from() for c in self._open.values()]
            if self.options.log_keep_ms:
                file = self._index.file_of_time(self.now_ms() - self.options.log_keep_ms)
                needed.append(self._index.start_of(file) if file is not None else 0)
            return min(needed)

    def step(self, now_ms: int) -> bool:
        """Do one slice of letting files go; tell whether more is waiting.  Raises `OSError`."""
        with self.lock:
            if self._drop is not None:
                return self._go_on(self._drop)
            first = self.wal_first()
            kept = [n for n in self._index.sequences() if n < first]
            if not kept:
                return False
            floor = self.floor(first)
            self._remove([n for n in kept if n < floor])
            kept = [n for n in kept if n >= floor]
            reason = self._excess(kept, first, now_ms)
            if reason:
                self._drop = self._begin_drop(kept, first, reason)
            return self._drop is not None

    # -- private -----------------------------------------------------------------------------------------------

    def _begin(self, start: CursorStart) -> Place:
        """Return where a new cursor begins."""
        position: LogPosition | None = self.durable()
        if start.age_ms is None:
            position = None
        elif start.age_ms > 0:
            position = self._index.place_of_time(self.now_ms() - start.age_ms)
        if position is None:
            files = self._index.sequences() or [self.session]
            first = next((n for n in files if self._index.file(n).is_start), files[0])
            return Place(first, LogPosition(first, 0))
        return Place(self._index.start_of(position.file), position)

    def _excess(self, kept: list[int], first: int, now_ms: int) -> str:
        """Return why the oldest of the files kept for others must go, "" where they need not."""
        if not kept:
            return ""
        size, limit = sum(map(self._index.size, kept)), self.options.log_bytes_max
        if size > limit:
            return f"has outgrown its limit of {limit} bytes"
        age_ms = self.options.log_age_ms
        end_ms = self._index.file(self._end_of_group(kept, first)).begin_ms
        if age_ms and end_ms is not None and end_ms < now_ms - age_ms:
            return f"has outgrown its limit of {age_ms // 1000} s"
        return ""

    def _end_of_group(self, kept: list[int], first: int) -> int:
        """Return the first file behind the oldest that does not build on it."""
        return next((n for n in kept[1:] if self._index.file(n).is_start), first)

    def _begin_drop(self, kept: list[int], first: int, reason: str) -> LogDrop:
        end = self._end_of_group(kept, first)
        behind = {n: p.position for n, p in self._places.items() if p.start < end}
        behind |= {n: c.raise_floor(end) for n, c in self._open.items() if c.needs_from() < end}
        return LogDrop([n for n in kept if n < end], end, reason, behind)

    def _go_on(self, drop: LogDrop) -> bool:
        watch = Watch()
        while not watch.is_up:
            if not drop.count_some(self.disk, self._index.size):
                self._finish(drop)
                self._drop = None
                break
        return True

    def _finish(self, drop: LogDrop) -> None:
        """Tell cursors and let the files go.  Raises `OSError`; called again it goes on where it was."""
        while drop.untold:
            name = drop.untold[-1]
            samples, files = drop.samples[name], drop.lost_files[name]
            self._leave(name, drop.end, samples, files)
            drop.untold.pop()
            self._lost[name] = self._lost.get(name, 0) + samples
            if samples:
                self.note(f"the log {drop.reason}: {samples} samples that {name} had not read yet were dropped")
        self._remove([n for n in self._index.sequences() if n in drop.files])

    def _leave(self, name: str, end: int, samples: int, files: int) -> None:
        """Let a cursor go on behind the files that go, durably."""
        cursor, place = self._open.get(name), self._places.get(name)
        if cursor is not None:
            cursor.leave(samples, files)
        elif place is not None:
            position = max(place.position, LogPosition(end, 0))
            place = Place(max(place.start, end), position, place.lost_samples + samples, place.lost_files + files)
            CursorFile(self.disk, name, place).close()
            self._places[name] = place

    def _remove(self, files: list[int]) -> None:
        for n in files:
            self.disk.remove(wal_name(n))
        if files:
            self.disk.sync_folder(WAL_FOLDER)
