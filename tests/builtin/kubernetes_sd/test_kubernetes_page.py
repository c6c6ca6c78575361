"""What the documentation and `contrib/kubernetes` promise: examples, permissions, manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve
from kubernetes_api import FakeKubernetes, serving
from kubernetes_discovering import discovering
from kubernetes_objects import container, node, owner, pod, port, thing

from tinyobs.builtin.kubernetes_sd.resources import Resource
from tinyobs.builtin.kubernetes_sd.views import PLANS, joined_resources
from tinyobs.builtin.scrape.targets import PoolDefaults, Target, make_targets
from tinyobs.cli.main import tinyobs
from tinyobs.config.fields import Url
from tinyobs.config.kubernetes_sd import AttachMetadata, KubernetesSdConfig, Role
from tinyobs.config.loader import parse
from tinyobs.config.scraping import ScrapeConfig

ROOT = Path(__file__).parents[3]
CONTRIB = ROOT / "contrib" / "kubernetes"
BLOCKS = [b.split("```")[0] for b in (ROOT / "docs" / "discovery" / "kubernetes.md").read_text().split("```yaml\n")[1:]]


def manifests() -> dict[str, dict[str, Any]]:
    """Return all manifests, by kind."""
    files = [CONTRIB / name for name in ("rbac.yml", "config.yml", "daemonset.yml")]
    found = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    assert len({one["kind"] for one in found}) == len(found)
    return {one["kind"]: one for one in found}


def allowed(role: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return (group, resource) of what a `ClusterRole` lets one list and watch."""
    rules = [rule for rule in role["rules"] if {"list", "watch"} <= set(rule["verbs"])]
    return {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}


def needed(entries: Iterable[KubernetesSdConfig]) -> set[tuple[str, str]]:
    """Return what entries list and watch."""
    found: list[Resource] = []
    for entry in entries:
        assert entry.role
        found += [PLANS[entry.role].resource, *joined_resources(entry)]
    return {(resource.group, resource.name) for resource in found}


def entries_of(config: ScrapeConfig) -> list[KubernetesSdConfig]:
    """Return the discoveries of a scrape config."""
    return [entry for _, entries in config.discovery for entry in entries]


async def targets_of(config: ScrapeConfig, api: FakeKubernetes) -> Sequence[Target]:
    """Return what is scraped of a scrape config with one discovery, asked of a fake API server."""
    (entry,) = entries_of(config)
    async with discovering(evolve(entry, api_server=Url(api.url))) as found:
        groups = [(g.targets, g.labels) for g in found.groups.values()]
    rules = tuple(config.relabel_configs)
    made = make_targets(groups, PoolDefaults(config.job_name, 30_000, 10_000, "/metrics", "http", (), rules))
    assert made.errors == []
    return made.targets


async def test_the_example_of_the_page() -> None:
    """The ports called metrics of the pods of the shop, with the names that the rules give."""
    (config,) = parse(BLOCKS[0]).scrape_configs
    async with serving() as api:
        ports = (port("http", 8080), port("metrics", 9100))
        labels = {"app.kubernetes.io/part-of": "shop"}
        more = {"containers": [container("app", *ports)], "ownerReferences": owner("ReplicaSet", "web-5c8")}
        api.put("pods", pod(namespace="shop", labels=labels, **more))
        api.put("pods", pod("other", "shop", **more))
        api.put("pods", pod(namespace="else", labels=labels, **more))
        api.put("replicasets", thing("web-5c8", "shop", ownerReferences=owner("Deployment", "web")))
        (target,) = await targets_of(config, api)
    assert target.url == "http://10.1.0.7:9100/metrics"
    assert dict(target.labels) == {
        "deployment": "web",
        "instance": "10.1.0.7:9100",
        "job": "pods",
        "namespace": "shop",
        "pod": "web-1",
    }


def test_the_permissions_of_the_page() -> None:
    """They are what all roles need with everything attached, and no more."""
    attach = AttachMetadata(node=True, namespace=True, deployment=True, job=True, cronjob=True)
    everything = [KubernetesSdConfig(role=role, attach_metadata=attach) for role in Role]
    assert allowed(yaml.safe_load(BLOCKS[1])) == needed(everything)


def embedded() -> tuple[ScrapeConfig, ...]:
    """Return the scrape configs of the ConfigMap, as they are on the node n1."""
    text = manifests()["ConfigMap"]["data"]["prometheus.yml"]
    config = parse(text, "/etc/tinyobs/prometheus.yml", environment={"NODE_NAME": "n1"})
    assert len(config.remote_write) == 1
    return config.scrape_configs


def test_the_manifests_belong_together() -> None:
    """Names that one file gives, another uses."""
    found = manifests()
    pods = found["DaemonSet"]["spec"]["template"]
    name = {"name": "tinyobs", "namespace": "tinyobs"}
    assert found["Namespace"]["metadata"]["name"] == "tinyobs"
    for kind in ("ServiceAccount", "ConfigMap", "DaemonSet"):
        assert name.items() <= found[kind]["metadata"].items()
    assert found["ClusterRoleBinding"]["subjects"] == [{"kind": "ServiceAccount", **name}]
    assert found["ClusterRoleBinding"]["roleRef"]["name"] == found["ClusterRole"]["metadata"]["name"]
    assert pods["spec"]["serviceAccountName"] == "tinyobs"
    assert pods["metadata"]["labels"] == found["DaemonSet"]["spec"]["selector"]["matchLabels"]
    volumes = {v["name"]: v for v in pods["spec"]["volumes"]}
    (agent,) = pods["spec"]["containers"]
    assert {m["name"] for m in agent["volumeMounts"]} == set(volumes)
    assert volumes["config"]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
    assert [v["name"] for v in agent["env"]] == ["NODE_NAME"]


def test_the_command_line_of_the_manifests() -> None:
    """Its options are those of `tinyobs run`, and its files are where they are mounted."""
    (agent,) = manifests()["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    command, *options = agent["args"]
    assert command == "run"
    known = {name for p in tinyobs.commands["run"].params for name in p.opts}
    given = dict(option.partition("=")[::2] for option in options)
    assert set(given) <= known
    mounts = {m["mountPath"] for m in agent["volumeMounts"]}
    assert {str(Path(given["--config.file"]).parent), given["--storage.agent.path"]} <= mounts
    assert given["--web.listen-address"].endswith(f":{agent['ports'][0]['containerPort']}")


def test_the_permissions_of_the_manifests() -> None:
    """What the configuration lists and watches, and nothing else."""
    entries = [entry for config in embedded() for entry in entries_of(config)]
    assert allowed(manifests()["ClusterRole"]) == needed(entries)


async def test_the_agent_on_a_node_sees_its_node_only() -> None:
    """The kubelet twice, and the annotated pods of the node."""
    async with serving() as api:
        for name in ("n1", "n2"):
            api.put("nodes", node(name))
            api.put("pods", pod(f"on-{name}", node=name, annotations={"prometheus.io/scrape": "true"}))
        urls = {config.job_name: [t.url for t in await targets_of(config, api)] for config in embedded()}
        pods = [t for config in embedded() if config.job_name == "pods" for t in await targets_of(config, api)]
    assert urls == {
        "kubelet": ["http://192.168.0.1:10250/metrics"],
        "cadvisor": ["http://192.168.0.1:10250/metrics"],
        "pods": ["http://10.1.0.7:8080/metrics"],
    }
    assert [dict(t.labels)["pod"] for t in pods] == ["on-n1"]


def annotated(**annotations: str) -> dict[str, str]:
    """Return annotations of a pod that is to be scraped."""
    return {f"prometheus.io/{k}": v for k, v in ({"scrape": "true"} | annotations).items()}


@pytest.mark.parametrize(
    ("more", "urls"),
    [
        ({}, []),
        ({"annotations": annotated(scrape="false")}, []),
        ({"annotations": annotated()}, ["http://10.1.0.7:8080/metrics", "http://10.1.0.7:9100/metrics"]),
        ({"annotations": annotated(port="7070")}, ["http://10.1.0.7:7070/metrics"]),
        ({"annotations": annotated(port="7070"), "ip": "fd00::7"}, ["http://[fd00::7]:7070/metrics"]),
        ({"annotations": annotated(port="7070", path="/m", scheme="https")}, ["https://10.1.0.7:7070/m"]),
        ({"annotations": annotated(port="7070"), "phase": "Succeeded"}, []),
        ({"annotations": annotated(), "containers": [container("side")]}, []),
        ({"annotations": annotated(port="7070"), "containers": [container("side")]}, ["http://10.1.0.7:7070/metrics"]),
    ],
)
async def test_pods_that_ask_to_be_scraped(more: dict[str, Any], urls: list[str]) -> None:
    """Scheme, path and port come from annotations; a port that is named is one target whatever the containers declare."""
    (config,) = parse((CONTRIB / "scrape-annotated-pods.yml").read_text()).scrape_configs
    ports = (port("http", 8080), port("metrics", 9100))
    raw = pod(**({"containers": [container("app", *ports)], "inits": [container("first")]} | more))
    async with serving() as api:
        api.put("pods", raw)
        targets = await targets_of(config, api)
    assert sorted(t.url for t in targets) == urls
