"""What senders are answered over each protocol when there are too many series."""

from __future__ import annotations

import json

import httpx
import pytest

from tinyobs.exposition.remote_write_encoder import encode_blocks
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import encode_block
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent

SNAPPY = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
KEPT = 2


def remote_write(names, now_ms, bad):
    """Series of one metric."""
    blocks = [encode_block(from_mapping({"__name__": "x", "n": n})) for n in names]
    if bad:
        blocks.append(encode_block((("__name__", "x"), ("n", "\x00" * 5000))))
    return "/api/v1/write", encode_blocks(blocks, [now_ms] * len(blocks), [1.0] * len(blocks)), SNAPPY


def text(names, now_ms, bad):
    """Lines of the text format."""
    return "/api/v1/import/prometheus", "".join(f'x{{n="{n}"}} 1\n' for n in names) + "x{\n" * bad, {}


def json_lines(names, now_ms, bad):
    """Lines of VictoriaMetrics."""
    lines = [{"metric": {"__name__": "x", "n": n}, "values": [1], "timestamps": [now_ms]} for n in names]
    return "/api/v1/import", "\n".join(map(json.dumps, lines)) + "\n{\n" * bad, {}


def csv(names, now_ms, bad):
    """Columns by number."""
    path = "/api/v1/import/csv?format=1:label:n,2:metric:x"
    return path, "".join(f"{n},1\n" for n in names) + "one,two\n" * bad, {}


def influx(names, now_ms, bad):
    """Lines with a string, which no metric is made of."""
    return "/write", "".join(f'x,n={n} value=1,s="text"\n' for n in names) + "x\n" * bad, {}


def group(names, now_ms, bad):
    """A pushed group, of which nothing stays."""
    return "/metrics/job/j", "".join(f'x{{n="{n}"}} 1\n' for n in names) + "x{\n" * bad, {}


PROTOCOLS = [remote_write, text, json_lines, csv, influx, group]


def settings(tmp_path, limits):
    """An agent without anything of its own."""
    file = tmp_path / "tinyobs.yml"
    file.write_text(f"tinyobs: {{self_metrics: {{enabled: false}}, limits: {json.dumps(limits)}}}\n")
    return AgentSettings(
        config_file=file,
        storage_url=f"file:{tmp_path / 'data'}",
        listen=("127.0.0.1:0",),
        plugins_off=("host", "event_log"),
        remote_write_receiver=True,
        otlp_receiver=True,
    )


async def send(agent, made):
    """Push a body."""
    path, body, headers = made
    async with httpx.AsyncClient() as client:
        return await client.post(agent.url + path, content=body, headers=headers)


@pytest.mark.parametrize("status", [429, 400])
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=[p.__name__ for p in PROTOCOLS])
async def test_too_many_series_have_an_answer_of_their_own(tmp_path, protocol, status):
    """With the limit in words and the good series stored; 400 where the configuration says so, or more is wrong."""
    limits = {"rules": [{"match": '{__name__=~"x.*"}', "series_max": KEPT}], "refused_status": status}
    async with running_agent(settings(tmp_path, limits)) as agent:
        now_ms = agent.agent.clock.now_ms()
        good = await send(agent, protocol(["a", "b"], now_ms, False))
        assert good.status_code in (200, 204), good.text
        answer = await send(agent, protocol(["a", "b", "c", "d"], now_ms + 1, False))
        assert answer.status_code == status, answer.text
        assert "series beyond the limit series_max 2" in answer.text
        assert answer.headers.get("retry-after") == ("5" if status == 429 else None)
        mixed = await send(agent, protocol(["e"], now_ms + 2, True))
        assert mixed.status_code == 400, mixed.text
        assert len(await agent.query("x or x_value")) == KEPT


def otlp(names, now_ms):
    """Return points of a gauge."""
    points = [
        {"timeUnixNano": str(now_ms * 10**6), "asDouble": 1, "attributes": [{"key": "n", "value": {"stringValue": n}}]}
        for n in names
    ]
    metrics = [{"name": "x", "gauge": {"dataPoints": points}}]
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}
    return "/api/v1/otlp/v1/metrics", json.dumps(body), {"content-type": "application/json"}


async def test_otlp_has_partial_successes(tmp_path):
    """Only what is refused as a whole is an error."""
    async with running_agent(settings(tmp_path, {"rules": [{"match": "x", "series_max": KEPT}]})) as agent:
        now_ms = agent.agent.clock.now_ms()
        answer = await send(agent, otlp(["a", "b", "c"], now_ms))
        assert answer.status_code == 200
        assert answer.json()["partialSuccess"]["rejectedDataPoints"] in (1, "1")
        answer = await send(agent, otlp(["d", "e"], now_ms + 1))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        assert "series_max 2" in answer.json()["message"]


async def test_the_status_is_one_of_two(tmp_path):
    """Others say nothing that senders know."""
    with pytest.raises(Exception, match="refused_status is 400 or 429"):
        async with running_agent(settings(tmp_path, {"refused_status": 404})):
            pass
