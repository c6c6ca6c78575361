"""Work on bodies in worker threads leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from functools import partial

import pytest
import trio
import trio.testing
from starlette.requests import ClientDisconnect

from tinyobs.errors import WireError
from tinyobs.receiving.threads import in_thread, turn
from tinyobs.web.held_bytes import HeldBytes
from tinyobs.web.problem import HttpError, forget_frames
from tinyobs.web.stopping import Stopping
from tinyobs.web.wanted import WANTED, Wanted


class Body:
    """Something whose end can be seen."""


@pytest.mark.parametrize("error", [WireError("damaged"), HttpError(503, "full")])
async def test_a_refused_body_is_gone_at_once(error):
    """Not only when the garbage collector comes by, which may be after a hundred of them."""
    body = Body()
    gone = weakref.ref(body)

    def work(given):
        held = given  # as a decoder has it
        raise error if held is given else AssertionError

    gc.disable()
    try:
        work_on_it = partial(work, body)
        del body
        with pytest.raises(type(error)) as caught:
            await in_thread(work_on_it)
        del work_on_it
        forget_frames(caught.value)  # as the application does before it answers
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("of", [trio.Lock, lambda: trio.CapacityLimiter(1)], ids=["lock", "limiter"])
async def test_who_has_gone_waits_for_no_turn(autojump_clock, of):
    """The others have theirs as if it had never been there; who has a turn keeps it."""
    place, had = of(), []

    async def client(name, leaves_after):
        async def receive():
            await trio.sleep(leaves_after)
            return {"type": "http.disconnect"}

        WANTED.set(Wanted(Stopping(), HeldBytes(1), receive))  # of this task alone
        try:
            async with turn(place):
                await trio.sleep(10)
                had.append(name)
        except ClientDisconnect:
            had.append(f"{name} left at {trio.current_time() - begun:g}")

    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for name, leaves_after in (("first", 3), ("second", 4), ("third", 30)):
            nursery.start_soon(client, name, leaves_after)
            await trio.testing.wait_all_tasks_blocked()
    assert had == ["second left at 4", "first", "third"]
    assert trio.current_time() - begun == 20
