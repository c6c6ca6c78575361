"""The whole OTLP sink: the contract of sinks, a daemon that sends, and the example of the README."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
import trio
from http_peers import serving
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tinyobs.config.loader import parse
from tinyobs.runtime.settings import AgentSettings
from tinyobs.sinks.group import SinkGroup
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.check_sink import check_sink
from tinyobs.testing.inline_threads import inline_threads
from tinyobs.testing.services import FakeServices

import tinyobs_otlp_sink
from tinyobs_otlp_sink import OtlpOutlet, tinyobs_config_sections
from tinyobs_otlp_sink.settings import SECTION

README = (Path(__file__).parents[1] / "README.md").read_text()
(EXAMPLE,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


class Receiver:
    """Keeps points, or refuses requests."""

    def __init__(self):
        self.points, self.resources, self.status = [], [], 200

    def __call__(self, asked):
        if self.status == 200:
            request = ExportMetricsServiceRequest.FromString(gzip.decompress(asked.body))
            for rm in request.resource_metrics:
                resource = texts(rm.resource.attributes)
                self.resources.append(resource)
                metrics = [m for sm in rm.scope_metrics for m in sm.metrics]
                self.points += [
                    (m.name, texts(p.attributes), p.as_double) for m in metrics for p in m.gauge.data_points
                ]
        return self.status, [], b""


def texts(attributes):
    return {a.key: a.value.string_value for a in attributes}


async def test_it_keeps_the_contract_of_sinks(autojump_clock):
    """Nothing is lost over refusals, ends and restarts."""
    autojump_clock.autojump_threshold = 0.05  # sockets need real time
    receiver = Receiver()

    def refuse(yes):
        receiver.status = 503 if yes else 200

    def delivered():
        return [(int(labels["n"]), value) for _, labels, value in receiver.points]

    async with serving(receiver) as peer:
        text = f"tinyobs: {{{SECTION}: [{{name: a, url: 'http://{peer.address}/'}}]}}"
        services = FakeServices(parse(text, "t.yml", sections=tinyobs_config_sections()))
        with inline_threads():
            await check_sink(lambda s: SinkGroup(s, SECTION, OtlpOutlet), delivered, refuse, services)


async def test_the_example_sends_what_a_daemon_stores(tmp_path):
    """Chosen series, with the attributes of the resource."""
    receiver = Receiver()
    async with serving(receiver) as peer:
        settings = AgentSettings(
            config_text=EXAMPLE.replace("127.0.0.1:4318", peer.address),
            storage_url=f"file:{tmp_path / 'data'}",
            listen=("127.0.0.1:0",),
            plugins_off=("host",),
        )
        with trio.fail_after(90):
            async with running_agent(settings, {"otlp_sink": tinyobs_otlp_sink}) as running:
                await running.store("load", 1.5, job="node", instance="h:9100", cpu="0")
                await running.store("load", 9.0, job="db")
                await until(lambda: bool(receiver.points))
                _, metrics = await running.get("/metrics")
    assert receiver.points == [("load", {"cpu": "0"}, 1.5)]
    own = {"service.name": "node", "service.instance.id": "h:9100", "deployment.environment": "production"}
    assert receiver.resources == [own]
    assert b'tinyobs_otlp_sinks_samples_total{sink="collector"}' in metrics


@pytest.mark.parametrize("key", re.findall(r"^ +(?:- )?([a-z_]+):", EXAMPLE, re.MULTILINE))
def test_every_key_of_the_example_is_explained(key):
    """In the table."""
    assert key in (SECTION, "resource_attributes") or f"| `{key}` |" in README
