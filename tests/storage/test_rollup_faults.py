"""Building tiers while the disk fails or the power does: raw samples stay, and tiers come in the end."""

from __future__ import annotations

import errno

import pytest
from engine_cases import contents, maintain_all
from tier_cases import DAY0_MS, FIVE_MS, OPTIONS, Clock, ask, days, load, open_tiered, tiers_of, with_options

from tinyobs.storage.layout import SEGMENT_FOLDER, segment_name
from tinyobs.storage.options import DAY_MS, HOUR_MS
from tinyobs.storage.upkeep import PAUSE_MS
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import Loss, MemDisk

SPAN = DAY0_MS + HOUR_MS, DAY0_MS + DAY_MS
NOW_MS = DAY0_MS + 2 * DAY_MS + 13 * HOUR_MS


def filled():
    """A disk with two and a half days of raw samples, and what is to be answered."""
    disk, clock = MemDisk(), Clock(DAY0_MS)
    engine = open_tiered(disk, with_options(OPTIONS, tiers=()), clock)
    load(engine, {"c_total": days(range(700), FIVE_MS), "g": days([i % 7 for i in range(700)], FIVE_MS)}, clock)
    answers = expected(engine)
    engine.close()
    return disk, answers


def expected(engine):
    return contents(engine), [ask(engine, t, *SPAN, HOUR_MS)[0] for t in ("rate(c_total[1h])", "max_over_time(g[1h])")]


def listed(disk, engine):
    on_disk = {f"{SEGMENT_FOLDER}/{name}" for name in disk.list(SEGMENT_FOLDER)}
    return on_disk == {segment_name(e.sequence) for e in engine.segments.entries}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_every_failing_operation_is_survived(number):
    """The job is given up without a trace and done later; answers never change."""
    disk, answers = filled()
    whole = FaultDisk(disk.after_crash(len(disk.changes), Loss.NOTHING))
    engine = open_tiered(whole, clock=Clock(NOW_MS))
    first = whole.change_count
    maintain_all(engine, NOW_MS)
    last, made = whole.change_count, tiers_of(engine)
    engine.close()
    assert len(made) >= 8
    for at in range(first, last, 7):
        inner = disk.after_crash(len(disk.changes), Loss.NOTHING)
        failing = FaultDisk(inner, {at: number})
        clock = Clock(NOW_MS)
        engine = open_tiered(failing, clock=clock)
        maintain_all(engine, NOW_MS)
        assert expected(engine) == answers, at
        maintain_all(engine, NOW_MS + PAUSE_MS + 1)
        maintain_all(engine, NOW_MS + 2 * PAUSE_MS + 2)
        assert tiers_of(engine) == made, at
        assert expected(engine) == answers, at
        engine.close()
        again = open_tiered(inner, clock=clock)
        assert listed(inner, again), at
        assert expected(again) == answers, at
        again.close()


@pytest.mark.parametrize("loss", [Loss.NOTHING, Loss.DATA_AND_NAMES, Loss.TORN_WRITE])
def test_every_crash_is_survived(loss):
    """After a crash at any change answers are the same, and tiers come."""
    disk, answers = filled()
    before = len(disk.changes)
    engine = open_tiered(disk, clock=Clock(NOW_MS))
    maintain_all(engine, NOW_MS)
    made = tiers_of(engine)
    engine.close()
    for count in range(before, len(disk.changes), 11):
        found = disk.after_crash(count, loss, seed=count)
        engine = open_tiered(found, clock=Clock(NOW_MS))
        assert expected(engine) == answers, count
        maintain_all(engine, NOW_MS)
        assert tiers_of(engine) == made, count
        assert expected(engine) == answers, count
        assert listed(found, engine), count
        engine.close()


@pytest.mark.parametrize("slices", range(4))
def test_a_job_given_up_leaves_nothing(slices):
    """Abandoned after any slice, a job leaves no file, and it is begun anew."""
    disk, answers = filled()
    engine = open_tiered(disk, with_options(OPTIONS, slice_samples_max=1000), Clock(NOW_MS))
    while engine.upkeep.job is None or engine.upkeep.job.kind != "rollup":
        assert engine.maintain(NOW_MS)
    for _ in range(slices):
        assert engine.maintain(NOW_MS)
    engine.upkeep.abandon()
    assert engine.upkeep.failure_count == 0
    assert listed(disk, engine)
    maintain_all(engine, NOW_MS)
    assert tiers_of(engine)
    assert expected(engine) == answers
    engine.close()
