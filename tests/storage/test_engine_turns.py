"""Two writers that take turns: what is logged while the batches before are on their way to the disk."""

from __future__ import annotations

import errno
import threading

import pytest
from engine_cases import START_MS, batch, contents, labels, open_engine

from tinyobs.errors import ReadOnlyError
from tinyobs.model.batch import Refused
from tinyobs.testing.mem_disk import MemDisk

X = labels("x")


def take_turns(engine, first, second):
    """Store two batches; the second is logged before the first is durable, and is the first to sync."""
    results = []

    def next_may_begin():
        assert contents(engine) == {}
        results.append(engine.append([second]))

    results.append(engine.append_in_turn(lambda: [first], next_may_begin))
    return results[1][0], results[0][0]


def test_both_are_stored_in_their_order():
    """The second is judged as if the first were stored, one fsync serves both, and a restart finds both."""
    disk = MemDisk()
    engine = open_engine(disk)
    before = engine.statistics().wal_fsyncs_total
    first = batch(engine, [(X, START_MS, 1.0)])
    second = batch(engine, [(X, START_MS + 1, 2.0), (X, START_MS, 9.0)])
    one, two = take_turns(engine, first, second)
    assert (one.stored, two.stored) == (1, 1)
    assert two.refused == {Refused.DUPLICATE: 1}
    assert engine.statistics().wal_fsyncs_total == before + 1
    expected = {X: [(START_MS, 1.0), (START_MS + 1, 2.0)]}
    assert contents(engine) == expected
    engine.close()
    again = open_engine(disk)
    assert contents(again) == expected
    again.close()


def test_a_repeat_of_what_is_only_logged_waits_for_its_fsync():
    """Nothing of the second batch is new, yet it is not acknowledged before what it repeats is durable."""
    engine = open_engine(MemDisk())
    same = batch(engine, [(X, START_MS, 1.0)])
    before = engine.statistics().wal_fsyncs_total
    one, two = take_turns(engine, same, same)
    assert (one.stored, two.stored) == (1, 1)
    assert engine.statistics().wal_fsyncs_total == before + 1
    assert contents(engine) == {X: [(START_MS, 1.0)]}
    engine.close()


def test_a_failed_fsync_refuses_both(monkeypatch):
    """Neither is acknowledged, readers see nothing of them, and nothing is taken from then on."""
    engine = open_engine(MemDisk())
    first, second = batch(engine, [(X, START_MS, 1.0)]), batch(engine, [(X, START_MS + 1, 2.0)])

    def fail():
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(engine.wal._file, "sync", fail)

    def next_may_begin():
        with pytest.raises(ReadOnlyError):
            engine.append([second])

    with pytest.raises(ReadOnlyError):
        engine.append_in_turn(lambda: [first], next_may_begin)
    with pytest.raises(ReadOnlyError):
        engine.append([second])
    assert contents(engine) == {}
    engine.close()


def test_two_threads_lose_nothing_over_rotations():
    """Threads that take turns store every batch, across changes of the log file, and a restart finds all."""
    disk = MemDisk()
    engine = open_engine(disk)
    batches = [batch(engine, [(labels("m", i=str(i % 7)), START_MS + i, float(i))]) for i in range(300)]
    turn, waiting, stored = threading.Semaphore(1), iter(batches), []

    def work():
        while True:
            turn.acquire()
            mine = next(waiting, None)
            if mine is None:
                turn.release()
                return
            stored.extend(engine.append_in_turn(lambda: [mine], turn.release))  # noqa: B023 - called at once

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert sum(r.stored for r in stored) == len(batches)
    expected = contents(engine)
    assert sum(map(len, expected.values())) == len(batches)
    engine.close()
    again = open_engine(disk)
    assert contents(again) == expected
    again.close()
