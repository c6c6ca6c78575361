"""Rare happenings that must not cost data, files or memory: each was once a fault."""

from __future__ import annotations

import errno

import attrs
import numpy as np
import pytest
from engine_cases import BLOCK_MS, OPTIONS, START_MS, Clock, append, batch, contents, labels, maintain_all, open_engine

from tinyobs.errors import DiskFullError
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import LABEL_BYTES_MAX
from tinyobs.storage import head as head_module
from tinyobs.storage import head_chunk, segment_set, wal_encoder, wal_format, wal_layouts
from tinyobs.storage.assemble import assemble
from tinyobs.storage.compaction import plan_merge
from tinyobs.storage.head import Head
from tinyobs.storage.layout import SEGMENT_FOLDER, segment_name
from tinyobs.storage.manifest import SegmentEntry
from tinyobs.storage.options import SyncMode
from tinyobs.storage.runs import Runs
from tinyobs.storage.segment_writer import SegmentWriter
from tinyobs.storage.upkeep import PAUSE_MS
from tinyobs.storage.wal_layouts import LAYOUT_REFS, LayoutTable
from tinyobs.testing.fault_disk import FaultDisk, FaultFile
from tinyobs.testing.mem_disk import MemDisk

A, B = labels("a"), labels("b")
NOW = START_MS


@pytest.mark.parametrize("series", [labels("x", a="\udcff"), labels("x", a="v" * (LABEL_BYTES_MAX + 1)), ()])
def test_series_that_nobody_may_push_survive_a_restart(series):
    """What a rule or a target may make of labels, the log gives back, though no sender may push it."""
    disk = MemDisk()
    engine = open_engine(disk)
    append(engine, [(series, NOW, 1.0), (A, NOW, 2.0)])
    engine.close()
    assert contents(open_engine(disk)) == {series: [(NOW, 1.0)], A: [(NOW, 2.0)]}


def test_definitions_and_metadata_are_cut_into_records_that_can_be_read(monkeypatch):
    """A checkpoint of long label texts and help texts makes no record above the limit of the reader."""
    monkeypatch.setattr(wal_encoder, "TEXT_PER_RECORD", 10_000)
    monkeypatch.setattr(wal_format, "DECODED_BYTES_MAX", 200_000)
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    series = [labels("x", a=str(i) + "v" * 9_000) for i in range(40)]
    metadata = {f"m{i}": MetricMetadata(MetricType.COUNTER, "h" * 9_000, "") for i in range(40)}
    for s in series:
        append(engine, [(s, NOW, 1.0)])
    engine.append([batch(engine, [(A, NOW, 1.0)], metadata=metadata)])
    clock.now_ms += 2 * BLOCK_MS
    append(engine, [(A, clock.now_ms, 1.0)])
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().cuts_total == 1
    expected = contents(engine)
    engine.close()
    engine = open_engine(disk)
    assert contents(engine) == expected
    assert engine.metadata() == metadata


@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_append_that_runs_out_of_memory_leaves_no_half_definitions(monkeypatch, checkpoint):
    """What was defined only in a record that was never written is defined again."""
    disk = MemDisk()
    engine = open_engine(disk)
    append(engine, [(B, NOW, 0.0)])

    def fail(*_):
        raise MemoryError

    def attempt():
        if checkpoint:
            engine.wal.checkpoint(engine.head.newest(NOW), {})
        append(engine, [(A, NOW, 1.0)])

    with monkeypatch.context() as patch:
        patch.setattr(*((wal_format, "encode_newest") if checkpoint else (wal_layouts, "encode_samples")), fail)
        with pytest.raises(MemoryError):
            attempt()
    append(engine, [(A, NOW, 1.0), (B, NOW + 1, 1.0)])
    expected = contents(engine)
    engine.close()
    assert contents(open_engine(disk)) == expected == {A: [(NOW, 1.0)], B: [(NOW, 0.0), (NOW + 1, 1.0)]}


class CountingDisk(FaultDisk):
    """A disk on which names can always be made, and which counts the files that are open."""

    open_count = 0

    def create(self, name):
        self.open_count += 1
        return CountingFile(self, self.inner.create(name))


class CountingFile(FaultFile):
    closed = False

    def close(self):
        self._disk.open_count -= not self.closed
        self.closed = True


def test_a_full_disk_does_not_use_up_file_descriptors():
    """A log file or segment of which not even the header can be written is closed and removed."""
    disk = CountingDisk(MemDisk())
    engine = open_engine(disk)
    n = 0
    while engine.wal._file.size < OPTIONS.wal_file_bytes_max:
        append(engine, [(labels("m", i=str(n)), NOW, float(n))])
        n += 1
    disk.full = True
    before = disk.open_count
    for _ in range(3):
        with pytest.raises(DiskFullError):
            append(engine, [(A, NOW, 1.0)])
        with pytest.raises(OSError, match="No space"):
            SegmentWriter(disk, segment_name(99), level=0)
    assert disk.open_count == before
    assert disk.list(SEGMENT_FOLDER) == []


def test_a_segment_that_no_manifest_could_list_takes_no_space():
    """When the manifest cannot be written, the new segment goes at once; the cut is done later."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk)
    for i in range(30):
        append(engine, [(A, NOW + i * 10_000, float(i))])
    expected = contents(engine)
    create = disk.create

    def no_manifest(name):
        if "MANIFEST" in name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(name)

    disk.create = no_manifest
    maintain_all(engine, NOW)
    assert engine.statistics().maintenance_failures_total == 1
    assert disk.list(SEGMENT_FOLDER) == []
    assert contents(engine) == expected
    disk.create = create
    maintain_all(engine, NOW + PAUSE_MS)
    assert engine.statistics().cuts_total == 1
    assert contents(engine) == expected


def test_merging_keeps_the_order_of_age():
    """Two segments are not merged past one between them that overlaps the older and lies in no stretch of theirs."""
    options = attrs.evolve(OPTIONS, retention_ms=100 * OPTIONS.retention_ms)

    def entry(sequence, first_block, blocks):
        return SegmentEntry(sequence, 0, first_block * BLOCK_MS, (first_block + blocks) * BLOCK_MS - 1, 1, 1, 100)

    newest = entry(9, 90, 1)
    old, wide, late = entry(1, 0, 1), entry(2, 0, 3), entry(3, 0, 1)
    level, inputs = plan_merge([old, wide, late, newest], options)
    assert (level, inputs) == (2, [old, wide, late])
    aside = entry(2, 1, 3)
    level, inputs = plan_merge([old, aside, late, newest], options)
    assert (level, inputs) == (1, [old, late])


def test_a_damaged_segment_does_not_keep_others_from_being_merged():
    """A segment that cannot be read is left out until restart; the rest is merged."""
    disk = MemDisk()
    engine = open_engine(disk, attrs.evolve(OPTIONS, retention_ms=100 * OPTIONS.retention_ms))
    for i in range(0, 120):
        append(engine, [(A, NOW + i * 10_000, float(i))])
        if i % 30 == 29:  # several cuts, each of several blocks
            engine.upkeep._last_cut_ms = -(2**63)
            while getattr(engine.upkeep.job, "kind", "cut") in ("prepare", "cut") and engine.maintain(NOW):
                pass
    first = engine.segments.entries[0]
    for at in range(16, 60):
        disk.damage(segment_name(first.sequence), at)
    engine.segments.readers[0].close()
    engine.segments.readers[0]._data = disk.map(segment_name(first.sequence))
    now = NOW
    for _ in range(5):
        now += PAUSE_MS
        maintain_all(engine, now)
    statistics = engine.statistics()
    assert statistics.corruptions_total == 1
    assert statistics.compactions_total > 1
    assert first in engine.segments.entries


def test_clocks_that_are_put_back_stop_nothing():
    """After a step of the clock into the past the log is synced, failures are forgotten and blocks are cut."""
    disk, clock = FaultDisk(MemDisk()), Clock(NOW + 1_500_000)
    engine = open_engine(disk, attrs.evolve(OPTIONS, sync=SyncMode.INTERVAL), clock)
    for i in range(30):
        append(engine, [(A, NOW + i * 10_000, float(i))])
    disk.full = True
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().maintenance_failures_total == 1
    disk.full = False
    clock.now_ms -= 10 * PAUSE_MS
    synced = engine.statistics().wal_fsyncs_total
    append(engine, [(A, NOW + 300_000, 0.0)])
    assert engine.statistics().wal_fsyncs_total > synced
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().cuts_total == 1
    append(engine, [(A, NOW + (30 + i) * 10_000, float(i)) for i in range(1, 29)])
    clock.now_ms -= 10 * PAUSE_MS
    maintain_all(engine, clock.now_ms)
    assert engine.statistics().cuts_total == 2


def test_the_list_of_open_views_changes_under_the_lock_only(monkeypatch):
    """Comparing a late sample with what is stored lets no view of a reader go unnoticed, whose rows it may read."""
    engine = open_engine(MemDisk())
    append(engine, [(A, NOW, 1.0)])
    append(engine, [(A, NOW + 10, 1.0)])
    view, locked = Head.view, []

    def watched(head):
        locked.append(engine._lock.locked())
        return view(head)

    monkeypatch.setattr(Head, "view", watched)
    assert append(engine, [(A, NOW + 5, 1.0)]).stored == 1
    assert contents(engine) == {A: [(NOW, 1.0), (NOW + 5, 1.0), (NOW + 10, 1.0)]}
    assert locked
    assert all(locked)


def test_free_space_is_asked_for_without_the_lock(monkeypatch):
    """A disk that takes its time to answer holds up neither readers nor the writer."""
    disk = MemDisk()
    engine = open_engine(disk)
    monkeypatch.setattr(disk, "free_bytes", lambda: int(engine._lock.locked()))
    assert engine.statistics().free_bytes == 0


def test_many_small_layouts_are_bounded(monkeypatch):
    """What a layout costs besides its refs counts, so that batches of single samples do not fill the memory."""
    monkeypatch.setattr(wal_layouts, "REFS_MAX", 100 * (LAYOUT_REFS + 1))
    table = LayoutTable()
    for i in range(1000):
        table.find(np.array([i], np.uint32))
        assert len(table._by_bytes) <= 100


def test_rows_are_compressed_without_the_lock(monkeypatch):
    """Readers do not wait while full rows, or all rows at a cut, are compressed."""
    engine = open_engine(MemDisk())
    compress, locked = head_module.compress_runs, []

    def watched(*arguments):
        locked.append(engine._lock.locked())
        return compress(*arguments)

    monkeypatch.setattr(head_module, "compress_runs", watched)
    monkeypatch.setattr(head_module, "STAGED_ROWS", 1)
    for i in range(30):
        append(engine, [(A, NOW + i * 10_000, float(i)), (B, NOW + i * 10_000, float(i))])
    expected = contents(engine)
    maintain_all(engine, NOW)
    assert engine.statistics().cuts_total == 1
    assert contents(engine) == expected
    assert len(locked) >= 4
    assert not any(locked)


def test_a_row_too_long_for_a_page_becomes_several_chunks(monkeypatch):
    """Very many samples of one series, appended or united, are split; of equal times the later stands."""
    monkeypatch.setattr(head_chunk, "SAMPLES_MAX", 100)
    times = np.arange(250, dtype=np.int64)
    times[249] = 0
    runs = Runs(np.array([0, 250]), times, np.arange(250, dtype=np.float64))
    chunks = head_chunk.compress_runs(np.array([7], np.uint32), runs)
    assert [c.sample_count for c in chunks] == [100, 100, 50]
    assert [(c.min_ms, c.max_ms) for c in chunks] == [(0, 99), (100, 199), (0, 248)]
    united = head_chunk.unite_chunks(chunks, np.empty(0, np.uint32))
    assert [c.sample_count for c in united] == [100, 100, 50]
    parts = [(np.zeros(1, np.int64), c.read(np.zeros(1, np.int64))) for c in united]
    assert assemble(parts, 1, 0, 1000).values.tolist() == [249.0, *map(float, range(1, 249))]


@pytest.mark.parametrize("candidates_max", [0, 20])
def test_late_samples_are_compared_with_segments_by_their_exact_labels(monkeypatch, candidates_max):
    """Stored samples of a series in a segment are found among series with more or other labels, also when asked again."""
    monkeypatch.setattr(segment_set, "CANDIDATES_MAX", candidates_max)
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, out_of_order_window_ms=3_600_000))
    series = [labels("x"), labels("x", a="1"), labels("x", a="1", b="2"), labels("y", b="2")]
    for i in range(30):
        append(engine, [(s, NOW + i * 10_000, float(i)) for s in series])
    maintain_all(engine, NOW)
    assert engine.statistics().segments > 1
    fresh = labels("x", c="3")
    append(engine, [(fresh, NOW + 290_000, 0.0)])
    for first in (0, 1):
        late = [(s, NOW + i * 10_000, float(i)) for i in (first, 7) for s in (*series, fresh)]
        assert append(engine, late).stored == len(late)
        assert engine.statistics().head_samples == 1 + first + 2
        other = [(s, NOW + i * 10_000, -9.0) for i in (first, 7) for s in (*series, fresh)]
        assert append(engine, other).stored == 0
    assert append(engine, [(s, NOW + 5, 1.0) for s in series]).stored == 4
