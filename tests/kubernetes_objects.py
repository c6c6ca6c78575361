"""Objects of a small Kubernetes cluster as JSON, as its API server would send them."""

from __future__ import annotations

from typing import Any

Raw = dict[str, Any]


def meta(name: str, namespace: str = "default", **more: Any) -> Raw:
    """Return the metadata of an object."""
    return {"name": name, **({"namespace": namespace} if namespace else {}), **more}


def owner(kind: str, name: str) -> list[Raw]:
    """Return references to other owners and to the one that has control."""
    return [{"kind": "Other", "name": "other"}, {"kind": kind, "name": name, "controller": True}]


def port(name: str, number: int, protocol: str = "TCP", key: str = "containerPort") -> Raw:
    """Return a port of a container, or with another key of something else."""
    return {"name": name, key: number, "protocol": protocol}


def container(name: str, *ports: Raw) -> Raw:
    """Return a container."""
    return {"name": name, "image": f"{name}:latest", **({"ports": list(ports)} if ports else {})}


def pod(name: str = "web-1", namespace: str = "default", ip: str = "10.1.0.7", **more: Any) -> Raw:
    """Return a running pod; `more` are the `containers`, `inits`, `node`, `phase`, `ready`, and what `meta` takes."""
    containers = more.pop("containers", [container("app", port("http", 8080))])
    inits = more.pop("inits", [])
    node, phase, ready = more.pop("node", "n1"), more.pop("phase", "Running"), more.pop("ready", "True")

    def statuses(of: list[Raw]) -> list[Raw]:
        return [{"name": c["name"], "containerID": f"containerd://{c['name']}-id"} for c in of]

    return {
        "metadata": meta(name, namespace, uid=f"uid-{name}", **more),
        "spec": {"nodeName": node, "containers": containers, **({"initContainers": inits} if inits else {})},
        "status": {
            "phase": phase,
            "podIP": ip,
            "hostIP": "192.168.0.1",
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready}],
            "containerStatuses": statuses(containers),
            "initContainerStatuses": statuses(inits),
        },
    }


def node(name: str = "n1", **more: Any) -> Raw:
    """Return a node; `addresses` are pairs of type and address."""
    addresses = more.pop("addresses", [("Hostname", name), ("InternalIP", "192.168.0.1"), ("InternalIP", "fd00::1")])
    return {
        "metadata": meta(name, "", **more),
        "spec": {"providerID": f"cloud:///{name}"},
        "status": {
            "addresses": [{"type": kind, "address": address} for kind, address in addresses],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "Unknown"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    }


def service(name: str = "web", namespace: str = "default", **more: Any) -> Raw:
    """Return a service with two ports; `spec` replaces parts of its specification."""
    spec = {
        "type": "ClusterIP",
        "clusterIP": "10.0.0.1",
        "ports": [port("http", 80, key="port"), port("dns", 53, "UDP", key="port")],
        **more.pop("spec", {}),
    }
    return {"metadata": meta(name, namespace, **more), "spec": spec}


def reference(kind: str, name: str, namespace: str = "default") -> Raw:
    """Return a reference to another object."""
    return {"kind": kind, "name": name, **({"namespace": namespace} if kind != "Node" else {})}


def endpoints(name: str = "web", namespace: str = "default", *subsets: Raw, **more: Any) -> Raw:
    """Return an `Endpoints` object."""
    return {"metadata": meta(name, namespace, **more), "subsets": list(subsets)}


def subset(ports: list[Raw], ready: list[Raw], not_ready: list[Raw] | None = None) -> Raw:
    """Return addresses that share ports."""
    return {"ports": ports, "addresses": ready, **({"notReadyAddresses": not_ready} if not_ready else {})}


def endpoint_slice(name: str = "web-abc", namespace: str = "default", **more: Any) -> Raw:
    """Return an endpoint slice of the service `web`; `ports`, `endpoints`, `type` and `service` replace parts of it."""
    labels = {"kubernetes.io/service-name": more.pop("service", "web"), **more.pop("labels", {})}
    return {
        "addressType": more.pop("type", "IPv4"),
        "ports": more.pop("ports", [port("http", 8080, key="port")]),
        "endpoints": more.pop("endpoints", [{"addresses": ["10.1.0.7"], "conditions": {"ready": True}}]),
        "metadata": meta(name, namespace, labels=labels, **more),
    }


def ingress(name: str = "site", namespace: str = "default", rules: list[Raw] | None = None, **more: Any) -> Raw:
    """Return an ingress; `tls` are its hosts with TLS."""
    tls = [{"hosts": more.pop("tls")}] if "tls" in more else []
    spec = {"rules": rules or [], "tls": tls, **more.pop("spec", {})}
    return {"metadata": meta(name, namespace, **more), "spec": spec}


def rule(host: str, *paths: str) -> Raw:
    """Return a host with paths."""
    return {"host": host, "http": {"paths": [{"path": path} if path else {} for path in paths]}}


def thing(name: str, namespace: str = "", **more: Any) -> Raw:
    """Return an object of which only the metadata matter."""
    return {"metadata": meta(name, namespace, **more), "spec": {"left": "out"}}
