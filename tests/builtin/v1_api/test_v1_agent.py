"""The API on a whole agent: rates of what the SDK sends, round trips, clients that leave, many at the WebSocket."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio
from go_sdk import GoSdk
from websocket_client import open_socket

from tinyobs import __version__
from tinyobs.builtin.v1_api import queries
from tinyobs.builtin.v1_api.live import COMPONENT, WAITING_MAX
from tinyobs.exposition.v1_times import write_time
from tinyobs.http_client import Client
from tinyobs.model.batch import Batch
from tinyobs.model.columns import empty
from tinyobs.model.labels import from_mapping
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until

JSON = {"content-type": "application/json"}


@asynccontextmanager
async def agent(tmp_path, config="global: {}\n", **more):
    """Run an agent and give it with a function that posts."""
    given = {
        "config_text": config,
        "storage_url": f"file:{tmp_path}",
        "listen": ("127.0.0.1:0",),
        "plugins_off": ("host",),
    }
    settings = AgentSettings(**{**given, **more})
    client = Client()

    async def post(path, body, headers=JSON):
        async with client.stream("POST", running.url + path, headers, body) as answer:
            return answer.status, b"".join([piece async for piece in answer.pieces()])

    async with running_agent(settings) as running:
        try:
            yield running, post
        finally:
            await client.aclose()


async def fill(running, series, samples):
    """Store gauges of the last minutes."""
    refs = running.agent.registry.intern_many(
        [from_mapping({"__name__": f"m{i % 7}", "i": str(i)}) for i in range(series)]
    )
    now_ms = running.agent.clock.now_ms() // 1000 * 1000
    for k in range(samples):
        times = np.full(series, now_ms - 1000 * (samples - k))
        await running.agent.append(Batch(refs, times, np.arange(series) + k / 8, "test"))


async def test_rates_of_what_the_sdk_sends(tmp_path):
    """Three flushes of a histogram: increase and quantile are those of the observations, before and after a restart."""
    for total in (6.0, 6.0):
        async with agent(tmp_path) as (running, post):
            sdk = GoSdk("shop", lambda: write_time(running.agent.clock.now_ms()))

            async def send(body):
                status, answer = await post("/v1/ingest", body)
                assert status == 200, answer

            for _ in range(3):
                for value in (0.3, 60.0):
                    sdk.observe("latency", value)
                await sdk.flush(send)
            # The sum of all rises within the window, resets taken into account; without what PromQL extrapolates.
            found = await running.query("latency_count - (latency_count offset 1h or latency_count * 0)")
            assert list(found.values()) == [total]
            found = await running.query("histogram_quantile(0.4, latency_bucket)")
            assert found == {'{service="shop"}': pytest.approx(0.45)}
            assert (await running.get("/api/v1/metadata?metric=latency"))[1].count(b'"histogram"') == 1


async def test_what_is_exported_is_imported_elsewhere(tmp_path):
    """As JSON and as CSV, in batches; importing again stores nothing twice."""
    async with agent(tmp_path / "a") as (first, _):
        await fill(first, 300, 20)
        exports = {form: (await first.get(f"/v1/export?format={form}"))[1] for form in ("json", "csv")}
        expected = await first.get("/v1/query?metric=m3")
    assert json.loads(exports["json"])["metadata"]["metric_count"] == 6000
    for form, kind in (("json", "application/json"), ("csv", "text/csv")):
        async with agent(tmp_path / form) as (second, post):
            for _ in range(2):
                status, body = await post("/v1/import", exports[form], {"content-type": kind})
                answer = json.loads(body)
                assert (status, answer["metrics_imported"], answer["batches_written"]) == (200, 6000, 2), answer
                assert answer["errors"] == []
            assert await second.get("/v1/query?metric=m3") == expected


async def test_exports_are_few_at_a_time(tmp_path):
    """A client that leaves makes room."""
    async with agent(tmp_path, "tinyobs: {v1: {exports_max: 1}}\n") as (running, _):
        await fill(running, 20_000, 10)
        host, port = running.url.removeprefix("http://").split(":")
        stream = await trio.open_tcp_stream(host, int(port))
        await stream.send_all(b"GET /v1/export HTTP/1.1\r\nhost: t\r\n\r\n")
        assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 200")
        assert (await running.get("/v1/export"))[0] == 503
        await stream.aclose()

        async def is_free():
            return (await running.get("/v1/export?metric=none"))[0] == 200

        await until(is_free)


@pytest.mark.parametrize(
    ("config", "status", "message"),
    [
        ("v1: {query_samples_max: 50}", 422, "more than 50 samples (tinyobs.v1.query_samples_max)"),
        ("query: {memory_total_max: 1MiB}", 503, "query_memory_total_max"),
    ],
)
async def test_queries_are_bounded(tmp_path, config, status, message):
    """By samples, and by the memory of all."""
    async with agent(tmp_path, f"tinyobs: {{{config}}}\n") as (running, _):
        await fill(running, 700, 20)
        assert (await running.get("/v1/query/range?metric=none"))[0] == 200
        for path in ("/v1/query", "/v1/query/range?metric=m1"):
            found, body = await running.get(path)
            if found == 200:
                assert path != "/v1/query"
                continue
            assert found == status, body
            assert message in json.loads(body)["message"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"step": 15}, 'invalid step duration: 15 is no text such as "15s" or "1m30s"'),
        ({"step": "9" * 400 + "h"}, "longer than a duration"),
        ({"start": 1700000000}, 'invalid start: 1700000000 is no text such as "2025-01-31T08:00:00Z"'),
        (
            {"end": "2025-02-30T00:00:00Z"},
            "invalid end: '2025-02-30T00:00:00' is no time: day is out of range for month",
        ),
        ({"step": "9999999999999999999999h"}, ""),
        ({"step": "1e3s"}, "is no duration such as 15s or 1m30s"),
    ],
)
async def test_parameters_that_cannot_be(tmp_path, asked, message):
    """They are quoted, with what they should be; a step beyond the range is the range."""
    async with agent(tmp_path) as (running, post):
        status, body = await post("/v1/query/execute", json.dumps({"query": "1", **asked}).encode())
        answer = json.loads(body)
        assert status == (400 if message else 200), answer
        if message:
            assert message in answer["message"]
        health = json.loads((await running.get("/v1/health"))[1])
        assert health["version"] == __version__


async def test_queries_end_with_their_time_and_their_client(tmp_path, monkeypatch):
    """What never ends is stopped after its time, and when nobody waits for it any more."""

    def endless(querier, matchers, check, samples_max, selection=None):
        while True:
            check()
            yield empty()

    monkeypatch.setattr(queries, "read_all", endless)
    async with agent(tmp_path, "tinyobs: {v1: {query_timeout: 1s}}\n") as (running, _):
        status, body = await running.get("/v1/query")
        assert (status, json.loads(body)["error"]) == (503, "Service Unavailable")

    async def active():
        return len(json.loads((await running.get("/api/v1/status/active_queries"))[1])["data"])

    async def idle():
        return not await active()

    async with agent(tmp_path, "tinyobs: {v1: {query_timeout: 1h}}\n") as (running, _):
        host, port = running.url.removeprefix("http://").split(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET /v1/query/range?metric=a HTTP/1.1\r\nhost: t\r\n\r\n")
            await until(active)
        await until(idle)


async def test_what_the_storage_takes_up(tmp_path):
    """The log on the disk counts as soon as it is written; in memory what samples take."""
    for url in (f"file:{tmp_path}", "memory://"):
        config = "storage: {tsdb: {retention: {size: 1GB}}}\n" if url.startswith("file") else "global: {}\n"
        async with agent(tmp_path, config, storage_url=url) as (running, _):
            await fill(running, 100, 3)
            stored = json.loads((await running.get("/v1/storage"))[1])
            stats = json.loads((await running.get("/v1/stats"))[1])
            assert 0 < stored["used_bytes"] == stats["SizeBytes"] <= stored["max_bytes"]
            assert (stats["TotalMetrics"], stats["TotalSeries"]) == (300, 100)
            if url.startswith("file"):
                assert stored["max_bytes"] == 1 << 30


async def test_state_of_a_storage_that_fails(tmp_path, monkeypatch):
    """Degraded, and 503, with the reason."""
    async with agent(tmp_path) as (running, _):
        storage = running.agent.open_storage()
        before = storage.statistics()

        class Failing:
            def __getattr__(self, name):
                return 1 if name == "read_only" else getattr(before, name)

        assert (await running.get("/v1/health"))[0] == 200
        monkeypatch.setattr(storage, "statistics", Failing)
        status, body = await running.get("/v1/health")
        monkeypatch.undo()
        answer = json.loads(body)
        assert (status, answer["status"], answer["compaction"]["healthy"]) == (503, "degraded", False)
        assert "read-only" in answer["compaction"]["last_error"]


async def test_many_clients_are_told_the_same(tmp_path):
    """Each message is made once; one more client than may be is sent away."""
    config = "tinyobs: {v1: {live_interval: 100ms, live_samples_max: 5, live_clients_max: 3}}\n"
    async with agent(tmp_path, config) as (running, _):
        await fill(running, 10, 2)
        url = running.url + "/v1/ws"
        async with open_socket(url) as a, open_socket(url) as b, open_socket(url) as c:
            for client in (a, b, c):
                await client.send("what a client says is passed over")
                message = json.loads(await client.receive())
                assert message["type"] == "metrics_update"
                assert message["count"] == len(message["metrics"]) == 5
            async with open_socket(url) as d:
                assert await d.receive() == 1013
        live = running.agent.component(COMPONENT)
        await until(lambda: live.statistics().clients == 0)
        assert live.statistics().updates_total >= 1
        assert b"tinyobs_v1_live_updates_total" in (await running.get("/metrics"))[1]


async def test_slow_clients_lose_messages(tmp_path):
    """So many wait, the others are counted."""
    async with agent(tmp_path) as (running, _):
        live = running.agent.component(COMPONENT)
        with live.subscription() as messages:
            for i in range(WAITING_MAX + 3):
                live._tell(str(i))
            assert live.statistics().lost_total == 3
            assert messages.receive_nowait() == "0"


async def test_agent_mode_takes_pushes_only(tmp_path):
    """There is nothing to query."""
    config = "remote_write: [{url: 'http://127.0.0.1:1/'}]\n"
    async with agent(tmp_path, config, agent=True, storage_url=f"log:{tmp_path}") as (running, post):
        body = b'{"metrics":[{"name":"a","type":"gauge","value":1}]}'
        assert await post("/v1/ingest", body) == (200, b'{"status":"success","count":1}')
        assert (await running.get("/v1/query"))[0] == 404
