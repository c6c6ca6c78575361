"""A whole agent in the process of a test, with plugins given as objects.

    async with running_agent(settings, plugins={"mine": plugin}) as running:
        await running.store("jobs_waiting", 3.0, queue="mail")
        assert await running.query("jobs_waiting") == {'jobs_waiting{queue="mail"}': 3.0}

It listens on a free port of the loopback interface.  Time is real: sockets and worker threads do not follow a virtual
clock.  For sources, exporters and processors alone, `services.FakeServices` is enough and faster.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final
from urllib.parse import urlencode

import numpy as np
import trio
from attrs import frozen

from ..http_client import Client
from ..model.batch import AppendResult, Batch
from ..model.labels import NAME, from_mapping, to_text
from ..plugin_manager import build_plugin_manager
from ..runtime.agent import Agent
from ..runtime.settings import AgentSettings

STOP_SECONDS_MAX: Final = 20.0
"""How long an agent may take to stop."""
LOOK_EVERY_SECONDS: Final = 0.02


@frozen
class RunningAgent:
    """An agent that runs, and its URL ("" without a listen address)."""

    agent: Agent
    url: str

    async def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Return (status, body) of a request."""
        client = Client()
        try:
            async with client.stream(method, self.url + path) as answer, aclosing(answer.pieces()) as pieces:
                return answer.status, b"".join([piece async for piece in pieces])
        finally:
            await client.aclose()

    async def query(self, expression: str) -> dict[str, float]:
        """Return series in PromQL notation -> value, as the HTTP API answers an instant query."""
        status, body = await self.get("/api/v1/query?" + urlencode({"query": expression}))
        assert status == 200, body
        result = json.loads(body)["data"]["result"]
        return {to_text(from_mapping(r["metric"])): float(r["value"][1]) for r in result}

    async def store(self, name: str, value: float, **labels: str) -> AppendResult:
        """Store one sample of now, through the processors."""
        agent = self.agent
        refs = agent.registry.intern_many([from_mapping({**labels, NAME: name})])
        return await agent.append(Batch(refs, np.array([agent.clock.now_ms()]), np.array([value]), "test"))


@asynccontextmanager
async def running_agent(
    settings: AgentSettings, plugins: Mapping[str, object] | None = None
) -> AsyncIterator[RunningAgent]:
    """Run an agent while the context is open.

    plugins: name -> object with hooks, beside the built-in plugins and `settings.plugin_files`; installed distributions
    are left out.  Raises what the start raises.
    """
    host = build_plugin_manager(settings.plugin_files, settings.plugins_off, entry_points=False, agent=settings.agent)
    for name, plugin in (plugins or {}).items():
        host.manager.register(plugin, name)
        host.describe(name, "test", "")
    host.manager.check_pending()
    agent = Agent(settings, host=host)
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(agent.run)
        try:
            yield RunningAgent(agent, addresses[0] if addresses else "")
        finally:
            agent.quit()
            with trio.move_on_after(STOP_SECONDS_MAX, shield=True):
                await agent.stopped.wait()


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Wait until a condition holds; the deadline is the caller's."""
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        await trio.sleep(LOOK_EVERY_SECONDS)
