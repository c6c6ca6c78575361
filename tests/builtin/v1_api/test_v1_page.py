"""The page about the API: its examples run, and its settings are those of the code."""

from __future__ import annotations

import re
import sys

from receiver_pages import FOLDER, agent_of, blocks, run_commands, with_free_ports

from tinyobs.builtin.v1_api.settings import V1Settings
from tinyobs.config.fields import plan
from tinyobs.model.durations import DurationMs, format_duration


async def test_the_examples_of_the_page(tmp_path, monkeypatch):
    """Each does what the page says."""
    monkeypatch.chdir(tmp_path)
    examples = with_free_ports([*blocks("v1-api", "sh"), *blocks("v1-api", "python")])
    listen = re.search(r"127\.0\.0\.1:\d+", examples[0]).group()
    (tmp_path / "live.py").write_text(examples.pop())
    async with agent_of("tinyobs: {v1: {live_interval: 100ms}}\n", listen):
        shown = [await run_commands(example) for example in examples]
        live = await run_commands(f"{sys.executable} live.py")
    assert shown[0] == '{"status":"success","count":2}'
    assert '"value":7' in shown[1]
    assert '"resultType":"vector","result":[{"metric":{"service":"mail"},"value":[' in shown[1]
    assert shown[2].count('"metrics_imported":1,') == 2
    assert live == "metrics_update 2\n"


def test_the_settings_of_the_page():
    """All of them, with their defaults."""
    text = (FOLDER / "v1-api.md").read_text().partition("## Settings")[2].partition("## What")[0]
    documented = dict(re.findall(r"^\| `([a-z_]+)` \| ((?:`[^`]+`(?:, )?)+) \| [^|]+ \|$", text, re.MULTILINE))

    def shown(p):
        value = p.default()
        if p.type is DurationMs:
            return f"`{format_duration(int(value))}`"
        if isinstance(value, tuple):
            return ", ".join(f"`{v}`" for v in value)
        return f"`{str(value).lower()}`"

    assert documented == {p.key: shown(p) for p in plan(V1Settings)}
