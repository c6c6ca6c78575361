"""Rare meetings of jobs, deletes, imports and faults: each was once a fault."""

from __future__ import annotations

import errno

import attrs
import numpy as np
import pytest
import random_life
from engine_cases import BLOCK_MS, OPTIONS, Clock, append, contents, histogram, labels, maintain_all, open_engine
from life_cases import NOW, A, B, only, write_segment
from tier_cases import DAY0_MS, load, open_tiered

from tinyobs.errors import StorageError
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import handles, histograms_of, numbers_of
from tinyobs.model.matchers import equal
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.bulk import BulkLoader
from tinyobs.storage.index import LabelIndex
from tinyobs.storage.layout import INCOMING_FOLDER, SEGMENT_FOLDER, segment_name
from tinyobs.storage.options import DAY_MS, HOUR_MS, SyncMode
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.segment_format import decode_footer
from tinyobs.storage.segment_reader import SegmentReader
from tinyobs.storage.series_index import TAIL_MAX
from tinyobs.storage.upkeep import PAUSE_MS
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import Loss, MemDisk


class _PickyDisk(FaultDisk):
    """A disk that does not give certain files away."""

    locked_away = INCOMING_FOLDER + "/"

    def map(self, name):
        if name.startswith(self.locked_away):
            raise PermissionError(13, "Permission denied", name)
        return super().map(name)


def test_an_import_that_cannot_be_read_does_not_stop_retention():
    """A file that fails again and again leaves the work behind it in the order a turn between two tries."""
    disk, clock = _PickyDisk(MemDisk()), Clock()
    engine = open_engine(disk, clock=clock)
    append(engine, [(A, NOW, 1.0)])
    append(engine, [(A, NOW + 2 * BLOCK_MS, 1.0)])
    maintain_all(engine, NOW)
    disk.make_folder(INCOMING_FOLDER)
    write_segment(disk, f"{INCOMING_FOLDER}/x.seg", {B: [(NOW, 1.0)]})
    now = clock.now_ms = NOW + 2 * HOUR_MS
    append(engine, [(A, now, 2.0)])
    for _ in range(4):
        clock.now_ms += PAUSE_MS
        maintain_all(engine, clock.now_ms)
    assert contents(engine) == {A: [(now, 2.0)]}


def test_a_cut_that_finds_no_room_lets_retention_make_some():
    """While no segment can be written, those that are too old go all the same."""
    disk, clock = FaultDisk(MemDisk()), Clock()
    engine = open_engine(disk, clock=clock)
    append(engine, [(A, NOW, 1.0)])
    append(engine, [(A, NOW + 2 * BLOCK_MS, 1.0)])
    maintain_all(engine, NOW)
    assert disk.list(SEGMENT_FOLDER)
    now = clock.now_ms = NOW + 2 * HOUR_MS
    append(engine, [(A, now, 2.0)])
    append(engine, [(A, now + 2 * BLOCK_MS, 3.0)])
    real = engine.wal.checkpoint

    def no_room(*args):
        disk.full = True  # there is room for the next manifest, but not for the cut
        try:
            return real(*args)
        finally:
            disk.full = False

    engine.wal.checkpoint = no_room
    for _ in range(3):
        clock.now_ms += PAUSE_MS
        maintain_all(engine, clock.now_ms)
    assert disk.list(SEGMENT_FOLDER) == []
    engine.wal.checkpoint = real
    clock.now_ms += PAUSE_MS
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().cuts_total == 2
    assert contents(engine) == {A: [(now, 2.0), (now + 2 * BLOCK_MS, 3.0)]}


def test_deletes_of_a_segment_with_a_damaged_index_wait_and_harm_nobody():
    """A delete that cannot be resolved any more keeps no other segment from being rewritten, and stays in force."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    for i in range(3):
        append(engine, [(A, NOW + 4 * i * BLOCK_MS, 1.0), (B, NOW + 4 * i * BLOCK_MS, 2.0)])
        clock.now_ms = NOW + 4 * i * BLOCK_MS
        maintain_all(engine, clock.now_ms)
    first = engine.segments.entries[0]
    engine.close()
    data = disk.read(segment_name(first.sequence))
    sections, _ = decode_footer("", memoryview(data))
    disk.damage(segment_name(first.sequence), sections["names"].offset)
    engine = open_engine(disk, clock=clock)
    engine.delete(only("b"), -(2**62), 2**62)
    for _ in range(4):
        clock.now_ms += PAUSE_MS
        maintain_all(engine, clock.now_ms)
    assert engine.upkeep.damaged == {first.sequence}
    assert engine.upkeep.failure_count == 1
    assert len(engine.segments.deletes) == 1
    assert not engine.upkeep.is_pausing(clock.now_ms)
    assert [type(r).__name__ for e, r in engine.segments.pairs if e != first] == ["SegmentReader"]


@pytest.mark.parametrize("loss", list(Loss))
def test_what_a_killed_process_had_not_synced_is_durable_before_the_log_goes_on(loss):
    """Killed, opened again, and then the power fails: the log is whole and has what was acknowledged last."""
    options = attrs.evolve(OPTIONS, sync=SyncMode.NEVER)
    disk = MemDisk()
    engine = open_engine(disk, options)
    append(engine, [(A, NOW, 1.0)])
    disk.unlock()  # killed: what was written can be read, but is not on the disk
    engine = open_engine(disk)
    assert append(engine, [(A, NOW, 1.0), (B, NOW, 2.0)]).stored == 2  # one of them is known already
    disk = disk.after_crash(len(disk.changes), loss)
    assert contents(open_engine(disk)) == {A: [(NOW, 1.0)], B: [(NOW, 2.0)]}


@pytest.mark.parametrize("loss", [Loss.NAMES, Loss.DATA_AND_NAMES, Loss.BOTH_NAMES])
def test_a_manifest_whose_name_was_not_durable(loss):
    """Killed before the new manifest was durable, opened again, and then the power fails: nothing is lost."""
    for at in range(200):
        disk = FaultDisk(MemDisk())
        engine = open_engine(disk)
        for i in range(30):
            append(engine, [(A, NOW + i * 10_000, float(i))])
        before = disk.change_count
        disk.faults = dict.fromkeys(range(before + at, before + at + 1000), errno.EIO)
        maintain_all(engine, NOW)
        if disk.change_count <= before + at:
            return
        disk.unlock()
        disk.faults.clear()
        engine = open_engine(disk.inner)
        maintain_all(engine, NOW)
        inner = disk.inner
        for count in (len(inner.changes), len(inner.changes) - 1):
            found = contents(open_engine(inner.after_crash(count, loss)))
            assert found == {A: [(NOW + i * 10_000, float(i)) for i in range(30)]}, at


def test_a_day_in_which_there_was_nothing_gets_its_tier_when_samples_come():
    """What an import brings into an empty day between others is downsampled as any other."""
    disk = MemDisk()
    engine = open_tiered(disk)
    clock = engine._clock
    load(engine, {"a": [(DAY0_MS + 30 * DAY_MS, 1.0), (DAY0_MS + 31 * DAY_MS, 2.0)]}, clock)
    disk.make_folder(INCOMING_FOLDER)
    for name, days in (("x", (4, 7)), ("y", (5,))):
        rows = [(DAY0_MS + d * DAY_MS + HOUR_MS, 1.0) for d in days]
        write_segment(disk, f"{INCOMING_FOLDER}/{name}.seg", {labels(name): rows})
        clock.now_ms += PAUSE_MS
        maintain_all(engine, clock.now_ms)
    tiers = [(e, r) for e, r in engine.segments.tiers if e.tier_ms == HOUR_MS]
    assert labels("y") in {s for e, r in tiers for columns in r.iterate() for s in columns.labels}


def test_an_import_keeps_start_times_and_makes_no_histogram_of_a_float():
    """Start times come through sorting; a float with the bits of a handle becomes NaN, whatever is beside it."""
    disk, registry = MemDisk(), SeriesRegistry()
    loader = BulkLoader(disk, registry)
    refs = registry.intern_many([B, A])
    odd = handles(5, 6)[0]
    loader.add(Batch(refs, np.array([2, 1]), np.array([3.0, odd]), starts_ms=np.array([7, 8])))
    loader.add(Batch(refs[:1], np.array([1]), handles(0, 1), histograms=histograms_of([histogram(1)])))
    (made,) = loader.end_round()
    (columns,) = SegmentReader(disk, made.name, PageCache(0)).iterate()
    assert columns.labels == [A, B]
    assert columns.timestamps_ms.tolist() == [1, 1, 2]
    assert columns.starts_ms.tolist() == [8, 0, 7]
    assert np.isnan(columns.values[0])
    assert columns.values[2] == 3.0
    assert numbers_of(columns.values).tolist() == [-1, 0, -1]
    assert columns.histograms.one(0) == histogram(1)


def test_deletes_in_the_log_share_one_index(monkeypatch):
    """Many deletes do not make the start slow: series are indexed once while the log is replayed."""
    disk = MemDisk()
    engine = open_engine(disk)
    append(engine, [(labels("m", i=str(i)), NOW, 1.0) for i in range(2 * TAIL_MAX)])
    for i in range(20):
        append(engine, [(labels("m", i=str(i)), NOW + 1, 1.0)])
        engine.delete([[equal("i", str(i))]], NOW + 1, NOW + 1)
    engine.close()
    built = []
    real = LabelIndex.build
    monkeypatch.setattr(LabelIndex, "build", lambda *args: built.append(args) or real(*args))
    engine = open_engine(disk)
    assert len(built) == 1
    assert sum(map(len, contents(engine).values())) == 2 * TAIL_MAX


def test_a_snapshot_that_the_log_refuses_leaves_nothing_behind():
    """Where the log cannot be made durable there is no snapshot, and no link to a segment that would keep its space."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk, attrs.evolve(OPTIONS, sync=SyncMode.NEVER))
    append(engine, [(A, NOW, 1.0)])
    append(engine, [(A, NOW + 2 * BLOCK_MS, 1.0)])
    maintain_all(engine, NOW)
    append(engine, [(A, NOW + 2 * BLOCK_MS + 1, 1.0)])
    links = len(engine.segments.entries)
    disk.faults = {disk.change_count + links: errno.EIO}
    with pytest.raises(StorageError):
        engine.snapshot()
    assert not [f for f in disk.inner._files if f.startswith("snapshots/")]


def test_samples_of_the_future_do_not_end_downsampling():
    """An import with times far ahead of the clock does not make all that comes now look too old for tiers."""
    disk = MemDisk()
    engine = open_tiered(disk)
    clock = engine._clock
    disk.make_folder(INCOMING_FOLDER)
    write_segment(disk, f"{INCOMING_FOLDER}/x.seg", {labels("x"): [(DAY0_MS + 4000 * DAY_MS, 1.0)]})
    load(engine, {"a": [(DAY0_MS + d * DAY_MS + HOUR_MS, 1.0) for d in range(4)]}, clock)
    assert len(engine.segments.entries) > 1
    spans = engine.segments.tier_spans
    assert spans is not None
    assert spans.fresh[HOUR_MS][0][0] == DAY0_MS


@pytest.mark.parametrize("seed", range(6))
def test_random_lives(seed, monkeypatch):
    """Whatever happens in whatever order, the engine holds what a dictionary would; views hold what they held."""
    random_life.shrink_limits(monkeypatch.setattr)
    random_life.Life(seed, last_write_wins=seed % 3 == 2).live(40)


@pytest.mark.parametrize("restart", [False, True])
def test_a_forgotten_series_that_comes_late_replaces_nothing(restart):
    """A late sample of a series that the head has forgotten does not open the way for other values behind it."""
    disk, clock = MemDisk(), Clock()
    options = attrs.evolve(OPTIONS, retention_ms=24 * HOUR_MS)
    engine = open_engine(disk, options, clock)
    append(engine, [(A, NOW, 1.0), (B, NOW, 1.0)])
    for i in range(1, 150):
        clock.now_ms = NOW + i * BLOCK_MS // 2
        append(engine, [(B, clock.now_ms, float(i))])
        maintain_all(engine, clock.now_ms)
    assert append(engine, [(A, NOW - 5, 5.0)]).stored == 1
    if restart:
        engine.close()
        engine = open_engine(disk, options, clock)
    assert append(engine, [(A, NOW, 2.0)]).refused_total == 1
    assert append(engine, [(A, NOW, 1.0)]).stored == 1
    assert contents(engine)[A] == [(NOW - 5, 5.0), (NOW, 1.0)]


def test_an_import_that_cannot_be_removed_is_taken_over_once():
    """It does not bring back what is deleted afterwards, and is not merged for ever."""

    class Sticky(FaultDisk):
        def remove(self, name):
            if name.startswith(f"{INCOMING_FOLDER}/"):
                raise PermissionError(errno.EACCES, "Permission denied", name)
            super().remove(name)

    disk, clock = Sticky(MemDisk()), Clock()
    engine = open_engine(disk, clock=clock)
    disk.make_folder(INCOMING_FOLDER)
    write_segment(disk, f"{INCOMING_FOLDER}/x.seg", {A: [(NOW, 1.0)], B: [(NOW, 2.0)]})
    maintain_all(engine, NOW)
    assert contents(engine) == {A: [(NOW, 1.0)], B: [(NOW, 2.0)]}
    engine.delete(only("b"), -(2**62), 2**62)
    for _ in range(5):
        clock.now_ms += PAUSE_MS
        maintain_all(engine, clock.now_ms)
    assert contents(engine) == {A: [(NOW, 1.0)]}
    assert engine.statistics().segments_adopted_total == 1
    assert "cannot be removed" in engine.upkeep.last_failure
