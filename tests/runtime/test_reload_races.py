"""Reloads that meet something else: a client that goes away, another reload, a signal to stop."""

from __future__ import annotations

import os
import signal

import pytest
import trio
import trio.testing

from tinyobs.abc import Component
from tinyobs.hookspecs import hookimpl
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent


class Held(Component):
    """Takes over a configuration when it is let."""

    def __init__(self, name):
        self.name = name
        self.asked, self.let = trio.Event(), trio.Event()
        self.given = []

    async def run(self, *, task_status):
        task_status.started()
        await trio.sleep_forever()

    async def reconfigure(self, config):
        self.asked.set()
        await self.let.wait()
        self.given.append(config.global_config.scrape_interval_ms)


class Plugin:
    """Offers two of them."""

    def __init__(self):
        self.first, self.second = Held("first"), Held("second")

    @hookimpl
    def tinyobs_sources(self, services):
        return [self.first, self.second]


@pytest.fixture
def plugin():
    return Plugin()


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "tinyobs.yml"
    file.write_text("global: {scrape_interval: 7s}")
    return AgentSettings(config_file=file, storage_url=f"file:{tmp_path / 'data'}", listen=(), plugins_off=("host",))


async def test_a_reload_goes_on_when_who_asked_for_it_has_gone(settings, plugin):
    """Every component gets the configuration, though the request was cancelled while the first took it over."""
    async with running_agent(settings, {"mine": plugin}) as running:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.agent.reload)
            await plugin.first.asked.wait()
            nursery.cancel_scope.cancel()
        plugin.first.let.set()
        plugin.second.let.set()
        await running.agent.reload()
    assert plugin.first.given == plugin.second.given == [7000, 7000]


async def test_reloads_come_one_after_the_other(settings, plugin):
    """No component is given a configuration while it takes over another; the newest comes last."""
    async with running_agent(settings, {"mine": plugin}) as running, trio.open_nursery() as nursery:
        nursery.start_soon(running.agent.reload)
        await plugin.first.asked.wait()
        settings.config_file.write_text("global: {scrape_interval: 8s}")
        nursery.start_soon(running.agent.reload)
        plugin.second.let.set()
        plugin.first.let.set()
    assert plugin.first.given == plugin.second.given == [7000, 8000]


async def test_a_reload_is_counted_when_it_is_over(settings, plugin):
    """Whoever has asked for one knows by the counter that the configuration is the new one."""
    async with running_agent(settings, {"mine": plugin}) as running:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.agent.reload)
            await plugin.first.asked.wait()
            assert running.agent.config_source.statistics().reloads_total == 0
            plugin.first.let.set()
            plugin.second.let.set()
        assert running.agent.config_source.statistics().reloads_total == 1


async def test_a_signal_stops_the_agent_in_the_middle_of_a_reload(settings, plugin):
    """A component that hangs in a reload holds up neither the signal nor the end."""
    with trio.fail_after(90):
        async with running_agent(settings, {"mine": plugin}) as running, trio.open_nursery() as nursery:
            nursery.start_soon(running.agent.watch_signals)
            await trio.testing.wait_all_tasks_blocked(0.01)
            os.kill(os.getpid(), signal.SIGHUP)
            await plugin.first.asked.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            await running.agent.stopped.wait()
    assert plugin.first.given == []
