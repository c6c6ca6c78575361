"""The page about OTLP: its examples do what it says, and its tables are complete."""

from __future__ import annotations

import re
import sys

import pytest
import trio
from receiver_pages import FOLDER, agent_of, blocks, run_commands, with_free_ports

from tinyobs.builtin.otlp_receiver import PATHS, OtlpReceiverSettings
from tinyobs.config.fields import plan
from tinyobs.config.server_sections import OtlpConfig

PAGE = (FOLDER / "otlp.md").read_text()


async def test_the_example_with_curl():
    """A counter in JSON comes back from a query."""
    (commands,) = with_free_ports(blocks("otlp", "bash"))
    address = re.findall(r"127\.0\.0\.1:\d+", commands)[0]
    async with agent_of("", address, otlp_receiver=True):
        shown = await run_commands(commands)
    assert '"metric":{"__name__":"http_requests_total","http_method":"GET","job":"shop"}' in shown
    assert ',"7"]' in shown


async def test_the_example_in_python():
    """A program with the SDK sends what is stored."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    (program,) = with_free_ports(blocks("otlp", "python"))
    address = re.findall(r"127\.0\.0\.1:\d+", program)[0]
    async with agent_of("", address, otlp_receiver=True) as running:
        done = await trio.run_process([sys.executable, "-c", program], capture_stderr=True, check=False)
        assert done.returncode == 0, done.stderr
        found = await running.query('sum by (country) (orders_total{country="de"})')
    assert list(found.values()) == [3.0]


def test_paths_and_settings_are_on_the_page():
    """All of them, with their defaults."""
    assert [path for path in PATHS if f"`{path}`" not in PAGE] == []
    for schema, prefix in ((OtlpConfig, "otlp"), (OtlpReceiverSettings, "tinyobs.otlp")):
        for field in plan(schema):
            assert f"| `{prefix}.{field.key}` |" in PAGE, field.key
