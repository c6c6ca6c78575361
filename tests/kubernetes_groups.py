"""Builds the target group of one object of a Kubernetes cluster, without an API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernetes_objects import node, thing

from tinyobs.abc import TargetGroup
from tinyobs.builtin.kubernetes_sd.objects import Object
from tinyobs.builtin.kubernetes_sd.resources import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    INGRESSES,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Resource,
)
from tinyobs.builtin.kubernetes_sd.views import PLANS, joined_resources
from tinyobs.config.fields import Url
from tinyobs.config.kubernetes_sd import KubernetesSdConfig, Role

RESOURCES = (PODS, SERVICES, ENDPOINTS, ENDPOINT_SLICES, INGRESSES, NODES, NAMESPACES, REPLICA_SETS, JOBS)
P = "__meta_kubernetes_"


def build(
    role: Role, raw: dict[str, Any], others: Mapping[str, list[dict[str, Any]]] | None = None, **more: Any
) -> TargetGroup:
    """Return the group of an object; others: resource -> objects around it.  `more` are fields of the entry."""
    config = KubernetesSdConfig(api_server=Url("http://h"), role=role, **more)
    known = {
        (resource.name, one.meta.key): one
        for resource in RESOURCES
        for one in map(resource.read, (others or {}).get(resource.name, []))
    }
    watched = {resource.name for resource in joined_resources(config)}

    def find(resource: Resource, key: str) -> Object | None:
        return known.get((resource.name, key)) if resource.name in watched else None

    plan = PLANS[role]
    return plan.build("source", plan.resource.read(raw), config, find)


def shown(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels without the prefix that all have."""
    return {k.removeprefix(P): v for k, v in labels.items()}


NODE = node("n1", labels={"zone": "a"}, annotations={"note": "b"})
SPACE = thing("default", labels={"team": "x"}, annotations={"cost-center": "7"})
OF_NODE = {
    "node_name": "n1",
    "node_label_zone": "a",
    "node_labelpresent_zone": "true",
    "node_annotation_note": "b",
    "node_annotationpresent_note": "true",
}
OF_SPACE = {
    "namespace_label_team": "x",
    "namespace_labelpresent_team": "true",
    "namespace_annotation_cost_center": "7",
    "namespace_annotationpresent_cost_center": "true",
}
