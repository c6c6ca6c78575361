"""A disk that is full or breaks: what the engine says, what it keeps, and how it goes on."""

from __future__ import annotations

import errno

import attrs
import pytest
from engine_cases import (
    BLOCK_MS,
    OPTIONS,
    START_MS,
    Clock,
    append,
    contents,
    exemplars_of,
    histogram,
    labels,
    maintain_all,
    open_engine,
)

from tinyobs.errors import DiskFullError, ReadOnlyError, StorageError
from tinyobs.storage.upkeep import PAUSE_MS
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import MemDisk

A, B, H = labels("a"), labels("b"), labels("h")
NOW = START_MS


def test_a_full_disk_refuses_and_resumes_by_itself():
    """While the disk is full appends raise and queries work; afterwards everything goes on, across a restart too."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk)
    append(engine, [(A, NOW, 1.0)])
    disk.full = True
    for _ in range(2):
        with pytest.raises(DiskFullError):
            append(engine, [(A, NOW + 1, 2.0), (B, NOW, 2.0)])
    assert contents(engine) == {A: [(NOW, 1.0)]}
    assert engine.statistics().disk_full_total == 2
    assert engine.statistics().read_only == 0
    disk.full = False
    assert append(engine, [(A, NOW + 1, 3.0), (B, NOW, 3.0)]).stored == 2
    engine.close()
    engine = open_engine(disk)
    assert contents(engine) == {A: [(NOW, 1.0), (NOW + 1, 3.0)], B: [(NOW, 3.0)]}
    assert engine.statistics().replay_torn_bytes == 0


def test_a_full_disk_at_the_turn_of_a_log_file():
    """When no new log file can be created, the append is refused and the next one succeeds."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk)
    n = 0
    while engine.wal._file.size < OPTIONS.wal_file_bytes_max:
        append(engine, [(labels("m", i=str(n)), NOW, float(n))])
        n += 1
    disk.full = True
    with pytest.raises(DiskFullError):
        append(engine, [(A, NOW, 1.0)])
    disk.full = False
    assert append(engine, [(A, NOW, 2.0)]).stored == 1
    engine.close()
    assert contents(open_engine(disk))[A] == [(NOW, 2.0)]


@pytest.mark.parametrize("after", [0, 1])
def test_a_failed_write_or_fsync_is_final_until_restart(after):
    """After EIO nothing is taken; what was acknowledged before is there, also after the restart."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk)
    append(engine, [(A, NOW, 1.0)])
    disk.faults[disk.change_count + after] = errno.EIO
    with pytest.raises(ReadOnlyError, match="no more samples are taken until restart"):
        append(engine, [(A, NOW + 1, 2.0)])
    with pytest.raises(ReadOnlyError):
        append(engine, [(A, NOW + 2, 2.0)])
    assert contents(engine) == {A: [(NOW, 1.0)]}
    assert engine.statistics().read_only == 1
    maintain_all(engine, NOW)
    engine.close()
    engine = open_engine(disk)
    assert contents(engine)[A][0] == (NOW, 1.0)
    assert append(engine, [(A, NOW + 9, 9.0)]).stored == 1


def _fill(engine, first=0):
    for i in range(first, first + 30):
        now = NOW + i * 10_000
        samples = [(A, now, float(i)), (B, now, -float(i)), (H, now, histogram(i), NOW - 1)]
        append(engine, samples, [(H, (("trace", str(i)),), 1.0, now)])


@pytest.mark.timeout(600)  # the upkeep begins anew for every call of the disk
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_fault_anywhere_in_upkeep_loses_nothing(number):
    """Cut and merge are given up at any fault, everything stays readable, and they succeed later."""
    whole = FaultDisk(MemDisk())
    engine = open_engine(whole)
    _fill(engine)
    expected, traces = contents(engine, starts=True), exemplars_of(engine)
    begin = whole.change_count
    maintain_all(engine, NOW)
    assert engine.statistics().cuts_total == 1
    for at in range(begin, whole.change_count):
        disk = FaultDisk(MemDisk(), {at: number})
        engine = open_engine(disk)
        _fill(engine)
        try:
            maintain_all(engine, NOW)
        except StorageError as e:
            pytest.fail(f"change {at}: {e}")
        assert contents(engine, starts=True) == expected, f"change {at}"
        maintain_all(engine, NOW + PAUSE_MS)
        assert contents(engine, starts=True) == expected, f"change {at}"
        if not engine.statistics().read_only:
            assert engine.statistics().cuts_total == 1, f"change {at}"
        engine.close()
        engine = open_engine(disk)
        assert contents(engine, starts=True) == expected, f"change {at}"
        assert exemplars_of(engine) == traces, f"change {at}"
        maintain_all(engine, NOW)
        assert contents(engine, starts=True) == expected
        assert append(engine, [(A, NOW + 400_000, 1.0)]).stored == 1


def test_a_failed_upkeep_pauses():
    """After a failure nothing is tried for a minute."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk)
    _fill(engine)
    disk.full = True
    maintain_all(engine, NOW)
    failures = engine.statistics().maintenance_failures_total
    assert failures == 1
    maintain_all(engine, NOW + PAUSE_MS - 1)
    assert engine.statistics().maintenance_failures_total == failures
    disk.full = False
    maintain_all(engine, NOW + PAUSE_MS)
    assert engine.statistics().cuts_total == 1


def test_no_space_when_opening_is_a_storage_error():
    """An engine that cannot begin its log says so and gives the lock back."""
    disk = FaultDisk(MemDisk())
    disk.full = True
    with pytest.raises(StorageError):
        open_engine(disk)
    disk.full = False
    open_engine(disk)


def test_a_start_on_a_full_disk_answers_queries():
    """What is stored can be asked for, everything else is refused in words, and it resumes by itself."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk)
    _fill(engine)
    expected, traces = contents(engine, starts=True), exemplars_of(engine)
    engine.close()
    for full_again in (False, True):
        disk.full = True
        engine = open_engine(disk)
        assert contents(engine, starts=True) == expected
        (notice,) = engine.take_notices()
        assert notice.text.startswith("the disk is full: no log file can be created")
        with pytest.raises(DiskFullError):
            append(engine, [(A, NOW + 400_000, 1.0)])
        with pytest.raises(DiskFullError):
            engine.snapshot()
        with pytest.raises(DiskFullError):
            engine.delete([()], NOW, NOW)
        maintain_all(engine, NOW)
        assert contents(engine, starts=True) == expected
        disk.full = full_again
        if not full_again:
            maintain_all(engine, NOW + PAUSE_MS)
            assert engine.statistics().cuts_total == 1
            assert append(engine, [(A, NOW + 400_000, 1.0)]).stored == 1
            expected = contents(engine, starts=True)
        engine.close()
    disk.full = False
    engine = open_engine(disk)
    assert contents(engine, starts=True) == expected
    assert exemplars_of(engine) == traces


def test_memory_limit_cuts_early():
    """When sealed samples exceed their limit the head is cut before its block is complete."""
    options = attrs.evolve(OPTIONS, head_bytes_max=1 << 20)
    engine = open_engine(MemDisk(), options, Clock(NOW + BLOCK_MS))
    append(engine, [(A, NOW + i, float(i)) for i in range(6000)])
    assert maintain_all(engine, NOW) == 0
    engine.head.chunk_bytes = options.head_bytes_max + 1
    maintain_all(engine, NOW)
    assert engine.statistics().cuts_total == 1
    assert len(contents(engine)[A]) == 6000


def test_memory_is_bounded_when_nothing_can_be_cut():
    """When sealed samples exceed twice their limit, appends are refused until a cut succeeds."""
    disk = FaultDisk(MemDisk())
    options = attrs.evolve(OPTIONS, head_bytes_max=1 << 20)
    engine = open_engine(disk, options)
    append(engine, [(A, NOW + i, float(i)) for i in range(6000)])
    engine.head.chunk_bytes = 2 * options.head_bytes_max + 1
    disk.full = True
    maintain_all(engine, NOW)
    engine.head.chunk_bytes = 2 * options.head_bytes_max + 1
    with pytest.raises(DiskFullError, match="the disk is full"):
        append(engine, [(B, NOW, 1.0)])
    disk.full = False
    maintain_all(engine, NOW + PAUSE_MS)
    assert append(engine, [(B, NOW, 1.0)]).stored == 1
