"""Agent mode as a whole: it collects and passes on, and says of all else that it is unavailable."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tinyobs.cli.main import run
from tinyobs.errors import ConfigError
from tinyobs.runtime.agent import Agent
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.targets import FakeTarget, fake_target

PAGE = (Path(__file__).parents[2] / "docs" / "agent-mode.md").read_text()


def settings(tmp_path, config, **more):
    return AgentSettings(
        agent=True,
        config_text=config,
        storage_url=f"log:{tmp_path / 'data'}",
        listen=("127.0.0.1:0",),
        plugins_off=("host",),
        **more,
    )


def values(path, name):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [v for line in lines if line["metric"]["__name__"] == name for v in line["values"]]


async def test_the_example_of_the_page(tmp_path):
    """What the target of the page has is in the file of the page, over a restart, once each."""
    out = tmp_path / "samples.jsonl"
    text = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    count = 0

    def body():
        nonlocal count
        count += 1
        return f"scrapes {count}\n".encode()

    async with fake_target(FakeTarget(b"scrapes 1\n")) as target:
        text = text.replace("127.0.0.1:9100", target.address).replace("path: samples.jsonl", f"path: {out}")
        text = text.replace("scrape_interval: 15s", "scrape_interval: 3s\n  scrape_timeout: 3s")
        for _ in range(2):
            async with running_agent(settings(tmp_path, text)) as running:
                before = len(values(out, "scrapes")) if out.exists() else 0
                await until(lambda before=before: out.exists() and len(values(out, "scrapes")) > before)
                status, answer = await running.get("/api/v1/targets")
                assert (status, json.loads(answer)["data"]["activeTargets"][0]["health"]) == (200, "up")
                status, answer = await running.get("/metrics")
                families = answer.decode()
                assert re.search(r'^prometheus_agent_samples_appended_total\{type="float"\} [1-9]', families, re.M)
                for name in re.findall(r"`(prometheus_agent_\w+)`", PAGE):
                    assert f"\n{name}" in families, name
    ups = values(out, "up")
    assert len(ups) == len(values(out, "scrapes")) >= 2
    assert set(ups) == {1}


async def test_the_api_in_agent_mode(tmp_path):
    """What needs samples answers 422 with upstream's words; the rest works."""
    text = f"tinyobs: {{file_sinks: [{{name: a, path: '{tmp_path / 'out'}'}}]}}"
    async with running_agent(settings(tmp_path, text, remote_write_receiver=True)) as running:
        for path in ("query?query=up", "labels", "label/job/values", "series?match[]=up", "rules", "status/tsdb"):
            status, answer = await running.get(f"/api/v1/{path}")
            expected = {"status": "error", "errorType": "execution", "error": "unavailable with Prometheus Agent"}
            assert (status, json.loads(answer)) == (422, expected), path
        for path in ("targets", "metadata", "status/config", "status/flags", "status/runtimeinfo", "features"):
            assert (await running.get(f"/api/v1/{path}"))[0] == 200, path
        features = json.loads((await running.get("/api/v1/features"))[1])["data"]["prometheus"]
        assert features["agent_mode"]
        assert not features["server_mode"]
        assert (await running.get("/-/ready"))[0] == 200
        assert (await running.get("/federate?match[]=up"))[0] == 422
        assert (await running.get("/api/v1/write", "POST"))[0] != 404


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("global: {}", "at least one remote_write target must be specified in agent mode"),
        ("rule_files: [a.yml]", "field rule_files is not allowed in agent mode"),
        (
            "alerting: {alertmanagers: [{static_configs: [{targets: [a]}]}]}",
            "field alerting is not allowed in agent mode",
        ),
        ("remote_read: [{url: 'http://a'}]", "field remote_read is not allowed in agent mode"),
    ],
)
def test_sections_that_agent_mode_refuses(tmp_path, text, told):
    """With upstream's words."""
    with pytest.raises(ConfigError, match=told):
        Agent(settings(tmp_path, text))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--agent", "--query.timeout=1m"], "can not be used in agent mode: --query.timeout"),
        (["--agent", "--storage.tsdb.path=x"], "can not be used in agent mode: --storage.tsdb.path"),
        (["--storage.agent.path=x"], "can not be used in server mode: --storage.agent.path"),
        (["--agent", "--storage.agent.wal-compression"], "the log is always compressed"),
    ],
)
def test_flags_of_the_other_mode_are_refused(arguments, told, capsys):
    """By name."""
    assert run(["run", *arguments]) == 2
    assert told in capsys.readouterr().err
