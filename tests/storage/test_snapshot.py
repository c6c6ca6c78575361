"""Snapshots: complete data directories of their own, made while the engine works."""

from __future__ import annotations

import errno
import re

import pytest
from engine_cases import Clock, append, contents, maintain_all, open_engine
from life_cases import NOW, A, fill, losses, only

from tinyobs.errors import DiskFullError, StorageError
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import open_directory
from tinyobs.storage.layout import MANIFEST, SEGMENT_FOLDER, segment_name, snapshot_folder
from tinyobs.storage.options import EngineOptions
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import MemDisk

EVER = (-(2**62), 2**62)


def working(disk, clock):
    """An engine with segments, several log files and rows in memory."""
    engine = open_engine(disk, clock=clock)
    fill(engine, clock, 0, 30)
    maintain_all(engine, clock.now_ms)
    fill(engine, clock, 30, 45)
    return engine


def opened(disk, name, clock):
    """The snapshot on a disk of its own, opened."""
    folder = snapshot_folder(name) + "/"
    files = {n.removeprefix(folder): bytes(i.data) for n, i in disk._files.items() if n.startswith(folder)}
    return open_engine(MemDisk(files), clock=clock)


def test_a_snapshot_is_what_was_there():
    """It holds all that was stored when it was made and nothing of what came later."""
    disk, clock = MemDisk(), Clock()
    engine = working(disk, clock)
    engine.delete(only("a"), NOW + 100_000, NOW + 400_000)
    before = contents(engine)
    name = engine.snapshot()
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{16}", name)
    fill(engine, clock, 45, 90)
    engine.delete(only("b"), *EVER)
    while engine.clean_tombstones():
        pass
    maintain_all(engine, clock.now_ms)
    copy = opened(disk, name, clock)
    assert contents(copy) == before
    fill(copy, clock, 45, 60)
    maintain_all(copy, clock.now_ms)
    assert contents(copy)[A][:5] == before[A][:5]
    assert engine.snapshot() != name


def test_without_the_head():
    """Only what is in segments is in the snapshot, and it can be written to."""
    disk, clock = MemDisk(), Clock()
    engine = working(disk, clock)
    last = max(e.maxt_ms for e in engine.segments.entries)
    name = engine.snapshot(skip_head=True)
    copy = opened(disk, name, clock)
    expected = {s: [x for x in f if x[0] <= last] for s, f in contents(engine).items()}
    assert contents(copy) == expected
    append(copy, [(A, NOW + 900_000, 1.0)])
    copy.close()
    assert contents(engine) == contents(working(MemDisk(), Clock()))


def test_of_an_empty_engine():
    """There is nothing in it, and it opens."""
    disk = MemDisk()
    engine = open_engine(disk)
    for skip_head in (False, True):
        assert contents(opened(disk, engine.snapshot(skip_head=skip_head), Clock())) == {}


def test_on_a_real_disk(tmp_path):
    """Segments are hard links, which take no space; changing the snapshot does not change the original."""
    clock = Clock()
    options = EngineOptions(block_ms=100_000, retention_ms=3_600_000)
    engine = open_directory(tmp_path, SeriesRegistry(), clock, options)
    fill(engine, clock, 0, 30)
    maintain_all(engine, clock.now_ms)
    before = contents(engine)
    folder = tmp_path / snapshot_folder(engine.snapshot())
    segments = list((folder / SEGMENT_FOLDER).iterdir())
    assert segments
    assert all(s.stat().st_nlink == 2 for s in segments)
    copy = open_directory(folder, SeriesRegistry(), clock, options)
    assert contents(copy) == before
    fill(copy, clock, 30, 70)
    maintain_all(copy, clock.now_ms)
    copy.close()
    engine.close()
    engine = open_directory(tmp_path, SeriesRegistry(), clock, options)
    assert contents(engine) == before
    engine.close()


def test_a_crash_anywhere():
    """The directory is as it was; the snapshot is whole once its manifest is there, and always when it was returned."""
    disk, clock = MemDisk(), Clock()
    engine = working(disk, clock)
    before, first = contents(engine), len(disk.changes)
    name = engine.snapshot()
    done = len(disk.changes)
    for count, loss in losses(disk, first, done):
        found = disk.after_crash(count, loss, seed=count)
        engine = open_engine(found, clock=clock)
        assert contents(engine) == before
        engine.close()
        if count == done or (loss.value == "nothing" and f"{snapshot_folder(name)}/{MANIFEST}" in found._files):
            if count < done and disk.changes[count - 1].method in ("create", "append"):
                continue  # the manifest is being written
            assert contents(opened(found, name, clock)) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_fault_anywhere(number):
    """A snapshot that fails says so, leaves no file behind, and the engine goes on."""
    whole = FaultDisk(MemDisk())
    engine = working(whole, Clock())
    first = whole.change_count
    engine.snapshot()
    for at in range(first, whole.change_count):
        inner, clock = MemDisk(), Clock()
        disk = FaultDisk(inner, {at: number})
        engine = working(disk, clock)
        before = contents(engine)
        with pytest.raises(DiskFullError if number == errno.ENOSPC else StorageError, match="snapshot"):
            engine.snapshot()
        assert not [n for n in inner._files if n.startswith("snapshots/")]
        assert contents(engine) == before
        assert contents(opened(inner, engine.snapshot(), clock)) == before


def test_a_segment_removed_under_the_engine():
    """The operator is told which; queries and ingestion go on, and a snapshot says what it lacks."""
    disk, clock = MemDisk(), Clock()
    engine = working(disk, clock)
    before = contents(engine)
    victim = segment_name(engine.segments.entries[0].sequence)
    disk.remove(victim)
    clock.now_ms += 120_000
    engine.maintain(clock.now_ms)
    assert engine.statistics().segments_missing == 1
    assert victim in engine.upkeep.last_failure
    assert contents(engine) == before
    assert append(engine, [(A, clock.now_ms, 1.0)]).stored == 1
    with pytest.raises(StorageError, match=victim):
        engine.snapshot()
    maintain_all(engine, clock.now_ms)
    maintain_all(engine, clock.now_ms + 120_000)
    assert engine.statistics().segments_missing == 0, "written anew from what is still open"
    expected = before | {A: [*before[A], (clock.now_ms, 1.0)]}
    assert contents(engine) == expected
    engine.close()
    assert contents(open_engine(disk, clock=clock)) == expected
