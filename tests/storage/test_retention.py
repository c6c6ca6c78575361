"""What goes when: by time, size, share of the disk, tier and selector."""

from __future__ import annotations

import errno

import attrs
import pytest
from engine_cases import BLOCK_MS, Clock, append, contents, labels, maintain_all, open_engine
from life_cases import NOW, A, B, losses

from tinyobs.model.matchers import equal
from tinyobs.storage.expiry import LATE_MS, LOOK_EVERY_MS
from tinyobs.storage.manifest import SegmentEntry
from tinyobs.storage.options import DAY_MS, HOUR_MS, EngineOptions, SelectorRetention
from tinyobs.storage.retention import plan_drop, size_limit
from tinyobs.storage.upkeep import PAUSE_MS
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import TOTAL_BYTES, MemDisk

DAYS = EngineOptions(retention_ms=10 * DAY_MS, tiers=((300_000, 90 * DAY_MS), (HOUR_MS, 2 * 366 * DAY_MS)))
SHORT = SelectorRetention((equal("__name__", "a"),), HOUR_MS)
OPTIONS = EngineOptions(
    block_ms=BLOCK_MS, retention_ms=100 * HOUR_MS, slice_samples_max=1000, retention_by_selector=(SHORT,)
)


def entry(sequence, day, tier_ms=0, size=100):
    return SegmentEntry(sequence, 0, day * DAY_MS, (day + 1) * DAY_MS - 1, 1, 10, size, tier_ms)


def dropped(entries, options, day, **more):
    return [e.sequence for e in plan_drop(entries, options, day * DAY_MS, **more)]


def test_each_tier_has_its_own_age():
    """Raw goes first, then 5m, then 1h; a tier that is no longer made goes with raw."""
    entries = [entry(1, 0), entry(2, 0, 300_000), entry(3, 0, HOUR_MS), entry(4, 0, 7)]
    assert dropped(entries, DAYS, 10) == []
    assert dropped(entries, DAYS, 12) == [1, 4]
    assert dropped(entries, DAYS, 92) == [1, 2, 4]
    assert dropped(entries, DAYS, 734) == [1, 2, 3, 4]


def test_size_counts_the_log_and_takes_the_oldest():
    """Whatever their tier, the oldest segments go until log and segments together fit."""
    entries = [entry(i, i, 300_000 if i % 2 else 0) for i in range(6)]
    options = attrs.evolve(DAYS, retention_bytes=400)
    assert dropped(entries, options, 6) == [0, 1]
    assert dropped(entries, options, 6, log_bytes=150) == [0, 1, 2, 3]
    assert dropped(entries, options, 6, log_bytes=10_000) == [0, 1, 2, 3, 4, 5]


def test_share_of_the_disk():
    """The smaller of bytes and percent holds; without a known size of the disk the percent do not."""
    options = attrs.evolve(DAYS, retention_percent=10.0, retention_bytes=500)
    assert [size_limit(options, n) for n in (0, 1000, 10_000)] == [500, 100, 500]
    assert size_limit(DAYS, 1000) == 0
    assert dropped([entry(i, i) for i in range(6)], options, 6, disk_bytes=3000) == [0, 1, 2]


def test_the_engine_asks_the_disk():
    """A share of the file system that is smaller than what is stored empties the directory, oldest first."""
    clock = Clock()
    options = attrs.evolve(OPTIONS, retention_by_selector=(), retention_percent=100 * 2000 / TOTAL_BYTES)
    engine = open_engine(MemDisk(), options, clock)
    fill(engine, clock, 0, 60)
    maintain_all(engine, clock.now_ms)
    statistics = engine.statistics()
    assert statistics.segments_dropped_total > 0
    assert (statistics.time_retentions_total, statistics.size_retentions_total) == (0, 1)
    assert contents(engine)[A][-1][0] == clock.now_ms


def fill(engine, clock, first, last):
    for i in range(first, last):
        clock.now_ms = NOW + i * 10_000
        append(engine, [(A, clock.now_ms, float(i)), (B, clock.now_ms, float(-i))])


def aged(disk, clock, options=OPTIONS, hours=2):
    """An engine with segments whose samples of A, but not of B, are older than they may be."""
    engine = open_engine(disk, options, clock)
    fill(engine, clock, 0, 60)
    maintain_all(engine, clock.now_ms)
    clock.now_ms += hours * HOUR_MS
    append(engine, [(B, clock.now_ms, 1.0)])
    return engine


def test_a_selector_has_its_own_age():
    """Samples of the series that fit go when they are too old, in whatever segment; others stay."""
    clock = Clock()
    engine = aged(MemDisk(), clock)
    before = contents(engine)
    maintain_all(engine, clock.now_ms)
    assert contents(engine) == {B: before[B]}
    jobs = engine.statistics().jobs_total
    assert jobs.get("expire", 0) + jobs["merge"] > 0
    assert engine.statistics().job_samples_read_total["cut"] == 120
    done = dict(engine.statistics().jobs_total)
    clock.now_ms += LOOK_EVERY_MS + 1
    maintain_all(engine, clock.now_ms)
    assert dict(engine.statistics().jobs_total) == done, "what was rewritten is not rewritten again"


def test_a_longer_retention_has_no_effect():
    """A selector cannot keep samples beyond the retention of all."""
    clock = Clock()
    longer = SelectorRetention(SHORT.matchers, 1000 * HOUR_MS)
    engine = aged(MemDisk(), clock, attrs.evolve(OPTIONS, retention_by_selector=(longer,)), hours=102)
    maintain_all(engine, clock.now_ms)
    assert A not in contents(engine)
    assert engine.statistics().jobs_total["drop"] > 0


def test_little_waits_until_it_is_late():
    """A segment is not rewritten for a few samples before all of them have been expired for a day."""
    clock = Clock()
    options = attrs.evolve(OPTIONS, block_ms=HOUR_MS, retention_ms=1000 * HOUR_MS)
    engine = open_engine(MemDisk(), options, clock)
    many = [A, *(labels("z", i=str(i)) for i in range(30))]
    for i in range(8):
        clock.now_ms = NOW + i * 1000  # within one block
        append(engine, [(s, clock.now_ms, 1.0) for s in many])
    clock.now_ms += 90 * 60_000  # the block is complete, three of them are not: nothing but expiry writes it again
    append(engine, [(B, clock.now_ms, 1.0)])
    maintain_all(engine, clock.now_ms)
    assert A in contents(engine)
    clock.now_ms += LATE_MS
    append(engine, [(B, clock.now_ms, 1.0)])
    maintain_all(engine, clock.now_ms)
    assert A not in contents(engine)


def test_a_clock_that_jumps_ahead_deletes_nothing():
    """Age counts from the newest sample where the clock is ahead of it."""
    clock = Clock()
    engine = open_engine(MemDisk(), OPTIONS, clock)
    fill(engine, clock, 0, 60)
    before = contents(engine)
    maintain_all(engine, clock.now_ms + 1000 * DAY_MS)
    assert contents(engine) == before


def test_a_crash_anywhere_while_samples_expire():
    """Expired samples are there or not; all others always are."""
    disk, clock = MemDisk(), Clock()
    engine = aged(disk, clock)
    before, first = contents(engine), len(disk.changes)
    maintain_all(engine, clock.now_ms)
    engine.close()
    for count, loss in losses(disk, first):
        engine = open_engine(disk.after_crash(count, loss, seed=count), OPTIONS, clock)
        found = contents(engine)
        assert found[B] == before[B]
        assert set(found.get(A, ())) <= set(before[A])
        maintain_all(engine, clock.now_ms)
        assert contents(engine) == {B: before[B]}
        engine.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_fault_anywhere_while_samples_expire(number):
    """It is tried again after a pause, and no other sample is lost."""
    whole = FaultDisk(MemDisk())
    clock = Clock()
    engine = aged(whole, clock)
    expected, first = {B: contents(engine)[B]}, whole.change_count
    maintain_all(engine, clock.now_ms)
    for at in range(first, whole.change_count, 2):
        disk, clock = FaultDisk(MemDisk(), {at: number}), Clock()
        engine = aged(disk, clock)
        for pause in range(3):
            maintain_all(engine, clock.now_ms + pause * (PAUSE_MS + LOOK_EVERY_MS))
        if not engine.wal.failure:
            assert contents(engine) == expected, at
        engine.close()
        engine = open_engine(disk, OPTIONS, clock)
        assert contents(engine)[B] == expected[B]


def test_options_have_limits():
    """Ages and shares beyond their bounds are refused."""
    with pytest.raises(ValueError, match="retention_ms"):
        SelectorRetention((), HOUR_MS - 1)
    with pytest.raises(ValueError, match="retention_percent"):
        EngineOptions(retention_percent=101.0)
