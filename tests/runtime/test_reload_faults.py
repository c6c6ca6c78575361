"""A component that cannot take over a configuration: the others do, the reload says so, and the daemon goes on."""

from __future__ import annotations

import pytest
import structlog
import trio

from tinyobs.abc import Component
from tinyobs.errors import PluginError
from tinyobs.hookspecs import hookimpl
from tinyobs.runtime import agent as agent_module
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent


class Stubborn(Component):
    """Raises at every reload."""

    name = "stubborn"

    async def run(self, *, task_status):
        task_status.started()
        await trio.sleep_forever()

    async def reconfigure(self, config):
        raise ZeroDivisionError("no")


class Willing(Stubborn):
    """Remembers what it was given."""

    name = "willing"
    given = None

    async def reconfigure(self, config):
        self.given = config.global_config.scrape_interval_ms


class Plugin:
    """Offers both."""

    def __init__(self):
        self.willing = Willing()

    @hookimpl
    def tinyobs_sources(self, services):
        return [Stubborn(), self.willing]


async def test_one_component_that_fails_does_not_keep_the_others(tmp_path, monkeypatch):
    """The error names the component; the reload counts as failed; a second reload works as the first did."""
    plain = structlog.wrap_logger(structlog.PrintLogger(), [structlog.processors.KeyValueRenderer()])
    monkeypatch.setattr(agent_module, "log", plain)
    file = tmp_path / "tinyobs.yml"
    file.write_text("")
    settings = AgentSettings(
        config_file=file, storage_url=f"file:{tmp_path / 'data'}", listen=(), plugins_off=("host",)
    )
    plugin = Plugin()
    async with running_agent(settings, {"mine": plugin}) as running:
        for seconds in (7, 8):
            file.write_text(f"global: {{scrape_interval: {seconds}s}}")
            with pytest.raises(PluginError, match=r"stubborn \(ZeroDivisionError: no\)"):
                await running.agent.reload()
            assert plugin.willing.given == seconds * 1000
            assert not running.agent.config_source.successful
