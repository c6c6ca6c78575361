"""Labels that come from objects, under the names that Prometheus gives them.  Pure.

Source: prometheus discovery/kubernetes/{kubernetes,pod,service,node}.go, 3.14.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Protocol

from ...config.kubernetes_sd import AttachMetadata
from ...discovery.names import sanitize_label_name
from .objects import Container, Meta, Node, Object, Pod, Port, Service, Thing
from .resources import JOBS, NAMESPACES, NODES, REPLICA_SETS, Resource

PREFIX: Final = "__meta_kubernetes_"
ADDRESS: Final = "__address__"
NAMESPACE: Final = PREFIX + "namespace"
POD: Final = PREFIX + "pod_"
CONTAINER: Final = POD + "container_"
NODE: Final = PREFIX + "node_"
TRUE: Final = "true"

_NAMES_KEPT: Final = 1 << 14
"""Label names that are remembered: clusters have few keys and many objects that have them."""


class Find(Protocol):
    """Finds objects that others belong to."""

    def __call__(self, resource: Resource, key: str) -> Object | None:
        """Return the object of a kind with a key; None when there is none, or when the kind is not watched."""


@lru_cache(_NAMES_KEPT)
def _names(kind: str, what: str, key: str) -> tuple[str, str]:
    """Return the names of the labels that hold the value and the presence of an object's label or annotation."""
    clean = sanitize_label_name(key)
    return f"{PREFIX}{kind}_{what}_{clean}", f"{PREFIX}{kind}_{what}present_{clean}"


def metadata_labels(meta: Meta, kind: str) -> dict[str, str]:
    """Return labels for the labels and annotations of an object."""
    found = {}
    for what, values in (("label", meta.labels), ("annotation", meta.annotations)):
        for key, value in values.items():
            holds, present = _names(kind, what, key)
            found[holds] = value
            found[present] = TRUE
    return found


def object_labels(meta: Meta, kind: str) -> dict[str, str]:
    """Return labels for name, labels and annotations of an object."""
    found = metadata_labels(meta, kind)
    found[f"{PREFIX}{kind}_name"] = meta.name
    return found


def namespace_labels(namespace: str, find: Find) -> dict[str, str]:
    """Return labels for the labels and annotations of a namespace that is watched."""
    found = find(NAMESPACES, namespace)
    return metadata_labels(found.meta, "namespace") if isinstance(found, Thing) else {}


def node_labels(node: str | None, find: Find) -> dict[str, str]:
    """Return labels for the name, labels and annotations of a node that is watched."""
    found = find(NODES, node) if node else None
    return object_labels(found.meta, "node") if isinstance(found, Node) else {}


def service_labels(service: Service) -> dict[str, str]:
    """Return the labels that everything behind a service shares."""
    return {NAMESPACE: service.meta.namespace, **object_labels(service.meta, "service")}


def pod_labels(pod: Pod, attach: AttachMetadata, find: Find) -> dict[str, str]:
    """Return the labels of a pod."""
    labels = object_labels(pod.meta, "pod")
    labels[POD + "ip"] = pod.ip
    labels[POD + "ready"] = pod.ready
    labels[POD + "phase"] = pod.phase
    labels[POD + "node_name"] = pod.node
    labels[POD + "host_ip"] = pod.host_ip
    labels[POD + "uid"] = pod.meta.uid
    if pod.meta.controller:
        kind, name = pod.meta.controller
        if kind:
            labels[POD + "controller_kind"] = kind
        if name:
            labels[POD + "controller_name"] = name
        _add_workload(labels, pod, attach, find)
    return labels


def _add_workload(labels: dict[str, str], pod: Pod, attach: AttachMetadata, find: Find) -> None:
    """Name the deployment, job and cron job that a pod belongs to, in so far as they are asked for."""
    assert pod.meta.controller
    kind, name = pod.meta.controller
    key = f"{pod.meta.namespace}/{name}"
    if kind == "ReplicaSet" and attach.deployment and (deployment := _owner(REPLICA_SETS, key, "Deployment", find)):
        labels[POD + "deployment_name"] = deployment
    if kind == "Job" and attach.job:
        labels[POD + "job_name"] = name
    if kind == "Job" and attach.cronjob and (cron_job := _owner(JOBS, key, "CronJob", find)):
        labels[POD + "cronjob_name"] = cron_job


def _owner(resource: Resource, key: str, kind: str, find: Find) -> str:
    """Return the name of the object of a kind that another belongs to, or ""."""
    found = find(resource, key)
    owner = found.meta.controller if found else None
    return owner[1] if owner and owner[0] == kind else ""


def container_labels(container: Container, port: Port | None, protocol: str = "") -> dict[str, str]:
    """Return the labels of a container and one of its ports, without the container's id.

    protocol: what is said of the protocol instead of what the container says.
    """
    name, image, _, is_init, _ = container
    labels = {
        CONTAINER + "name": name,
        CONTAINER + "image": image,
        CONTAINER + "init": TRUE if is_init else "false",
    }
    if port is not None:
        port_name, number, own_protocol = port
        labels[CONTAINER + "port_name"] = port_name
        labels[CONTAINER + "port_number"] = str(number)
        labels[CONTAINER + "port_protocol"] = protocol or own_protocol
    return labels


def join_host_port(host: str, port: int) -> str:
    """Return host:port, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
