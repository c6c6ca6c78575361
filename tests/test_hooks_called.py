"""Every hook is called where docs/hooks.md says so, and what it returns has its effect."""

from __future__ import annotations

import json
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import trio
from starlette.responses import PlainTextResponse
from websocket_client import open_socket

import tinyobs
from tinyobs.abc import (
    ConfigSection,
    CursorStart,
    Discoverer,
    DiscovererKind,
    Exporter,
    Processor,
    Route,
    Sink,
    Source,
    TargetGroup,
)
from tinyobs.errors import ConfigError, PluginError, UsageError
from tinyobs.model.batch import Batch
from tinyobs.model.families import gauge
from tinyobs.model.functions import Argument, PromqlFunction, Shape
from tinyobs.plugin_manager import build_plugin_manager
from tinyobs.promql.engine import PromqlEngine
from tinyobs.runtime.agent import Agent
from tinyobs.runtime.settings import AgentSettings
from tinyobs.storage.segment_format import SegmentInfo
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.mem_disk import MemDisk
from tinyobs.testing.targets import FakeTarget, fake_target


def plugin(**hooks):
    """Return a plugin object with these hook implementations."""
    return SimpleNamespace(**{name: tinyobs.hookimpl(function) for name, function in hooks.items()})


@pytest.fixture
def settings(tmp_path):
    """Return a function that makes settings with a directory and a port of their own."""

    def make(config="global: {scrape_interval: 1h}\n", **more):
        more.setdefault("storage_url", f"file:{tmp_path / 'data'}")
        return AgentSettings(config_text=config, listen=("127.0.0.1:0",), plugins_off=("host",), **more)

    return make


@attrs.frozen(kw_only=True)
class GreetingSettings:
    """A section of a plugin."""

    word: str = "hello"


async def test_hook_config_sections(settings):
    """A section is read with positions and defaults, and reaches the plugin through its services."""
    own = plugin(tinyobs_config_sections=lambda: [ConfigSection("greeting", GreetingSettings)])
    async with running_agent(settings("tinyobs: {greeting: {word: moin}}\n"), {"own": own}) as running:
        assert running.agent.config.tinyobs.section("greeting") == GreetingSettings(word="moin")
    with pytest.raises(ConfigError, match=r"1:22: .*did you mean 'word'"):
        async with running_agent(settings("tinyobs: {greeting: {wort: moin}}\n"), {"own": own}):
            pass


class OneTarget(Discoverer):
    """Publishes the target that its entry names."""

    def __init__(self, config, context):
        self.config, self.context = config, context

    async def run(self, publish, *, task_status):
        await publish([TargetGroup("one", ({"__address__": self.config.word},), {"found_by": self.context.job})])
        task_status.started()
        await trio.sleep_forever()


async def test_hook_discoverers(settings):
    """A kind of discovery is a key in scrape configs; what it publishes is scraped."""
    own = plugin(tinyobs_discoverers=lambda: [DiscovererKind("word_sd_configs", GreetingSettings, OneTarget)])
    async with fake_target(FakeTarget(b"x 1\n")) as target:
        config = f"""
scrape_configs:
  - job_name: words
    scrape_interval: 200ms
    scrape_timeout: 200ms
    word_sd_configs: [{{word: "{target.address}"}}]
"""
        async with running_agent(settings(config), {"own": own}) as running:

            async def scraped():
                return set(await running.query("x")) == {
                    f'x{{found_by="words", instance="{target.address}", job="words"}}'
                }

            await until(scraped)


def test_two_plugins_may_not_offer_one_discovery(settings):
    """The key is in the message."""
    host = build_plugin_manager(entry_points=False)
    kind = DiscovererKind("static_configs", GreetingSettings, OneTarget)
    host.manager.register(plugin(tinyobs_discoverers=lambda: [kind]), "own")
    with pytest.raises(PluginError, match="two plugins offer the discovery 'static_configs'"):
        Agent(settings(), host=host)


class Once(Source):
    """Makes one batch."""

    name = "once"

    def __init__(self, services):
        self.services = services

    async def run(self, *, task_status):
        task_status.started()
        refs = self.services.registry.intern_many([(("__name__", "once"),)])
        await self.services.append(Batch(refs, np.array([self.services.clock.now_ms()]), np.array([7.0]), "once"))


async def test_hook_sources(settings):
    """A source runs under the supervisor when the storage is open, and its batches can be queried."""
    own = plugin(tinyobs_sources=lambda services: [Once(services)])
    async with running_agent(settings(), {"own": own}) as running:
        await until(lambda: running.agent.supervisor.states["once"].status.value == "stopped")
        assert await running.query("once") == {"once": 7.0}


class Tail(Sink):
    """Keeps the values of one series that it reads from the log."""

    name = "tail"

    def __init__(self, services, seen):
        self.services, self.seen = services, seen

    async def run(self, *, task_status):
        follower = await self.services.follow("tail", CursorStart())
        task_status.started()
        try:
            while records := await follower.read(100):
                for logged in records:
                    labels = map(self.services.registry.labels, logged.batch.refs.tolist())
                    named = zip(labels, logged.batch.values.tolist(), strict=True)
                    self.seen += [v for series, v in named if dict(series)["__name__"] == "x"]
                    follower.settle(logged)
        finally:
            await follower.aclose()


async def test_hook_sinks(settings):
    """A sink reads what is stored, to the end, and after a restart what was stored after that."""
    seen = []
    own = plugin(tinyobs_sinks=lambda services: [Tail(services, seen)])
    for begin in (1, 4):
        async with running_agent(settings(), {"own": own}) as running:
            for value in range(begin, begin + 3):
                await running.store("x", float(value), n=str(value))
    assert seen == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


async def test_two_sinks_may_not_have_one_name(settings):
    """The start says so."""
    own = plugin(tinyobs_sinks=lambda services: [Tail(services, []), Tail(services, [])])
    with pytest.RaisesGroup(pytest.RaisesExc(PluginError, match="two sinks are called 'tail'"), flatten_subgroups=True):
        async with running_agent(settings(), {"own": own}):
            pass


class Pressure(Exporter):
    """One gauge."""

    name = "boiler"
    instance = "cellar"

    def collect(self):
        return [gauge("pressure_bar", "How much.", 1.5)]


async def test_hook_exporters(settings):
    """An exporter's families are stored like a scraped target's, with `up`."""
    own = plugin(tinyobs_exporters=lambda services: [Pressure()])
    async with running_agent(settings(), {"own": own}) as running:

        async def stored():
            return await running.query('{job="boiler",__name__=~"up|pressure_bar"}') == {
                'pressure_bar{instance="cellar", job="boiler"}': 1.5,
                'up{instance="cellar", job="boiler"}': 1.0,
            }

        await until(stored)


class Doubling(Processor):
    """Doubles every value."""

    def process(self, batch):
        return attrs.evolve(batch, values=batch.values * 2)


async def test_hook_processors(settings):
    """Every batch passes the processor on its way into storage."""
    own = plugin(tinyobs_processors=lambda services: [Doubling()])
    async with running_agent(settings(), {"own": own}) as running:
        await running.store("x", 21.0)
        assert await running.query("x") == {"x": 42.0}


async def test_hook_promql_functions(settings):
    """A function is there for queries, rule files, parsing and the list of features, of this agent alone."""
    own = plugin(
        tinyobs_promql_functions=lambda: [
            PromqlFunction("twice", lambda values: values * 2, Shape.ELEMENTWISE, (Argument.VECTOR,))
        ]
    )
    async with running_agent(settings(), {"own": own}) as running:
        await running.store("x", 21.0)
        assert await running.query("twice(x)") == {"{}": 42.0}
        assert (await running.get("/api/v1/format_query?query=twice(+x+)"))[1].count(b'"twice(x)"') == 1
        tree = json.loads((await running.get("/api/v1/parse_query?query=twice(x)"))[1])["data"]
        assert tree["func"] == {"name": "twice", "argTypes": ["vector"], "variadic": 0, "returnType": "vector"}
        features = json.loads((await running.get("/api/v1/features"))[1])["data"]["promql_functions"]
        assert features["twice"]
        assert "twice" not in PromqlEngine().functions.signatures
    taken = plugin(tinyobs_promql_functions=lambda: [PromqlFunction("rate", abs, Shape.WINDOW, (Argument.RANGE,))])
    with pytest.raises(PluginError, match="plugin 'own' cannot add the PromQL function 'rate': Prometheus has"):
        async with running_agent(settings(), {"own": taken}):
            pass


async def test_rule_files_may_use_functions_of_plugins(settings, tmp_path):
    """Expressions of rule files are checked with them."""
    (tmp_path / "rules.yml").write_text("groups: [{name: g, rules: [{record: a, expr: twice(b)}]}]")
    (tmp_path / "main.yml").write_text("rule_files: [rules.yml]")
    with pytest.raises(ConfigError, match='unknown function with name "twice"'):
        Agent(settings(config_file=tmp_path / "main.yml"))
    host = build_plugin_manager()
    twice = PromqlFunction("twice", lambda values: values * 2, Shape.ELEMENTWISE, (Argument.VECTOR,))
    host.manager.register(plugin(tinyobs_promql_functions=lambda: [twice]), "own")
    assert len(Agent(settings(config_file=tmp_path / "main.yml"), host=host).config.rules) == 1


async def test_hook_storage(settings):
    """The plugin that knows the scheme of the URL opens the storage; others return None."""
    disk = MemDisk()

    def tinyobs_storage(url, services):
        from tinyobs.storage.engine import Engine
        from tinyobs.storage.options import DEFAULT_OPTIONS

        if url != "ram:x":
            return None
        return Engine.open(disk, services.registry, DEFAULT_OPTIONS, services.clock.now_ms)

    async with running_agent(
        settings(storage_url="ram:x"), {"own": plugin(tinyobs_storage=tinyobs_storage)}
    ) as running:
        await running.store("x", 1.0)
        assert await running.query("x") == {"x": 1.0}
        assert running.agent.storage.disk is disk


async def test_hook_routes(settings):
    """A route is served beside the API; a path that is taken stops the start."""

    async def answer(request):
        return PlainTextResponse(f"{request.path_params['name']} {request.query_params['q']}")

    async def echo(socket):
        while True:
            await socket.send_text(f"{socket.request.path_params['name']} said {await socket.receive()}")

    routes = [Route("/greet/{name}", answer), Route("/echo/{name}", echo, ("WEBSOCKET",))]
    own = plugin(tinyobs_routes=lambda services: routes)
    async with running_agent(settings(), {"own": own}) as running:
        assert await running.get("/greet/you?q=1") == (200, b"you 1")
        assert (await running.get("/greet/you?q=1", "POST"))[0] == 405
        assert (await running.get("/echo/me"))[0] == 426
        async with open_socket(running.url + "/echo/me") as client:
            await client.send("hello")
            assert await client.receive() == "me said hello"
    taken = plugin(tinyobs_routes=lambda services: [Route("/metrics", answer)])
    with pytest.RaisesGroup(pytest.RaisesExc(UsageError, match="two routes for GET /metrics"), flatten_subgroups=True):
        async with running_agent(settings(), {"own": taken}):
            pass


async def test_hook_batch_committed(settings):
    """The notice carries the batch and what became of it, once the batch is durable."""
    told = []
    own = plugin(tinyobs_batch_committed=lambda batch, result: told.append((batch.origin, len(batch), result.stored)))
    async with running_agent(settings(), {"own": own}) as running:
        await running.store("x", 1.0)
        assert ("test", 1, 1) in told


async def test_hook_segment_sealed(settings):
    """The notice comes when the head is cut into a segment, with what the segment holds."""
    told = []
    own = plugin(tinyobs_segment_sealed=lambda name, statistics: told.append((name, statistics)))
    async with running_agent(settings("tinyobs: {storage: {block_range: 1m}}\n"), {"own": own}) as running:
        agent = running.agent
        refs = np.repeat(agent.registry.intern_many([(("__name__", "x"),)]), 100)
        times = agent.clock.now_ms() - 5_000 * np.arange(99, -1, -1)
        await agent.append(Batch(refs, times, np.arange(100.0), "test"))
        await until(lambda: bool(told))
    name, statistics = told[0]
    assert isinstance(statistics, SegmentInfo)
    assert statistics.name == name
    assert statistics.series_count >= 1


class Failing(Source):
    """Crashes at once."""

    name = "failing"

    async def run(self, *, task_status):
        raise RuntimeError("no such device")


async def test_hook_component_status(settings):
    """Each change of status is told, with the reason where there is one."""
    told = []
    own = plugin(
        tinyobs_sources=lambda services: [Failing()],
        tinyobs_component_status=lambda name, status, reason: told.append((name, status, reason)),
    )
    async with running_agent(settings(), {"own": own}):
        assert ("failing", "backing_off", "RuntimeError: no such device") in told
        assert ("inprocess", "running", "") in told
    assert ("inprocess", "stopped", "") in told


async def test_a_notice_that_fails_is_counted_and_the_others_are_told(settings):
    """The failure shows as a metric with the plugin's name; storing goes on."""
    told = []

    def broken(batch):
        raise ValueError("broken")

    plugins = {
        "broken": plugin(tinyobs_batch_committed=broken),
        "good": plugin(tinyobs_batch_committed=lambda batch: told.append(batch.origin)),
    }
    async with running_agent(settings(), plugins) as running:
        await running.store("x", 1.0)
        assert told[-1] == "test"
        metrics = (await running.get("/metrics"))[1].decode()
        assert 'tinyobs_plugin_notice_failures_total{plugin="broken"} ' in metrics
