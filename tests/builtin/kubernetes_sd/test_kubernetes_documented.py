"""The page names every label that there can be, and every setting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kubernetes_groups import build
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

from tinyobs.config.fields import plan
from tinyobs.config.kubernetes_sd import AttachMetadata, KubernetesSdConfig, Namespaces, Role, Selector

PAGE = (Path(__file__).parents[3] / "docs" / "discovery" / "kubernetes.md").read_text()
NAMED: dict[str, Any] = {"labels": {"name": "x"}, "annotations": {"name": "x"}}
META = ("label_<name>", "labelpresent_<name>", "annotation_<name>", "annotationpresent_<name>")


def documented() -> set[str]:
    """Return the labels of the page, with `<meta>` written out."""
    found = set(re.findall(r"`(__meta_kubernetes_[a-z_]+(?:<(?:meta|name|type)>)?)`", PAGE))
    return {name.replace("<meta>", one) for name in found for one in (META if name.endswith("<meta>") else ("",))}


def possible() -> set[str]:
    """Return the labels of objects that have everything."""
    attach = AttachMetadata(node=True, namespace=True, deployment=True, job=True, cronjob=True)
    http = port("http", 8080, key="port")
    full = {
        "addresses": ["10.1.0.7"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "hostname": "h",
        "nodeName": "n1",
        "zone": "a",
        "targetRef": reference("Pod", "web-1"),
        "deprecatedTopology": {"name": "x"},
    }
    address = {"ip": "10.1.0.7", "hostname": "h", "nodeName": "n1", "targetRef": reference("Pod", "web-1")}
    around = {
        "nodes": [node(**NAMED)],
        "namespaces": [thing("default", **NAMED)],
        "services": [service(**NAMED)],
        "replicasets": [thing("web-5c8", "default", ownerReferences=owner("Deployment", "web"))],
        "jobs": [thing("once", "default", ownerReferences=owner("CronJob", "often"))],
        "pods": [pod(containers=[container("app", port("http", 8080))], **NAMED)],
    }
    objects = [
        (Role.NODE, node(**NAMED)),
        *((Role.SERVICE, service(spec={"type": kind}, **NAMED)) for kind in ("ExternalName", "LoadBalancer")),
        (Role.POD, pod(ownerReferences=owner("ReplicaSet", "web-5c8"), **NAMED)),
        (Role.POD, pod(ownerReferences=owner("Job", "once"), **NAMED)),
        (Role.INGRESS, ingress(rules=[rule("h", "/")], spec={"ingressClassName": "c"}, **NAMED)),
        (Role.ENDPOINTS, endpoints("web", "default", subset([http], [address]), **NAMED)),
        (Role.ENDPOINTSLICE, endpoint_slice(ports=[http | {"appProtocol": "h2c"}], endpoints=[full], **NAMED)),
    ]
    found = set()
    for role, raw in objects:
        group = build(role, raw, around, attach_metadata=attach)
        found |= {name for labels in (group.labels, *group.targets) for name in labels}
    return found - {"__address__", "instance"}


def general(name: str) -> str:
    """Return a label with the parts that users choose as the page writes them."""
    name = (
        re.sub(r"_(?:kubernetes_io_service_)?name$", "_<name>", name)
        if re.search(r"(label|annotation|topology)", name)
        else name
    )
    return re.sub(r"(_condition|_address)_(ready|diskpressure|InternalIP|Hostname)$", r"\1_<type>", name)


def test_every_label_is_documented() -> None:
    """The page has those that there are, and no others."""
    assert {general(name) for name in possible()} == documented()
    assert len(documented()) >= 86


def test_every_setting_is_documented() -> None:
    """Each key of an entry, and those inside of them; the keys of an HTTP client have a page of their own."""
    for p in plan(KubernetesSdConfig):
        if not p.inline:
            assert re.search(rf"^\| `{p.key}` \|", PAGE, re.MULTILINE), p.key
    for schema in (AttachMetadata, Namespaces, Selector):
        for p in plan(schema):
            assert f"`{p.key}`" in PAGE, p.key
