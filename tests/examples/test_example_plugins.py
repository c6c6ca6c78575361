"""Every example does what its README says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import structlog
import structlog.testing

from tinyobs.cli.main import run
from tinyobs.http_client import Client
from tinyobs.model.batch import Batch
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver
from tinyobs.testing.targets import FakeTarget, fake_target

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(p.parent.name for p in EXAMPLES.glob("*/README.md"))


@pytest.fixture
def settings(tmp_path):
    """Return a function that makes settings with the plugin file of an example."""

    def make(example, config="global: {scrape_interval: 1h}\n", **more):
        more.setdefault("storage_url", f"file:{tmp_path / 'data'}")
        more.setdefault("plugin_files", (str(EXAMPLES / example / f"{example}.py"),))
        return AgentSettings(config_text=config, listen=("127.0.0.1:0",), plugins_off=("host",), **more)

    return make


async def test_queue_watch_counts_files_and_keeps_metrics_out(settings, tmp_path):
    """The exporter shows the files and what the notices told; the processor drops by prefix."""
    spool = tmp_path / "spool"
    spool.mkdir()
    for name in "abc":
        (spool / name).touch()
    config = f"tinyobs: {{queue_watch: {{folder: '{spool}', drop_prefix: debug_}}}}\n"
    async with running_agent(settings("queue_watch", config)) as running:
        dropped, kept = await running.store("debug_x", 1.0), await running.store("x", 1.0)
        assert (dropped.stored, kept.stored) == (0, 1)
        assert list((await running.query('{__name__=~"x|debug_x"}')).values()) == [1.0]

        async def counted():
            return list((await running.query("queue_files")).values()) == [3.0]

        await until(counted)
        plugin = running.agent.host.manager.get_plugin("queue_watch")
        assert plugin.SEEN.commits >= 2
        assert plugin.SEEN.samples >= 1
        running.agent.host.notify("tinyobs_segment_sealed", name="s", statistics=None)
        running.agent.host.notify("tinyobs_component_status", name="c", status="backing_off", reason="")
        assert (plugin.SEEN.segments, plugin.SEEN.crashes) == (1, 1)


async def test_queue_watch_decides_again_when_the_prefix_changes(settings, tmp_path):
    """A series that was refused is taken after the reload that says so."""
    file = tmp_path / "prometheus.yml"
    file.write_text("tinyobs: {queue_watch: {drop_prefix: a}}\n")
    async with running_agent(settings("queue_watch", config_file=file)) as running:
        assert (await running.store("a", 1.0)).stored == 0
        file.write_text("tinyobs: {queue_watch: {drop_prefix: b}}\n")
        await running.agent.reload()
        assert (await running.store("a", 1.0)).stored == 1
        assert (await running.store("b", 1.0)).stored == 0


async def test_forecast_function_knows_the_season_and_the_odd_one_out(settings):
    """The forecast is the median of the same moment in earlier periods; anomalies are judged among all series."""
    async with running_agent(settings("forecast_function")) as running:
        agent = running.agent
        refs = agent.registry.intern_many([(("__name__", "load"),)]).repeat(120)
        now = agent.clock.now_ms() // 60_000 * 60_000
        times = now - 60_000 * np.arange(119, -1, -1)
        await agent.append(Batch(refs, times, (times // 60_000 % 10).astype(float), "test"))
        at = now / 1000

        async def ask(text):
            path = f"/api/v1/query?time={at}&query={quote(text)}"
            result = json.loads((await running.get(path))[1])["data"]["result"]
            return {dict(r["metric"]).get("i", ""): float(r["value"][1]) for r in result}

        ahead = await ask("seasonal_forecast(load[2h], 600, 180)")
        assert ahead == {"": (now // 60_000 + 3) % 10}
        assert await ask("seasonal_forecast(load[2h], 600)") == await ask("load")
        odd = 'robust_anomalies(label_replace(vector(%s), "i", "%s", "", ""))'
        together = " or ".join(
            f'label_replace(vector({v}), "i", "{i}", "", "")' for i, v in zip("abcd", (1, 2, 3, 99), strict=True)
        )
        assert await ask(f"robust_anomalies({together})") == {"d": 99.0}
        assert await ask(f"robust_anomalies({together}, 1000)") == {}
        assert await ask(odd % (5, "x")) == {}


async def test_hosts_file_targets_follow_the_file(settings, tmp_path):
    """The hosts of the file are scraped, and others when it changes; a broken line is passed over."""
    hosts = tmp_path / "hosts"
    async with fake_target(FakeTarget(b"x 1\n")) as target:
        hosts.write_text("# a comment\n127.0.0.1 first.example first\nlonely\n127.0.0.1 # no name\n")
        config = f"""
scrape_configs:
  - job_name: nodes
    scrape_interval: 200ms
    scrape_timeout: 200ms
    hosts_file_sd_configs: [{{file: {hosts}, port: {target.port}, refresh_interval: 100ms}}]
    relabel_configs: [{{source_labels: [__meta_hosts_file_name], target_label: instance}}]
"""
        async with running_agent(settings("hosts_file_sd", config)) as running:

            async def scraped(name):
                return list(await running.query("x")) == [f'x{{instance="{name}", job="nodes"}}']

            await until(lambda: scraped("first.example"))
            hosts.unlink()
            hosts.write_text("127.0.0.1 second.example\n")
            await until(lambda: scraped("second.example"))


async def test_simple_storage_answers_queries(settings):
    """Batches are seen at once, the last write of a moment wins, and nothing is on disk."""
    async with running_agent(settings("simple_storage", storage_url="simple:")) as running:
        await running.store("x", 1.0, host="b")
        await running.store("x", 2.0, host="a")
        assert await running.query("x") == {'x{host="a"}': 2.0, 'x{host="b"}': 1.0}
        assert await running.query('sum(x{host=~"a|c"})') == {"{}": 2.0}
        agent = running.agent
        querier = agent.querier(0, agent.clock.now_ms())
        assert "host" in querier.label_names()
        assert querier.label_values("host") == ["a", "b"]
        querier.close()


async def test_simple_storage_sorts_joins_and_forgets(settings):
    """Samples in any order are read ascending; maintenance joins chunks and drops what is too old."""
    async with running_agent(settings("simple_storage", storage_url="simple://", retention_ms=60_000)) as running:
        storage = running.agent.storage
        (ref,) = storage.registry.intern_many([(("__name__", "y"),)])
        now = running.agent.clock.now_ms()
        for at, value in ((now, 1.0), (now - 1000, 2.0), (now, 3.0), (now - 120_000, 4.0)):
            storage.append([Batch(np.array([ref], np.uint32), np.array([at]), np.array([value]))])

        def read():
            with storage.querier(0, now) as querier:
                selection = querier.select([], 0, now)
                i = list(selection.labels).index((("__name__", "y"),))
                _, times, values = selection.read(i, i + 1).one(0)
                return times.tolist(), values.tolist()

        assert read() == ([now - 120_000, now - 1000, now], [4.0, 2.0, 3.0])
        storage.maintain(now)
        assert read() == ([now - 1000, now], [2.0, 3.0])
        assert storage.statistics().head_series >= 1


async def test_targets_page_lists_targets(settings):
    """A line for every target, of one job if asked; `up 0` reads `down`."""
    async with running_agent(settings("targets_page")) as running:
        await running.store("up", 1.0, job="node", instance="web1")
        await running.store("up", 0.0, job="node", instance="web2")
        await running.store("up", 1.0, job="other", instance="x")
        assert await running.get("/targets.txt?job=node") == (200, b"up    node  web1\ndown  node  web2\n")
        assert len((await running.get("/targets.txt"))[1].splitlines()) == 3


def test_library_finds_the_busiest_hours(tmp_path):
    """The script runs as its README says, and prints what the data it wrote has."""
    script = EXAMPLES / "library" / "busiest_hours.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "alpha: busiest from 14:00 to 15:00 with 89.6 requests/s; 0 hours without data",
        "beta: busiest from 11:00 to 12:00 with 89.6 requests/s; 2 hours without data",
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_commands_of_a_readme_exist(folder, monkeypatch, capsys):
    """`tinyobs check` and `tinyobs plugins` work as written; the files that `tinyobs run` names are there."""
    monkeypatch.chdir(EXAMPLES / folder)
    for command in re.findall(r"^tinyobs (.*)$", Path("README.md").read_text(), re.MULTILINE):
        arguments = command.split()
        if arguments[0] == "check":
            assert run(arguments) == 0, capsys.readouterr()
        for value in re.findall(r"(?:--plugin |--config\.file=)(\S+)", command):
            assert os.path.exists(value), command


def test_the_index_names_every_example():
    """The README of the examples has a row for each folder."""
    rows = re.findall(r"^\| \[(\w+)\]\(\1/\)", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == FOLDERS


async def test_down_watch_tells_what_went_down(settings):
    """One line when a target goes down, also for what happened just before the last stop."""
    with structlog.testing.capture_logs() as logs:
        async with running_agent(settings("down_watch")) as running:
            for value in (1.0, 0.0, 0.0):
                await running.store("up", value, job="a", instance="host-1")
                await running.store("other", 0.0, job="a", instance="host-2")
        async with running_agent(settings("down_watch")) as running:
            await running.store("up", 0.0, job="a", instance="host-3")
    assert [line["instance"] for line in logs if line["event"] == "target went down"] == ["host-1", "host-3"]


async def test_lines_receiver_keeps_what_receivers_promise(settings, mock_clock):
    """The check of the package passes, and a daemon with the plugin stores what is pushed and names what is not."""
    spec = importlib.util.spec_from_file_location("lines_receiver", EXAMPLES / "lines_receiver" / "lines_receiver.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    await check_receiver(
        module.tinyobs_routes, ReceiverCase("/lines", b"a 1\nb 2\n", 2, bad=b"?", mixed=b"a 1\n?\nb 2", mixed_samples=2)
    )


async def test_lines_receiver_in_a_daemon(settings):
    """What the README pushes can be queried."""
    async with running_agent(settings("lines_receiver")) as running:
        body = b"press_strokes 1200\npress_oil_temperature 61.5\n"
        client = Client()
        try:
            async with client.stream("POST", running.url + "/lines", content=body) as answer:
                assert answer.status == 204
        finally:
            await client.aclose()
        assert await running.query("press_oil_temperature") == {"press_oil_temperature": 61.5}
