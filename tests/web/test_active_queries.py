"""`/status/active_queries`: what is under way, and how it is stopped."""

from __future__ import annotations

import threading
from typing import Any

import trio
from web_fakes import FakeEngine, scalar

from tinyobs.promql.limits import Budget, EngineOptions
from tinyobs.promql.result import Result
from tinyobs.web.options import WebOptions
from tinyobs.web.services import StorageAdmin

QUERY, ACTIVE = "/api/v1/query", "/api/v1/status/active_queries"


def engine_that_spins(begun: trio.Event, release: threading.Event | None = None) -> FakeEngine:
    """Return an engine whose query `spin` reads seven samples and runs until it is stopped or released."""

    def spin(check: Any, watch: Any, **_: Any) -> Result:
        meter = Budget(EngineOptions())
        watch(meter)
        meter.read(7)
        trio.from_thread.run_sync(begun.set)
        while release is None or not release.is_set():
            check()
        return scalar(1.0)

    engine = FakeEngine()
    engine.answers["spin"] = spin
    return engine


def some_admin() -> StorageAdmin:
    """Return an admin API that is enabled; nothing of it is called."""

    async def never(*_: Any) -> Any:
        raise AssertionError

    return StorageAdmin(never, never, never, never)


async def test_running_queries_are_listed_and_stopped(make_client: Any) -> None:
    """The one that runs, then the one that waits; both are answered `canceled`."""
    begun, answers = trio.Event(), {}
    client = make_client(WebOptions(queries_max=1), promql=engine_that_spins(begun), admin=some_admin())

    async def ask(text: str) -> None:
        answers[text] = await client.get(QUERY, params={"query": text, "time": "7"})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "spin")
        await begun.wait()
        nursery.start_soon(ask, "1")
        while len(found := (await client.get(ACTIVE)).json()["data"]) < 2:
            await trio.lowlevel.checkpoint()
        one, other = found
        assert (one["query"], one["state"], one["samplesRead"], one["kind"]) == ("spin", "running", 7, "instant")
        assert (one["start"], one["end"], one["client"]) == (7, 7, "127.0.0.1")
        assert one["elapsedSeconds"] >= 0
        assert (other["query"], other["state"]) == ("1", "queued")
        for query in (other, one):
            assert (await client.delete(f"{ACTIVE}/{query['id']}")).status_code == 200
    assert {t: (a.status_code, a.json()["errorType"]) for t, a in answers.items()} == {
        "spin": (499, "canceled"),
        "1": (499, "canceled"),
    }
    assert (await client.get(ACTIVE)).json()["data"] == []


async def test_stopping_a_query_needs_the_admin_api(make_client: Any) -> None:
    """Without it the query goes on."""
    begun, release = trio.Event(), threading.Event()
    client = make_client(promql=engine_that_spins(begun, release))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.get, QUERY + "?query=spin")
        await begun.wait()
        [found] = (await client.get(ACTIVE)).json()["data"]
        answer = await client.post(f"{ACTIVE}/{found['id']}")
        assert (answer.status_code, answer.json()["error"]) == (500, "admin APIs disabled")
        release.set()


async def test_a_query_that_is_not_there_cannot_be_stopped(make_client: Any) -> None:
    """404, whatever stands in the path."""
    client = make_client(admin=some_admin())
    for number in ("1", "x", "-1", "1" * 50):
        answer = await client.delete(f"{ACTIVE}/{number}")
        assert (answer.status_code, answer.json()["errorType"]) == (404, "not_found")


async def test_too_many_waiting_queries_are_refused(make_client: Any) -> None:
    """503 with `Retry-After`, while health and status are served."""
    begun, release = trio.Event(), threading.Event()
    options = WebOptions(queries_max=1, queries_queued_max=0)
    client = make_client(options, promql=engine_that_spins(begun, release))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.get, QUERY + "?query=spin")
        await begun.wait()
        answer = await client.get(QUERY, params={"query": "1"})
        assert (await client.get("/-/healthy")).status_code == 200
        release.set()
    assert (answer.status_code, answer.json()["errorType"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
