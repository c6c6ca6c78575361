"""Labels of discovery in Kubernetes beside those of Prometheus and VictoriaMetrics, which ask the same fake API server."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from kubernetes_api import FakeKubernetes, serving
from kubernetes_discovering import discovering
from kubernetes_objects import (
    container,
    endpoint_slice,
    endpoints,
    ingress,
    node,
    owner,
    pod,
    port,
    reference,
    rule,
    service,
    subset,
    thing,
)
from peers import free_port, get, prometheus_3, victoria_metrics
from peers import running as running_peer

from tinyobs.config.kubernetes_sd import KubernetesSdConfig, Role
from tinyobs.config.loader import parse

pytestmark = [pytest.mark.peer]

HTTP = port("http", 8080, key="port")
TWO = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}


def fill(api: FakeKubernetes) -> None:
    """Put objects of every kind, with whatever makes a difference, into a cluster."""
    odd = {
        "labels": {"app.kubernetes.io/name": "web", "-x": "1"},
        "annotations": {"prometheus.io/scrape": "true", "ü": ""},
    }
    ref, host = reference("Pod", "web-1"), reference("Node", "n1")
    api.put("nodes", node("n1", **odd))
    api.put("nodes", node("n2", addresses=[("Hostname", "n2"), ("ExternalIP", "1.1.1.1")]))
    api.put("namespaces", thing("default", **odd))
    ports = (port("http", 8080), port("dns", 53, "UDP"), port("", 9100))
    api.put("pods", pod(**odd, ownerReferences=owner("ReplicaSet", "web-5c8"), containers=[container("app", *ports)]))
    api.put("pods", pod("side", containers=[container("a", port("p", 1)), container("b")], inits=[container("first")]))
    api.put("pods", pod("starting", ip="", phase="Pending", ready="False"))
    api.put("pods", pod("six", "other", ip="fd00::7", node="n2"))
    api.put("services", service(**odd, spec=TWO))
    api.put("services", service("ext", spec={"type": "ExternalName", "externalName": "db.test"}))
    api.put("services", service("lb", spec={"type": "LoadBalancer", "loadBalancerIP": "5.5.5.5"}))
    ready = [
        {"ip": "10.1.0.7", "targetRef": ref, "nodeName": "n1"},
        {"ip": "7.7.7.7", "hostname": "h", "targetRef": host},
    ]
    api.put("endpoints", endpoints("web", "default", subset([HTTP], ready, [{"ip": "8.8.8.8"}]), **odd))
    api.put("endpoints", endpoints("empty", "default"))
    told = [
        {"addresses": ["10.1.0.7"], "conditions": {"ready": True}, "targetRef": ref, "nodeName": "n1", "zone": "a"},
        {"addresses": ["7.7.7.7"], "conditions": {"serving": False, "terminating": True}, "targetRef": host},
        {"addresses": ["9.9.9.9"], "hostname": "h", "conditions": {}, "deprecatedTopology": {"a/b": "c"}},
    ]
    api.put(
        "endpointslices",
        endpoint_slice(endpoints=told, ports=[HTTP | {"appProtocol": "h2c"}], **{"annotations": {"n": "1"}}),
    )
    rules = [rule("a.test", "/x", ""), rule("b.test", "/"), {"host": "c.test"}]
    api.put("ingresses", ingress(rules=rules, tls=["*.test"], spec={"ingressClassName": "nginx"}, **odd))


Shown = list[tuple[tuple[str, str], ...]]


def shown(targets: Sequence[Mapping[str, str]], left_out: str) -> Shown:
    """Return the labels that discovery makes, but for those that a pattern fits; empty ones are none."""
    keep = ("__meta_", "__address__", "instance")
    return sorted(
        tuple(sorted((k, v) for k, v in labels.items() if v and k.startswith(keep) and not re.match(left_out, k)))
        for labels in targets
    )


async def compare(cases: Mapping[str, str], folder: Path, ready: str, left_out: str, *command: str) -> None:
    """Discover the same as another program, and compare the labels of all targets.

    cases: job -> entry.  ready: the path that tells that the program works.  `BASE` in the command is its address.
    """
    address = f"127.0.0.1:{free_port()}"
    ours: dict[str, list[dict[str, str]]] = {}
    async with serving() as api:
        fill(api)
        drop = "relabel_configs: [{action: drop, source_labels: [job], regex: .*}]"
        jobs = [
            f"- {{job_name: '{name}', {drop}, kubernetes_sd_configs: [{entry[:-1]}, api_server: '{api.url}'}}]}}"
            for name, entry in cases.items()
        ]
        text = "\n".join(("scrape_configs:", *jobs))
        await trio.Path(folder / "peer.yml").write_text(text)
        for config in parse(text).scrape_configs:
            ((_, (entry,)),) = config.discovery
            assert isinstance(entry, KubernetesSdConfig)
            async with discovering(entry) as found:
                ours[config.job_name] = [{**g.labels, **t} for g in found.groups.values() for t in g.targets]
        program_line = [part.replace("BASE", address) for part in command]
        theirs = await ask(program_line, f"http://{address}", ready, folder, sum(map(len, ours.values())))
    assert all(ours.values())
    for name, targets in ours.items():
        assert shown([t for t in theirs if t["job"] == name], left_out) == shown(targets, left_out), name


async def ask(command: list[str], base: str, ready: str, folder: Path, count: int) -> list[Any]:
    """Run a program until it has discovered so many targets; return their labels."""

    def targets() -> list[Any]:
        dropped = json.loads(get(f"{base}/api/v1/targets?state=any"))["data"]["droppedTargets"] or []
        return [target["discoveredLabels"] for target in dropped]

    process = running_peer(command, base + ready, folder)
    await trio.to_thread.run_sync(process.__enter__)
    try:
        with trio.move_on_after(45):
            while len(await trio.to_thread.run_sync(targets)) < count:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.2)
        return await trio.to_thread.run_sync(targets)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(process.__exit__, None, None, None)


ON_NODES = (Role.POD, Role.ENDPOINTS, Role.ENDPOINTSLICE)
OTHERS = {
    "pod, selected": "{role: pod, selectors: [{role: pod, field: spec.nodeName=n1, label: app.kubernetes.io/name=web}]}",
    "pod, namespace": "{role: pod, namespaces: {names: [other]}}",
}


async def test_labels_are_those_of_prometheus(tmp_path: Path) -> None:
    """For every target of every role, each label and value that the version at hand has."""
    cases = {role.value: f"{{role: {role}}}" for role in Role}
    cases |= {f"{role}, nodes": f"{{role: {role}, attach_metadata: {{node: true}}}}" for role in ON_NODES}
    await compare(
        cases | OTHERS,
        tmp_path,
        "/-/ready",
        "__meta_kubernetes_node_condition_",
        prometheus_3(),
        "--config.file=peer.yml",
        "--web.listen-address=BASE",
        "--storage.tsdb.path=data",
    )


async def test_labels_are_those_of_victoriametrics(tmp_path: Path) -> None:
    """With those of namespaces, which it has.  It tells less of services and slices, and more of what is behind them."""
    newest = "{role: pod, api_server: 'http://127.0.0.1', attach_metadata: {namespace: true}}"
    await trio.Path(tmp_path / "try.yml").write_text(
        f"scrape_configs: [{{job_name: j, kubernetes_sd_configs: [{newest}]}}]"
    )
    tried = [victoria_metrics(), "-dryRun", f"-promscrape.config={tmp_path / 'try.yml'}"]
    if (await trio.run_process(tried, check=False, capture_stdout=True, capture_stderr=True)).returncode:
        pytest.skip("the installed victoria-metrics is older than its labels of namespaces")
    cases = {role.value: f"{{role: {role}, attach_metadata: {{namespace: true}}}}" for role in Role}
    cases["pod, nodes"] = "{role: pod, attach_metadata: {node: true, namespace: true}}"
    parts = ("topology_", "zone", "conditions_")
    other = (
        "node_condition_",
        "service_(type|cluster_ip|loadbalancer_ip)",
        "endpoint(slice)?_address_target_",
        *(f"endpointslice_endpoint_{part}" for part in parts),
    )
    await compare(
        cases | OTHERS,
        tmp_path,
        "/health",
        f"__meta_kubernetes_({'|'.join(other)})",
        victoria_metrics(),
        "-promscrape.config=peer.yml",
        "-httpListenAddr=BASE",
        "-storageDataPath=data",
    )
