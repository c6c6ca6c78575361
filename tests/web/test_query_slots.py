"""The slots for queries: order, fairness and bounds, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tinyobs.web.problem import ApiError
from tinyobs.web.queries.slots import QuerySlots

LONG, SHORT = 20.0, 0.01


async def hold(slots: QuerySlots, name: str, client: str, expected: float | None, log: list[str]) -> None:
    """Take a slot, note it, hold it for a second."""
    await slots.take(client, expected, 1000.0)
    try:
        log.append(name)
        await trio.sleep(1)
    finally:
        slots.leave(client)


async def test_short_queries_overtake_long_ones(autojump_clock: Any) -> None:
    """Of the queries of one client the shortest goes first; a long one that has waited its time is not overtaken."""
    slots, log = QuerySlots(1, 100), []
    async with trio.open_nursery() as nursery:
        await slots.take("a", None, 1.0)
        nursery.start_soon(hold, slots, "long", "a", LONG, log)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, slots, "unknown", "a", None, log)
        nursery.start_soon(hold, slots, "short", "a", SHORT, log)
        await trio.sleep(1)
        slots.leave("a")
        await trio.sleep(30)
        assert log == ["short", "unknown", "long"]
        await slots.take("a", None, 1.0)
        nursery.start_soon(hold, slots, "long 2", "a", LONG, log)
        await trio.sleep(LONG)
        nursery.start_soon(hold, slots, "short 2", "a", SHORT, log)
        await trio.testing.wait_all_tasks_blocked()
        slots.leave("a")
    assert log[3:] == ["long 2", "short 2"]


async def test_clients_take_turns(autojump_clock: Any) -> None:
    """Who has few queries in slots goes before who has many and asked first."""
    slots, log = QuerySlots(2, 100), []
    async with trio.open_nursery() as nursery:
        for i in range(4):
            nursery.start_soon(hold, slots, f"a{i}", "a", None, log)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, slots, "b0", "b", None, log)
    assert (log[:2], set(log[2:4]), log[4]) == (["a0", "a1"], {"b0", "a2"}, "a3")


async def test_the_last_slots_are_not_for_long_queries_of_one_client(autojump_clock: Any) -> None:
    """Of eight slots one is left for other clients, and for short queries."""
    slots, log = QuerySlots(8, 100), []
    async with trio.open_nursery() as nursery:
        for i in range(9):
            nursery.start_soon(hold, slots, f"a{i}", "a", LONG, log)
            await trio.testing.wait_all_tasks_blocked()
        assert len(log) == 7
        nursery.start_soon(hold, slots, "short", "a", SHORT, log)
        await trio.testing.wait_all_tasks_blocked()
        assert log[-1] == "short"
        nursery.start_soon(hold, slots, "b", "b", LONG, log)
        await trio.testing.wait_all_tasks_blocked()
        assert "b" not in log  # all eight are taken now
    assert slots.statistics().running == 0
    assert len(log) == 11


async def test_a_full_queue_refuses(autojump_clock: Any) -> None:
    """503 `unavailable`, with a header that says when to ask again."""
    slots = QuerySlots(1, 1)
    await slots.take("a", None, 1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, slots, "waits", "a", None, [])
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ApiError, match="query_queue_max") as refused:
            await slots.take("b", None, 1.0)
        slots.leave("a")
    assert (refused.value.kind, refused.value.status) == ("unavailable", 503)
    assert refused.value.headers == {"retry-after": "1"}
    assert slots.statistics().refused_total == 1


async def test_the_wait_is_bounded(autojump_clock: Any) -> None:
    """When the time is up the query is answered as Prometheus does, and leaves the queue."""
    slots = QuerySlots(1, 10)
    await slots.take("a", None, 1.0)
    with pytest.raises(ApiError, match="query timed out in query queue") as late:
        await slots.take("b", None, 5.0)
    assert late.value.kind == "timeout"
    found = slots.statistics()
    assert (found.waiting, found.late_total, found.wait_seconds) == (0, 1, pytest.approx(5.0))


async def test_who_is_cancelled_gives_back_what_it_was_just_given(autojump_clock: Any) -> None:
    """Neither the place in the queue nor a slot granted in the same moment is lost."""
    slots = QuerySlots(1, 10)
    await slots.take("a", None, 1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, slots, "b", "b", None, [])
        await trio.testing.wait_all_tasks_blocked()
        slots.leave("a")  # grants it to b, which has not run yet
        nursery.cancel_scope.cancel()
    assert slots.statistics().running == 0
    async with trio.open_nursery() as nursery:
        await slots.take("a", None, 1.0)
        nursery.start_soon(slots.take, "b", None, 100.0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (slots.statistics().running, slots.statistics().waiting) == (1, 0)


async def test_more_slots_let_the_next_in(autojump_clock: Any) -> None:
    """A reload may widen the gate while queries wait."""
    slots, log = QuerySlots(1, 10), []
    await slots.take("a", None, 1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, slots, "next", "a", None, log)
        await trio.testing.wait_all_tasks_blocked()
        assert log == []
        slots.resize(2, 10)
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["next"]
