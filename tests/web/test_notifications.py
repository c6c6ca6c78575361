"""`/notifications`: what holds, who listens, and the end of listening."""

from __future__ import annotations

import json
from typing import Any

import trio
import trio.testing

from tinyobs.web.notifications import KEPT_MAX, WAITING_MAX, Notification, Notifications


async def test_sentences_come_and_go(make_client: Any) -> None:
    """What holds is listed in order with its time; saying it again changes the time only."""
    now = [1000]
    notifications = Notifications(lambda: now[0], 1)
    client = make_client(notifications=notifications)
    notifications.add("a")
    notifications.add("b")
    now[0] = 2000
    notifications.add("a")
    notifications.remove("b")
    notifications.remove("never said")
    answer = (await client.get("/api/v1/notifications")).json()
    assert answer == {
        "status": "success",
        "data": [{"text": "a", "date": "1970-01-01T00:00:02Z", "active": True}],
    }


async def test_a_listener_hears_what_holds_and_every_change(make_client: Any) -> None:
    """Events are JSON; closing ends the answer, so that a stopping server need not wait for listeners."""
    notifications = Notifications(lambda: 1000, 1)
    client = make_client(notifications=notifications)
    notifications.add("first")
    answers = []
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            answers.append(await client.get("/api/v1/notifications/live"))

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        assert notifications.statistics().subscribers == 1
        notifications.remove("first")
        assert (await client.get("/api/v1/notifications/live")).status_code == 204
        notifications.close()
    events = [json.loads(line.removeprefix("data: ")) for line in answers[0].text.split("\n\n") if line]
    assert [(e["text"], e["active"]) for e in events] == [("first", True), ("first", False)]
    assert answers[0].headers["content-type"].startswith("text/event-stream")
    assert answers[0].headers["cache-control"] == "no-cache"
    assert notifications.statistics().subscribers == 0


async def test_a_slow_listener_loses_changes_and_no_one_waits() -> None:
    """What does not fit its queue is dropped and counted."""
    notifications = Notifications(lambda: 0, 5)
    with notifications.subscription() as changes:
        assert changes is not None
        for i in range(WAITING_MAX + 3):
            notifications.add(f"n{i}")
        assert changes.receive_nowait() == Notification("n0", 0)
    statistics = notifications.statistics()
    assert (statistics.sent_total, statistics.dropped_total, statistics.subscribers) == (WAITING_MAX + 3, 3, 0)


async def test_the_list_is_bounded() -> None:
    """The oldest sentences go."""
    notifications = Notifications(lambda: 0, 0)
    for i in range(KEPT_MAX + 2):
        notifications.add(f"n{i}")
    assert [n.text for n in notifications.active][:1] == ["n2"]
    assert len(notifications.active) == KEPT_MAX
