"""The examples of pages about receivers, run as a reader would: the configuration, then the commands."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from peers import free_port

from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import RunningAgent, running_agent

FOLDER = Path(__file__).parents[1] / "docs" / "receivers"
SECONDS_MAX = 60.0


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a language in `docs/receivers/<page>.md`, in order."""
    text = (FOLDER / f"{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def with_free_ports(texts: Sequence[str]) -> list[str]:
    """Return texts with other ports on loopback, the same in all of them."""
    joined = "\0".join(texts)
    found = re.findall(r"(?:127\.0\.0\.1|localhost)[:/](\d{4,5})\b", joined)
    for port in dict.fromkeys(found):
        joined = re.sub(rf"((?:127\.0\.0\.1|localhost)[:/]){port}\b", rf"\g<1>{free_port()}", joined)
    return joined.split("\0")


@asynccontextmanager
async def agent_of(
    config: str, listen: str, plugins: Mapping[str, object] | None = None, **settings: object
) -> AsyncIterator[RunningAgent]:
    """Run an agent that stores in memory."""
    given = AgentSettings(config_text=config or "global: {}\n", storage_url="memory://", listen=(listen,), **settings)
    async with running_agent(given, plugins) as running:
        yield running


async def run_commands(commands: str) -> str:
    """Return what bash prints; it must succeed."""
    done = await trio.run_process(
        ["bash", "-euo", "pipefail", "-c", commands],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.decode()
