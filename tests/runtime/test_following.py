"""Followers: reading wakes on commits, places move with what is settled, and the end of the agent is theirs as well."""

from __future__ import annotations

from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio
from structlog.testing import capture_logs

from tinyobs.abc import CursorStart, LogPosition
from tinyobs.errors import CorruptionError, StorageError
from tinyobs.model.batch import Batch
from tinyobs.runtime.following import FORGET_AFTER_SECONDS, LOOK_EVERY_SECONDS, Followers
from tinyobs.testing.inline_threads import inline_threads
from tinyobs.testing.memory_log import MemoryLog

NOW = CursorStart()


@asynccontextmanager
async def running():
    """A scene whose places are saved; work in threads is done at once."""
    made = Scene()
    with inline_threads():
        async with trio.open_nursery() as made.nursery:
            await made.nursery.start(made.followers.run)
            yield made
            made.nursery.cancel_scope.cancel()


class Scene:
    """A log and its followers."""

    def __init__(self):
        self.log = MemoryLog()
        self.followers = Followers(lambda: self.log)

    def commit(self, count=1, wake=True):
        for _ in range(count):
            n = len(self.log.batches)
            self.log.add(Batch(np.zeros(1, np.uint32), np.array([n]), np.array([float(n)])))
        if wake:
            self.followers.wake()

    @property
    def place(self):
        return self.log.places["a"].offset // 100


def values(records):
    return [r.batch.values[0] for r in records]


async def test_a_commit_wakes_a_reader(autojump_clock):
    """It comes soon, with all that was committed at about the same time."""
    async with running() as scene:
        follower = await scene.followers.follow("a", NOW)
        seen = []

        async def read():
            while True:
                seen.append((trio.current_time(), values(await follower.read(1000))))

        scene.nursery.start_soon(read)
        await trio.sleep(10)
        begun = trio.current_time()
        scene.commit(3)
        await trio.sleep(0.01)
        scene.commit(2)
        await trio.sleep(2)
        assert [v for _, v in seen] in ([[0, 1, 2], [3, 4]], [[0, 1, 2, 3, 4]])
        assert seen[-1][0] - begun <= 0.2


async def test_what_nobody_told_of_is_read_as_well(autojump_clock):
    """Some records are durable later than they are committed."""
    async with running() as scene:
        follower = await scene.followers.follow("a", NOW)
        scene.commit(wake=False)
        begun = trio.current_time()
        assert values(await follower.read(10)) == [0]
        scene.commit(wake=False)
        assert values(await follower.read(10)) == [1]
        assert trio.current_time() - begun <= 2 * LOOK_EVERY_SECONDS


async def test_the_place_moves_to_the_first_that_is_not_settled(autojump_clock):
    """In whatever order records are settled."""
    async with running() as scene:
        follower = await scene.followers.follow("a", NOW)
        scene.commit(4)
        records = await follower.read(1000)
        for number, expected in ((2, 0), (0, 1), (1, 3), (1, 3), (3, 4)):
            follower.settle(records[number])
            await trio.sleep(1)
            assert scene.place == expected


async def test_what_is_read_meanwhile_does_not_move_the_place(autojump_clock):
    """A record that a thread has read and that was not handed out yet is not taken for settled."""
    async with running() as scene:
        follower = await scene.followers.follow("a", NOW)
        scene.commit()
        (record,) = await follower.read(1)
        cursor = scene.log.open["a"]
        plain = cursor.read

        def read(samples_max):
            found = plain(samples_max)
            follower.settle(record)
            return found

        cursor.read = read
        scene.commit()
        (second,) = await follower.read(1)
        await trio.sleep(1)
        assert scene.place == 1
        follower.settle(second)
        await trio.sleep(1)
        assert scene.place == 2


async def test_the_end(autojump_clock):
    """When the agent stops a reader gets what is left, and then nothing, at once."""
    async with running() as scene:
        follower = await scene.followers.follow("a", NOW)
        scene.commit(2)
        assert not follower.is_draining
        scene.followers.drain()
        assert follower.is_draining
        begun = trio.current_time()
        records = await follower.read(1)
        records += await follower.read(1)
        assert values(records) == [0, 1]
        assert await follower.read(1) == ()
        for r in records:
            follower.settle(r)
        await follower.aclose()
        await follower.aclose()
        await scene.followers.wait_closed()
        assert trio.current_time() - begun < 0.1
        assert scene.place == 2
        with pytest.raises(StorageError, match="closed"):
            await follower.read(1)


async def test_damage_is_passed(autojump_clock):
    """It is logged, and reading goes on behind it."""
    async with running() as scene:
        follower = await scene.followers.follow("a", NOW)
        scene.commit()
        scene.log.open["a"].failure = CorruptionError("wal/00000001", 7, "test")
        assert values(await follower.read(10)) == [0]


async def test_a_failing_save_is_tried_again(autojump_clock):
    """The place lags behind, and the sink is not disturbed."""
    async with running() as scene:
        follower = await scene.followers.follow("a", NOW)
        scene.commit(2)
        records = await follower.read(10)
        cursor = scene.log.open["a"]

        def fail(position):
            raise StorageError("no space")

        cursor.save = fail
        follower.settle(records[0])
        await trio.sleep(1)
        assert scene.place == 0
        del cursor.save
        follower.settle(records[1])
        await trio.sleep(1)
        assert scene.place == 2


async def test_a_cursor_that_is_closed_while_places_are_saved(autojump_clock):
    """Whoever closed it has saved its place: that it cannot be saved any more is nothing to be told."""
    async with running() as scene:
        follower = await scene.followers.follow("a", NOW)
        scene.commit(2)
        records = await follower.read(10)
        cursor = scene.log.open["a"]

        def closed_before(position):
            del cursor.save
            follower.close_now()
            raise StorageError("the cursor a is closed")

        cursor.save = closed_before
        with capture_logs() as logs:
            for record in records:
                follower.settle(record)
            await trio.sleep(1)
        assert scene.place == 2
        assert not logs


async def test_a_cursor_that_nobody_follows_is_forgotten(autojump_clock):
    """After an hour, not before; one that was followed meanwhile stays."""
    async with running() as scene:
        follower = await scene.followers.follow("a", NOW)
        await (await scene.followers.follow("b", NOW)).aclose()
        scene.log.places["old"] = LogPosition(1, 0)
        await trio.sleep(FORGET_AFTER_SECONDS - 10)
        assert set(scene.log.places) == {"a", "b", "old"}
        await trio.sleep(20)
        assert set(scene.log.places) == {"a"}
        await follower.aclose()
        await trio.sleep(FORGET_AFTER_SECONDS - 10)
        assert set(scene.log.places) == {"a"}, "it was followed in this hour"
        await trio.sleep(FORGET_AFTER_SECONDS + 20)
        assert not scene.log.places
