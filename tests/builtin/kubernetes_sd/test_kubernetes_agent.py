"""A whole agent that discovers pods, scrapes them, and is reloaded."""

from __future__ import annotations

from pathlib import Path

import trio
from kubernetes_api import FakeKubernetes, serving
from kubernetes_objects import container, pod, port

from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import RunningAgent, running_agent, until
from tinyobs.testing.targets import FakeTarget, fake_target

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs:
      - {{role: pod, api_server: '{url}'}}
    relabel_configs:
      - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
  - job_name: other
    sample_limit: {limit}
    kubernetes_sd_configs:
      - {{role: pod, api_server: '{url}'}}
    relabel_configs:
      - {{source_labels: [__meta_kubernetes_pod_label_app], action: keep, regex: other}}
"""


async def own_metric(running: RunningAgent, name: str) -> float | None:
    """Return the value of one of the agent's own metrics; `name` with its labels as they are shown."""
    _, body = await running.get("/metrics")
    lines = [line for line in body.decode().splitlines() if line.startswith(name + " ")]
    return float(lines[0].rpartition(" ")[2]) if lines else None


async def test_pods_are_discovered_scraped_and_forgotten(tmp_path: Path) -> None:
    """Two jobs share one watch; a reload of one of them costs no list; a pod that goes is no target any more."""
    file = tmp_path / "tinyobs.yml"
    settings = AgentSettings(
        config_file=file, storage_url=f"file:{tmp_path / 'data'}", listen=("127.0.0.1:0",), plugins_off=("host",)
    )
    with trio.fail_after(60):
        async with serving(FakeKubernetes()) as api, fake_target(FakeTarget(b"served 7\n")) as target:
            file.write_text(CONFIG.format(url=api.url, limit=0))
            api.put("pods", pod(ip="127.0.0.1", containers=[container("app", port("http", target.port))]))
            async with running_agent(settings) as running:

                async def is_stored() -> bool:
                    found = await running.query('served{job="pods"}')
                    return list(found.values()) == [7.0] and 'pod="web-1"' in next(iter(found))

                await until(is_stored)
                assert api.watched == [("pods", "")]
                failures = await own_metric(running, "prometheus_sd_kubernetes_failures_total")
                added = await own_metric(running, 'prometheus_sd_kubernetes_events_total{event="add",role="pod"}')
                assert (failures, added) == (0, 2)
                name = 'prometheus_sd_kubernetes_http_request_duration_seconds_count{endpoint="/api/v1/pods"}'
                assert await own_metric(running, name) == 2  # a list and a watch
                file.write_text(CONFIG.format(url=api.url, limit=5))
                await running.agent.reload()
                assert len(api.asked("pods", "list")) == 1
                api.delete("pods", "default/web-1")

                async def is_gone() -> bool:
                    return not await running.query('served{job="pods"}')

                await until(is_gone)
