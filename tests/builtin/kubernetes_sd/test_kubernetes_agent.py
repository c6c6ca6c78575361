"""A whole agent that discovers pods, scrapes them, and is reloaded."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trustme
import yaml
from kubernetes_api import FakeKubernetes, serving
from kubernetes_objects import container, node, owner, pod, port, thing

from tinyobs.builtin.kubernetes_sd import access
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


CONTRIB = Path(__file__).parents[3] / "contrib" / "kubernetes"


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Return the server's side of TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_the_agent_of_the_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod of the node n1 it scrapes the kubelet, its cAdvisor and an annotated pod, and sends all to a store."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "token").write_text("s3cret")
    monkeypatch.setattr(access, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("NODE_NAME", "n1")
    text = yaml.safe_load((CONTRIB / "config.yml").read_text())["data"]["prometheus.yml"]
    for old, new in (
        ("/var/run/secrets/kubernetes.io/serviceaccount", str(tmp_path)),
        ("scrape_interval: 30s", "scrape_interval: 1s\n  scrape_timeout: 1s"),
    ):
        assert old in text
        text = text.replace(old, new)
    kubelet, app = FakeTarget(b"of_kubelet 1\n"), FakeTarget(b"of_app 2\n")
    with trio.fail_after(60):
        async with (
            serving(FakeKubernetes(token="s3cret"), server_tls(authority)) as api,
            fake_target(kubelet, server_tls(authority)),
            fake_target(app),
            running_agent(
                AgentSettings(
                    config_text="{}",
                    storage_url=f"file:{tmp_path / 'store'}",
                    listen=("127.0.0.1:0",),
                    plugins_off=("host",),
                    remote_write_receiver=True,
                )
            ) as store,
        ):
            monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
            raw = node("n1", addresses=[("InternalIP", "127.0.0.1")])
            raw["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] = kubelet.port
            api.put("nodes", raw)
            asked = {"prometheus.io/scrape": "true", "prometheus.io/port": str(app.port)}
            more = {"annotations": asked, "ownerReferences": owner("ReplicaSet", "web-5c8"), "ip": "127.0.0.1"}
            api.put("pods", pod(**more))
            api.put("pods", pod("elsewhere", node="n2", **more))
            api.put("replicasets", thing("web-5c8", "default", ownerReferences=owner("Deployment", "web")))
            assert "http://store.example:8428" in text
            text = text.replace("http://store.example:8428", store.url)
            agent = AgentSettings(
                agent=True, config_text=text, storage_url=f"log:{tmp_path / 'log'}", listen=(), plugins_off=("host",)
            )
            async with running_agent(agent):

                async def has_all() -> bool:
                    found = await store.query('{__name__=~"of_.*"}')
                    return len(found) == 3

                await until(has_all)
            found = await store.query('{__name__=~"of_.*"}')
    of_pod = (
        f'deployment="web", instance="127.0.0.1:{app.port}", job="pods", namespace="default", node="n1", pod="web-1"'
    )
    assert set(found) == {
        f'of_app{{cluster="my-cluster", {of_pod}}}',
        'of_kubelet{cluster="my-cluster", instance="n1", job="cadvisor"}',
        'of_kubelet{cluster="my-cluster", instance="n1", job="kubelet"}',
    }
    assert {request[":path"] for request in kubelet.requests} == {"/metrics", "/metrics/cadvisor"}
    assert {request["authorization"] for request in kubelet.requests} == {"Bearer s3cret"}
