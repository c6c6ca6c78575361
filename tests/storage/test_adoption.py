"""Taking over segments that an importer wrote, whatever happens meanwhile."""

from __future__ import annotations

import errno

import pytest
from engine_cases import OPTIONS, Clock, append, contents, maintain_all, open_engine
from life_cases import NOW, A, B, C, losses, write_segment

from tinyobs.errors import StorageError
from tinyobs.model.matchers import name_is
from tinyobs.storage.adoption import LOOK_EVERY_MS
from tinyobs.storage.layout import INCOMING_FOLDER, SEGMENT_FOLDER
from tinyobs.storage.upkeep import PAUSE_MS
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import MemDisk

IMPORTED = {A: [(NOW - 500_000, 1.0), (NOW, 2.0)], B: [(NOW - 400_000, 3.0)]}
LIVE = [(A, NOW, 9.0), (C, NOW, 4.0)]
TOGETHER = {A: [(NOW - 500_000, 1.0), (NOW, 9.0)], B: [(NOW - 400_000, 3.0)], C: [(NOW, 4.0)]}


def incoming(disk, *names, series=IMPORTED):
    """Hand segments over as an importer does: durable, under another name first."""
    disk.make_folder(INCOMING_FOLDER)
    for name in names:
        write_segment(disk, f"{INCOMING_FOLDER}/{name}.tmp", series)
        disk.rename(f"{INCOMING_FOLDER}/{name}.tmp", f"{INCOMING_FOLDER}/{name}")
        disk.sync_folder(INCOMING_FOLDER)


def test_a_segment_is_taken_over_and_live_samples_win():
    """It is found within seconds; for the same series and time what was stored live stands, even when cut later."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    maintain_all(engine, NOW)
    append(engine, LIVE)
    append(engine, [(C, NOW + 400_000, 5.0)])
    maintain_all(engine, NOW)
    incoming(disk, "x.seg")
    maintain_all(engine, NOW + LOOK_EVERY_MS - 1)
    assert B not in contents(engine)
    maintain_all(engine, NOW + LOOK_EVERY_MS + 1)
    expected = TOGETHER | {C: [(NOW, 4.0), (NOW + 400_000, 5.0)]}
    assert contents(engine) == expected
    assert engine.statistics().segments_adopted_total == 1
    assert disk.list(INCOMING_FOLDER) == []
    engine.close()
    assert contents(open_engine(disk, clock=clock)) == expected


def test_many_at_the_start():
    """What waits when the engine opens is taken over with the first upkeep; two files with the same samples as well."""
    disk = MemDisk()
    incoming(disk, "a.seg", "b.seg", "c.seg")
    disk.make_folder(INCOMING_FOLDER)
    engine = open_engine(disk)
    append(engine, LIVE)
    maintain_all(engine, NOW)
    assert contents(engine) == TOGETHER


def test_a_delete_reaches_what_waits():
    """Samples that are imported but not taken over yet count as stored, also where upkeep has seen the files before."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    incoming(disk, "a.seg", "b.seg")
    engine.maintain(NOW)  # has listed both
    append(engine, LIVE)
    engine.delete([[name_is("a")]], -(2**63), NOW - 1)
    assert contents(engine) == TOGETHER | {A: [(NOW, 9.0)]}
    maintain_all(engine, NOW + LOOK_EVERY_MS + 1)
    assert contents(engine) == TOGETHER | {A: [(NOW, 9.0)]}
    assert engine.statistics().maintenance_failures_total == 0
    engine.close()
    assert contents(open_engine(disk, clock=clock)) == TOGETHER | {A: [(NOW, 9.0)]}


def test_a_delete_that_cannot_reach_what_waits_is_refused():
    """Nothing is deleted then, and it can be tried again."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk)
    append(engine, LIVE)
    incoming(disk.inner, "a.seg")
    disk.full = True
    with pytest.raises(StorageError, match="cannot be taken over"):
        engine.delete([[name_is("a")]], -(2**63), NOW)
    disk.full = False
    assert contents(engine)[A] == [(NOW, 9.0)]
    engine.delete([[name_is("a")]], -(2**63), NOW)
    assert A not in contents(engine)


def test_what_is_no_segment_is_put_aside():
    """Damage at any place that the tables or the footer cover, an empty file, or another format; the rest goes on."""
    disk = MemDisk()
    incoming(disk, "good.seg", "torn.seg")
    sound = disk.read(f"{INCOMING_FOLDER}/torn.seg")
    disk.truncate(f"{INCOMING_FOLDER}/torn.seg", len(sound) // 2)
    disk.create(f"{INCOMING_FOLDER}/empty.seg").close()
    newer = disk.create(f"{INCOMING_FOLDER}/newer.seg")
    newer.append(sound[:8] + b"\x63" + sound[9:-16] + b"\x63" + sound[-15:])
    incoming(disk, "nothing.seg", series={})
    disk.create(f"{INCOMING_FOLDER}/unfinished.seg.tmp").close()
    engine = open_engine(disk)
    append(engine, LIVE)
    maintain_all(engine, NOW)
    assert contents(engine) == TOGETHER
    statistics = engine.statistics()
    assert statistics.incoming_rejected_total == 4
    assert statistics.segments_adopted_total == 1
    assert ".bad" in engine.upkeep.last_failure
    left = ["empty.bad", "newer.bad", "nothing.bad", "torn.bad", "unfinished.seg.tmp"]
    assert disk.list(INCOMING_FOLDER) == left


def test_a_crash_anywhere():
    """However it is interrupted, the import is there in the end, once."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    append(engine, LIVE)
    incoming(disk, "x.seg")
    first = len(disk.changes)
    maintain_all(engine, NOW)
    assert contents(engine) == TOGETHER
    engine.close()
    for count, loss in losses(disk, first):
        found = disk.after_crash(count, loss, seed=count)
        engine = open_engine(found, clock=clock)
        assert contents(engine) in (
            TOGETHER,
            {s: [x for x in f if x[1] in (9.0, 4.0)] for s, f in TOGETHER.items() if s != B},
        )
        maintain_all(engine, NOW)
        assert contents(engine) == TOGETHER, (count, loss)
        assert len(engine.segments.entries) == 1
        assert len(found.list(SEGMENT_FOLDER)) == 1
        assert found.list(INCOMING_FOLDER) == []
        engine.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_fault_anywhere(number):
    """It is tried again after a pause, and taken over once."""
    whole = FaultDisk(MemDisk())
    engine = open_engine(whole)
    append(engine, LIVE)
    incoming(whole, "x.seg")
    first = whole.change_count
    maintain_all(engine, NOW)
    for at in range(first, whole.change_count):
        disk = FaultDisk(MemDisk(), {at: number})
        engine = open_engine(disk)
        append(engine, LIVE)
        incoming(disk, "x.seg")
        for pause in range(3):
            maintain_all(engine, NOW + pause * PAUSE_MS)
        assert contents(engine) == TOGETHER
        engine.close()
        engine = open_engine(disk)
        maintain_all(engine, NOW)
        assert contents(engine) == TOGETHER
        assert disk.list(INCOMING_FOLDER) == []


def test_imports_of_old_data_are_merged():
    """Adopted segments that share a stretch of time become one like any other."""
    disk, clock = MemDisk(), Clock()
    width = OPTIONS.block_ms
    for i in range(8):
        at = NOW // width * width - 2 * width + i
        incoming(disk, f"{i}.seg", series={A: [(at, float(i))], B: [(at, float(i))]})
    engine = open_engine(disk, clock=clock)
    append(engine, LIVE)
    maintain_all(engine, NOW)
    assert len(engine.segments.entries) == 1
    assert [v for _, v in contents(engine)[B]] == [float(i) for i in range(8)]
