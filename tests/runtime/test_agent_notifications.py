"""What an agent tells those who look at it: `/notifications`, `/features`, blocks and the counters of the API."""

from __future__ import annotations

import json

import pytest

from tinyobs.errors import ConfigError
from tinyobs.runtime.agent import NOT_RELOADED, STARTING, STOPPING
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent


async def data(running, path):
    """Return the data of an answer of the API."""
    status, body = await running.get("/api/v1" + path)
    assert status == 200, body
    return json.loads(body)["data"]


@pytest.fixture
def settings(tmp_path):
    """Return the settings of an agent with a configuration file."""
    file = tmp_path / "tinyobs.yml"
    file.write_text("global: {external_labels: {dc: x}}\n")
    return AgentSettings(
        config_file=file, storage_url=f"file:{tmp_path / 'data'}", listen=("127.0.0.1:0",), plugins_off=("host",)
    )


async def test_a_failed_reload_holds_until_one_succeeds(settings):
    """The start is over when the agent runs; the stop is told to those who still listen."""
    async with running_agent(settings) as running:
        assert await data(running, "/notifications") == []
        good = settings.config_file.read_text()
        settings.config_file.write_text("global: {nonsense: 1}\n")
        with pytest.raises(ConfigError):
            await running.agent.reload()
        (told,) = await data(running, "/notifications")
        assert (told["text"], told["active"]) == (NOT_RELOADED, True)
        settings.config_file.write_text(good)
        await running.agent.reload()
        assert await data(running, "/notifications") == []
        with running.agent.notifications.subscription() as changes:
            running.agent.quit()
            heard = [change.text async for change in changes]
    assert heard == [STOPPING]
    assert STARTING not in [n.text for n in running.agent.notifications.active]


async def test_features_are_true(settings):
    """Experimental functions follow their flag, discoveries those that are there."""
    async with running_agent(settings) as running:
        found = await data(running, "/features")
    assert found["promql_functions"]["rate"] is True
    assert found["promql_functions"]["info"] is False
    assert found["promql_operators"]["limitk"] is False
    assert found["promql_operators"]["=~"] is found["promql_operators"]["sum"] is True
    assert found["service_discovery_providers"].items() >= {"file": True, "static": True}.items()
    assert found["api"]["admin"] is found["api"]["otlp_write_receiver"] is False


async def test_the_parts_of_the_api_are_joined_to_the_agent(settings):
    """Blocks of the storage, external labels in a federation, counters among the own metrics."""
    async with running_agent(settings) as running:
        await running.store("up", 1.0, job="j")
        await running.agent.run_on_writer(lambda storage: [None for _ in iter(storage.compact, False)])
        (block,) = (await data(running, "/status/tsdb/blocks"))["blocks"]
        assert (block["stats"]["numSamples"], block["version"]) == (1, 1)
        _, body = await running.get("/federate?match[]=up")
        assert body.startswith(b'# TYPE up untyped\nup{job="j",dc="x",instance=""} 1 ')
        names = [
            f["name"] for f in await data(running, "/status/self_metrics?metric_name_pattern=.*(federation|notif).*")
        ]
    assert names == [
        "prometheus_api_notification_active_subscribers",
        "prometheus_api_notification_updates_dropped_total",
        "prometheus_api_notification_updates_sent_total",
        "prometheus_web_federation_errors_total",
        "prometheus_web_federation_warnings_total",
    ]
