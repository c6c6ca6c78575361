"""Cursors over the log: what is handed out, in which order, from which place, and what is kept for them."""

from __future__ import annotations

import errno

import attrs
import pytest
from cursor_cases import drain, fill, read_all, samples_of
from engine_cases import OPTIONS, START_MS, Clock, append, contents, histogram, labels, maintain_all, open_engine

from tinyobs.abc import CursorStart, LogLoss, LogPosition
from tinyobs.errors import CorruptionError, StorageError
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.storage.layout import CURSOR_FOLDER, WAL_FOLDER, cursor_file, cursor_of_file, wal_name
from tinyobs.storage.options import SyncMode
from tinyobs.storage.verify import verify_directory
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import MemDisk

UP = labels("up", job="a")
NOW = CursorStart()


def log_files(disk):
    return [int(n) for n in disk.list(WAL_FOLDER)]


def read_into(got, engine, cursor):
    while records := cursor.read(1):
        got += [row for r in records for row in samples_of(engine, r)]


def test_everything_is_handed_out_in_order():
    """Samples with histograms and start times, their exemplars, and metadata come as they were stored."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    cursor = engine.cursor("a", NOW)
    family = {"up": MetricMetadata(MetricType.GAUGE, "Up.", "")}
    append(engine, [(UP, START_MS, 1.0), (labels("h"), START_MS, histogram(3), START_MS - 9)])
    append(engine, [(UP, START_MS + 1, 2.0)], [(UP, (("t", "1"),), 0.5, START_MS, True)], metadata=family)
    found = cursor.read(1000)
    assert [samples_of(engine, r) for r in found if len(r.batch)] == [
        [(UP, START_MS, 1.0, 0), (labels("h"), START_MS, histogram(3), START_MS - 9)],
        [(UP, START_MS + 1, 2.0, 0)],
    ]
    assert [e.labels for r in found for e in r.batch.exemplars] == [(("t", "1"),)]
    assert [dict(r.batch.metadata) for r in found if r.batch.metadata] == [family]
    assert not any(r.in_doubt for r in found)
    assert [r.end for r in found] == sorted({r.end for r in found})
    assert cursor.read(1000) == []
    assert cursor.bytes_behind() == 0


def test_a_new_cursor_begins_with_what_comes():
    """What was stored before is not handed out, though its layout is needed to read what comes."""
    disk = MemDisk()
    engine = open_engine(disk)
    fill(engine, 0, 5)
    cursor = engine.cursor("a", NOW)
    assert cursor.read(1000) == []
    fill(engine, 5, 8)
    assert read_all(engine, cursor) == fill.rows(5, 8)


def test_it_goes_on_where_it_was_saved():
    """After a restart the next record is the one behind the saved place; it is in doubt, what is new is not."""
    disk = MemDisk()
    engine = open_engine(disk)
    cursor = engine.cursor("a", NOW)
    fill(engine, 0, 6)
    records = cursor.read(1000)
    cursor.save(records[2].end)
    engine.close()
    engine = open_engine(disk)
    cursor = engine.cursor("a", CursorStart(None))
    assert cursor.saved == cursor.position == records[2].end
    fill(engine, 6, 8)
    again = cursor.read(1000)
    assert [row for r in again for row in samples_of(engine, r)] == fill.rows(3, 8)
    assert [r.in_doubt for r in again] == [True] * 3 + [False] * 2
    engine.close()


def test_a_read_has_a_bound():
    """No more records are read once there are enough samples."""
    engine = open_engine(MemDisk())
    cursor = engine.cursor("a", NOW)
    fill(engine, 0, 9)
    assert [len(cursor.read(n)) for n in (1, 2, 3, 100)] == [1, 1, 1, 6]


@pytest.mark.parametrize("sync", list(SyncMode))
def test_only_what_is_durable_is_handed_out(sync):
    """Before the fsync that the mode promises nothing is to be seen; a mode without any shows what is written."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, attrs.evolve(OPTIONS, sync=sync), clock)
    cursor = engine.cursor("a", NOW)
    fill(engine, 0, 1)
    assert bool(cursor.read(1)) == (sync is not SyncMode.INTERVAL)
    clock.now_ms += 1000
    engine.maintain(clock.now_ms)
    assert bool(cursor.read(1)) == (sync is SyncMode.INTERVAL)


def test_files_stay_until_a_cursor_has_read_them():
    """A cut leaves the files that a cursor needs; once its place is behind a checkpoint they go."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    cursor = engine.cursor("a", NOW)
    rows = fill(engine, 0, 40, clock)
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().cuts_total >= 1
    assert log_files(disk)[0] == 1
    engine.close()
    engine = open_engine(disk, clock=clock)
    assert log_files(disk)[0] == 1, "nor does a start remove them"
    cursor = engine.cursor("a", NOW)
    assert read_all(engine, cursor) == rows
    drain(cursor)
    rows = fill(engine, 40, 80, clock)
    maintain_all(engine, clock.now_ms)
    assert read_all(engine, cursor) == rows
    drain(cursor)
    maintain_all(engine, clock.now_ms)
    assert log_files(disk)[0] == engine.segments.manifest.wal_first > 1
    assert engine.statistics().log_kept_files == 0


def test_a_checkpoint_is_not_handed_out_again():
    """Exemplars and metadata that a checkpoint repeats come once."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    cursor = engine.cursor("a", NOW)
    family = {"up": MetricMetadata(MetricType.GAUGE, "Up.", "")}
    append(engine, [(UP, START_MS, 1.0)], [(UP, (("t", "1"),), 0.5, START_MS, True)], metadata=family)
    fill(engine, 0, 40, clock)
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().cuts_total >= 1
    append(engine, [(UP, clock.now_ms, 1.0)], [(UP, (("t", "2"),), 0.5, clock.now_ms, True)])
    found = cursor.read(10_000)
    assert [e.labels for r in found for e in r.batch.exemplars] == [(("t", "1"),), (("t", "2"),)]
    assert [dict(r.batch.metadata) for r in found if r.batch.metadata] == [family]


def test_what_outgrows_the_limit_goes_and_is_counted():
    """The oldest files go, all that build on one another; every cursor is told the samples that it misses."""
    disk, clock = MemDisk(), Clock()
    options = attrs.evolve(OPTIONS, log_bytes_max=12_000)
    engine = open_engine(disk, options, clock)
    idle, closed, quick = (engine.cursor(n, NOW) for n in ("idle", "closed", "quick"))
    first = fill(engine, 0, 40, clock)
    half = closed.read(20 * len(first) // 40)
    closed.save(half[-1].end)
    closed.close()
    seen = []
    for begin in range(40, 400, 40):
        fill(engine, begin, begin + 40, clock)
        seen += read_all(engine, quick)
        drain(quick)
        maintain_all(engine, clock.now_ms)
    assert engine.statistics().log_kept_bytes <= 12_000
    assert seen == fill.rows(0, 400)
    assert quick.take_loss() == LogLoss()
    rest = read_all(engine, idle)
    assert rest == fill.rows(0, 400)[-len(rest) :]
    loss = idle.take_loss()
    assert loss.samples == len(fill.rows(0, 400)) - len(rest) > 0
    assert loss.files > 0
    assert idle.take_loss() == LogLoss()
    closed = engine.cursor("closed", NOW)
    assert read_all(engine, closed) == rest
    assert closed.take_loss().samples == loss.samples - sum(len(r.batch) for r in half)
    told = [n.text for n in engine.take_notices() if "had not read yet were dropped" in n.text]
    assert told
    engine.close()


def test_age_bounds_what_is_kept():
    """Files older than the limit of age go, though a cursor has not read them."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, attrs.evolve(OPTIONS, log_age_ms=600_000), clock)
    cursor = engine.cursor("a", NOW)
    rows = fill(engine, 0, 160, clock)
    maintain_all(engine, clock.now_ms)
    assert log_files(disk)[0] == 1
    clock.now_ms += 700_000
    maintain_all(engine, clock.now_ms)
    assert log_files(disk)[0] == engine.segments.manifest.wal_first
    rest = read_all(engine, cursor)
    assert cursor.take_loss().samples + len(rest) == len(rows)
    assert rest == rows[len(rows) - len(rest) :]


def test_a_cursor_can_begin_in_the_past():
    """With an age it begins with what was committed at most so long ago, None stands for all that there is."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, attrs.evolve(OPTIONS, log_keep_ms=3_600_000), clock)
    rows = fill(engine, 0, 60, clock)
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().cuts_total >= 1
    assert read_all(engine, engine.cursor("all", CursorStart(None))) == rows
    assert read_all(engine, engine.cursor("long", CursorStart(86_400_000))) == rows
    some = read_all(engine, engine.cursor("some", CursorStart(100_000)))
    since = clock.now_ms - 100_000
    assert some == rows[-len(some) :]
    assert [r for r in rows if r[1] >= since + 15_000] == [r for r in some if r[1] >= since + 15_000]
    assert len(some) < len(rows) / 2
    assert read_all(engine, engine.cursor("now", NOW)) == []


def test_a_damaged_place_begins_with_the_oldest():
    """It is told, and nothing is missed."""
    disk = MemDisk()
    engine = open_engine(disk)
    cursor = engine.cursor("a b", NOW)
    rows = fill(engine, 0, 5)
    drain(cursor)
    engine.close()
    disk.damage(cursor_file("a b"), 3)
    engine = open_engine(disk)
    assert any("a b is damaged" in n.text for n in engine.take_notices())
    assert read_all(engine, engine.cursor("a b", NOW)) == rows


def test_damage_in_the_log_is_passed():
    """The reader is told; behind it the next file that needs none before it is read, and the rest counts as lost."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    cursor = engine.cursor("a", NOW)
    rows = fill(engine, 0, 40, clock)
    maintain_all(engine, clock.now_ms)
    disk.damage(wal_name(1), 400)
    rows += fill(engine, 40, 44, clock)
    got = []
    with pytest.raises(CorruptionError):
        read_into(got, engine, cursor)
    cursor.pass_damage()
    got += read_all(engine, cursor)
    lost = cursor.take_loss()
    assert lost.files == 1
    assert len(got) + lost.samples == len(rows) - 3, "a record with three samples is the damage"


def test_cursors_are_forgotten():
    """All but the open ones and those named go, and with them the files that were kept for them."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    for name in ("a", "b", "c/d"):
        engine.cursor(name, NOW).close()
    kept = engine.cursor("open", NOW)
    assert engine.forget_cursors(["b"]) == ["a", "c/d"]
    assert sorted(map(cursor_of_file, disk.list(CURSOR_FOLDER))) == ["b", "open"]
    kept.close()
    fill(engine, 0, 40, clock)
    maintain_all(engine, clock.now_ms)
    assert log_files(disk)[0] == 1
    engine.forget_cursors([])
    maintain_all(engine, clock.now_ms)
    assert log_files(disk)[0] > 1


def test_a_cursor_is_opened_once():
    """A second one of the name is refused, as are names that are too long; closed, it cannot be read any more."""
    engine = open_engine(MemDisk())
    cursor = engine.cursor("a", NOW)
    with pytest.raises(StorageError, match="in use"):
        engine.cursor("a", NOW)
    with pytest.raises(StorageError, match="200 bytes"):
        engine.cursor("x" * 201, NOW)
    cursor.close()
    cursor.close()
    with pytest.raises(StorageError, match="closed"):
        cursor.read(1)
    engine.cursor("a", NOW)


def test_places_are_noted_cheaply():
    """A thousand saves cost a few calls of fsync, and the file stays small."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    cursor = engine.cursor("a", NOW)
    begin = len(disk.changes)
    for i in range(3000):
        cursor.save(LogPosition(1, 100 + i))
        clock.now_ms += 1
    changes = [c for c in disk.changes[begin:] if "cursors" in c.name]
    assert sum(c.method == "sync" for c in changes) <= 6
    assert disk.size(cursor_file("a")) < 70_000
    engine.close()
    engine = open_engine(disk)
    assert engine.cursor("a", NOW).saved == LogPosition(1, 3099)


def test_verify_knows_cursors_and_what_is_kept_for_them():
    """A sound directory has no findings about them; damage in either is told with what it costs."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    engine.cursor("a", NOW)
    fill(engine, 0, 40, clock)
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().log_kept_files > 0
    engine.close()
    assert verify_directory(disk).findings == []
    disk.damage(wal_name(1), 400)
    disk.damage(cursor_file("a"), 2)
    told = {f.file: f.lost for f in verify_directory(disk).findings}
    assert told == {
        wal_name(1): "what sinks had still to read of it",
        cursor_file("a"): "the place of the sink a: it hands on again what the log still has",
    }


def test_a_snapshot_has_no_cursors():
    """Nor what is kept for them: it is a directory without sinks."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    engine.cursor("a", NOW)
    rows = fill(engine, 0, 40, clock)
    maintain_all(engine, clock.now_ms)
    folder = f"snapshots/{engine.snapshot()}/"
    copy = MemDisk({n.removeprefix(folder): bytes(d.data) for n, d in disk._files.items() if n.startswith(folder)})
    assert not copy.list(CURSOR_FOLDER)
    assert log_files(copy)[0] == engine.segments.manifest.wal_first
    other = open_engine(copy, clock=clock)
    assert sum(len(v) for v in contents(other).values()) == len(rows)


def test_a_drop_that_fails_anywhere_is_tried_again():
    """Whichever change of the disk fails: what is lost is told once, and nothing else is."""
    for fault in range(30):
        disk, clock = FaultDisk(MemDisk()), Clock()
        engine = open_engine(disk, attrs.evolve(OPTIONS, log_bytes_max=0), clock)
        idle, closed = engine.cursor("idle", NOW), engine.cursor("closed", NOW)
        closed.close()
        stored = fill(engine, 0, 24, clock)
        while not engine.followed._drop:
            engine.maintain(clock.now_ms)
        disk.faults = {disk.change_count + fault: errno.EIO}
        for _ in range(20):
            engine.maintain(clock.now_ms)
            clock.now_ms += 61_000
        disk.faults = {}
        maintain_all(engine, clock.now_ms)
        assert log_files(disk)[0] == engine.segments.manifest.wal_first
        for cursor in (idle, engine.cursor("closed", NOW)):
            rest = read_all(engine, cursor)
            assert rest == stored[len(stored) - len(rest) :]
            assert cursor.take_loss().samples + len(rest) == len(stored)


def test_names_of_cursors_are_names_of_files():
    """Whatever is in them; a file that no name gives is a stranger."""
    for name in ("a", "remote_write/é 1", ".tmp", "%41", "A-b_c"):
        file = cursor_file(name).partition("/")[2]
        assert cursor_of_file(file) == name
        assert "/" not in file
        assert "." not in file
    for file in ("%ff", "a.tmp", "%2F", "%41", ""):
        assert cursor_of_file(file) is None
