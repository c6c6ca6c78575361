"""Requests of clients of the first TinyObs, and what it answers, made right: `recorded/*.json`, against a whole agent.

A file is a list of exchanges on one agent, in order.  `{{now}}` and `{{now-60s}}` in it are times of the run, whole seconds;
in expected bodies "<time>", "<text>" and "<number>" stand for any, and a body that is a text is compared as text.
`repeat` sends the one metric of a body so often.  `websocket` in place of `request` expects the first message.
"""

from __future__ import annotations

import json
import re
from contextlib import aclosing
from pathlib import Path

import pytest
from websocket_client import open_socket

from tinyobs.exposition.v1_times import read_time, write_time
from tinyobs.http_client import Client
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent

FOLDER = Path(__file__).parent / "recorded"
FILES = sorted(FOLDER.glob("*.json"))
CONFIG = "tinyobs: {v1: {live_interval: 100ms}}\n"


def filled(text: str, now_ms: int) -> str:
    """Return a text with the times of the run."""

    def time(found: re.Match[str]) -> str:
        at = now_ms - 1000 * int(found.group(1) or 0)
        return str(at) if found.group(2) else write_time(at)

    return re.sub(r"\{\{now(?:-(\d+)s)?( ms)?\}\}", time, text)


def assert_like(found, expected, path="body"):
    """Compare values; the marks stand for any time, text or number."""
    if expected == "<time>":
        assert abs(read_time(found)) > 0, path
    elif expected == "<text>":
        assert isinstance(found, str), path
        assert found, path
    elif expected == "<number>":
        assert type(found) in (int, float), path
    elif isinstance(expected, dict):
        assert isinstance(found, dict), path
        assert set(found) == set(expected), path
        for key, value in expected.items():
            assert_like(found[key], value, f"{path}.{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list), path
        assert len(found) == len(expected), f"{path}: {found}"
        for i, value in enumerate(expected):
            assert_like(found[i], value, f"{path}[{i}]")
    else:
        assert found == expected, path
        assert type(found) is type(expected) or isinstance(expected, int | float), path


def body_of(request) -> bytes:
    """Return the bytes of a request's body."""
    body = request.get("body", b"")
    if isinstance(body, dict) and "repeat" in request:
        body = {"metrics": body["metrics"] * request["repeat"]}
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body).encode() if body else b""


async def ask(client, url, exchange):
    """Send one request and compare the answer."""
    request, expected = exchange["request"], exchange["response"]
    given = {"headers": request.get("headers", {}), "content": body_of(request)}
    async with (
        client.stream(request["method"], url + request["path"], **given) as answer,
        aclosing(answer.pieces()) as pieces,
    ):
        body = b"".join([piece async for piece in pieces]).decode()
        assert answer.status == expected["status"], (request, body)
        headers = answer.headers
    for name, pattern in expected.get("headers", {}).items():
        assert re.fullmatch(pattern, headers[name]), name
    if isinstance(expected.get("body"), str) and not expected["body"].startswith("<"):
        assert body.replace("\r\n", "\n").replace(".000Z", "Z") == expected["body"]
    elif "body" in expected:
        assert_like(json.loads(body.replace(".000Z", "Z")), expected["body"])


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
async def test_recorded(file, tmp_path):
    """Every answer is as it was written down."""
    settings = AgentSettings(
        config_text=CONFIG, storage_url=f"file:{tmp_path}", listen=("127.0.0.1:0",), plugins_off=("host",)
    )
    async with running_agent(settings) as running:
        now_ms = running.agent.clock.now_ms() // 1000 * 1000
        client = Client()
        for exchange in json.loads(filled(file.read_text(), now_ms)):
            if "websocket" in exchange:
                async with open_socket(running.url + exchange["websocket"]) as socket:
                    message = json.loads((await socket.receive()).replace(".000Z", "Z"))
                    assert_like(message, exchange["message"])
            else:
                await ask(client, running.url, exchange)
        await client.aclose()


def test_every_route_is_recorded():
    """All of them, with the two that Prometheus has too."""
    text = "".join(f.read_text() for f in FILES)
    found = set(re.findall(r'"(?:path|websocket)": "(/(?:api/)?v1/[^?"]*)', text))
    assert found == {
        "/v1/ingest", "/v1/query", "/v1/query/range", "/v1/query/execute", "/v1/query/instant", "/v1/metrics/list",
        "/v1/stats", "/v1/cardinality", "/v1/storage", "/v1/health", "/v1/ws", "/v1/export", "/v1/import",
        "/api/v1/query", "/api/v1/query_range",
    }  # fmt: skip
