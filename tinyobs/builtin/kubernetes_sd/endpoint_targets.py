"""The target groups of endpoints and endpoint slices: addresses joined with their services, pods and nodes.  Pure.

Behind an address that is a pod's there may be more ports than the service tells of; each gets a target as well.
Source: prometheus discovery/kubernetes/{endpoints,endpointslice}.go, 3.14.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import Factory, define

from ...abc import TargetGroup
from ...config.kubernetes_sd import AttachMetadata
from ...discovery.names import sanitize_label_name
from .labels import (
    ADDRESS,
    NAMESPACE,
    PREFIX,
    TRUE,
    Find,
    container_labels,
    join_host_port,
    namespace_labels,
    node_labels,
    object_labels,
    pod_labels,
    service_labels,
)
from .objects import (
    EndpointAddress,
    Endpoints,
    EndpointSlice,
    Pod,
    Port,
    Reference,
    Service,
    SliceEndpoint,
    SlicePort,
)
from .resources import PODS, SERVICES

SERVICE_NAME: Final = "kubernetes.io/service-name"
"""The label of an endpoint slice that names its service."""
OVER_CAPACITY: Final = "endpoints.kubernetes.io/over-capacity"
"""The label of an `Endpoints` object with more than 1000 addresses, and what its values mean."""
OVER_CAPACITY_MEANINGS: Final = {
    "truncated": "it has more than 1000 addresses and tells only of the first ones",
    "warning": "it has more than 1000 addresses, and the next version of Kubernetes tells only of the first ones",
}
ENDPOINT: Final = PREFIX + "endpoint_"
SLICE: Final = PREFIX + "endpointslice_"
_IP_FAMILIES: Final = ("IPv4", "IPv6")


@define
class _Pods:
    """The pods behind the addresses of one group, and the ports of each that have a target."""

    attach: AttachMetadata
    find: Find
    seen: dict[str, tuple[Pod, dict[str, str], set[int]]] = Factory(dict)
    """Key -> pod, its labels, ports."""

    def join(self, target: dict[str, str], reference: Reference | None, number: int | None, protocol: str) -> None:
        """Add the labels of the pod that an address belongs to, and of its container that has the port.

        protocol: replaces that of the container's port when it is not empty.
        """
        if reference is None or reference.kind != "Pod":
            return
        key = f"{reference.namespace}/{reference.name}"
        if key not in self.seen:
            pod = self.find(PODS, key)
            if not isinstance(pod, Pod):
                return
            self.seen[key] = pod, pod_labels(pod, self.attach, self.find), set()
        pod, labels, numbers = self.seen[key]
        target |= labels
        if number is None:
            return
        numbers.add(number)
        for container in pod.containers:
            *_, ports = container
            port = next((p for p in ports if p[1] == number), None)
            if port is not None:
                target |= container_labels(container, port, protocol)

    def others(self) -> Iterator[dict[str, str]]:
        """Yield targets for the ports of the pods that have none yet."""
        for pod, labels, numbers in self.seen.values():
            if not pod.ip:
                continue
            for container in pod.containers:
                *_, ports = container
                for port in ports:
                    _, number, _ = port
                    if number not in numbers:
                        address = join_host_port(pod.ip, number)
                        yield {ADDRESS: address, **container_labels(container, port), **labels}


def endpoints_group(source: str, endpoints: Endpoints, attach: AttachMetadata, find: Find) -> TargetGroup:
    """Return the targets of an `Endpoints` object."""
    meta = endpoints.meta
    labels = {NAMESPACE: meta.namespace, **object_labels(meta, "endpoints")}
    service = find(SERVICES, meta.key)
    if isinstance(service, Service):
        labels |= service_labels(service)
    labels |= namespace_labels(meta.namespace, find)
    pods = _Pods(attach, find)
    targets = []
    for subset in endpoints.subsets:
        for port in subset.ports:
            _, number, protocol = port
            for addresses, ready in ((subset.ready, TRUE), (subset.not_ready, "false")):
                for address in addresses:
                    target = _endpoint_labels(address, port, ready)
                    if attach.node:
                        target |= node_labels(_node_of(address), find)
                    pods.join(target, address.target, number, protocol)
                    targets.append(target)
    return TargetGroup(source, (*targets, *pods.others()), labels)


def capacity_warning(endpoints: Endpoints) -> str:
    """Return what is wrong with the number of addresses, "" for nothing."""
    return OVER_CAPACITY_MEANINGS.get(endpoints.meta.labels.get(OVER_CAPACITY, ""), "")


def _endpoint_labels(address: EndpointAddress, port: Port, ready: str) -> dict[str, str]:
    name, number, protocol = port
    labels = {
        ADDRESS: join_host_port(address.ip, number),
        ENDPOINT + "port_name": name,
        ENDPOINT + "port_protocol": protocol,
        ENDPOINT + "ready": ready,
    }
    if address.target is not None:
        labels[ENDPOINT + "address_target_kind"] = address.target.kind
        labels[ENDPOINT + "address_target_name"] = address.target.name
    if address.node is not None:
        labels[ENDPOINT + "node_name"] = address.node
    if address.hostname:
        labels[ENDPOINT + "hostname"] = address.hostname
    return labels


def _node_of(address: EndpointAddress) -> str | None:
    if address.node is None and address.target is not None and address.target.kind == "Node":
        return address.target.name
    return address.node


def endpoint_slice_group(source: str, slice: EndpointSlice, attach: AttachMetadata, find: Find) -> TargetGroup:
    """Return the targets of an endpoint slice.

    A service of two IP families has slices of both; the targets of its first family are enough.
    """
    meta = slice.meta
    labels = {
        NAMESPACE: meta.namespace,
        SLICE + "address_type": slice.address_type,
        **object_labels(meta, "endpointslice"),
    }
    name = meta.labels.get(SERVICE_NAME)
    service = None if name is None else find(SERVICES, f"{meta.namespace}/{name}")
    if isinstance(service, Service):
        if service.main_family and slice.address_type in _IP_FAMILIES and slice.address_type != service.main_family:
            return TargetGroup(source, ())
        labels |= service_labels(service)
    labels |= namespace_labels(meta.namespace, find)
    pods = _Pods(attach, find)
    targets = []
    for endpoint in slice.endpoints:
        for port in slice.ports:
            for address in endpoint.addresses:
                target = _slice_labels(address, endpoint, port)
                if attach.node:
                    target |= node_labels(_node_of_slice(endpoint), find)
                pods.join(target, endpoint.target, port.number, "")
                targets.append(target)
    return TargetGroup(source, (*targets, *pods.others()), labels)


def _node_of_slice(endpoint: SliceEndpoint) -> str | None:
    if endpoint.target is not None and endpoint.target.kind == "Node":
        return endpoint.target.name
    return endpoint.node


def _slice_labels(address: str, endpoint: SliceEndpoint, port: SlicePort) -> dict[str, str]:
    labels = {ADDRESS: address if port.number is None else join_host_port(address, port.number)}
    for name, value in (
        ("port_name", port.name),
        ("port_protocol", port.protocol),
        ("port", None if port.number is None else str(port.number)),
        ("port_app_protocol", port.app_protocol),
        ("endpoint_hostname", endpoint.hostname),
        ("endpoint_node_name", endpoint.node),
        ("endpoint_zone", endpoint.zone),
        ("address_target_kind", None if endpoint.target is None else endpoint.target.kind),
        ("address_target_name", None if endpoint.target is None else endpoint.target.name),
    ):
        if value is not None:
            labels[SLICE + name] = value
    for condition, holds in endpoint.conditions:
        labels[f"{SLICE}endpoint_conditions_{condition}"] = TRUE if holds else "false"
    for key, place in endpoint.topology:
        labels[f"{SLICE}endpoint_topology_{sanitize_label_name(key)}"] = place
        labels[f"{SLICE}endpoint_topology_present_{sanitize_label_name(key)}"] = TRUE
    return labels
