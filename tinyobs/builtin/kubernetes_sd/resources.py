"""The kinds of objects that are watched, and where the API has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from .objects import Object
from .readers import (
    Raw,
    read_endpoint_slice,
    read_endpoints,
    read_ingress,
    read_node,
    read_pod,
    read_service,
    read_thing,
)


@frozen
class Resource:
    """A kind of objects as the API knows it."""

    name: str
    """Plural, as in the path and in permissions."""
    group: str
    """The API group, "" for the core."""
    read: Callable[[Raw], Object]
    is_namespaced: bool = True
    only_metadata: bool = False
    """Whether the API server is asked to leave out all but the metadata."""

    def path(self, namespace: str = "") -> str:
        """Return where the objects of a namespace are, "" for all namespaces."""
        base = f"/apis/{self.group}/v1" if self.group else "/api/v1"
        return f"{base}/namespaces/{namespace}/{self.name}" if namespace else f"{base}/{self.name}"


PODS: Final = Resource("pods", "", read_pod)
SERVICES: Final = Resource("services", "", read_service)
ENDPOINTS: Final = Resource("endpoints", "", read_endpoints)
ENDPOINT_SLICES: Final = Resource("endpointslices", "discovery.k8s.io", read_endpoint_slice)
INGRESSES: Final = Resource("ingresses", "networking.k8s.io", read_ingress)
NODES: Final = Resource("nodes", "", read_node, is_namespaced=False)
NAMESPACES: Final = Resource("namespaces", "", read_thing, is_namespaced=False, only_metadata=True)
REPLICA_SETS: Final = Resource("replicasets", "apps", read_thing, only_metadata=True)
JOBS: Final = Resource("jobs", "batch", read_thing, only_metadata=True)
