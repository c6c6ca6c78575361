"""What the threads of the storage do to one another between two steps, each made to happen at the worst moment."""

from __future__ import annotations

import errno

import attrs
import numpy as np
import pytest
from cursor_cases import OLDEST, fill, read_all
from engine_cases import OPTIONS, START_MS, Clock, batch, contents, labels, open_engine
from watched_lock import WatchedLock

from tinyobs.abc import CursorStart
from tinyobs.errors import CorruptionError, DiskFullError
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.census import Census
from tinyobs.storage.churn import GONE_AFTER_MS, INTERVAL_MS, ChurnLog
from tinyobs.storage.engine import Engine
from tinyobs.storage.head_rows import new_matrix
from tinyobs.storage.head_view import HeadView
from tinyobs.storage.layout import wal_name
from tinyobs.storage.log_index import LogIndex
from tinyobs.storage.log_keeping import FollowedLog
from tinyobs.storage.notices import Notices
from tinyobs.testing.mem_disk import MemDisk

X = labels("x")
NOW = CursorStart()


def test_a_record_that_is_half_written_when_another_is_made_durable():
    """Where the disk is full in the middle of it, readers of the log never get there, and a restart finds what was acknowledged."""
    disk = MemDisk()
    engine = open_engine(disk)
    cursor = engine.cursor("a", NOW)
    first, second = batch(engine, [(X, START_MS, 1.0)]), batch(engine, [(X, START_MS + 1, 2.0)])
    file, whole, got = engine.wal._file, engine.wal._file.append, []

    def write_half(data):
        end = file.size
        whole(data[: len(data) // 2])
        engine.wal.settle()  # of the first batch, by the other writer
        assert engine.wal.durable.offset == end
        got.extend(read_all(engine, cursor))
        raise OSError(errno.ENOSPC, "no space left on device")

    def next_may_begin():
        file.append = write_half
        with pytest.raises(DiskFullError):
            engine.append([second])

    assert engine.append_in_turn(lambda: [first], next_may_begin)[0].stored == 1
    assert engine.wal.durable.offset == disk.size(wal_name(1))
    assert engine.append([second])[0].stored == 1
    got += read_all(engine, cursor)
    assert [r[1:3] for r in got] == [(START_MS, 1.0), (START_MS + 1, 2.0)]
    engine.close()
    assert contents(open_engine(disk)) == {X: [(START_MS, 1.0), (START_MS + 1, 2.0)]}


def test_a_file_of_the_log_that_goes_while_its_size_is_asked_for():
    """The size is what it was; nothing fails because another thread has seen that the file is gone."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    fill(engine, 0, 80, clock)
    assert engine.wal.sequence > 1
    index = LogIndex(disk, lambda: engine.wal.durable)
    size = disk.size(wal_name(1))

    class Sizes(dict):
        """Another thread looks which files there are whenever something was put in, or found to be in."""

        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            self.forget()

        def __contains__(self, key):
            known = super().__contains__(key)
            self.forget()
            return known

        def forget(self):
            if 1 in index.sequences():
                disk.remove(wal_name(1))
            index.sequences()

    index._sizes = Sizes()
    assert index.size(1) == size
    assert index.size(1) == 0


def test_a_cursor_that_is_closed_while_files_go(monkeypatch):
    """The place that is remembered is the one behind the files, and what was missed is told once."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, attrs.evolve(OPTIONS, log_bytes_max=0), clock)
    cursor = engine.cursor("a", NOW)
    stored = fill(engine, 0, 24, clock)
    while not engine.followed._drop:
        engine.maintain(clock.now_ms)
    lock = engine.followed.lock = WatchedLock()
    closed = FollowedLog.closed

    def let_files_go():
        while engine.followed._drop:
            engine.followed.step(clock.now_ms)

    def overtaken(log, name, place):
        lock.meanwhile(let_files_go)
        closed(log, name, place)

    monkeypatch.setattr(FollowedLog, "closed", overtaken)
    cursor.close()
    lock.join()
    again = engine.cursor("a", OLDEST)
    rest = read_all(engine, again)
    assert rest == stored[len(stored) - len(rest) :]
    assert again.take_loss().samples + len(rest) == len(stored)


def test_a_view_that_the_writer_forgets_when_it_was_found():
    """A reader gets the view that was there; writers begin to log without the lock of readers."""
    engine = open_engine(MemDisk())
    engine.append([batch(engine, [(X, START_MS, 1.0)])])
    view = engine.current()[0]

    class Forgetful(Engine):
        """Has a view until somebody has looked."""

        views = [view]

        @property
        def _view(self):
            return self.views.pop() if self.views else None

        @_view.setter
        def _view(self, value):
            pass

    engine.__class__ = Forgetful
    assert engine.current()[0] is view
    assert engine.current()[0] is not None


def test_an_empty_row_that_is_given_to_another_series_while_rows_are_looked_for():
    """A reader leaves it alone, whatever number the other series has."""
    matrix, none = new_matrix(), np.empty(0, np.int64)
    rows = matrix.give(np.array([0, 1], np.uint32), np.full(2, START_MS))
    matrix.add_one_each(rows, rows, START_MS - matrix.bases_ms[rows], np.ones(2), None)
    matrix.retire(rows[1:])
    matrix.free(rows[1:], none)

    class Overtaken(np.ndarray):
        """The series of rows; when they have been compared once, the writer gives a row to a new one."""

        def __sub__(self, other):
            found = np.asarray(self) - other
            matrix.give(np.array([500], np.uint32), np.full(1, START_MS))
            return found

    seen = matrix.seen_now()
    seen.refs = seen.refs.view(Overtaken)
    view = HeadView((), seen, np.full(2, START_MS), START_MS, START_MS)
    found = view.find(np.array([0, 1], np.uint32), START_MS, START_MS).read(0, 2)
    assert matrix.refs[1] == 500
    assert [(places.tolist(), runs.values.tolist()) for places, runs in found] == [([0], [1.0])]


def test_churn_that_is_asked_for_while_it_is_noted():
    """No series counts twice, as one of the last interval and as one since."""
    registry = SeriesRegistry()
    census, log = Census(registry), ChurnLog(registry)
    seen = []
    lock = log._lock = WatchedLock()

    class Leaving(WatchedLock):
        """Lets somebody ask as soon as the lock is free."""

        def __enter__(self):
            lock.__enter__()

        def __exit__(self, *exc):
            lock.__exit__(*exc)
            log._lock = lock
            lock.meanwhile(lambda: seen.append(log.hours(census, 10)))

    log.note(START_MS, lambda: np.empty(0, np.int64))
    registry.intern_many([labels("m", i=str(i)) for i in range(3)])
    log._lock = Leaving()
    log.note(START_MS + 2 * INTERVAL_MS + GONE_AFTER_MS, lambda: np.full(3, START_MS))
    lock.join()
    assert sum(hour.created for hour in seen[0]) == 3


def test_damage_that_two_queries_meet_at_once():
    """It is told once."""
    notices, error = Notices(), CorruptionError("segments/1", 7, "no sense")
    lock = notices._telling = WatchedLock()

    class Told(set):
        def __contains__(self, place):
            known = super().__contains__(place)
            if not lock.threads:
                lock.meanwhile(lambda: notices.note_damage(error))
            return known

    notices._told = Told()
    notices.note_damage(error)
    lock.join()
    assert len(notices.take()) == 1
