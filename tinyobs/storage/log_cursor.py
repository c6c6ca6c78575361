"""A durable cursor: the log as one sink reads it, from its own place on.

What stands between the file where definitions begin and the place is decoded, as the values of samples build on those
before, and not handed out.  Behind a checkpoint everything is defined anew, so the older files are not needed.

Not here: which files are kept for cursors, and what happens when they are too many (`log_keeping.py`).
Format page: docs/format/cursor.md.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from attrs import Factory, define, evolve
from numpy.typing import NDArray

from ..abc.log import LogCursor, Logged, LogLoss, LogPosition
from ..codec.framing import Frame
from ..errors import CorruptionError, StorageError
from ..model.batch import Batch
from ..model.exemplars import Exemplar
from ..model.metadata import MetricMetadata
from . import wal_format as fmt
from .cursor_file import CursorFile, Place
from .layout import wal_name
from .log_index import samples_in
from .log_tail import FileBegin, LogTail
from .samples import Samples
from .wal_exemplars import HAS_TIME, StoredExemplar, decode_labels
from .wal_session import ReplayReport, Session

if TYPE_CHECKING:
    from .log_keeping import FollowedLog

ORIGIN: Final = "log"
"""What batches from the log say of their origin."""
_NOT_READ: Final = frozenset({fmt.RecordType.NEWEST, fmt.RecordType.TOMBSTONE})
"""Records that mean something to the storage only."""
_NO_REFS: Final = np.empty(0, np.uint32)
_NO_TIMES: Final = np.empty(0, np.int64)
_NO_VALUES: Final = np.empty(0, np.float64)


@define(eq=False)
class _Collector:
    """Takes what one record holds."""

    batch: Batch | None = None

    def samples(self, refs: NDArray[np.uint32], samples: Samples, unique: bool) -> None:
        table, starts = samples.histograms, samples.starts_ms
        self.batch = Batch(refs, samples.times_ms, samples.values, ORIGIN, histograms=table, starts_ms=starts)

    def metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        self.batch = Batch(_NO_REFS, _NO_TIMES, _NO_VALUES, ORIGIN, metadata=metadata)

    def exemplars(self, exemplars: Sequence[StoredExemplar]) -> None:
        made = [
            Exemplar(e.ref, decode_labels(e.labels), e.value, e.time_ms, bool(e.flags & HAS_TIME)) for e in exemplars
        ]
        self.batch = Batch(_NO_REFS, _NO_TIMES, _NO_VALUES, ORIGIN, exemplars=made)

    def newest(self, refs: object, times_ms: object, values: object) -> None:
        """Never called: such records are not read."""

    def delete(self, delete: object) -> None:
        """Never called: such records are not read."""


@define(eq=False)
class _Reading:
    """Where a cursor reads, and what it knows there."""

    tail: LogTail
    session: Session | None = None
    """None until a file has begun that needs none before it."""
    file_session: int = 0
    """The session of the file."""
    is_repeated: bool = False
    """Whether what is read was in the log before."""
    is_first: bool = False
    """Whether the next record is the first of its file."""
    starts: deque[int] = Factory(deque)
    """The files read that need none before them, from the last one at or before the saved place on."""


class EngineCursor(LogCursor):
    """A cursor over the log of an engine.  One thread reads and one saves; any other may ask."""

    def __init__(self, log: FollowedLog, name: str, file: CursorFile) -> None:
        self.name = name
        self._log, self._file = log, file
        place = file.place
        self.position = self.saved = place.position
        self._loss = LogLoss(place.lost_samples, place.lost_files)
        self._floor = 0
        """No file below this one is read any more."""
        self._moving = threading.Lock()
        """Held while a record is read and while the floor is raised."""
        self._noting = threading.Lock()
        """Held while a place is noted."""
        self._collector = _Collector()
        self._reading = self._begin_at(place.start)
        self._closed = False

    # -- for sinks ---------------------------------------------------------------------------------------------

    def read(self, samples_max: int) -> Sequence[Logged]:
        """Return the next committed records; see `abc.LogCursor.read`."""
        out: list[Logged] = []
        samples = 0
        while samples < samples_max:
            with self._moving:
                self._refuse_closed()
                if self.position.file < self._floor:
                    self._jump()
                item = self._reading.tail.next()
                if item is None:
                    break
                if isinstance(item, FileBegin):
                    self._take_file(item)
                    continue
                logged = self._take(item)
            if logged is not None:
                out.append(logged)
                samples += len(logged.batch) + len(logged.batch.exemplars)
        return out

    def save(self, position: LogPosition) -> None:
        """Note that all before a place has been dealt with; raises `StorageError`."""
        with self._noting:
            self._refuse_closed()
            position = max(position, LogPosition(self._floor, 0))
            if position > self.saved or self._is_loss_news():
                starts = self._reading.starts
                while len(starts) > 1 and starts[1] <= position.file:
                    starts.popleft()
                self._note(Place(max(starts[0], self._floor), position, self._loss.samples, self._loss.files))

    def bytes_behind(self) -> int:
        """Return how many bytes are still to be read."""
        return self._log.bytes_between(self.position, self._log.durable())

    def take_loss(self) -> LogLoss:
        """Return what was missed since the last call."""
        with self._noting:
            loss, self._loss = self._loss, LogLoss()
            return loss

    def pass_damage(self) -> None:
        """Go on behind the place that `read` raised for, at the next file that needs none before it."""
        with self._moving:
            tail = self._reading.tail
            following = self._log.following(tail.file)
            lost = self._log.samples_behind(max(self.position, LogPosition(tail.file, tail.offset)))
            self._reading = self._begin_at(following)
            self.position = max(self.position, LogPosition(following, 0))
        self.note_loss(lost, 1)

    def close(self) -> None:
        """Close files; the place stays.  Idempotent."""
        # With the lock of the log: nobody lets files go, and moves the place, between the last note and the end.
        with self._log.lock, self._moving, self._noting:
            if self._closed:
                return
            self._closed = True
            try:
                if self._is_loss_news():
                    place = evolve(self._file.place, lost_samples=self._loss.samples, lost_files=self._loss.files)
                    self._file.note(place, self._log.now_ms(), may_sync=False)
                self._file.close()
            except OSError:
                self._log.note(f"the place of the cursor {self.name} could not be made durable: some may be sent again")
            self._log.closed(self.name, self._file.place)

    # -- for those who keep the log ----------------------------------------------------------------------------

    def needs_from(self) -> int:
        """Return the first file that the next process would need, whatever happens.  Raises `OSError`."""
        with self._noting:
            if self._file.synced.start != self._file.place.start:
                self._file.sync()
            return self._file.synced.start

    def raise_floor(self, floor: int) -> LogPosition:
        """Read nothing below a file any more; return the place from where on it will be missed."""
        with self._moving:
            self._floor = floor
            return self.position

    def note_loss(self, samples: int, files: int) -> None:
        """Note what was missed."""
        with self._noting:
            self._loss = LogLoss(self._loss.samples + samples, self._loss.files + files)

    def leave(self, samples: int, files: int) -> None:
        """Note a place at the floor or behind it, durably, and what is missed by that.  Raises `OSError`: try again."""
        with self._noting:
            position = max(self.saved, LogPosition(self._floor, 0))
            loss = LogLoss(self._loss.samples + samples, self._loss.files + files)
            place = Place(max(self._file.place.start, self._floor), position, loss.samples, loss.files)
            self._file.note(place, self._log.now_ms(), may_sync=False)
            self._file.sync()
            self.saved, self._loss = position, loss

    # -- private -----------------------------------------------------------------------------------------------

    def _begin_at(self, file: int) -> _Reading:
        return _Reading(LogTail(self._log.disk, self._log.durable, file), starts=deque([file]))

    def _jump(self) -> None:
        self._reading = self._begin_at(self._floor)
        self.position = LogPosition(self._floor, 0)

    def _take_file(self, begin: FileBegin) -> None:
        """Take note of a file; the first of a session defines everything."""
        reading = self._reading
        reading.file_session, reading.is_first, reading.is_repeated = begin.session, True, False
        if begin.file == begin.session:
            self._start_session()
        elif reading.session is not None and reading.session.number != begin.session:
            reading.session = None  # the beginning of its session is not there

    def _start_session(self) -> None:
        reading, log = self._reading, self._log
        number = reading.file_session
        is_own = number == log.session
        reading.session = Session(number, log.registry, self._collector, ReplayReport(0), is_own=is_own)
        if reading.starts[-1] != reading.tail.file:
            reading.starts.append(reading.tail.file)

    def _take(self, frame: Frame) -> Logged | None:
        """Take a record; return what is to be handed out of it."""
        reading = self._reading
        is_first, reading.is_first = reading.is_first, False
        end = LogPosition(reading.tail.file, frame.end)
        if frame.type == fmt.RecordType.END:
            self._take_mark(frame, is_first)
        elif reading.session is None:
            self.note_loss(samples_in(frame) if end > self.position else 0, 0)
        elif frame.type not in _NOT_READ:
            self._decode(reading.session, frame)
        batch, self._collector.batch = self._collector.batch, None
        if end <= self.position:
            return None
        self.position = end
        if batch is None or (reading.is_repeated and not len(batch)):
            return None
        return Logged(batch, end, in_doubt=end.file < self._log.session)

    def _take_mark(self, frame: Frame, is_first: bool) -> None:
        mark, _ = fmt.decode_mark(frame.payload)
        if mark == fmt.Mark.CHECKPOINT and is_first:
            self._start_session()
            self._reading.is_repeated = True
        elif mark == fmt.Mark.REPEATED:
            self._reading.is_repeated = False

    def _decode(self, session: Session, frame: Frame) -> None:
        try:
            session.take(frame)
            session.flush()
        except (ValueError, LookupError, TypeError, struct.error) as e:
            raise CorruptionError(wal_name(self._reading.tail.file), frame.start, f"unreadable record: {e}") from e

    def _note(self, place: Place) -> None:
        try:
            self._file.note(place, self._log.now_ms(), may_sync=self._log.may_sync)
        except OSError as e:
            raise StorageError(f"the place of the cursor {self.name} cannot be noted: {e}") from e
        self.saved = place.position

    def _is_loss_news(self) -> bool:
        place = self._file.place
        return (place.lost_samples, place.lost_files) != (self._loss.samples, self._loss.files)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StorageError(f"the cursor {self.name} is closed")
