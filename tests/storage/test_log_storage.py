"""The log alone: what is in order, what a restart knows, which files go, and cursors over every crash."""

from __future__ import annotations

import attrs
import pytest
from cursor_cases import drain, fill, read_all, rows
from engine_cases import OPTIONS, START_MS, Clock, append, batch, float_histogram, histogram, labels

from tinyobs.abc import CursorStart
from tinyobs.errors import LimitExceeded, LockedError, StorageError
from tinyobs.model.batch import Refused
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage import intake
from tinyobs.storage.engine import Engine
from tinyobs.storage.layout import WAL_FOLDER
from tinyobs.storage.log_storage import CHECKPOINT_EVERY_MS, IDLE_MS, LogStorage
from tinyobs.storage.options import DAY_MS
from tinyobs.storage.verify import verify_directory
from tinyobs.testing.mem_disk import Loss, MemDisk

UP = labels("up")
NOW = CursorStart()
AGENT = attrs.evolve(OPTIONS, retention_ms=1000 * 366 * DAY_MS, out_of_order_window_ms=0)


def open_log(disk, options=AGENT, clock=None):
    return LogStorage.open(disk, SeriesRegistry(), options, clock or Clock())


def upkeep(storage, clock):
    while storage.maintain(clock.now_ms):
        pass


@pytest.mark.parametrize("restart", [False, True])
def test_what_is_in_order(restart):
    """A sample is newer than the newest of its series, or repeats it; the same after a restart."""
    disk = MemDisk()
    storage = open_log(disk)
    h, other = histogram(1), float_histogram(2)
    append(storage, [(UP, START_MS, 1.0), (labels("h"), START_MS, h)])
    if restart:
        storage.close()
        storage = open_log(disk)
    result = append(storage, [(UP, START_MS, 1.0), (labels("h"), START_MS, h)])
    assert (result.stored, dict(result.refused)) == (2, {})
    result = append(storage, [(UP, START_MS, 2.0), (labels("h"), START_MS, other)])
    assert (result.stored, dict(result.refused)) == (0, {Refused.DUPLICATE: 2})
    result = append(storage, [(UP, START_MS - 1, 1.0), (UP, START_MS + 5, 1.0), (UP, START_MS + 3, 1.0)])
    assert (result.stored, dict(result.refused)) == (1, {Refused.OUT_OF_ORDER: 2})
    result = append(storage, [(labels("old"), START_MS - 900 * DAY_MS, 1.0)])
    assert result.stored == 1, "a sample may have any age"
    cursor = storage.cursor("a", CursorStart(None))
    found = read_all(storage, cursor)
    assert [r[:3] for r in found] == [
        (UP, START_MS, 1.0),
        (labels("h"), START_MS, h),
        (UP, START_MS + 5, 1.0),
        (labels("old"), START_MS - 900 * DAY_MS, 1.0),
    ]


def test_a_batch_that_is_too_large_is_told_beforehand(monkeypatch):
    """Whoever asks first may store the others; storing it raises as well, and stores nothing."""
    storage = open_log(MemDisk())
    monkeypatch.setattr(intake, "BATCH_SAMPLES_MAX", 1)
    two = [(labels("m", i="1"), START_MS, 1.0), (labels("m", i="2"), START_MS, 1.0)]
    storage.check(batch(storage, two[:1]))
    with pytest.raises(LimitExceeded, match="the limit is 1"):
        storage.check(batch(storage, two))
    with pytest.raises(LimitExceeded, match="the limit is 1"):
        append(storage, two)
    assert append(storage, two[:1]).stored == 1


def test_late_samples_within_a_window_pass():
    """Where a window is configured."""
    storage = open_log(MemDisk(), attrs.evolve(AGENT, out_of_order_window_ms=1000))
    append(storage, [(UP, START_MS, 1.0)])
    result = append(storage, [(UP, START_MS - 1000, 1.0), (UP, START_MS - 1001, 1.0)])
    assert (result.stored, dict(result.refused)) == (1, {Refused.TOO_OLD: 1})


def test_checkpoints_let_the_log_go():
    """With every new file and every ten minutes; what no cursor needs goes, and a restart still knows all series."""
    disk, clock = MemDisk(), Clock()
    storage = open_log(disk, clock=clock)
    cursor = storage.cursor("a", NOW)
    family = {"up": MetricMetadata(MetricType.GAUGE, "Up.", "")}
    append(storage, [(UP, START_MS, 1.0)], [(UP, (("t", "1"),), 0.5, START_MS, True)], metadata=family)
    for begin in range(0, 400, 20):
        fill(storage, begin, begin + 20, clock)
        drain(cursor)
        upkeep(storage, clock)
    assert len(disk.list(WAL_FOLDER)) == 1
    assert storage.statistics().checkpoints_total > 3
    assert storage.statistics().log_bytes < 6000
    storage.close()
    storage = open_log(disk, clock=clock)
    assert storage.metadata() == family
    assert storage.statistics().active_series == 4
    assert append(storage, [(UP, START_MS, 1.0)]).stored == 1, "it repeats the newest"
    assert dict(append(storage, [(UP, START_MS, 2.0)]).refused) == {Refused.DUPLICATE: 1}


def test_a_lagging_cursor_keeps_the_log():
    """Until it has read it; the age that is kept anyway comes on top."""
    disk, clock = MemDisk(), Clock()
    storage = open_log(disk, attrs.evolve(AGENT, log_keep_ms=300_000), clock)
    cursor = storage.cursor("a", NOW)
    stored = []
    for begin in range(0, 200, 20):
        stored += fill(storage, begin, begin + 20, clock)
        upkeep(storage, clock)
    assert disk.list(WAL_FOLDER)[0] == "00000001"
    assert read_all(storage, cursor) == stored
    drain(cursor)
    upkeep(storage, clock)
    young = storage.cursor("b", CursorStart(250_000))
    kept = read_all(storage, young)
    assert stored[-len(kept) :] == kept
    assert clock.now_ms - kept[0][1] >= 250_000 - 15_000
    assert disk.list(WAL_FOLDER)[0] != "00000001"


def test_series_without_samples_are_forgotten():
    """After two hours, by the time of those that have some."""
    disk, clock = MemDisk(), Clock()
    storage = open_log(disk, clock=clock)
    append(storage, [(UP, START_MS, 1.0)])
    clock.now_ms += IDLE_MS + CHECKPOINT_EVERY_MS
    append(storage, [(labels("x"), clock.now_ms, 1.0)])
    upkeep(storage, clock)
    statistics = storage.statistics()
    assert (statistics.active_series, statistics.deleted_series) == (1, 1)


def test_nothing_can_be_queried_and_the_tools_work():
    """Queries are refused; verify finds a sound directory; the whole engine opens it as well."""
    disk, clock = MemDisk(), Clock()
    storage = open_log(disk, clock=clock)
    with pytest.raises(StorageError, match="unavailable with Prometheus Agent"):
        storage.querier(0, 1)
    with pytest.raises(LockedError):
        open_log(disk)
    fill(storage, 0, 50, clock)
    upkeep(storage, clock)
    storage.close()
    storage.close()
    report = verify_directory(disk)
    assert not [f for f in report.findings if f.severity != "normal"]
    engine = Engine.open(disk, SeriesRegistry(), OPTIONS, clock)
    fill(engine, 50, 90, clock)
    while engine.maintain(clock.now_ms):
        pass
    engine.close()
    with pytest.raises(StorageError, match="a directory of its own"):
        open_log(disk)


@pytest.mark.parametrize("loss", list(Loss))
def test_every_crash_hands_out_all_that_was_committed(loss):
    """Behind the saved place nothing is missing or invented, and the order is that of storing; appending goes on."""
    disk, clock = MemDisk(), Clock()
    storage = open_log(disk, clock=clock)
    cursor = storage.cursor("a", NOW)
    marks = [(len(disk.changes), 0)]
    settled = [(len(disk.changes), 0)]
    for step in range(52):
        fill(storage, step, step + 1, clock)
        marks.append((len(disk.changes), 3 * (step + 1)))
        if step % 10 == 9:
            drain(cursor)
            settled.append((len(disk.changes), 3 * (step + 1)))
            upkeep(storage, clock)
    assert storage.statistics().checkpoints_total >= 1
    everything = rows(0, 52)
    for count in range(marks[0][0], len(disk.changes) + 1):
        found = disk.after_crash(count, loss, seed=count)
        storage = open_log(found, clock=Clock(clock.now_ms))
        got = read_all(storage, storage.cursor("a", NOW))
        committed = max(n for at, n in marks if at <= count)
        first = everything.index(got[0]) if got else committed
        assert got == everything[first : first + len(got)]
        done = min([n for at, n in settled if at >= count], default=len(everything))
        assert first <= done
        assert first + len(got) >= committed, f"lost after change {count}"
        assert append(storage, [(UP, clock.now_ms + 1, 1.0)]).stored == 1
        storage.close()
