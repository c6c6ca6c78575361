"""What is configured of the discovery in a Kubernetes cluster: the entries of `kubernetes_sd_configs`.

Fields, defaults and messages: prometheus discovery/kubernetes/kubernetes.go, 3.14.  How targets are found is in
`tinyobs.builtin.kubernetes_sd`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from attrs import frozen

from .fields import Fault, FilePath, Url, inline, setting
from .http_client import HttpClientConfig
from .kubernetes_selectors import check_field_selector, check_label_selector

KUBERNETES: Final = "kubernetes_sd_configs"
ROLE_MISSING: Final = "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)"


class Role(StrEnum):
    """What is looked for."""

    POD = "pod"
    SERVICE = "service"
    ENDPOINTS = "endpoints"
    ENDPOINTSLICE = "endpointslice"
    NODE = "node"
    INGRESS = "ingress"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a role that there is not."""
        return f'unknown Kubernetes SD role "{text}"'


SELECTABLE: Final = {
    Role.POD: (Role.POD, Role.NODE),
    Role.SERVICE: (Role.SERVICE,),
    Role.ENDPOINTS: (Role.POD, Role.SERVICE, Role.ENDPOINTS),
    Role.ENDPOINTSLICE: (Role.POD, Role.SERVICE, Role.ENDPOINTSLICE),
    Role.NODE: (Role.NODE,),
    Role.INGRESS: (Role.INGRESS,),
}
"""The kinds of objects that selectors may narrow, by the role of the entry."""


@frozen(kw_only=True)
class Namespaces:
    """Where objects are looked for: everywhere when nothing is given."""

    own_namespace: bool = setting(default=False, always=True)
    """Also the namespace of the pod that TinyObs runs in."""
    names: tuple[str, ...] = setting(default=(), always=True)


@frozen(kw_only=True)
class Selector:
    """Narrows what the API server tells of objects of one kind."""

    role: Role | None = setting(default=None)
    label: str = setting(default="")
    field: str = setting(default="")

    def faults(self) -> Iterator[Fault]:
        """Yield selectors that the API server would refuse."""
        if reason := check_field_selector(self.field):
            yield Fault(reason, "field")
        if reason := check_label_selector(self.label):
            yield Fault(reason, "label")


@frozen(kw_only=True)
class AttachMetadata:
    """What is added to targets of objects that they belong to."""

    node: bool = setting(default=False, always=True)
    namespace: bool = setting(default=False, always=True)
    deployment: bool = setting(default=False, always=True)
    job: bool = setting(default=False, always=True)
    cronjob: bool = setting(default=False, always=True)


@frozen(kw_only=True)
class KubernetesSdConfig:
    """One entry: what is looked for in one cluster."""

    api_server: Url = setting(default=Url(""))
    """The API server; without it and without a kubeconfig file, that of the cluster TinyObs runs in."""
    role: Role | None = setting(default=None, always=True)
    kubeconfig_file: FilePath = setting(default=FilePath(""), always=True)
    http: HttpClientConfig = inline(HttpClientConfig)
    namespaces: Namespaces = setting(factory=Namespaces)
    selectors: tuple[Selector, ...] = setting(default=())
    attach_metadata: AttachMetadata = setting(factory=AttachMetadata)

    def faults(self) -> Iterator[Fault]:
        """Yield what upstream refuses."""
        if self.role is None:
            yield Fault(ROLE_MISSING)
        custom, own = self.http != HttpClientConfig(), self.namespaces.own_namespace
        if self.api_server and self.kubeconfig_file:
            yield Fault("cannot use 'kubeconfig_file' and 'api_server' simultaneously", "kubeconfig_file")
        elif self.kubeconfig_file and custom:
            yield Fault("cannot use a custom HTTP client configuration together with 'kubeconfig_file'")
        elif not self.api_server and custom:
            yield Fault("to use custom HTTP client configuration please provide the 'api_server' URL explicitly")
        elif own and self.api_server:
            yield Fault("cannot use 'api_server' and 'namespaces.own_namespace' simultaneously", "namespaces")
        elif own and self.kubeconfig_file:
            yield Fault("cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously", "namespaces")
        if self.role is not None:
            yield from self._selector_faults(self.role)

    def _selector_faults(self, role: Role) -> Iterator[Fault]:
        allowed, seen = SELECTABLE[role], set()
        for i, selector in enumerate(self.selectors):
            if selector.role in seen:
                yield Fault(f"duplicated selector role: {selector.role}", f"selectors[{i}].role")
            elif selector.role not in allowed:
                yield Fault(f"{role} role supports only {', '.join(allowed)} selectors", f"selectors[{i}].role")
            seen.add(selector.role)

    def selector(self, role: Role) -> tuple[str, str]:
        """Return (label selector, field selector) for objects of a kind, empty where there is none."""
        return next(((s.label, s.field) for s in self.selectors if s.role is role), ("", ""))
