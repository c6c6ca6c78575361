"""An agent that accepts remote write, and a client that sends it requests."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import Any

import httpx
from attrs import frozen
from remote_write_requests import V1, V2, headers

from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent

QUIET = "tinyobs: {self_metrics: {enabled: false}}\n"


def now_ms() -> int:
    """Return milliseconds since 1970."""
    return int(time.time() * 1000)


@frozen
class Far:
    """A receiver under test."""

    client: httpx.AsyncClient

    async def send(self, body: bytes, message: str = V2, path: str = "/api/v1/write", **more: str) -> httpx.Response:
        """Send a request; more: headers."""
        return await self.client.post(path, content=body, headers=headers(message, **more))

    async def send_1(self, body: bytes, **more: str) -> httpx.Response:
        """Send a request of version 1.0."""
        return await self.send(body, V1, **more)

    async def get(self, path: str, **parameters: Any) -> Any:
        """Return the data of an answer of the API."""
        answer = await self.client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def values(self, selector: str) -> dict[str, list[tuple[float, str]]]:
        """Return the samples of the last days, by labels as text without the name."""
        found = await self.get("query", query=f"{selector}[10d]", time=time.time() + 500)
        assert found["resultType"] == "matrix"
        return {
            ",".join(f"{k}={v}" for k, v in sorted(series["metric"].items()) if k != "__name__"): [
                (at, value) for at, value in series.get("values", [])
            ]
            for series in found["result"]
        }

    async def counted(self, name: str) -> float:
        """Return the sum of a metric of the agent."""
        lines = (await self.client.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@asynccontextmanager
async def far(tmp_path: Any, config: str = QUIET, **settings: Any) -> Any:
    """Run a receiver while the context is open."""
    defaults: dict[str, Any] = {
        "config_text": config,
        "storage_url": f"file:{tmp_path / 'data'}",
        "listen": ("127.0.0.1:0",),
        "remote_write_receiver": True,
        "plugins_off": ("host",),
    }
    async with (
        running_agent(AgentSettings(**{**defaults, **settings})) as running,
        httpx.AsyncClient(base_url=running.url, timeout=60) as client,
    ):
        yield Far(client)
