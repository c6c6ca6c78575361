"""The agent's own metrics when the statistics of a part fail."""

from __future__ import annotations

import pytest
import structlog
import trio
from attrs import frozen

from tinyobs.abc import Source
from tinyobs.hookspecs import hookimpl
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent


@frozen
class Odd:
    """Statistics with a number that is none."""

    by_kind: dict[str, str]


def no_statistics():
    raise RuntimeError("no statistics today")


class Plugin:
    """Offers a source with the given statistics."""

    def __init__(self, statistics):
        self._statistics = statistics

    @hookimpl
    def tinyobs_sources(self, services):
        statistics = self._statistics

        class Broken(Source):
            name = "broken"

            async def run(self, *, task_status):
                task_status.started()
                await trio.sleep_forever()

            def statistics(self):
                return statistics()

        return [Broken()]


@pytest.mark.parametrize("statistics", [no_statistics, lambda: Odd({"a": "not a number"}), lambda: "no attrs object"])
async def test_a_part_whose_statistics_fail_is_left_out_and_counted(tmp_path, statistics):
    """All other metrics are served; the failure is logged at the first time only, and counted each time."""
    settings = AgentSettings(
        storage_url=f"file:{tmp_path}",
        listen=("127.0.0.1:0",),
        plugins_off=("host",),
        config_text="tinyobs: {self_metrics: {enabled: false}}",  # who collects meanwhile counts as well
    )
    with structlog.testing.capture_logs() as logs:
        async with running_agent(settings, {"own": Plugin(statistics)}) as running:
            found = [await running.get("/metrics") for _ in range(3)]
    assert [status for status, _ in found] == [200] * 3
    assert b"tinyobs_storage_" in found[0][1]
    assert b"process_cpu_seconds_total" in found[0][1]
    counts = [float(line.split()[-1]) for _, body in found for line in body.decode().splitlines() if is_count(line)]
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]
    told = [entry for entry in logs if entry["event"].startswith("statistics failed")]
    assert [entry["component"] for entry in told] == ["broken"]


def is_count(line):
    return line.startswith('tinyobs_component_statistics_failures_total{component="broken"} ')


async def test_a_storage_whose_statistics_fail_is_contained(tmp_path, monkeypatch):
    """A storage may come from a plugin as well."""
    settings = AgentSettings(storage_url=f"file:{tmp_path}", listen=("127.0.0.1:0",), plugins_off=("host",))
    async with running_agent(settings) as running:
        monkeypatch.setattr(running.agent.open_storage(), "statistics", no_statistics, raising=False)
        status, body = await running.get("/metrics")
        monkeypatch.undo()
    assert status == 200
    assert b'tinyobs_component_statistics_failures_total{component="storage"} ' in body
