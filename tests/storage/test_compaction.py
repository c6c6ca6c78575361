"""What is merged and what is dropped, and that merging is right."""

from __future__ import annotations

import attrs
import pytest
from engine_cases import OPTIONS, START_MS, Clock, append, contents, labels, maintain_all, open_engine

from tinyobs.errors import StorageError
from tinyobs.model.matchers import equal
from tinyobs.storage.compaction import CROWD, INPUTS_MAX, plan_merge
from tinyobs.storage.manifest import SegmentEntry
from tinyobs.storage.options import DAY_MS, HOUR_MS, EngineOptions
from tinyobs.storage.retention import plan_drop
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import MemDisk

HOURLY = EngineOptions(retention_ms=100 * DAY_MS, block_ms=HOUR_MS)


def entry(sequence, first_h, last_h, size=100, level=0):
    return SegmentEntry(sequence, level, first_h * HOUR_MS, last_h * HOUR_MS - 1, 1, 10, size)


def sequences(entries):
    return [e.sequence for e in entries]


def test_nothing_to_merge_in_order():
    """Single segments in their blocks, the wider stretch not complete."""
    assert plan_merge([], HOURLY) == (0, [])
    assert plan_merge([entry(1, 0, 1), entry(2, 1, 2)], HOURLY) == (0, [])


def test_a_complete_stretch_is_merged():
    """Three blocks become one when newer data exists."""
    level, inputs = plan_merge([entry(i, i, i + 1) for i in range(4)], HOURLY)
    assert (level, sequences(inputs)) == (2, [0, 1, 2])


def test_a_fresh_segment_that_is_alone_in_a_complete_stretch_is_written_again():
    """It is packed densely once, when no company can come any more, and then left."""
    alone, newer = entry(0, 1, 2), entry(1, 3, 4)
    assert plan_merge([alone, entry(1, 2, 3, level=1)], HOURLY) == (0, [])
    level, inputs = plan_merge([alone, newer], HOURLY)
    assert (level, sequences(inputs)) == (2, [0])
    assert plan_merge([attrs.evolve(alone, level=level), newer], HOURLY) == (0, [])


def test_overlapping_segments_of_a_block_are_merged_first():
    """The smallest width goes first."""
    level, inputs = plan_merge([entry(i, i, i + 1) for i in range(4)] + [entry(9, 1, 2)], HOURLY)
    assert (level, sequences(inputs)) == (1, [1, 9])


def test_a_small_late_addition_waits_for_company():
    """A large segment is not rewritten for a few samples, unless such pieces become many."""
    large = [entry(0, 0, 9, size=10_000, level=3), entry(1, 9, 10)]
    assert plan_merge([*large, entry(2, 0, 3)], HOURLY) == (0, [])
    many = [entry(2 + i, 0, 9) for i in range(CROWD)]
    assert len(plan_merge([*large, *many], HOURLY)[1]) == CROWD + 1


def test_a_crowd_in_the_current_block_is_merged():
    """Early cuts do not pile up until the block is complete, and one merge takes a bounded number."""
    assert plan_merge([entry(i, 0, 1) for i in range(CROWD - 1)], HOURLY) == (0, [])
    assert len(plan_merge([entry(i, 0, 1) for i in range(CROWD)], HOURLY)[1]) == CROWD
    assert len(plan_merge([entry(i, 0, 1) for i in range(99)], HOURLY)[1]) == INPUTS_MAX


def test_merging_stops_at_a_tenth_of_the_retention():
    """No segment becomes wider than the limit."""
    options = attrs.evolve(HOURLY, retention_ms=40 * HOUR_MS)
    assert options.segment_ms_max == 4 * HOUR_MS
    assert plan_merge([entry(i, 3 * i, 3 * i + 3, level=2) for i in range(9)], options) == (0, [])


def test_retention_by_time_and_size():
    """Expired segments go, then the oldest beyond the size."""
    entries = [entry(i, i, i + 1) for i in range(6)]
    options = attrs.evolve(HOURLY, retention_ms=2 * HOUR_MS)
    assert sequences(plan_drop(entries, options, 4 * HOUR_MS)) == [0, 1]
    options = attrs.evolve(HOURLY, retention_bytes=250)
    assert sequences(plan_drop(entries, options, 6 * HOUR_MS)) == [0, 1, 2, 3]
    assert plan_drop(entries, HOURLY, 6 * HOUR_MS) == []


def fill(engine, clock, steps, step_ms=15_000):
    """Append with upkeep as a daemon does it; return what was stored."""
    stored = {}
    for i in range(steps):
        clock.now_ms = START_MS + i * step_ms
        for name in ("a", "b") if i % 40 < 30 else ("a", "c"):
            series = labels(name, half=str(i // 200))
            append(engine, [(series, clock.now_ms, float(i))])
            stored.setdefault(series, []).append((clock.now_ms, float(i)))
        maintain_all(engine, clock.now_ms)
    return stored


def test_a_long_run_merges_and_keeps_everything():
    """Series that come and go through many cuts and merges are all there, in few segments."""
    options = attrs.evolve(OPTIONS, retention_ms=100 * HOUR_MS, out_of_order_window_ms=600_000)
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, options, clock)
    stored = fill(engine, clock, 400)
    assert contents(engine) == stored
    statistics = engine.statistics()
    assert statistics.compactions_total >= 10
    assert statistics.segments < 15
    assert statistics.segment_samples + statistics.head_samples == sum(map(len, stored.values()))
    assert len(disk.list("segments")) == statistics.segments
    assert len(disk.list("wal")) == 1
    assert statistics.head_series_removed_total > 0


def test_retention_drops_whole_segments():
    """Old samples go with their segment, newer ones stay, and the files are gone."""
    options = attrs.evolve(OPTIONS, retention_ms=HOUR_MS)
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, options, clock)
    stored = fill(engine, clock, 400, step_ms=30_000)
    limit = clock.now_ms - HOUR_MS
    got = contents(engine)
    for series, samples in stored.items():
        kept = got.get(series, [])
        assert kept == samples[len(samples) - len(kept) :]
        assert [s for s in samples if s[0] >= limit] == [s for s in kept if s[0] >= limit]
    assert min(s[0][0] for s in got.values()) > START_MS
    assert engine.statistics().segments_dropped_total > 0
    assert len(disk.list("segments")) == engine.statistics().segments


def test_the_size_limit_holds():
    """Segments beyond the size limit are dropped, oldest first."""
    options = attrs.evolve(OPTIONS, retention_bytes=6000)
    engine = open_engine(MemDisk(), options, clock := Clock())
    fill(engine, clock, 200)
    assert 0 < engine.statistics().segment_bytes <= 6000
    assert contents(engine)


def compact(engine):
    while engine.compact():
        pass


def test_everything_is_cut_and_merged_when_asked_for():
    """Then one segment holds all of a stretch, the newest samples included, and later samples find their place."""
    clock = Clock()
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, retention_ms=1000 * HOUR_MS), clock)
    stored = fill(engine, clock, 100)
    assert engine.statistics().head_samples > 0
    compact(engine)
    after = engine.statistics()
    assert (after.head_samples, after.segments) == (0, 1)
    assert contents(engine) == stored
    assert not engine.maintain(clock.now_ms)
    (first,) = engine.segments.entries
    assert first.level > 0
    clock.now_ms += 15_000
    append(engine, [(labels("late"), clock.now_ms, 7.0)])
    maintain_all(engine, clock.now_ms)
    assert contents(engine) == stored | {labels("late"): [(clock.now_ms, 7.0)]}
    assert engine.segments.entries == (first,), "what waits for newer data waits again"


def test_compacting_everything_tells_of_failure():
    """Whoever asked hears why; the daemon goes on as before."""
    clock = Clock()
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk, OPTIONS, clock)
    stored = fill(engine, clock, 20)
    disk.full = True
    with pytest.raises(StorageError):
        compact(engine)
    disk.full = False
    assert contents(engine) == stored


def test_segments_are_shown_as_blocks():
    """Figures are those of the manifest; masked by a delete a segment is still shown, with its pages."""
    engine = open_engine(MemDisk(), OPTIONS, clock := Clock())
    assert list(engine.blocks()) == []
    fill(engine, clock, 200)
    blocks, entries = engine.blocks(), engine.segments.entries
    assert len(blocks) == len(entries) > 0
    assert sorted((b.number, b.level, b.samples) for b in blocks) == sorted(
        (e.sequence, e.level + 1, e.samples) for e in entries
    )
    assert [b.mint_ms for b in blocks] == sorted(b.mint_ms for b in blocks)
    assert all(b.chunks > 0 and b.bytes > 0 and b.series > 0 for b in blocks)
    one = next(iter(contents(engine)))
    engine.delete([[equal(name, value) for name, value in one]], 0, blocks[0].maxt_ms - 1)
    assert [b.chunks for b in engine.blocks()] == [b.chunks for b in blocks]
