"""Deletes: what is gone, what stays, and that a crash or a fault anywhere changes nothing about it."""

from __future__ import annotations

import errno

import attrs
import pytest
from engine_cases import OPTIONS, Clock, append, contents, labels, maintain_all, open_engine
from life_cases import NOW, A, B, C, fill, losses, only, without

from tinyobs.errors import LimitExceeded, StorageError
from tinyobs.model.histograms import Histogram
from tinyobs.model.matchers import Matcher, MatchType, equal
from tinyobs.storage import deletion
from tinyobs.storage.cleaning import CLEAN_AFTER_MS
from tinyobs.storage.deletes import TEXT_MAX, Delete, decode_delete, encode_delete
from tinyobs.storage.layout import SEGMENT_FOLDER
from tinyobs.storage.upkeep import PAUSE_MS
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import MemDisk

EVER = (-(2**62), 2**62)


def mixed(disk=None, clock=None):
    """An engine with samples in segments, in chunks and in rows."""
    clock = clock or Clock()
    engine = open_engine(disk if disk is not None else MemDisk(), clock=clock)
    fill(engine, clock, 0, 30)
    maintain_all(engine, clock.now_ms)
    fill(engine, clock, 30, 45)
    assert engine.segments.entries
    return engine, clock


def clean(engine):
    while engine.clean_tombstones():
        pass


def test_a_delete_as_a_record_comes_back():
    """Encoding and decoding are inverse, regular expressions and odd texts included."""
    sets = ((equal("job", "x"), Matcher(MatchType.NOT_REGEX, "a", "b|ü\x00")), (equal("", ""),))
    delete = Delete(7, -5, 2**60, sets)
    assert decode_delete(memoryview(encode_delete(delete))) == delete


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_damaged_record_is_an_error_of_the_kind_that_the_log_expects(cut):
    """Shortened records do not pass for deletes."""
    with pytest.raises(Exception) as caught:
        decode_delete(memoryview(encode_delete(Delete(1, 0, 1, ((equal("a", "b"),),))))[:cut])
    assert type(caught.value).__name__ in ("ValueError", "error", "LookupError", "TypeError")


def test_a_whole_series_goes():
    """Neither samples nor the series itself are returned any more; others are untouched."""
    engine, _ = mixed()
    before = contents(engine)
    engine.delete(only("a"), *EVER)
    assert contents(engine) == without(before, A)
    for reader in engine.segments.readers:
        assert len(reader.select([equal("__name__", "a")])) == 0


def test_a_range_goes():
    """Both ends belong to the range, in the head and in segments."""
    engine, _ = mixed()
    before = contents(engine)
    for low, high in [(NOW + 50_000, NOW + 70_000), (NOW + 290_000, NOW + 420_000)]:
        engine.delete(only("b"), low, high)
        before = without(before, B, low, high)
        assert contents(engine) == before


def test_histograms_and_start_times_go_and_stay():
    """What is left of a series keeps its histograms and start times, in the head and in rewritten segments."""
    engine, clock = mixed()
    before = contents(engine, starts=True)
    low, high = NOW + 50_000, NOW + 420_000
    for name, series in (("b", B), ("c", C)):
        engine.delete(only(name), low, high)
        before = without(before, series, low, high)
        assert contents(engine, starts=True) == before
    clean(engine)
    maintain_all(engine, clock.now_ms)
    assert contents(engine, starts=True) == before
    assert any(isinstance(x[1], Histogram) for x in before[C])
    assert all(x[2] for x in before[B])


def test_several_selectors():
    """A series goes when any set of matchers fits; within a set all must."""
    engine, _ = mixed()
    before = contents(engine)
    engine.delete([*only("a"), *only("b"), [equal("__name__", "c"), equal("job", "no")]], *EVER)
    assert contents(engine) == {C: before[C]}
    engine.delete([], *EVER)
    engine.delete(only("c"), 5, 4)
    assert contents(engine) == {C: before[C]}


def test_what_comes_later_is_stored():
    """A sample in the range of a delete that comes after it stays, live and after a restart, wherever it is by then."""
    disk, clock = MemDisk(), Clock()
    engine, _ = mixed(disk, clock)
    engine.delete(only("a"), *EVER)
    late = (A, clock.now_ms - 5_000, 7.0)
    append(engine, [late])
    fill(engine, clock, 45, 50)
    expected = contents(engine)
    assert expected[A][0] == late[1:]
    engine.close()
    engine = open_engine(disk, clock=clock)
    assert contents(engine) == expected
    fill(engine, clock, 50, 90)
    maintain_all(engine, clock.now_ms)
    assert contents(engine)[A][:5] == expected[A][:5]


def test_the_newest_sample_is_remembered():
    """A series whose samples are gone still knows what is out of order and what is repeated."""
    engine, clock = mixed()
    engine.delete(only("a"), *EVER)
    append(engine, [(A, clock.now_ms, 44.0)])
    assert engine.statistics().samples_repeated_total == 1
    assert A not in contents(engine)
    assert append(engine, [(A, clock.now_ms - 2 * OPTIONS.out_of_order_window_ms, 1.0)]).stored == 0


def test_an_open_view_keeps_what_it_had():
    """A querier that was made before the delete returns what was there then."""
    engine, _ = mixed()
    with engine.querier(*EVER) as q:
        engine.delete(only("a"), *EVER)
        clean(engine)
        selection = q.select(only("a")[0], *EVER)
        assert selection.read(0, 1).samples == 45


def test_deleting_everything_leaves_a_working_engine():
    """An empty head can be cut, filled and restarted; segments without samples go."""
    disk, clock = MemDisk(), Clock()
    engine, _ = mixed(disk, clock)
    engine.delete([[Matcher(MatchType.REGEX, "__name__", ".+")]], *EVER)
    assert contents(engine) == {}
    assert engine.head.sample_count == 0
    clean(engine)
    assert engine.segments.entries == ()
    assert engine.segments.deletes == ()
    assert disk.list(SEGMENT_FOLDER) == []
    maintain_all(engine, clock.now_ms)
    fill(engine, clock, 45, 47)
    expected = contents(engine)
    assert len(expected) == 3
    engine.close()
    assert contents(open_engine(disk, clock=clock)) == expected


def test_cleaning_regains_the_space():
    """Afterwards segments are smaller, hold no deleted sample and no delete is left."""
    engine, clock = mixed()
    maintain_all(engine, clock.now_ms)
    before, samples = contents(engine), engine.statistics().segment_samples
    engine.delete(only("a"), *EVER)
    engine.delete(only("b"), NOW + 100_000, NOW + 150_000)
    assert engine.statistics().deletes == 2
    expected = without(without(before, A), B, NOW + 100_000, NOW + 150_000)
    clean(engine)
    assert contents(engine) == expected
    assert engine.statistics().deletes == 0
    statistics = engine.statistics()
    assert statistics.segment_samples == sum(map(len, expected.values())) < samples
    assert all("a" not in r.label_values("__name__") for r in engine.segments.readers)


def test_cleaning_waits_a_minute():
    """Several deletes share one rewriting, which begins by itself."""
    engine, clock = mixed()
    engine.delete(only("a"), *EVER)
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().deletes == 1
    maintain_all(engine, clock.now_ms + CLEAN_AFTER_MS)
    assert engine.statistics().deletes == 0
    assert engine.statistics().jobs_total["rewrite"] >= 1


def test_a_delete_that_meets_no_segment_is_struck_off():
    """No segment is rewritten for a delete whose series it does not have."""
    engine, clock = mixed()
    maintain_all(engine, clock.now_ms)
    entries = engine.segments.entries
    engine.delete(only("nobody"), *EVER)
    clean(engine)
    assert engine.segments.deletes == ()
    assert engine.segments.entries == entries


def test_a_running_cut_and_a_running_merge_are_given_up():
    """A delete in the middle of a job holds for what the job was writing."""
    for kind in ("cut", "merge"):
        clock = Clock()
        engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, retention_ms=100 * OPTIONS.retention_ms), clock)
        done = False
        for i in range(0, 400, 5):
            fill(engine, clock, i, i + 5)
            for _ in range(60):
                engine.maintain(clock.now_ms)
                job = engine.upkeep.job
                if job is not None and job.kind == kind and not done:
                    before = contents(engine)
                    engine.maintain(clock.now_ms)
                    engine.delete(only("a"), *EVER)
                    assert contents(engine) == without(before, A)
                    done = True
                    break
            if done:
                break
        assert done
        maintain_all(engine, clock.now_ms + CLEAN_AFTER_MS)
        assert contents(engine) == without(before, A)


def test_a_merge_leaves_out_what_was_deleted():
    """Merged segments have a number beyond the delete and none of its samples."""
    clock = Clock()
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, retention_ms=100 * OPTIONS.retention_ms), clock)
    fill(engine, clock, 0, 60)
    maintain_all(engine, clock.now_ms)
    before = contents(engine)
    engine.delete(only("a"), *EVER)
    fill(engine, clock, 60, 100)
    before |= {s: f for s, f in contents(engine).items() if s != A}
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().compactions_total > 0
    found = contents(engine)
    assert found[B] == before[B]
    assert found[A][0][0] == NOW + 600_000


def test_limits(monkeypatch):
    """Too many deletes and too long matchers are refused by name."""
    engine, _ = mixed()
    before = contents(engine)
    with pytest.raises(LimitExceeded, match="1048576"):
        engine.delete([[equal("a", "x" * (TEXT_MAX + 1))]], *EVER)
    monkeypatch.setattr(deletion, "DELETES_MAX", 1)
    engine.delete(only("nobody"), *EVER)
    with pytest.raises(LimitExceeded, match="tombstones"):
        engine.delete(only("a"), *EVER)
    assert contents(engine) == before


def _recorded(step):
    """A disk on which a delete and what `step` does after it were recorded; (disk, first change, before, after)."""
    disk, clock = MemDisk(), Clock()
    engine, _ = mixed(disk, clock)
    before, first = contents(engine), len(disk.changes)
    engine.delete(only("a"), NOW + 100_000, NOW + 400_000)
    engine.delete(only("b"), *EVER)
    done = len(disk.changes)
    step(engine, clock)
    after = contents(engine)
    engine.close()
    return disk, clock, first, done, before, after


def test_a_crash_anywhere_in_a_delete():
    """Before it is acknowledged a delete happened as a whole or not at all; afterwards it did, twice opened as once."""
    disk, clock, first, done, before, after = _recorded(lambda engine, clock: None)
    middle = without(before, A, NOW + 100_000, NOW + 400_000)
    assert after == without(middle, B)
    for count, loss in losses(disk, first):
        found = disk.after_crash(count, loss, seed=count)
        engine = open_engine(found, clock=clock)
        got = contents(engine)
        assert got in ((after,) if count >= done else (before, middle, after)), (count, loss)
        engine.close()
        engine = open_engine(found, clock=clock)
        assert contents(engine) == got
        clean(engine)
        assert contents(engine) == got
        assert engine.segments.deletes == ()
        assert append(engine, [(A, NOW + 155_000, 5.0)]).stored == 1
        engine.close()


def test_a_crash_anywhere_in_cleaning():
    """Rewriting is invisible, wherever it is interrupted; so is a cut that comes after a delete."""

    def step(engine, clock):
        clean(engine)
        fill(engine, clock, 45, 46)
        maintain_all(engine, clock.now_ms)

    disk, clock, _, done, _, after = _recorded(step)
    for count, loss in losses(disk, done, share=4):
        engine = open_engine(disk.after_crash(count, loss, seed=count), clock=clock)
        got = contents(engine)
        assert A in got
        assert all(got[s] == [x for x in after[s] if x in got[s]] for s in got)
        assert got[A][:10] == after[A][:10]
        clean(engine)
        assert contents(engine) == got
        engine.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_fault_anywhere_in_a_delete(number):
    """A delete that fails has not happened; one that does not has, also after a restart."""
    whole = FaultDisk(MemDisk())
    engine, clock = mixed(whole)
    before, first = contents(engine), whole.change_count
    engine.delete(only("a"), *EVER)
    clean(engine)
    after = without(before, A)
    for at in range(first, whole.change_count, 1 if number == errno.EIO else 2):
        disk = FaultDisk(MemDisk(), {at: number})
        engine, _ = mixed(disk, clock)
        deleted = True
        try:
            engine.delete(only("a"), *EVER)
        except StorageError:
            deleted = False
        assert contents(engine) == (after if deleted else before), at
        if deleted:
            try:
                clean(engine)
            except StorageError:
                with pytest.raises(StorageError, match="pauses"):
                    engine.clean_tombstones()
            assert contents(engine) == after
            maintain_all(engine, clock.now_ms + PAUSE_MS)
            maintain_all(engine, clock.now_ms + PAUSE_MS + CLEAN_AFTER_MS)
            assert contents(engine) == after
        was_whole = not engine.wal.failure
        engine.close()
        engine = open_engine(disk, clock=clock)
        if was_whole:
            assert contents(engine) == (after if deleted else before)
        else:  # the record was written, but the disk did not say that it is durable
            assert contents(engine) in (before, after)


def test_labels_with_no_sample_left():
    """Names and values of labels may still name a deleted series until its segment is rewritten, and then do not."""
    clock = Clock()
    engine = open_engine(MemDisk(), clock=clock)
    append(engine, [(labels("x", only="here"), NOW, 1.0), (A, NOW, 1.0)])
    append(engine, [(A, NOW + 400_000, 1.0)])
    maintain_all(engine, NOW)
    engine.delete(only("x"), *EVER)
    clean(engine)
    reader = engine.segments.readers[0]
    assert reader.label_names() == ["__name__"]
