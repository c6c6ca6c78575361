"""What the engine accepts, refuses and counts."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from engine_cases import BLOCK_MS, OPTIONS, START_MS, Clock, append, batch, contents, labels, maintain_all, open_engine

from tinyobs.errors import LimitExceeded, StorageError
from tinyobs.model.batch import Batch, Refused
from tinyobs.model.cardinality import CardinalityQuery
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.storage import intake
from tinyobs.storage.options import DAY_MS, EngineOptions, SyncMode
from tinyobs.testing.mem_disk import MemDisk

A, B = labels("a"), labels("b")
NOW = START_MS


def test_samples_come_back():
    """What was stored is returned, series sorted by labels."""
    engine = open_engine(MemDisk())
    result = append(engine, [(B, NOW, 1.0), (A, NOW, 2.0)])
    assert (result.stored, result.refused) == (2, {})
    assert contents(engine) == {A: [(NOW, 2.0)], B: [(NOW, 1.0)]}


def test_an_equal_sample_again_is_stored_without_effect():
    """A repeated push succeeds and is counted as repeated."""
    engine = open_engine(MemDisk())
    for _ in range(3):
        assert append(engine, [(A, NOW, 1.0)]).stored == 1
    assert contents(engine) == {A: [(NOW, 1.0)]}
    assert engine.statistics().samples_repeated_total == 2
    assert engine.statistics().head_samples_appended_total == 1


def test_another_value_at_the_same_time_is_refused():
    """The first value stands, and the result names the position of the refused one."""
    engine = open_engine(MemDisk())
    append(engine, [(A, NOW, 1.0)])
    result = append(engine, [(B, NOW, 1.0), (A, NOW, 2.0)])
    assert (result.stored, dict(result.refused), dict(result.example)) == (
        1,
        {Refused.DUPLICATE: 1},
        {Refused.DUPLICATE: 1},
    )
    assert contents(engine) == {A: [(NOW, 1.0)], B: [(NOW, 1.0)]}
    assert engine.statistics().samples_refused_total == {"duplicate_timestamp": 1}


def test_the_last_write_can_win():
    """With the option another value replaces the stored one, before and after the cut."""
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, last_write_wins=True))
    append(engine, [(A, NOW, 1.0), (A, NOW + 3 * BLOCK_MS, 1.0)])
    assert append(engine, [(A, NOW, 2.0)]).stored == 1
    assert contents(engine)[A][0] == (NOW, 2.0)
    maintain_all(engine, NOW)
    assert append(engine, [(A, NOW, 3.0)]).stored == 1
    assert contents(engine)[A][0] == (NOW, 3.0)


def test_out_of_order_is_accepted_within_the_window_only():
    """A late sample within the window is stored, an older one is too old."""
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, out_of_order_window_ms=10_000))
    append(engine, [(A, NOW, 1.0)])
    result = append(engine, [(A, NOW - 10_000, 2.0), (A, NOW - 10_001, 3.0)])
    assert (result.stored, dict(result.refused)) == (1, {Refused.TOO_OLD: 1})
    assert contents(engine) == {A: [(NOW - 10_000, 2.0), (NOW, 1.0)]}


def test_without_a_window_late_samples_are_out_of_order():
    """Window 0 refuses every late sample with the reason that senders know."""
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, out_of_order_window_ms=0))
    append(engine, [(A, NOW, 1.0)])
    assert dict(append(engine, [(A, NOW - 1, 2.0)]).refused) == {Refused.OUT_OF_ORDER: 1}


def test_the_clock_bounds_both_sides():
    """Samples beyond the retention or too far in the future are refused with their reasons."""
    engine = open_engine(MemDisk())
    old, new = NOW - OPTIONS.retention_ms - 1, NOW + OPTIONS.future_ms + 1
    result = append(engine, [(A, old, 1.0), (B, new, 1.0), (labels("c"), NOW, 1.0)])
    assert (result.stored, dict(result.refused)) == (1, {Refused.TOO_OLD: 1, Refused.OUT_OF_BOUNDS: 1})


def test_a_batch_is_judged_sample_by_sample():
    """Within one batch earlier samples decide about later ones of the same series."""
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, out_of_order_window_ms=10_000))
    samples = [
        (A, NOW, 1.0),
        (A, NOW, 1.0),
        (A, NOW, 2.0),
        (A, NOW - 5_000, 3.0),
        (A, NOW - 20_000, 4.0),
        (A, NOW + 1, 5.0),
    ]
    result = append(engine, samples)
    assert result.stored == 4
    assert dict(result.refused) == {Refused.DUPLICATE: 1, Refused.TOO_OLD: 1}
    assert dict(result.example) == {Refused.DUPLICATE: 2, Refused.TOO_OLD: 4}
    assert contents(engine) == {A: [(NOW - 5_000, 3.0), (NOW, 1.0), (NOW + 1, 5.0)]}


def test_batches_of_a_group_see_each_other():
    """A group shares a write, yet its second batch is judged behind its first."""
    disk = MemDisk()
    engine = open_engine(disk)
    before = len(disk.changes)
    groups = [[(A, NOW, 1.0)], [(A, NOW, 2.0)], [(A, NOW - 1, 7.0), (A, NOW + 1, 3.0)], [(A, NOW - 1, 8.0)]]
    results = engine.append([batch(engine, g) for g in groups])
    assert [r.stored for r in results] == [1, 0, 2, 0]
    assert [c.method for c in disk.changes[before:]] == ["append", "sync"]
    assert contents(engine) == {A: [(NOW - 1, 7.0), (NOW, 1.0), (NOW + 1, 3.0)]}
    assert engine.statistics().head_series_created_total == 1


def test_many_samples_of_few_series_in_one_batch():
    """A long history in one batch is stored whole, in order of time."""
    engine = open_engine(MemDisk(), EngineOptions(retention_ms=3000 * DAY_MS // 10))
    n = 20_000
    refs = engine.registry.intern_many([A, B])
    times = NOW - n * 1000 + np.arange(n, dtype=np.int64) * 1000
    values = np.arange(n, dtype=np.float64)
    result = engine.append([Batch(np.tile(refs, n // 2), times, values)])[0]
    assert result.stored == n
    got = contents(engine)
    assert [v for _, v in got[A]] == values[::2].tolist()
    assert [t for t, _ in got[B]] == times[1::2].tolist()


def test_a_leap_of_decades_within_a_series():
    """1970 and today lie in one series, whatever a row of the head can span."""
    options = EngineOptions(retention_ms=100 * 366 * DAY_MS, out_of_order_window_ms=100 * 366 * DAY_MS)
    engine = open_engine(MemDisk(), options)
    samples = [(A, t, float(i)) for i, t in enumerate([0, 1, NOW - 5, NOW, 2, 50 * DAY_MS])]
    assert append(engine, samples).stored == 6
    for t in (3, NOW + 1):
        append(engine, [(A, t, 9.0)])
    assert [t for t, _ in contents(engine)[A]] == [0, 1, 2, 3, 50 * DAY_MS, NOW - 5, NOW, NOW + 1]


def test_history_of_other_series_after_newer_data():
    """With a long retention one series may go back to 1970 after another has data of today, through cuts as well."""
    options = EngineOptions(retention_ms=100 * 366 * DAY_MS)
    disk = MemDisk()
    engine = open_engine(disk, options)
    append(engine, [(A, NOW, 1.0)])
    for year in range(50):
        assert append(engine, [(B, year * 365 * DAY_MS + i, 1.0) for i in range(3)]).stored == 3
    expected = contents(engine)
    assert len(expected[B]) == 150
    maintain_all(engine, NOW)
    assert contents(engine) == expected
    assert engine.statistics().segments <= 16
    assert engine.statistics().cuts_total == 1


def test_metadata_survives_restart_and_cut():
    """HELP and TYPE are kept in the log and carried over by its checkpoint."""
    disk = MemDisk()
    engine = open_engine(disk)
    known = {"a": MetricMetadata(MetricType.COUNTER, 'What "a" counts\n', "bytes")}
    engine.append([batch(engine, [(A, NOW, 1.0)], metadata=known)])
    append(engine, [(A, NOW + 3 * BLOCK_MS, 1.0)])
    maintain_all(engine, NOW + 3 * BLOCK_MS)
    assert engine.statistics().cuts_total == 1
    engine.close()
    assert open_engine(disk).metadata() == known


def test_an_empty_batch_is_nothing():
    """A batch without samples is answered and leaves no record but its metadata."""
    engine = open_engine(MemDisk())
    result = append(engine, [])
    assert (result.stored, result.refused) == (0, {})
    assert contents(engine) == {}


def test_a_batch_beyond_the_limit_is_refused_whole(monkeypatch):
    """A batch that would make too large a record raises and stores nothing."""
    engine = open_engine(MemDisk())
    monkeypatch.setattr(intake, "BATCH_SAMPLES_MAX", 1)
    with pytest.raises(LimitExceeded, match="the limit is 1"):
        append(engine, [(A, NOW, 1.0), (B, NOW, 1.0)])
    with pytest.raises(LimitExceeded, match="the limit is 1"):
        engine.check(batch(engine, [(A, NOW, 1.0), (B, NOW, 1.0)]))
    engine.check(batch(engine, [(A, NOW, 1.0)]))
    assert contents(engine) == {}


def test_a_closed_engine_says_so():
    """Nothing is taken after close; closing again is fine."""
    engine = open_engine(MemDisk())
    engine.close()
    engine.close()
    with pytest.raises(StorageError, match="closed"):
        append(engine, [(A, NOW, 1.0)])


def test_interval_and_never_sync_later():
    """The sync modes fsync after their interval, at close, or not at all while running."""
    for mode, expected in ((SyncMode.INTERVAL, 1), (SyncMode.NEVER, 0)):
        disk, clock = MemDisk(), Clock()
        engine = open_engine(disk, attrs.evolve(OPTIONS, sync=mode), clock)
        append(engine, [(A, NOW, 1.0)])
        assert engine.statistics().wal_fsyncs_total == 0
        clock.now_ms += OPTIONS.sync_interval_ms
        engine.maintain(clock.now_ms)
        assert engine.statistics().wal_fsyncs_total == expected
        engine.close()
        assert disk.changes[-1].method == "sync"


def test_a_querier_is_a_consistent_cut():
    """What is appended, cut or merged after a querier was made does not show in it."""
    engine = open_engine(MemDisk())
    append(engine, [(A, NOW, 1.0)])
    q = engine.querier(0, 2**60)
    first = q.select([], 0, 2**60)
    for i in range(1, 60):
        append(engine, [(A, NOW + i * 5_000, float(i)), (B, NOW + i * 5_000, float(i))])
    maintain_all(engine, NOW + 300_000)
    assert engine.statistics().cuts_total >= 1
    for selection in (first, q.select([], 0, 2**60)):
        columns = selection.read(0, len(selection.labels))
        assert columns.values.tolist() == [1.0]
    q.close()
    with pytest.raises(StorageError, match="closed"):
        q.select([], 0, 1)
    assert len(contents(engine)[A]) == 60


def test_label_queries_cover_head_and_segments():
    """Names and values come from segments and head alike, narrowed by matchers."""
    engine = open_engine(MemDisk())
    append(engine, [(labels("a", x="1"), NOW, 1.0), (labels("a", x="2"), NOW + 3 * BLOCK_MS, 1.0)])
    maintain_all(engine, NOW)
    append(engine, [(labels("b", y="3"), NOW + 3 * BLOCK_MS, 1.0)])
    with engine.querier(0, 2**60) as q:
        assert q.label_names() == ["__name__", "x", "y"]
        assert q.label_values("x") == ["1", "2"]
        assert q.label_values("__name__") == ["a", "b"]
    assert engine.cardinality(CardinalityQuery()).series_by_metric[0] == ("a", 2)


def test_metadata_is_bounded(monkeypatch):
    """Beyond the limit metadata of new families is not kept; known ones still change."""
    monkeypatch.setattr(intake, "METADATA_FAMILIES_MAX", 2)
    engine = open_engine(MemDisk())
    for i, family in enumerate("abca"):
        known = {family: MetricMetadata(MetricType.GAUGE, str(i))}
        engine.append([batch(engine, [(A, NOW + i, 1.0)], metadata=known)])
    assert {k: m.help for k, m in engine.metadata().items()} == {"a": "3", "b": "1"}


def test_series_known_but_never_stored_are_not_found():
    """A series that only has a number in the registry is not returned, even for all of time."""
    engine = open_engine(MemDisk())
    engine.registry.intern(labels("never"))
    append(engine, [(A, NOW, 1.0)])
    with engine.querier(-(2**63), 2**63 - 1) as q:
        assert list(q.select([], -(2**63), 2**63 - 1).labels) == [A]
        assert q.label_values("__name__") == ["a"]


def test_a_view_made_while_the_log_is_written_is_not_kept(monkeypatch):
    """A reader that comes between the log and the head does not hide the batch from later readers."""
    engine = open_engine(MemDisk())
    write = engine.wal.write

    def write_while_someone_reads(*args):
        write(*args)
        assert contents(engine) == {}

    monkeypatch.setattr(engine.wal, "write", write_while_someone_reads)
    append(engine, [(A, NOW, 1.0)])
    assert contents(engine) == {A: [(NOW, 1.0)]}
