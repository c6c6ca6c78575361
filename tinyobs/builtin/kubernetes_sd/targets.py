"""The target groups of nodes, services, pods and ingresses: one group an object.  Pure.

Source: prometheus discovery/kubernetes/{node,service,pod,ingress}.go, 3.14.  What stands behind services is in
`endpoint_targets`.
"""

from __future__ import annotations

from typing import Final

from ...abc import TargetGroup
from ...config.kubernetes_sd import AttachMetadata
from ...discovery.names import sanitize_label_name
from .labels import (
    ADDRESS,
    CONTAINER,
    NAMESPACE,
    NODE,
    PREFIX,
    Find,
    container_labels,
    join_host_port,
    namespace_labels,
    node_labels,
    object_labels,
    pod_labels,
    service_labels,
)
from .objects import Ingress, Node, Pod, Service
from .resources import NODES

ADDRESS_TYPES: Final = ("InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname")
"""Of a node's addresses the first of the first type that there is becomes the target's."""


def node_group(source: str, node: Node) -> TargetGroup:
    """Return the kubelet of a node; without an address no target."""
    first: dict[str, str] = {}
    for kind, address in node.addresses:
        first.setdefault(kind, address)
    host = next((first[kind] for kind in ADDRESS_TYPES if kind in first), None)
    if host is None:
        return TargetGroup(source, ())
    labels = object_labels(node.meta, "node")
    labels[NODE + "provider_id"] = node.provider_id
    for kind, status in node.conditions:
        labels[NODE + "condition_" + sanitize_label_name(kind.lower())] = status.lower()
    target = {ADDRESS: join_host_port(host, node.kubelet_port), "instance": node.meta.name}
    for kind, address in first.items():
        target[NODE + "address_" + sanitize_label_name(kind)] = address
    return TargetGroup(source, (target,), labels)


def service_group(source: str, service: Service, find: Find) -> TargetGroup:
    """Return a target for each port of a service, under its name in the cluster's DNS."""
    prefix = PREFIX + "service_"
    shared = {prefix + "type": service.type}
    if service.type == "ExternalName":
        shared[prefix + "external_name"] = service.external_name
    else:
        shared[prefix + "cluster_ip"] = service.cluster_ip
    if service.type == "LoadBalancer":
        shared[prefix + "loadbalancer_ip"] = service.load_balancer_ip
    host = f"{service.meta.name}.{service.meta.namespace}.svc"
    targets = tuple(
        {
            ADDRESS: join_host_port(host, number),
            prefix + "port_name": name,
            prefix + "port_number": str(number),
            prefix + "port_protocol": protocol,
            **shared,
        }
        for name, number, protocol in service.ports
    )
    return TargetGroup(source, targets, service_labels(service) | namespace_labels(service.meta.namespace, find))


def pod_group(
    source: str, pod: Pod, attach: AttachMetadata, find: Find, *, only_known_nodes: bool = False
) -> TargetGroup:
    """Return a target for each port of each container, and one without a port for a container that has none.

    only_known_nodes: leave out pods of nodes that are not found.
    """
    if not pod.ip or (only_known_nodes and find(NODES, pod.node) is None):
        return TargetGroup(source, ())
    labels = pod_labels(pod, attach, find)
    labels[NAMESPACE] = pod.meta.namespace
    if attach.node:
        labels |= node_labels(pod.node, find)
    labels |= namespace_labels(pod.meta.namespace, find)
    targets = []
    for container in pod.containers:
        _, _, container_id, _, ports = container
        for port in ports or (None,):
            target = container_labels(container, port)
            target[CONTAINER + "id"] = container_id
            target[ADDRESS] = pod.ip if port is None else join_host_port(pod.ip, port[1])
            targets.append(target)
    return TargetGroup(source, tuple(targets), labels)


def ingress_group(source: str, ingress: Ingress, find: Find) -> TargetGroup:
    """Return a target for each path of each host; https where the host is among those of TLS."""
    labels = {NAMESPACE: ingress.meta.namespace}
    if ingress.class_name is not None:
        labels[PREFIX + "ingress_class_name"] = ingress.class_name
    labels |= object_labels(ingress.meta, "ingress")
    labels |= namespace_labels(ingress.meta.namespace, find)
    targets = []
    for rule in ingress.rules:
        is_safe = any(matches_host(pattern, rule.host) for pattern in ingress.tls_hosts)
        for path in ("/",) if rule.paths is None else rule.paths:
            targets.append(
                {
                    ADDRESS: rule.host,
                    PREFIX + "ingress_scheme": "https" if is_safe else "http",
                    PREFIX + "ingress_host": rule.host,
                    PREFIX + "ingress_path": path or "/",
                }
            )
    return TargetGroup(source, tuple(targets), labels)


def matches_host(pattern: str, host: str) -> bool:
    """Tell whether a host is the one named, or fits a pattern whose first part is `*`; that stands for one part."""
    if pattern == host:
        return True
    first, dot, rest = pattern.partition(".")
    return first == "*" and host.partition(".")[1:] == (dot, rest)
