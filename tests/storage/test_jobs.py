"""The scheduler of background jobs: order, slices, books, and giving up."""

from __future__ import annotations

import errno

import attrs
import pytest
from engine_cases import BLOCK_MS, OPTIONS, START_MS, Clock, append, contents, labels, maintain_all, open_engine
from life_cases import A, B, fill, only

from tinyobs.storage.compaction import CROWD, SMALL, plan_merge
from tinyobs.storage.jobs import Job, Ledger, Watch, Work
from tinyobs.storage.layout import SEGMENT_FOLDER
from tinyobs.storage.manifest import SegmentEntry
from tinyobs.testing.mem_disk import MemDisk


class Steps(Job):
    """A job of some steps that remembers what is called."""

    kind = "steps"

    def __init__(self, count, error=None):
        self.left, self.error, self.calls = count, error, []
        self.work = Work(samples_total=10 * count, bytes_before=5)

    def step(self):
        self.left -= 1
        self.calls.append("step")
        self.work.samples_read += 10
        return self.left > 0

    def finish(self):
        self.calls.append("finish")
        if self.error is not None:
            raise self.error
        self.work.bytes_after = 3

    def abort(self):
        self.calls.append("abort")


def planned(job):
    """An engine whose only planner has one job."""
    engine = open_engine(MemDisk())
    jobs = [job]
    engine.upkeep.planners = [lambda given, now_ms: jobs.pop() if jobs else None]
    return engine


def test_one_slice_a_call():
    """Planning, each step and the end are slices of their own; then there is no more."""
    job = Steps(3)
    engine = planned(job)
    found = []
    while engine.maintain(START_MS):
        found.append((len(job.calls), dict(engine.statistics().job_share)))
    assert [n for n, _ in found] == [0, 1, 2, 3, 4]
    assert [s.get("steps") for _, s in found] == [0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0, None]
    assert job.calls == ["step", "step", "step", "finish"]


def test_the_books():
    """What a job did is counted by its kind."""
    engine = planned(Steps(2))
    maintain_all(engine, START_MS)
    s = engine.statistics()
    assert s.jobs_total["steps"] == 1
    assert s.jobs_aborted_total["steps"] == 0
    assert s.job_samples_read_total["steps"] == 20
    assert (s.job_bytes_before_total["steps"], s.job_bytes_after_total["steps"]) == (5, 3)
    assert s.job_seconds_total["steps"] >= 0
    assert s.job_slice_seconds_max["steps"] >= 0


def test_a_job_that_fails_is_given_up():
    """It is aborted, counted, and the reason is kept."""
    job = Steps(1, OSError(errno.EIO, "broken"))
    engine = planned(job)
    maintain_all(engine, START_MS)
    assert job.calls == ["step", "finish", "abort"]
    s = engine.statistics()
    assert (s.jobs_total["steps"], s.jobs_aborted_total["steps"], s.maintenance_failures_total) == (0, 1, 1)
    assert "broken" in engine.upkeep.last_failure


def test_a_delete_gives_up_the_job():
    """Whatever runs is aborted before the delete takes its number."""
    job = Steps(5)
    engine = planned(job)
    engine.maintain(START_MS)
    engine.maintain(START_MS)
    engine.delete(only("a"), 0, 1)
    assert job.calls == ["step", "abort"]


def test_a_merge_given_up_at_the_last_moment_leaves_no_file():
    """A segment that is written but not listed yet is removed with the job."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, attrs.evolve(OPTIONS, retention_ms=100 * OPTIONS.retention_ms), clock)
    seen = False
    for i in range(0, 400, 5):
        fill(engine, clock, i, i + 5)
        while engine.maintain(clock.now_ms):
            job = engine.upkeep.job
            if job is not None and job.kind == "merge" and engine.upkeep._is_worked_off and not seen:
                seen = True
                before = contents(engine)
                engine.delete(only("nobody"), 0, 1)
                assert len(disk.list(SEGMENT_FOLDER)) == len(engine.segments.entries)
                assert contents(engine) == before
    assert seen
    assert len(disk.list(SEGMENT_FOLDER)) == len(engine.segments.entries)


def test_cutting_goes_before_all_else():
    """The head is emptied before segments are looked after."""
    clock = Clock()
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, retention_ms=100 * OPTIONS.retention_ms), clock)
    kinds = []
    fill(engine, clock, 0, 100)
    while engine.maintain(clock.now_ms):
        job = engine.upkeep.job
        if job is not None and job.kind not in kinds:
            kinds.append(job.kind)
    assert kinds == ["prepare", "cut", "merge"]


def test_progress_of_a_real_merge():
    """Samples read and written, and bytes before and after, are those of the segments."""
    clock = Clock()
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, retention_ms=100 * OPTIONS.retention_ms), clock)
    fill(engine, clock, 0, 100)
    maintain_all(engine, clock.now_ms)
    s = engine.statistics()
    assert s.job_samples_read_total["merge"] == s.job_samples_written_total["merge"] > 0
    assert s.job_bytes_after_total["merge"] < s.job_bytes_before_total["merge"]
    assert s.segment_bytes_by_tier == {"raw": s.segment_bytes}


def test_ledger_and_watch():
    """A kind that nobody knows yet has no cost; a fresh watch is not up."""
    ledger = Ledger()
    assert ledger.of("x").finished == 0
    ledger.charge("x", Watch())
    assert ledger.of("x").slice_seconds_max > 0
    assert not Watch().is_up
    assert Work().share == 0.0


def entry(sequence, first, last, size, tier_ms=0):
    return SegmentEntry(sequence, 0, first * BLOCK_MS, last * BLOCK_MS - 1, 1, 10, size, tier_ms)


def test_small_additions_to_a_very_wide_segment():
    """A segment wider than any stretch takes in what is small beside it, when that is much or many."""
    options = attrs.evolve(OPTIONS, retention_ms=36_000_000)
    wide = entry(1, 0, 1000, 10_000)
    small = [entry(2 + i, 100 * i, 100 * i + 1, 10_000 // SMALL // 4) for i in range(CROWD)]
    assert plan_merge([wide, *small[:2]], options) == (0, [])
    assert plan_merge([wide, *small[:4]], options)[1] == [wide, *small[:4]]
    tiny = [attrs.evolve(e, bytes=1) for e in small]
    assert plan_merge([wide, *tiny], options)[1] == [wide, *tiny]
    beside = entry(50, 1001, 1002, 9)
    assert beside not in plan_merge([wide, *small[:4], beside], options)[1]


def test_tiers_are_not_merged():
    """Downsampled segments are made whole by their own job."""
    entries = [entry(i, 0, 1, 100, 300_000) for i in range(CROWD)]
    assert plan_merge(entries, OPTIONS) == (0, [])


def test_series_without_samples_vanish_with_a_rewrite():
    """The index of the new segment has only series that are left."""
    clock = Clock()
    engine = open_engine(MemDisk(), clock=clock)
    append(engine, [(labels("many", i=str(i)), START_MS, 1.0) for i in range(500)] + [(A, START_MS, 1.0)])
    append(engine, [(B, START_MS + 4 * BLOCK_MS, 1.0)])
    maintain_all(engine, START_MS)
    assert engine.segments.entries[0].series == 501
    engine.delete(only("many"), START_MS, START_MS)
    while engine.clean_tombstones():
        pass
    assert engine.segments.entries[0].series == 1
    assert A in contents(engine)
