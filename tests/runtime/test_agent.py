"""The whole agent in one process: it starts, answers, reloads what changed, survives bad files, stops in order."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import bcrypt
import numpy as np
import pytest
import trio

import tinyobs
from tinyobs.abc import Source
from tinyobs.config.http_client import BasicAuth, HttpClientConfig
from tinyobs.errors import ConfigError, LockedError, PluginError, Unavailable, UsageError
from tinyobs.hookspecs import hookimpl
from tinyobs.http_client import Client
from tinyobs.model.batch import Batch
from tinyobs.model.secrets import Secret
from tinyobs.plugin_manager import build_plugin_manager
from tinyobs.runtime.agent import Agent
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.targets import FakeTarget, fake_target

CONFIG = """
global: {{scrape_interval: {interval}}}
scrape_configs:
  - job_name: kept
    static_configs: [{{targets: ["{kept}"]}}]
  - job_name: {other}
    static_configs: [{{targets: ["{target}"]}}]
"""


@asynccontextmanager
async def running(settings):
    """Run an agent while the context is open; yields (agent, base URL)."""
    agent = Agent(settings)
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(agent.run)
        try:
            yield agent, addresses[0] if addresses else ""
        finally:
            agent.quit()
            with trio.move_on_after(10, shield=True):
                await agent.stopped.wait()


def settings(tmp_path, **more):
    more.setdefault("plugins_off", ("host",))
    return AgentSettings(storage_url=f"file:{tmp_path / 'data'}", listen=("127.0.0.1:0",), **more)


async def get(url, path, method="GET"):
    client = Client()
    try:
        async with client.stream(method, url + path) as answer:
            return answer.status, b"".join([piece async for piece in answer.pieces()])
    finally:
        await client.aclose()


async def query(url, expression):
    status, body = await get(url, f"/api/v1/query?query={expression}")
    assert status == 200, body
    return {r["metric"].get("job", ""): r["value"][1] for r in json.loads(body)["data"]["result"]}


async def until(condition):
    """Wait until an asynchronous condition holds; the test's timeout bounds it."""
    while not await condition():  # noqa: ASYNC110 - what is waited for happens in sockets and threads
        await trio.sleep(0.02)


async def test_without_configuration_it_collects_itself(tmp_path):
    """The embedded default stores the agent's own metrics, which PromQL finds over HTTP."""
    async with running(settings(tmp_path)) as (_, url):

        async def there():
            return (await query(url, "up")) == {"tinyobs": "1"}

        await until(there)
        assert (await get(url, "/-/ready"))[0] == 200
        status, body = await get(url, "/metrics")
        assert status == 200
        assert b"prometheus_tsdb_head_series" in body


async def test_what_was_stored_is_there_after_a_restart(tmp_path):
    """Samples survive the end of the process's agent, and the library reads them."""
    async with running(settings(tmp_path)) as (agent, _):
        refs = agent.registry.intern_many([(("__name__", "kept"),)])
        now = agent.clock.now_ms()
        await agent.append(Batch(refs, np.array([now], np.int64), np.array([42.0])))
    with tinyobs.open(tmp_path / "data") as db:
        assert [values.tolist() for _, _, values in db.query("kept")] == [[42.0]]


async def test_a_second_daemon_on_the_directory_is_told_who_has_it(tmp_path):
    """The lock names the process; the library is refused in the same way."""
    async with running(settings(tmp_path)):
        with pytest.RaisesGroup(LockedError, flatten_subgroups=True):
            await Agent(settings(tmp_path)).run()
        with pytest.raises(LockedError, match="in use by the process"):
            tinyobs.open(tmp_path / "data")


async def test_a_used_port_is_told(tmp_path):
    """The address is in the message, and the data directory is left alone."""
    async with running(settings(tmp_path)) as (_, url):
        other = AgentSettings(
            storage_url=f"file:{tmp_path / 'other'}", listen=(url.removeprefix("http://"),), plugins_off=("host",)
        )
        with pytest.RaisesGroup(UsageError, flatten_subgroups=True):
            await Agent(other).run()
        assert not (tmp_path / "other").exists()


async def test_before_the_storage_is_open_nothing_is_answered(tmp_path):
    """An agent that does not run refuses samples and queries as unavailable."""
    agent = Agent(settings(tmp_path))
    with pytest.raises(Unavailable):
        agent.querier(0, 1)
    with pytest.raises(Unavailable):
        await agent.append(Batch(np.zeros(1, np.uint32), np.zeros(1, np.int64), np.zeros(1)))


async def test_reload_restarts_only_what_changed(tmp_path):
    """The loop of an unchanged pool goes on; a removed pool's series end; a new one starts."""
    file = tmp_path / "prometheus.yml"
    async with fake_target(FakeTarget(b"x 1\n")) as kept, fake_target(FakeTarget(b"x 2\n")) as other:
        texts = {"kept": kept.address, "target": other.address, "interval": "200ms"}
        file.write_text(CONFIG.format(other="first", **texts))
        async with running(settings(tmp_path, config_file=file)) as (agent, url):

            async def has(jobs):
                return set(await query(url, "up==1")) == jobs

            await until(lambda: has({"kept", "first"}))
            before = {p.name: p.loops for p in agent.component("scrape").pools.values()}
            file.write_text(CONFIG.format(other="second", **texts))
            await agent.reload()
            await until(lambda: has({"kept", "second"}))
            after = {p.name: p.loops for p in agent.component("scrape").pools.values()}
            assert after["kept"] == before["kept"]
            assert agent.config_source.successful


async def test_a_bad_file_leaves_the_running_configuration_untouched(tmp_path):
    """The fault shows in the answer, the metric and the runtime information; scraping goes on."""
    file = tmp_path / "prometheus.yml"
    async with fake_target(FakeTarget(b"x 1\n")) as target:
        texts = {"kept": target.address, "target": target.address, "interval": "200ms", "other": "other"}
        file.write_text(CONFIG.format(**texts))
        async with running(settings(tmp_path, config_file=file, lifecycle=True)) as (agent, url):
            config = agent.config
            file.write_text("scrape_configs: [{job_nam: x}]\n")
            status, body = await get(url, "/-/reload", "POST")
            assert status == 500
            assert b"did you mean 'job_name'" in body
            assert agent.config is config
            _, metrics = await get(url, "/metrics")
            assert b"prometheus_config_last_reload_successful 0" in metrics
            assert b'"reloadConfigSuccess":false' in (await get(url, "/api/v1/status/runtimeinfo"))[1]
            seen = len(target.requests)

            async def scraped_again():
                return len(target.requests) > seen

            await until(scraped_again)


async def test_a_watched_file_is_reloaded_when_it_changes(tmp_path):
    """With auto-reload a new content is applied without being asked; a broken one waits for the next."""
    file = tmp_path / "prometheus.yml"
    file.write_text("global: {scrape_interval: 1m}\n")
    async with running(settings(tmp_path, config_file=file, auto_reload_seconds=0.02)) as (agent, _):
        for text, interval in (
            ("global: {scrape_interval: no}\n", 60_000),
            ("global: {scrape_interval: 5m}\n", 300_000),
        ):
            reloads = agent.config_source.statistics().reloads_total
            (tmp_path / "new.yml").write_text(text)
            (tmp_path / "new.yml").rename(file)  # at once: what is half written may be read as well

            async def reloaded(before=reloads):
                return agent.config_source.statistics().reloads_total > before

            await until(reloaded)
            assert agent.config.global_config.scrape_interval_ms == interval


async def test_quit_over_http_stops_the_agent(tmp_path):
    """`/-/quit` needs the lifecycle flag; then the agent stops in order."""
    agent = Agent(settings(tmp_path, lifecycle=True))
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(agent.run)
        assert (await get(url, "/-/quit", "POST"))[0] == 200
        await agent.stopped.wait()


def test_a_bad_configuration_stops_the_start(tmp_path):
    """The agent is not made; every fault is in the error."""
    file = tmp_path / "bad.yml"
    file.write_text("global: {scrape_intervall: 1m}\nrule_file: []\n")
    with pytest.raises(ConfigError) as caught:
        Agent(settings(tmp_path, config_file=file))
    assert len(caught.value.problems) == 2


async def test_a_storage_that_nobody_opens_stops_the_start(tmp_path):
    """The scheme is in the message."""
    agent = Agent(AgentSettings(storage_url="cloud://x", listen=(), plugins_off=("host",)))
    with pytest.RaisesGroup(PluginError, flatten_subgroups=True):
        await agent.run()


def user(name, password):
    hashed = bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()
    return f"basic_auth_users: {{{name}: '{hashed}'}}\n"


async def test_a_reload_takes_over_users(tmp_path):
    """An earlier password opens nothing any more; a file with faults leaves users and configuration alone."""
    file, web_file = tmp_path / "prometheus.yml", tmp_path / "web.yml"
    file.write_text("global: {scrape_interval: 7s}\n")
    web_file.write_text(user("ann", b"old"))
    async with running(settings(tmp_path, config_file=file, web_config_file=web_file)) as (agent, url):

        async def status(password):
            config = HttpClientConfig(basic_auth=BasicAuth(username="ann", password=Secret(password)))
            client = Client(config)
            async with client.stream("GET", url + "/version") as answer:
                found = answer.status
            await client.aclose()
            return found

        assert (await status("old"), await status("new")) == (200, 401)
        web_file.write_text(user("ann", b"new"))
        await agent.reload()
        assert (await status("old"), await status("new")) == (401, 200)
        web_file.write_text("basic_auth_users: {ann: plain}\n")
        file.write_text("global: {scrape_interval: 8s}\n")
        with pytest.raises(ConfigError, match="bcrypt"):
            await agent.reload()
        assert (await status("old"), await status("new")) == (401, 200)
        assert agent.config.global_config.scrape_interval_ms == 7000


@pytest.mark.parametrize(
    ("name", "message"), [("scrape", "two sources are called 'scrape'"), (None, "Own has no name")]
)
async def test_every_source_has_a_name_of_its_own(tmp_path, name, message):
    """A reload and the page of targets find a component by its name."""

    class Own(Source):
        async def run(self, *, task_status):
            raise AssertionError("must not run")

    class Plugin:
        @hookimpl
        def tinyobs_sources(self, services):
            return [Own()]

    if name is not None:
        Own.name = name
    host = build_plugin_manager(off=("host",))
    host.manager.register(Plugin(), "own")
    with pytest.RaisesGroup(pytest.RaisesExc(PluginError, match=message), flatten_subgroups=True):
        await Agent(settings(tmp_path), host=host).run()
