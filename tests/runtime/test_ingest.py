"""The queue in front of the writer: group commit, back-pressure, failures, shutdown."""

from __future__ import annotations

import functools
import operator
import threading
from contextlib import suppress

import numpy as np
import pytest
import structlog
import trio
import trio.testing
from attrs import evolve

from tinyobs.abc import Notice, Processor
from tinyobs.errors import (
    DiskFullError,
    LimitExceeded,
    PluginError,
    ReadOnlyError,
    StorageError,
    Unavailable,
    WireError,
)
from tinyobs.model.batch import AppendResult, Batch, Refused
from tinyobs.runtime.ingest import DISK_FULL, LINGER_SECONDS, READ_ONLY, Ingest
from tinyobs.testing.services import VirtualClock


def batch(n=1, **more):
    return Batch(np.arange(n, dtype=np.uint32), np.zeros(n, np.int64), np.zeros(n), **more)


class FakeStorage:
    """Remembers the groups it was given."""

    def __init__(self):
        self.groups, self.error, self.maintained = [], None, 0
        self.more, self.notices = 0, []

    def check(self, batch):
        if len(batch) > 100:
            raise LimitExceeded("samples", "too large")

    def append(self, batches):
        if self.error is not None:
            raise self.error
        self.groups.append([len(b) for b in batches])
        return [AppendResult(len(b)) for b in batches]

    def take_sealed(self):
        return [("seg", self.maintained)] if self.maintained == 1 else []

    def take_notices(self):
        told, self.notices = self.notices, []
        return told

    def maintain(self, now_ms):
        self.maintained += 1
        self.more -= 1
        return self.more >= 0


@pytest.fixture
def committed():
    return []


@pytest.fixture
def ingest(committed):
    return Ingest(VirtualClock(), lambda b, r: committed.append((len(b), r)), samples_queued_max=10)


async def running(nursery, ingest, storage=None):
    storage = storage or FakeStorage()
    await nursery.start(ingest.run, storage)
    return storage


async def test_append_returns_when_the_batch_is_stored(ingest, committed):
    """The result is the storage's, and the notice follows the commit."""
    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        result = await ingest.append(batch(3))
        assert (result.stored, storage.groups) == (3, [[3]])
        assert committed == [(3, result)]
        nursery.cancel_scope.cancel()


async def test_batches_that_may_wait_share_a_commit(ingest, mock_clock):
    """What comes within a tenth of a second is stored with one call; the next one begins another."""
    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        for groups in ([[1, 2, 3]], [[1, 2, 3], [1, 2, 3]]):
            before = list(storage.groups)
            async with trio.open_nursery() as senders:
                for i in range(3):
                    senders.start_soon(functools.partial(ingest.append, batch(i + 1), may_wait=True))
                    await trio.testing.wait_all_tasks_blocked()
                    mock_clock.jump(LINGER_SECONDS / 4)
                await trio.testing.wait_all_tasks_blocked()
                assert storage.groups == before
                mock_clock.jump(LINGER_SECONDS / 2)
            assert storage.groups == groups
        nursery.cancel_scope.cancel()


async def test_a_batch_that_may_not_wait_takes_the_others_along(ingest, mock_clock):
    """A push is stored at once, and what was waiting goes with it, in order."""
    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        async with trio.open_nursery() as senders:
            senders.start_soon(functools.partial(ingest.append, batch(1), may_wait=True))
            await trio.testing.wait_all_tasks_blocked()
            await ingest.append(batch(2))
            assert storage.groups == [[1, 2]]
        nursery.cancel_scope.cancel()


async def test_what_may_wait_is_stored_at_the_end(ingest, mock_clock):
    """A stop does not lose a batch that was waiting for others."""
    storage = FakeStorage()
    async with trio.open_nursery() as nursery:
        await nursery.start(ingest.run, storage)
        async with trio.open_nursery() as senders:
            senders.start_soon(functools.partial(ingest.append, batch(1), may_wait=True))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            senders.cancel_scope.shield = True
    assert storage.groups == [[1]]


async def test_batches_that_come_together_share_a_commit(ingest):
    """Group commit: what waits is stored with one call, in order."""
    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        async with trio.open_nursery() as pushers:
            for n in (1, 2, 3):
                pushers.start_soon(ingest.append, batch(n))
        assert sorted(functools.reduce(operator.iadd, storage.groups, [])) == [1, 2, 3]
        assert len(storage.groups) < 3
        nursery.cancel_scope.cancel()


async def test_before_the_storage_is_open_nothing_is_taken(ingest):
    """A push at start-up is told to come again."""
    with pytest.raises(Unavailable, match="not open yet"):
        await ingest.append(batch())


async def test_a_full_queue_turns_away_and_counts(ingest):
    """Beyond the samples that may wait, `append` raises; one oversized batch alone may pass."""
    async with trio.open_nursery() as nursery:
        await running(nursery, ingest)
        outcomes = []

        async def push(n):
            try:
                outcomes.append((await ingest.append(batch(n))).stored)
            except Unavailable as e:
                outcomes.append(str(e))

        async with trio.open_nursery() as pushers:
            pushers.start_soon(push, 6)
            pushers.start_soon(push, 6)
        assert sorted(map(str, outcomes))[0] == "6"
        assert any("wait for the disk" in str(o) for o in outcomes)
        assert ingest.statistics().queue_full_total == 1
        assert (await ingest.append(batch(50))).stored == 50
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("error", "counter"),
    [
        (DiskFullError("full"), "disk_full_total"),
        (ReadOnlyError("after a failed write"), "failures_total"),
        (LimitExceeded("batch_samples_max", "too large"), "failures_total"),
    ],
)
async def test_a_failed_commit_is_told_to_everyone_in_it_and_counted(ingest, error, counter):
    """Each waiter gets the error; when the storage works again, so does the queue."""
    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        storage.error = error
        with pytest.raises(type(error)):
            await ingest.append(batch())
        assert getattr(ingest.statistics(), counter) == 1
        storage.error = None
        assert (await ingest.append(batch(2))).stored == 2
        nursery.cancel_scope.cancel()


async def test_a_batch_that_is_too_large_fails_alone(ingest):
    """Those that would have shared its commit are stored."""
    outcomes = []

    async def push(n):
        try:
            outcomes.append((await ingest.append_from(lambda: batch(n), 1)).stored)
        except LimitExceeded as e:
            outcomes.append(str(e))

    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        async with trio.open_nursery() as pushers:
            for n in (1, 101, 2, 102, 3):
                pushers.start_soon(push, n)
        assert sorted(outcomes, key=str) == [1, 2, 3, "too large", "too large"]
        assert sum(map(sum, storage.groups)) == 6
        assert ingest.statistics().failures_total == 0
        nursery.cancel_scope.cancel()


async def test_what_is_to_follow_is_called_when_the_batch_is_durable(ingest, committed):
    """In the writer's thread, with what the sender will be told, and before that."""
    called = []

    class Dropping(Processor):
        name = "dropping"

        def process(self, batch):
            return evolve(batch.take(np.arange(len(batch)) > 0), refused={Refused.LIMIT: 1})

    ingest.processors = [Dropping()]
    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)

        def then(result):
            called.append((list(storage.groups), list(committed), result.stored, dict(result.refused)))
            assert threading.current_thread().name.startswith("writer")

        await ingest.append(batch(3), then=then)
        nursery.cancel_scope.cancel()
    assert called == [([[2]], [], 2, {Refused.LIMIT: 1})]


async def test_what_is_to_follow_fails_for_its_sender_alone(ingest, committed):
    """Its samples and those of others are stored; and where they are not, nothing follows."""
    called = []

    def fail(result):
        called.append(result.stored)
        raise StorageError("the journal is full")

    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        async with trio.open_nursery() as senders:
            senders.start_soon(functools.partial(ingest.append, batch(2)))
            with pytest.raises(StorageError, match="the journal is full"):
                await ingest.append(batch(1), then=fail)
        assert sorted(n for n, _ in committed) == [1, 2]
        assert ingest.statistics().failures_total == 0
        storage.error = StorageError("no")
        with pytest.raises(StorageError, match="no"):
            await ingest.append(batch(1), then=fail)
        assert (called, ingest.statistics().samples_queued) == ([1], 0)
        nursery.cancel_scope.cancel()


async def test_trouble_with_the_disk_is_told_while_it_lasts(ingest):
    """A full disk until something is stored again, a failed write for good, and whatever the storage finds wrong."""
    told = []
    ingest.on_trouble = lambda text, holds: told.append((text, holds))
    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        for error in (DiskFullError("full"), None, None, ReadOnlyError("after a failed write")):
            storage.error = error
            with suppress(StorageError):
                await ingest.append(batch())
        nursery.cancel_scope.cancel()
    assert told == [(DISK_FULL, True), (DISK_FULL, False), (READ_ONLY, True)]


async def test_what_waits_at_shutdown_is_stored(ingest):
    """Cancelling the writer stores the rest and then refuses more."""
    storage = FakeStorage()
    results = []

    async def push():
        results.append(await ingest.append(batch(4)))

    async with trio.open_nursery() as pushers, trio.open_nursery() as nursery:
        await running(nursery, ingest, storage)
        pushers.start_soon(push)
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert results[0].stored == 4
    with pytest.raises(Unavailable, match="stopping"):
        await ingest.append(batch())


class Without(Processor):
    """Takes the last sample out and says so."""

    def process(self, given):
        return Batch(given.refs[:-1], given.timestamps_ms[:-1], given.values[:-1], refused={Refused.LIMIT: 1})


async def test_processors_see_every_batch_and_their_refusals_are_reported(ingest):
    """What a processor takes out is part of the result and of the counters."""
    ingest.processors = [Without()]
    async with trio.open_nursery() as nursery:
        await running(nursery, ingest)
        result = await ingest.append(batch(3))
        assert (result.stored, result.refused) == (2, {Refused.LIMIT: 1})
        assert ingest.statistics().refused_total == {Refused.LIMIT: 1}
        nursery.cancel_scope.cancel()


async def test_background_work_runs_in_slices_between_commits(ingest):
    """`maintain` is called again at once while there is more, and pushes get in between."""
    async with trio.open_nursery() as nursery:
        storage = FakeStorage()
        storage.more = 5
        await running(nursery, ingest, storage)
        ingest_maintains = storage.maintained
        assert ingest_maintains >= 0
        await ingest.append(batch())
        while storage.maintained < 6:
            await ingest.append(batch())
        nursery.cancel_scope.cancel()
    assert storage.maintained >= 6


async def test_what_the_storage_met_is_in_the_log(ingest):
    """A fault is an error, what is normal after a crash a warning; each is logged once."""
    storage = FakeStorage()
    storage.notices = [Notice("segments/1.seg: damaged"), Notice("wal/1: cut off 3 bytes", is_fault=False)]
    storage.more = 3
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await running(nursery, ingest, storage)
            while storage.maintained < 3:
                await ingest.append(batch())
            nursery.cancel_scope.cancel()
    told = [(entry["log_level"], entry["event"]) for entry in logs]
    assert told == [("error", "segments/1.seg: damaged"), ("warning", "wal/1: cut off 3 bytes")]


async def test_work_for_the_writer_is_done_between_commits(ingest):
    """It gets the storage, its result or error comes back, and batches go on being stored."""
    with pytest.raises(Unavailable):
        await ingest.run_on_writer(lambda storage: 1)
    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        assert await ingest.run_on_writer(lambda s: (s is storage, 7)) == (True, 7)
        with pytest.raises(ZeroDivisionError):
            await ingest.run_on_writer(lambda s: 1 // 0)
        await ingest.append(batch(2))
        assert storage.groups == [[2]]
        nursery.cancel_scope.cancel()
    with pytest.raises(Unavailable, match="stopping"):
        await ingest.run_on_writer(lambda storage: 1)


async def test_work_that_waits_at_shutdown_is_done_or_refused(ingest):
    """Whoever asked is told in any case."""
    outcomes = []

    async def ask():
        try:
            outcomes.append(await ingest.run_on_writer(lambda storage: 1))
        except Unavailable as e:
            outcomes.append(str(e))

    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        await running(nursery, ingest)
        nursery.cancel_scope.cancel()
        outer.start_soon(ask)
        outer.start_soon(ask)
    assert set(outcomes) <= {"the daemon is stopping", 1}
    assert len(outcomes) == 2


async def test_batches_are_made_and_processed_in_the_writers_thread(ingest):
    """The event loop is free meanwhile, and no two threads run a processor."""
    threads = []

    class Noting(Processor):
        """Notes the thread that it runs in."""

        def process(self, batch):
            threads.append(threading.current_thread() is threading.main_thread())
            return batch

    def make():
        threads.append(threading.current_thread() is threading.main_thread())
        return batch(2)

    ingest.processors = [Noting()]
    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        assert (await ingest.append_from(make, 1)).stored == 2
        assert storage.groups == [[2]]
        assert ingest.statistics().samples_queued == 0
        nursery.cancel_scope.cancel()
    assert threads == [False, False]


async def test_a_batch_that_cannot_be_made_fails_alone(ingest):
    """Its error goes to whoever asked for it; those that wait with it are stored."""

    def fail():
        raise WireError("damaged", 3)

    async with trio.open_nursery() as nursery:
        storage = await running(nursery, ingest)
        outcomes = {}

        async def push(name, make):
            try:
                outcomes[name] = (await ingest.append_from(make, 1)).stored
            except WireError as e:
                outcomes[name] = str(e)

        async with trio.open_nursery() as pushers:
            pushers.start_soon(push, "good", lambda: batch(2))
            pushers.start_soon(push, "bad", fail)
            pushers.start_soon(push, "better", lambda: batch(3))
        assert {k: v for k, v in outcomes.items() if k != "bad"} == {"good": 2, "better": 3}
        assert "damaged" in outcomes["bad"]
        assert functools.reduce(operator.add, storage.groups) in ([2, 3], [3, 2])
        with pytest.raises(WireError):
            await ingest.append_from(fail, 1)
        assert (ingest.statistics().batches_total, ingest.statistics().failures_total) == (2, 0)
        nursery.cancel_scope.cancel()


async def test_a_ragged_batch_fails_alone(autojump_clock):
    """A sample without a value is a fault of whoever made it, and costs neither the others nor the daemon."""
    ingest, storage = Ingest(VirtualClock(), lambda batch, result: None), FakeStorage()
    ragged = evolve(batch(2, origin="broken"), values=np.zeros(1))
    async with trio.open_nursery() as nursery:
        await nursery.start(ingest.run, storage)
        with pytest.raises(PluginError, match="a batch of broken has 2 refs, 2 timestamps and 1 values"):
            await ingest.append(ragged)
        assert (await ingest.append(batch(3))).stored == 3
        nursery.cancel_scope.cancel()
    assert [3] in storage.groups
