"""The kinds in a whole agent: targets appear and stay, metrics count, printed configurations hide secrets."""

from __future__ import annotations

import json

import pytest
import test_hetzner
import test_linode
import trio
from cloud_fakes import Answer, serving
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until

import tinyobs_cloud_sd
from tinyobs_cloud_sd import hetzner, linode

CONFIG = """
global: {{scrape_interval: 1h}}
scrape_configs:
  - job_name: hetzner
    hetzner_sd_configs:
      - {{role: hcloud, refresh_interval: 100ms, authorization: {{credentials: {hetzner}}}}}
    relabel_configs:
      - {{source_labels: [__meta_hetzner_server_name], target_label: server}}
      - {{target_label: __address__, replacement: '127.0.0.1:9'}}
  - job_name: linode
    linode_sd_configs:
      - {{refresh_interval: 100ms, authorization: {{credentials: {linode}}}}}
    relabel_configs:
      - {{target_label: __address__, replacement: '127.0.0.1:9'}}
"""


@pytest.fixture(autouse=True)
async def in_time():
    """End what does not come."""
    with trio.fail_after(90):
        yield


async def test_targets_metrics_and_secrets(monkeypatch):
    """What a cloud lists is scraped; errors are counted and take nothing away; no secret is shown anywhere."""
    servers = test_hetzner.Cloud(test_hetzner.FIRST)
    async with serving(servers), serving(test_linode.Linode()) as instances:
        monkeypatch.setattr(hetzner, "HCLOUD", servers.url)
        monkeypatch.setattr(linode, "API", instances.url)
        text = CONFIG.format(hetzner=test_hetzner.TOKEN, linode=test_linode.TOKEN)
        settings = AgentSettings(
            config_text=text, storage_url="memory://", listen=("127.0.0.1:0",), plugins_off=("host",)
        )
        async with running_agent(settings, {"cloud-sd": tinyobs_cloud_sd}) as running:

            async def named():
                _, body = await running.get("/api/v1/targets")
                active = json.loads(body)["data"]["activeTargets"]
                return sorted(t["labels"].get("server", t["scrapePool"]) for t in active)

            async def is_so(names):
                return await named() == names

            await until(lambda: is_so(["linode", "my-server"]))
            servers.all.append(test_hetzner.server(44, "new", "1.2.3.5"))
            await until(lambda: is_so(["linode", "my-server", "new"]))
            servers.broken = instances.broken = Answer({"errors": [{"reason": "later"}]}, 503)

            async def has_failed():
                _, metrics = await running.get("/metrics")
                return all(
                    any(
                        line.startswith(name) and float(line.rpartition(" ")[2]) > 0
                        for line in metrics.decode().split("\n")
                    )
                    for name in ('prometheus_sd_refresh_failures_total{config="hetzner",mechanism="hetzner"}',)
                )

            await until(has_failed)
            assert await named() == ["linode", "my-server", "new"]
            shown = "".join([(await running.get(p))[1].decode() for p in ("/api/v1/status/config", "/metrics")])
            assert test_hetzner.TOKEN not in shown
            assert test_linode.TOKEN not in shown
            assert "prometheus_sd_linode_failures_total " in shown
