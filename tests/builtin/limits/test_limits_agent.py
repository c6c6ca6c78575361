"""Limits in a whole agent: scrapes, pushes, the report, and what a restart leaves of it."""

from __future__ import annotations

import json

import httpx
import numpy as np
import trio

from tinyobs.cli.main import run
from tinyobs.exposition.remote_write_encoder import encode_blocks
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import encode_block
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.targets import FakeTarget, fake_target

HEADERS = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}


def settings(tmp_path, limits, scrape=""):
    """Return settings of an agent with limits, whose configuration is a file that tests change."""
    file = tmp_path / "tinyobs.yml"
    configure(file, limits, scrape)
    return AgentSettings(
        config_file=file,
        storage_url=f"file:{tmp_path / 'data'}",
        listen=("127.0.0.1:0",),
        plugins_off=("host", "event_log"),
        remote_write_receiver=True,
    )


def configure(file, limits, scrape=""):
    """Write the configuration."""
    file.write_text(f"tinyobs: {{limits: {json.dumps(limits)}}}\n{scrape}")


async def push(agent, *series, value=1.0):
    """Push one sample for each series by remote write; return the answer."""
    blocks = [encode_block(from_mapping({"__name__": "x", **labels})) for labels in series]
    body = encode_blocks(blocks, [agent.agent.clock.now_ms()] * len(blocks), [value] * len(blocks))
    async with httpx.AsyncClient() as client:
        return await client.post(agent.url + "/api/v1/write", content=body, headers=HEADERS)


async def test_a_push_learns_its_limit_and_leaves_nothing_behind(tmp_path):
    """Good series are stored, the answer names limit and metric, and the registry stays as it is."""
    async with running_agent(settings(tmp_path, {"series_per_metric_max": 3})) as agent:
        answer = await push(agent, *({"n": str(i)} for i in range(100)))
        assert answer.status_code == 429
        assert "series_per_metric_max 3 of metric x (97 samples in this request)" in answer.text
        before = len(agent.agent.registry), agent.agent.registry.pair_count
        for j in range(5):
            await push(agent, *({"n": f"{j}-{i}"} for i in range(100)))
        assert (len(agent.agent.registry), agent.agent.registry.pair_count) == before
        assert len(await agent.query("x")) == 3
        _, body = await agent.get("/metrics")
        assert b'tinyobs_limits_refused_samples_total{limit="series_per_metric_max"} 597' in body
        assert b"tinyobs_limits_series " in body


async def test_what_was_folded_is_stored_and_reported(tmp_path, capsys):
    """Over the API, and by `tinyobs limits`; folded samples count as stored."""
    rule = {"match": "x", "labels": ["path"], "values_max": 2}
    async with running_agent(settings(tmp_path, {"rules": [rule]})) as agent:
        answer = await push(agent, *({"path": f"/{i}"} for i in range(10)))
        assert answer.status_code == 204
        stored = await agent.query("x")
        assert stored == {'x{path="/0"}': 1, 'x{path="/1"}': 1, 'x{path="__other__"}': 8}
        _, body = await agent.get("/api/v1/status/limits")
        found = json.loads(body)["data"]
        assert found["folded"][0]["examples"] == [f"/{i}" for i in range(2, 10)]
        told = {k: found["folded"][0][k] for k in ("rule", "label", "metric", "keptValues", "foldedValues", "samples")}
        expected = {"rule": "x", "label": "path", "metric": "x", "keptValues": 2, "foldedValues": 8, "samples": 8}
        assert told == expected
        assert await trio.to_thread.run_sync(run, ["limits", "--url", agent.url]) == 0
        assert "/2, /3, /4" in capsys.readouterr().out
        assert await trio.to_thread.run_sync(run, ["limits", "--url", agent.url, "-o", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["foldedSeries"] == 1


async def test_a_scrape_goes_on_and_takes_what_a_reload_allows(tmp_path):
    """The target stays up; series that were refused are decided on anew when the limits change."""
    target = FakeTarget(body=b"".join(b'x{n="%d"} 1\n' % i for i in range(10)))
    async with fake_target(target):
        scrape = (
            "scrape_configs: [{job_name: t, scrape_interval: 100ms, scrape_timeout: 100ms, "
            f"static_configs: [{{targets: ['{target.address}']}}]}}]\n"
        )
        chosen = settings(tmp_path, {"series_per_job_max": 7}, scrape)
        async with running_agent(chosen) as agent:

            async def stored(count):
                return len(await agent.query("x")) == count

            await until(lambda: stored(7 - 5))  # five are what TinyObs says of the scrape
            assert list((await agent.query("up")).values()) == [1]
            configure(chosen.config_file, {"series_per_job_max": 0}, scrape)
            await agent.agent.reload()
            await until(lambda: stored(10))


async def test_series_count_after_a_restart(tmp_path):
    """What is in the log counts, and is nobody's new series; kept values stay those that they were."""
    limits = {"series_max": 3, "new_series_per_hour_max": 3}
    async with running_agent(settings(tmp_path, limits)) as agent:
        await push(agent, {"n": "1"}, {"n": "2"}, {"n": "3"})
    rule = {"match": "x", "labels": ["n"], "values_max": 3, "mode": "refuse"}
    async with running_agent(settings(tmp_path, {**limits, "rules": [rule]})) as agent:
        answer = await push(agent, {"n": "4"}, {"n": "3"}, {"n": "1"})
        assert answer.status_code == 429
        assert "values_max 3 of label n of metric x (1 samples" in answer.text
        assert "series_max 3" in (await push(agent, {"m": "4"})).text


async def test_folded_native_histograms_are_stored_and_queried(tmp_path):
    """The sum is a counter as any, over a restart as well; its members are not there."""
    chosen = settings(tmp_path, {"rules": [{"match": "h", "labels": ["path"], "values_max": 1}]})

    async def store(agent, at, **counts):
        refs = agent.agent.registry.intern_many(from_mapping({"__name__": "h", "path": p}) for p in counts)
        found = [Histogram(2, 0.001, 0, n, 1.0 * n, ((0, 1),), (n,), is_integer=True) for n in counts.values()]
        times = np.full(len(found), agent.agent.clock.now_ms() + at)
        batch = Batch(refs, times, handles(0, len(found)), "test", histograms=histograms_of(found))
        result = await agent.agent.append(batch)
        assert (result.stored, result.refused) == (len(found), {})

    async with running_agent(chosen) as agent:
        await store(agent, -9000, kept=1, a=100, b=5)
        await store(agent, -8000, kept=2, a=103, b=6)
        assert await agent.query('histogram_count(h{path="__other__"})') == {'{path="__other__"}': 4}
    async with running_agent(chosen) as agent:
        await store(agent, -2000, a=110, b=7)
        await store(agent, -1000, a=112, b=9)
        assert await agent.query('histogram_sum(h{path="__other__"})') == {'{path="__other__"}': 4}
        found = await agent.query('resets(h{path="__other__"}[1m])')
        assert found == {'{path="__other__"}': 1}
        assert len(await agent.query("count by (path) (h)")) == 2
