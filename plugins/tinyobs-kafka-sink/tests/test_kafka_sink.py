"""The whole Kafka sink: the contract of sinks, a daemon that produces, and the example of the README."""

from __future__ import annotations

import json
import re
from pathlib import Path

import trio
from confluent_kafka import KafkaError
from test_kafka_outlet import Cluster
from tinyobs.config.loader import parse
from tinyobs.runtime.settings import AgentSettings
from tinyobs.sinks.group import SinkGroup
from tinyobs.testing.agents import running_agent
from tinyobs.testing.check_sink import check_sink
from tinyobs.testing.inline_threads import inline_threads
from tinyobs.testing.services import FakeServices

import tinyobs_kafka_sink
from tinyobs_kafka_sink import KafkaOutlet, tinyobs_config_sections
from tinyobs_kafka_sink.settings import SECTION

README = (Path(__file__).parents[1] / "README.md").read_text()
(EXAMPLE,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
(MESSAGE,) = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


async def test_it_keeps_the_contract_of_sinks(autojump_clock, monkeypatch):
    """Nothing is lost over refusals, ends and restarts."""
    cluster = Cluster()
    plain, refusing, came = KafkaOutlet._hand_over, [], []

    def hand_over(self, number, message, headers):
        if refusing:
            self._failed.append((number, KafkaError(KafkaError._MSG_TIMED_OUT)))
            return
        plain(self, number, message, headers)
        value = json.loads(message.value)
        came.append((int(value["labels"]["n"]), float(value["value"])))

    monkeypatch.setattr(KafkaOutlet, "_hand_over", hand_over)

    def refuse(yes):
        refusing[:] = [1] * yes

    text = f"tinyobs: {{{SECTION}: [{{name: a, bootstrap_servers: ['{cluster.servers}'], topic: contract}}]}}"
    services = FakeServices(parse(text, "t.yml", sections=tinyobs_config_sections()))
    with inline_threads():
        await check_sink(lambda s: SinkGroup(s, SECTION, KafkaOutlet), lambda: came, refuse, services)
    found = [json.loads(m.value()) for m in cluster.read("contract", len(came))]
    assert sorted((int(m["labels"]["n"]), float(m["value"])) for m in found) == sorted(came)


async def test_the_example_produces_what_a_daemon_stores(tmp_path):
    """Chosen series, in the form that the README shows; without its credentials, which the brokers of the test lack."""
    cluster = Cluster()
    text = EXAMPLE.replace("127.0.0.1:9092", cluster.servers).partition("      options:")[0]
    settings = AgentSettings(
        config_text=text, storage_url=f"file:{tmp_path / 'data'}", listen=("127.0.0.1:0",), plugins_off=("host",)
    )
    with trio.fail_after(90):
        async with running_agent(settings, {"kafka_sink": tinyobs_kafka_sink}) as running:
            await running.store("up", 1.0, job="node")
            await running.store("up", 0.0, job="db")
    (message,) = cluster.read("metrics", 1)
    expected = json.loads(MESSAGE)
    found = json.loads(message.value())
    assert found | {"timestamp": ""} == expected | {"timestamp": ""}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["timestamp"])


def test_the_whole_example_is_read():
    """With its credentials, which are not shown."""
    (settings,) = parse(EXAMPLE, "t.yml", sections=tinyobs_config_sections()).tinyobs.section(SECTION)
    assert dict(settings.secret_options)["sasl.password"].reveal() == "secret"
    assert "secret'" not in repr(settings)
