"""What is kept of an object of the API: the few fields that labels come from.  Pure.

An object as the API server sends it is ten times as large as what matters here, and changes with every heartbeat.  Two
versions that are equal here give the same targets.  `readers` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from attrs import Factory, frozen


@frozen
class Meta:
    """What all objects have."""

    namespace: str
    name: str
    uid: str = ""
    labels: Mapping[str, str] = Factory(dict)
    annotations: Mapping[str, str] = Factory(dict)
    controller: tuple[str, str] | None = None
    """Kind and name of the object that made this one and cares for it."""

    @property
    def key(self) -> str:
        """namespace/name, or the name of what lives in no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@frozen
class Thing:
    """An object of which only the metadata matter: a namespace, a replica set, a job."""

    meta: Meta


@frozen
class Node:
    """A machine of the cluster."""

    meta: Meta
    provider_id: str
    kubelet_port: int
    addresses: tuple[tuple[str, str], ...]
    """Type and address of each, in order."""
    conditions: tuple[tuple[str, str], ...]
    """Type and status."""


Port: TypeAlias = tuple[str, int, str]
"""Name, number, protocol.

A plain tuple, as is a container: the garbage collector passes over tuples of texts and numbers for good, and a large
cluster has hundreds of thousands of them.
"""
Container: TypeAlias = tuple[str, str, str, bool, tuple[Port, ...]]
"""Name, image, id, whether it runs before the others, ports."""


@frozen
class Pod:
    """A pod."""

    meta: Meta
    node: str
    ip: str
    host_ip: str
    phase: str
    ready: str
    containers: tuple[Container, ...]
    """First the ordinary ones, then those that run before."""


@frozen
class Service:
    """A service."""

    meta: Meta
    type: str
    cluster_ip: str
    external_name: str
    load_balancer_ip: str
    main_family: str
    """The IP family that comes first when the service has two, else ""."""
    ports: tuple[Port, ...]


@frozen
class Reference:
    """Names another object."""

    kind: str
    namespace: str
    name: str


@frozen
class EndpointAddress:
    """An address of an `Endpoints` object."""

    ip: str
    hostname: str
    node: str | None
    target: Reference | None


@frozen
class EndpointSubset:
    """Addresses that share ports."""

    ports: tuple[Port, ...]
    ready: tuple[EndpointAddress, ...]
    not_ready: tuple[EndpointAddress, ...]


@frozen
class Endpoints:
    """An `Endpoints` object."""

    meta: Meta
    subsets: tuple[EndpointSubset, ...]


@frozen
class SlicePort:
    """A port of an endpoint slice; any part of it may be missing."""

    name: str | None
    number: int | None
    protocol: str | None
    app_protocol: str | None


@frozen
class SliceEndpoint:
    """An endpoint of a slice."""

    addresses: tuple[str, ...]
    conditions: tuple[tuple[str, bool], ...]
    """Of `ready`, `serving` and `terminating` those that are known."""
    hostname: str | None
    node: str | None
    zone: str | None
    target: Reference | None
    topology: tuple[tuple[str, str], ...]


@frozen
class EndpointSlice:
    """An `EndpointSlice` object."""

    meta: Meta
    address_type: str
    ports: tuple[SlicePort, ...]
    endpoints: tuple[SliceEndpoint, ...]


@frozen
class IngressRule:
    """A host of an ingress and its paths; None where the rule says nothing of HTTP."""

    host: str
    paths: tuple[str, ...] | None


@frozen
class Ingress:
    """An ingress."""

    meta: Meta
    class_name: str | None
    rules: tuple[IngressRule, ...]
    tls_hosts: tuple[str, ...]


Object: TypeAlias = Thing | Node | Pod | Service | Endpoints | EndpointSlice | Ingress
