"""Repairing a directory: what is sound stays, what is lost was told before, originals are kept, crashes cost nothing."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from damage_cases import SERIES, copy, files_of, first_segment, page_table, written
from engine_cases import EVER, START_MS, Clock, append, contents, labels, maintain_all, open_engine
from tier_cases import DAY0_MS, days, load, open_tiered

from tinyobs.errors import CorruptionError
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, handles, histograms_of, numbers_of
from tinyobs.model.matchers import equal
from tinyobs.storage.deletes import Delete
from tinyobs.storage.findings import Severity
from tinyobs.storage.layout import MANIFEST, segment_name, wal_name
from tinyobs.storage.manifest import read_manifest, write_manifest
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.repair import apply_repair, plan_repair
from tinyobs.storage.segment_reader import SegmentReader
from tinyobs.storage.segment_salvage import Salvage
from tinyobs.storage.segment_writer import PAGE_SERIES_MAX
from tinyobs.storage.verify import verify_directory
from tinyobs.testing.mem_disk import Loss, MemDisk

NOW = START_MS + 10_000_000


@pytest.fixture(scope="module")
def sound():
    return written()


def repaired(disk):
    """Plan, apply and check that the result is sound; the plan and the folder with the originals."""
    plan = plan_repair(disk)
    folder = apply_repair(disk, plan, NOW)
    assert [f for f in verify_directory(disk).findings if f.severity is Severity.DAMAGE] == []
    assert plan_repair(disk).steps == []
    return plan, folder


def flat(disk):
    """{(series, time): value} of everything in a directory."""
    engine = open_engine(copy(disk))
    found = {(s, t): v for s, samples in contents(engine).items() for t, v in samples}
    engine.close()
    return found


def test_a_sound_directory_needs_nothing(sound):
    """The plan is empty, and carrying it out changes nothing."""
    disk = copy(sound)
    plan = plan_repair(disk)
    assert plan.steps == []
    before = files_of(disk)
    assert apply_repair(disk, plan, NOW) == ""
    assert files_of(disk) == before


def test_planning_changes_nothing(sound):
    """A dry run only reads."""
    disk = copy(sound)
    disk.damage(segment_name(first_segment(disk).sequence), 40)
    disk.damage(wal_name(read_manifest(disk).wal_first), 100)
    assert len(plan_repair(disk).steps) >= 2
    assert disk.changes == []


@pytest.mark.timeout(600)  # thousands of directories are opened
def test_every_damaged_byte_of_a_segment_can_be_repaired(sound):
    """Whatever byte is damaged, all but what the plan names is there afterwards, and the original is kept."""
    expected = flat(sound)
    entry = first_segment(sound)
    name = segment_name(entry.sequence)
    for at in range(16, sound.size(name) - 16, 5):
        disk = copy(sound)
        disk.damage(name, at)
        original = disk.read(name)
        plan, folder = repaired(disk)
        assert disk.read(f"{folder}/{name}") == original
        got = flat(disk)
        assert got.items() <= expected.items()
        lost = len(expected) - len(got)
        assert lost <= entry.samples
        assert lost or "lost: nothing" in plan.steps[0]


def test_samples_around_a_damaged_page_survive():
    """Of series with many pages only the samples of the damaged one are lost; the others go on as two segments."""
    disk = MemDisk()
    engine = open_engine(disk)
    count = PAGE_SERIES_MAX + 10
    many = [labels("m", i=f"{i:05d}") for i in range(count)]
    for step in range(4):
        append(engine, [(s, START_MS + step * 10_000, float(step)) for s in many])
    append(engine, [(many[0], START_MS + 400_000, 1.0)])
    maintain_all(engine, START_MS)
    engine.close()
    expected = flat(disk)
    entry = first_segment(disk)
    name = segment_name(entry.sequence)
    table = page_table(disk, name)
    assert len(table) >= 2
    disk.damage(name, int(table.offsets[0]) + 40)
    plan, _ = repaired(disk)
    got = flat(disk)
    assert len(expected) - len(got) == int(table.samples[0])
    assert str(int(table.samples[0])) in plan.steps[0]


def test_missing_and_unreadable_segments_leave_the_manifest(sound):
    """What cannot be read is taken out of use; the rest can be opened again."""
    entry = first_segment(sound)
    name = segment_name(entry.sequence)
    for spoil in (lambda d: d.remove(name), lambda d: d.truncate(name, 100)):
        disk = copy(sound)
        spoil(disk)
        plan, folder = repaired(disk)
        assert [e.sequence for e in plan.dropped] == [entry.sequence]
        assert entry.sequence not in {e.sequence for e in read_manifest(disk).segments}
        assert disk.read(f"{folder}/{MANIFEST}") == sound.read(MANIFEST)
        assert len(flat(sound)) - len(flat(disk)) == entry.samples


@pytest.mark.parametrize("spoil", [lambda d: d.remove(MANIFEST), lambda d: d.damage(MANIFEST, 30, mask=1)])
def test_a_manifest_is_worked_out_from_the_files(sound, spoil):
    """Segments by number and the log that makes sense: nothing is lost."""
    disk = copy(sound)
    spoil(disk)
    plan, _ = repaired(disk)
    assert plan.manifest_lost
    assert flat(disk) == flat(sound)
    disk = copy(disk)
    engine = open_engine(disk)
    assert append(engine, [(SERIES[0], START_MS + 500_000, 5.0)]).stored == 1
    engine.close()


def test_without_a_manifest_unfinished_segments_are_set_aside(sound):
    """They are kept, and are not listed."""
    disk = copy(sound)
    disk.remove(MANIFEST)
    disk.create("segments/00000999.seg").append(b"unfinished")
    _, folder = repaired(disk)
    assert disk.read(f"{folder}/segments/00000999.seg") == b"unfinished"
    assert flat(disk) == flat(sound)
    assert read_manifest(disk).next_segment == 1000


@pytest.mark.timeout(600)  # thousands of directories are opened
def test_every_damaged_byte_of_the_log_can_be_repaired(sound):
    """What stands before the damage and in later sessions is kept; the plan counts what is lost."""
    expected = flat(sound)
    first = read_manifest(sound).wal_first
    for sequence in (first, first + 1, first + 2):
        name = wal_name(sequence)
        if name.rpartition("/")[2] not in sound.list("wal"):
            continue
        for at in range(0, sound.size(name), 23):
            if at == 7:  # the version: nobody repairs what a newer one wrote
                continue
            disk = copy(sound)
            disk.damage(name, at)
            plan, folder = repaired(disk)
            got = flat(disk)
            assert got.items() <= expected.items(), (name, at)
            if plan.steps:
                assert disk.read(f"{folder}/{name}")[at] != sound.read(name)[at]
                assert name in plan.steps[0]


def test_a_missing_log_file(sound):
    """The gap is closed by an empty file; sessions behind it are kept."""
    expected = flat(sound)
    manifest = read_manifest(sound)
    for victim in [f for f in sound.list("wal") if int(f) >= manifest.wal_first]:
        disk = copy(sound)
        disk.remove(f"wal/{victim}")
        repaired(disk)
        got = flat(disk)
        assert got.items() <= expected.items()
        assert set(got) >= {k for k in expected if k[1] <= max(e.maxt_ms for e in manifest.segments)}


def test_deletes_hold_for_what_is_written_anew(sound):
    """A segment written anew has a higher number; what a delete took away does not come back."""
    disk = copy(sound)
    entry = first_segment(disk)
    name = segment_name(entry.sequence)
    manifest = read_manifest(disk)
    delete = Delete(manifest.next_segment, 0, 2**60, ((equal("i", "3"),),))
    write_manifest(disk, attrs.evolve(manifest, deletes=(delete,), next_segment=manifest.next_segment + 1))
    reader = SegmentReader(disk, name, PageCache())
    disk.damage(name, _a_posting_byte(disk, name, reader))
    plan_of = plan_repair(disk)
    assert "lost: nothing" in plan_of.steps[0]
    apply_repair(disk, plan_of, NOW)
    fresh = read_manifest(disk).segments[0]
    assert fresh.sequence > delete.below
    assert fresh.series == entry.series - 1
    assert read_manifest(disk).deletes == (delete,)


def _a_posting_byte(disk, name, reader):
    """An offset whose damage costs postings only."""
    table = reader.pages
    end = int(table.offsets[-1] + table.lengths[-1])
    for at in range(end, disk.size(name) - 200):
        other = copy(disk)
        other.damage(name, at)
        salvage = Salvage(SegmentReader(other, name, PageCache()))
        if salvage.index_damage and not salvage.nameless:
            return at
    raise AssertionError


def test_labels_are_put_together_from_the_other_side_of_the_index(sound):
    """A damaged table of series costs nothing while values and postings are sound."""
    name = segment_name(first_segment(sound).sequence)
    page = page_table(sound, name)
    rescued = 0
    for at in range(int(page.offsets[-1] + page.lengths[-1]), sound.size(name) - 100):
        disk = copy(sound)
        disk.damage(name, at)
        try:
            reader = SegmentReader(disk, name, PageCache())
            salvage = Salvage(reader)
        except CorruptionError:  # the tables, or the end
            break
        try:
            reader.labels(np.arange(reader.info.series_count, dtype=np.uint32))
        except CorruptionError:
            rescued += not salvage.nameless
            if rescued == 1 and not salvage.nameless:
                plan, _ = repaired(disk)
                assert "lost: nothing" in plan.steps[0]
                assert flat(disk) == flat(sound)
    assert rescued


@pytest.mark.parametrize("loss", list(Loss))
def test_a_repair_may_be_interrupted_anywhere(sound, loss):
    """After a crash at any point the repair can be begun again, ends with the same samples, and keeps the originals."""
    disk = copy(sound)
    name = segment_name(first_segment(disk).sequence)
    disk.damage(name, int(page_table(disk, name).offsets[0]) + 30)
    log = wal_name(read_manifest(disk).wal_first)
    disk.damage(log, disk.size(log) // 2)
    original, original_log = disk.read(name), disk.read(log)
    disk = copy(disk)
    done = copy(disk)
    apply_repair(done, plan_repair(done), NOW)
    expected = flat(done)
    apply_repair(disk, plan_repair(disk), NOW)
    for count in range(len(disk.changes) + 1):
        found = disk.after_crash(count, loss, seed=count)
        apply_repair(found, plan_repair(found), NOW + 1 + count)
        assert verify_directory(found).damage == []
        assert flat(found) == expected, count
        everything = list(files_of(found).values())
        assert original in everything
        assert original_log in everything


# -- histograms, tiers -------------------------------------------------------------------------------------------


def histogram_disk():
    """A disk with floats, histograms and start times in segments and in the log."""
    disk = MemDisk()
    engine = open_engine(disk)
    refs = engine.registry.intern_many([labels("f"), labels("h")])
    for i in range(40):
        table = histograms_of([Histogram(0, 0.001, 1, 4 + i, 3.5, ((0, 2),), (1, 2 + i), is_integer=True)])
        values = np.array([float(i), handles(0, 1)[0]])
        times = np.full(2, START_MS + i * 10_000)
        starts = np.full(2, START_MS - 1)
        engine.append([Batch(refs, times, values, histograms=table, starts_ms=starts)])
        if i == 25:
            maintain_all(engine, START_MS)
    engine.close()
    return disk


def samples_of(disk):
    """{(series, time): float or histogram} of everything in a directory."""
    engine = open_engine(copy(disk))
    with engine.querier(*EVER) as q:
        selection = q.select((), *EVER)
        columns = selection.read(0, len(selection.labels))
    found = {}
    for i in range(len(columns)):
        series, times, values = columns.one(i)
        for t, v, n in zip(times.tolist(), values.tolist(), numbers_of(values).tolist(), strict=True):
            found[series, t] = v if n < 0 else columns.histograms.one(n)
    engine.close()
    return found


def test_histograms_survive_a_repair():
    """Wherever a segment or the log is damaged: nothing is invented, and what the plan does not name is there."""
    sound = histogram_disk()
    expected = samples_of(sound)
    assert verify_directory(copy(sound)).findings == []
    assert any(isinstance(v, Histogram) for v in expected.values())
    manifest = read_manifest(sound)
    for name in (segment_name(manifest.segments[0].sequence), wal_name(manifest.wal_first)):
        for at in range(20, sound.size(name) - 20, max(1, sound.size(name) // 25)):
            disk = copy(sound)
            disk.damage(name, at)
            plan, _ = repaired(disk)
            got = samples_of(disk)
            assert got.items() <= expected.items(), (name, at)
            assert len(plan.steps) == 1 or name.startswith("wal/")


def test_a_damaged_tier_is_made_again():
    """Where raw samples are there the stretch is taken out of use as a whole; the next maintenance makes it anew."""
    disk, clock = MemDisk(), Clock(DAY0_MS)
    engine = open_tiered(disk, clock=clock)
    load(engine, {"a": days(range(4 * 1440)), "b": days(range(4 * 1440))}, clock)
    engine.close()
    entries = read_manifest(disk).segments
    tier = next(e for e in entries if e.tier_ms)
    siblings = [e for e in entries if (e.tier_ms, e.covers) == (tier.tier_ms, tier.covers)]
    name = segment_name(tier.sequence)
    disk.damage(name, int(page_table(disk, name).offsets[0]) + 30)
    assert verify_directory(disk).damage[0].file == name
    plan, folder = repaired(disk)
    assert {e.sequence for e in plan.dropped} == {e.sequence for e in siblings}
    assert len(disk.list(f"{folder}/segments")) == len(siblings)
    engine = open_tiered(disk, clock=clock)
    maintain_all(engine, clock.now_ms)
    engine.close()
    again = read_manifest(disk).segments
    assert sorted((e.tier_ms, e.samples) for e in again if e.tier_ms) == sorted(
        (e.tier_ms, e.samples) for e in entries if e.tier_ms
    )


def test_tiers_outlive_the_repair_of_raw_samples():
    """Tiers made before raw samples were damaged are not made again from those that are left."""
    disk, clock = MemDisk(), Clock(DAY0_MS)
    engine = open_tiered(disk, clock=clock)
    load(engine, {"a": days(range(4 * 1440)), "b": days(range(4 * 1440))}, clock)
    engine.close()
    entries = read_manifest(disk).segments
    raw = next(e for e in entries if not e.tier_ms)
    name = segment_name(raw.sequence)
    disk.damage(name, int(page_table(disk, name).offsets[0]) + 30)
    repaired(disk)
    engine = open_tiered(disk, clock=clock)
    maintain_all(engine, clock.now_ms)
    engine.close()
    before = {e.sequence for e in entries if e.tier_ms}
    assert before <= {e.sequence for e in read_manifest(disk).segments}


def test_without_a_manifest_tiers_are_set_aside():
    """Which stretch they stand for is not known any more; taken for raw samples they would be wrong."""
    disk, clock = MemDisk(), Clock(DAY0_MS)
    engine = open_tiered(disk, clock=clock)
    load(engine, {"a": days(range(4 * 1440))}, clock)
    engine.close()
    tiers = {segment_name(e.sequence) for e in read_manifest(disk).segments if e.tier_ms}
    assert tiers
    disk.remove(MANIFEST)
    plan, _ = repaired(disk)
    assert set(plan.unreadable) == tiers
    assert not any(e.tier_ms or e.level >= 100 for e in read_manifest(disk).segments)
