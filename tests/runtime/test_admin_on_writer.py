"""Deletes and snapshots through a running agent: they are the writer's work, between its commits."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tinyobs.errors import StorageError, Unavailable
from tinyobs.runtime.ingest import Ingest
from tinyobs.testing.services import VirtualClock


class Quiet:
    """A storage with nothing to do."""

    def maintain(self, now_ms):
        return False

    def take_sealed(self):
        return ()


async def test_work_is_done_in_order_and_its_outcome_is_told(nursery):
    """What the work returns or raises comes back; nothing is accepted before the storage is open."""
    ingest = Ingest(VirtualClock(), lambda batch, result: None)
    with pytest.raises(Unavailable):
        await ingest.run_on_writer(lambda storage: 1)
    storage = Quiet()
    await nursery.start(ingest.run, storage)
    assert await ingest.run_on_writer(lambda given: given is storage) is True

    def fail(given):
        raise StorageError("no")

    with pytest.raises(StorageError, match="no"):
        await ingest.run_on_writer(fail)
    seen = []
    async with trio.open_nursery() as inner:
        for i in range(5):
            inner.start_soon(ingest.run_on_writer, lambda given, i=i: seen.append(i))
    assert sorted(seen) == list(range(5))


async def test_nobody_is_left_waiting_at_the_end():
    """What was accepted is done, or refused; afterwards no more work is accepted."""
    ingest = Ingest(VirtualClock(), lambda batch, result: None)
    done = []

    async def ask():
        try:
            done.append(await ingest.run_on_writer(lambda given: "done"))
        except Unavailable:
            done.append("refused")

    async with trio.open_nursery() as outer, trio.open_nursery() as writer:
        await writer.start(ingest.run, Quiet())
        outer.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        writer.cancel_scope.cancel()
    assert done in (["done"], ["refused"])
    with pytest.raises(Unavailable, match="stopping"):
        await ingest.run_on_writer(lambda storage: 1)
