"""Cursors over every crash: behind the saved place all that was committed is handed out, in order, nothing invented."""

from __future__ import annotations

import attrs
import pytest
from cursor_cases import drain, fill, read_all, rows
from engine_cases import OPTIONS, Clock, maintain_all, open_engine

from tinyobs.abc import CursorStart, LogPosition
from tinyobs.storage.layout import CURSOR_FOLDER, WAL_FOLDER
from tinyobs.testing.mem_disk import Loss, MemDisk

NOW = CursorStart()
SMALL = attrs.evolve(OPTIONS, log_bytes_max=6000)


@attrs.frozen
class Noted:
    """After so many changes on the disk: rows committed, and rows that a cursor had dealt with."""

    at: int
    committed: int
    settled: int


def record(options=OPTIONS):
    """Run two processes with one cursor that lags; note how far each is at every change."""
    disk, clock = MemDisk(), Clock()
    notes = [Noted(0, 0, 0)]
    committed = settled = 0

    def note():
        notes.append(Noted(len(disk.changes), committed, settled))

    for begin in (0, 16):
        engine = open_engine(disk, options, clock)
        cursor = engine.cursor("a", NOW)
        waiting = []
        note()
        for step in range(begin, begin + 16):
            fill(engine, step, step + 1, clock)
            committed += 3
            note()
            waiting += cursor.read(1000)
            if step % 4 == 3:
                done, waiting = waiting[:-2], waiting[-2:]
                cursor.save(done[-1].end)
                settled += sum(len(r.batch) for r in done)
                note()
            if step % 6 == 5:
                maintain_all(engine, clock.now_ms)
                note()
        engine.close()
        note()
        settled = settled_of(disk, options, clock) if not begin else settled
    assert engine.statistics().cuts_total >= 1
    return disk, clock, notes


def settled_of(disk, options, clock):
    """Rows before the place that the disk has."""
    copy = disk.after_crash(len(disk.changes), Loss.NOTHING)
    engine = open_engine(copy, options, clock)
    left = len(read_all(engine, engine.cursor("a", NOW)))
    engine.close()
    return len(rows(0, 16)) - left


@pytest.fixture(scope="module")
def recorded():
    return record()


@pytest.mark.parametrize("loss", list(Loss))
def test_every_crash_hands_out_all_that_was_not_settled(recorded, loss):
    """Nothing that was committed behind the place is missing, nothing is invented, the order is that of storing."""
    disk, clock, notes = recorded
    everything = rows(0, 32)
    for count in range(notes[1].at, len(disk.changes) + 1):
        before = [n for n in notes if n.at <= count][-1]
        found = disk.after_crash(count, loss, seed=count)
        engine = open_engine(found, clock=clock)
        cursor = engine.cursor("a", NOW)
        got = read_all(engine, cursor)
        first = everything.index(got[0]) if got else before.committed
        assert got == everything[first : first + len(got)], f"order or content after change {count}"
        assert first <= max(n.settled for n in notes if n.at <= next_note(notes, count)), f"a gap after change {count}"
        assert first + len(got) >= before.committed, f"lost after change {count}"
        assert cursor.take_loss().samples == 0
        assert not any(n.text for n in engine.take_notices() if "damaged" in n.text)
        if count % 7 == 0:
            drain(cursor)
            engine.close()
            engine = open_engine(found, clock=Clock(clock.now_ms))
            cursor = engine.cursor("a", NOW)
            assert read_all(engine, cursor) == []
            assert fill(engine, 48, 49) == read_all(engine, cursor)
        engine.close()


def next_note(notes, count):
    """The first note at or behind a change: what was on its way then may be there."""
    return min((n.at for n in notes if n.at >= count), default=count)


def test_files_that_nobody_needs_go_after_every_crash(recorded):
    """When the cursor has read everything and a cut has come, no older file is left, and no unfinished one."""
    disk, clock, notes = recorded
    for count in range(notes[1].at, len(disk.changes) + 1, 17):
        found = disk.after_crash(count, Loss.BOTH_NAMES, seed=count)
        own = Clock(clock.now_ms)
        engine = open_engine(found, clock=own)
        cursor = engine.cursor("a", NOW)
        drain(cursor)
        fill(engine, 60, 66, own)
        drain(cursor)
        for _ in range(2):
            engine.compact()
            while engine.compact():
                pass
            own.now_ms += 1000
            maintain_all(engine, own.now_ms)
            fill(engine, 66, 67, own) if _ == 0 else None
            drain(cursor)
            maintain_all(engine, own.now_ms)
        assert int(found.list(WAL_FOLDER)[0]) == engine.segments.manifest.wal_first, count
        assert found.list(CURSOR_FOLDER) == ["a"]
        engine.close()


def test_what_a_drop_takes_is_told_after_every_crash():
    """Rows handed out and rows told as lost are all rows; a crash in the middle of it neither hides nor doubles any."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, SMALL, clock)
    cursor = engine.cursor("a", NOW)
    begin = len(disk.changes)
    for step in range(0, 120, 10):
        fill(engine, step, step + 10, clock)
        maintain_all(engine, clock.now_ms)
    lost = cursor.take_loss().samples
    assert lost > 0
    everything = rows(0, 120)
    assert lost + len(read_all(engine, cursor)) == len(everything)
    for count in range(begin, len(disk.changes) + 1, 23):
        for loss in Loss:
            found = disk.after_crash(count, loss, seed=count)
            engine = open_engine(found, SMALL, clock)
            cursor = engine.cursor("a", NOW)
            got = read_all(engine, cursor)
            missed = cursor.take_loss().samples
            first = everything.index(got[0]) if got else missed
            assert (missed, got) == (first, everything[first : first + len(got)]), f"after change {count}"
            engine.close()


def test_a_place_beyond_the_end_goes_on_with_what_comes():
    """Where the end of the log is lost, as it may be without fsync, nothing new is missed."""
    disk = MemDisk()
    engine = open_engine(disk)
    cursor = engine.cursor("a", NOW)
    fill(engine, 0, 3)
    drain(cursor)
    cursor.save(LogPosition(1, 100_000))
    engine.close()
    engine = open_engine(disk)
    cursor = engine.cursor("a", NOW)
    assert read_all(engine, cursor) == []
    assert fill(engine, 3, 6) == read_all(engine, cursor)
