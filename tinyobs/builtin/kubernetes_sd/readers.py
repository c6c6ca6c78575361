"""Objects of the API as JSON -> what is kept of them.  Pure.

Fields of a wrong type count as missing.  Format: the Kubernetes API, versions core/v1, discovery.k8s.io/v1,
networking.k8s.io/v1, apps/v1, batch/v1.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from .objects import (
    Container,
    EndpointAddress,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Ingress,
    IngressRule,
    Meta,
    Node,
    Pod,
    Port,
    Reference,
    Service,
    SliceEndpoint,
    SlicePort,
    Thing,
)

Raw: TypeAlias = Mapping[str, Any]
_SHARED_LENGTH_MAX: Final = 100
"""Texts up to this length are kept once however many objects have them."""
_CONDITIONS: Final = ("ready", "serving", "terminating")


def read_thing(raw: Raw) -> Thing:
    """Return the metadata of any object."""
    return Thing(read_meta(raw))


def read_node(raw: Raw) -> Node:
    """Return a node."""
    status = _map(raw, "status")
    kubelet = _map(_map(status, "daemonEndpoints"), "kubeletEndpoint")
    return Node(
        read_meta(raw),
        _text(_map(raw, "spec"), "providerID"),
        _number(kubelet, "Port"),
        tuple((_text(a, "type"), _text(a, "address")) for a in _list(status, "addresses")),
        tuple((_text(c, "type"), _text(c, "status")) for c in _list(status, "conditions")),
    )


def read_pod(raw: Raw) -> Pod:
    """Return a pod."""
    spec, status = _map(raw, "spec"), _map(raw, "status")
    ready = [_text(c, "status") for c in _list(status, "conditions") if c.get("type") == "Ready"]
    return Pod(
        read_meta(raw),
        _text(spec, "nodeName"),
        _text(status, "podIP"),
        _text(status, "hostIP"),
        _text(status, "phase"),
        ready[0].lower() if ready else "unknown",
        _containers(spec, "containers", status, "containerStatuses", False)
        + _containers(spec, "initContainers", status, "initContainerStatuses", True),
    )


def _containers(spec: Raw, of_spec: str, status: Raw, of_status: str, is_init: bool) -> tuple[Container, ...]:
    ids: dict[str, str] = {}
    for one in _list(status, of_status):
        ids.setdefault(_text(one, "name"), _text(one, "containerID"))
    return tuple(
        (name := _text(c, "name"), _text(c, "image"), ids.get(name, ""), is_init, _ports(c, "containerPort"))
        for c in _list(spec, of_spec)
    )


def _ports(raw: Raw, number: str) -> tuple[Port, ...]:
    """Return ports; the API fills in TCP where the protocol is not given."""
    return tuple((_text(p, "name"), _number(p, number), _text(p, "protocol")) for p in _list(raw, "ports"))


def read_service(raw: Raw) -> Service:
    """Return a service."""
    spec = _map(raw, "spec")
    families = [f for f in _items(spec, "ipFamilies") if isinstance(f, str)]
    is_dual = _text(spec, "ipFamilyPolicy") in ("PreferDualStack", "RequireDualStack")
    return Service(
        read_meta(raw),
        _text(spec, "type"),
        _text(spec, "clusterIP"),
        _text(spec, "externalName"),
        _text(spec, "loadBalancerIP"),
        families[0] if is_dual and families else "",
        _ports(spec, "port"),
    )


def read_endpoints(raw: Raw) -> Endpoints:
    """Return an `Endpoints` object."""
    subsets = (
        EndpointSubset(_ports(s, "port"), _addresses(s, "addresses"), _addresses(s, "notReadyAddresses"))
        for s in _list(raw, "subsets")
    )
    return Endpoints(read_meta(raw), tuple(subsets))


def _addresses(raw: Raw, key: str) -> tuple[EndpointAddress, ...]:
    return tuple(
        EndpointAddress(_text(a, "ip"), _text(a, "hostname"), _maybe_text(a, "nodeName"), _reference(a))
        for a in _list(raw, key)
    )


def _reference(raw: Raw) -> Reference | None:
    target = raw.get("targetRef")
    if not isinstance(target, dict):
        return None
    return Reference(_text(target, "kind"), _text(target, "namespace"), _text(target, "name"))


def read_endpoint_slice(raw: Raw) -> EndpointSlice:
    """Return an endpoint slice."""
    ports = (
        SlicePort(
            _maybe_text(p, "name"),
            _number(p, "port") if isinstance(p.get("port"), int) else None,
            _maybe_text(p, "protocol"),
            _maybe_text(p, "appProtocol"),
        )
        for p in _list(raw, "ports")
    )
    endpoints = (
        SliceEndpoint(
            tuple(a for a in _items(e, "addresses") if isinstance(a, str)),
            tuple((k, v) for k in _CONDITIONS if isinstance(v := _map(e, "conditions").get(k), bool)),
            _maybe_text(e, "hostname"),
            _maybe_text(e, "nodeName"),
            _maybe_text(e, "zone"),
            _reference(e),
            tuple(_texts(e, "deprecatedTopology").items()),
        )
        for e in _list(raw, "endpoints")
    )
    return EndpointSlice(read_meta(raw), _text(raw, "addressType"), tuple(ports), tuple(endpoints))


def read_ingress(raw: Raw) -> Ingress:
    """Return an ingress."""
    spec = _map(raw, "spec")
    rules = (
        IngressRule(
            _text(r, "host"),
            tuple(_text(p, "path") for p in _list(r["http"], "paths")) if isinstance(r.get("http"), dict) else None,
        )
        for r in _list(spec, "rules")
    )
    hosts = (h for tls in _list(spec, "tls") for h in _items(tls, "hosts") if isinstance(h, str))
    return Ingress(read_meta(raw), _maybe_text(spec, "ingressClassName"), tuple(rules), tuple(hosts))


def read_meta(raw: Raw) -> Meta:
    """Return the metadata of an object."""
    meta = _map(raw, "metadata")
    owners = [o for o in _list(meta, "ownerReferences") if o.get("controller") is True]
    return Meta(
        _text(meta, "namespace"),
        _text(meta, "name"),
        _text(meta, "uid"),
        _texts(meta, "labels"),
        _texts(meta, "annotations"),
        (_text(owners[0], "kind"), _text(owners[0], "name")) if owners else None,
    )


def _share(text: str) -> str:
    return sys.intern(text) if len(text) <= _SHARED_LENGTH_MAX else text


def _text(raw: Raw, key: str) -> str:
    value = raw.get(key)
    return _share(value) if isinstance(value, str) else ""


def _maybe_text(raw: Raw, key: str) -> str | None:
    value = raw.get(key)
    return _share(value) if isinstance(value, str) else None


def _number(raw: Raw, key: str) -> int:
    value = raw.get(key)
    return value if isinstance(value, int) else 0


def _map(raw: Raw, key: str) -> Raw:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def _items(raw: Raw, key: str) -> list[Any]:
    value = raw.get(key)
    return value if isinstance(value, list) else []


def _list(raw: Raw, key: str) -> list[Raw]:
    return [item for item in _items(raw, key) if isinstance(item, dict)]


def _texts(raw: Raw, key: str) -> Mapping[str, str]:
    return {_share(k): _share(v) for k, v in _map(raw, key).items() if isinstance(v, str)}
