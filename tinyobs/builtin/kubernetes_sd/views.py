"""Which target groups there are in a namespace, and which of them an event changes.

A group is made of one object, and of others that it is joined with: services, pods, nodes.  Which those were is noted
as the group is built, found or not; an event of one of them has the group built again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import structlog
from attrs import frozen

from ...abc import TargetGroup
from ...config.kubernetes_sd import KubernetesSdConfig, Role
from .endpoint_targets import capacity_warning, endpoint_slice_group, endpoints_group
from .labels import Find
from .objects import Endpoints, Object
from .resources import (
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
from .targets import ingress_group, node_group, pod_group, service_group
from .watching import Watcher

log = structlog.get_logger("kubernetes_sd")
Build: TypeAlias = Callable[[str, Any, KubernetesSdConfig, Find], TargetGroup]


@frozen
class RolePlan:
    """What a role looks at."""

    resource: Resource
    """Each of its objects makes a group."""
    prefix: str
    """What the names of the groups begin with."""
    build: Build
    joined: tuple[Resource, ...] = ()
    has_pods: bool = False
    """Whether the labels of pods are among those of its targets."""


def _pod(source: str, pod: Any, config: KubernetesSdConfig, find: Find) -> TargetGroup:
    only_known = any(config.selector(Role.NODE))
    return pod_group(source, pod, config.attach_metadata, find, only_known_nodes=only_known)


PLANS: Final[Mapping[Role, RolePlan]] = {
    Role.NODE: RolePlan(NODES, "node", lambda source, node, config, find: node_group(source, node)),
    Role.POD: RolePlan(PODS, "pod", _pod, has_pods=True),
    Role.SERVICE: RolePlan(SERVICES, "svc", lambda source, one, config, find: service_group(source, one, find)),
    Role.ENDPOINTS: RolePlan(
        ENDPOINTS,
        "endpoints",
        lambda source, one, config, find: endpoints_group(source, one, config.attach_metadata, find),
        (SERVICES, PODS),
        has_pods=True,
    ),
    Role.ENDPOINTSLICE: RolePlan(
        ENDPOINT_SLICES,
        "endpointslice",
        lambda source, one, config, find: endpoint_slice_group(source, one, config.attach_metadata, find),
        (SERVICES, PODS),
        has_pods=True,
    ),
    Role.INGRESS: RolePlan(INGRESSES, "ingress", lambda source, one, config, find: ingress_group(source, one, find)),
}


def joined_resources(config: KubernetesSdConfig) -> list[Resource]:
    """Return the kinds of objects that the groups of an entry are joined with."""
    assert config.role
    plan, attach = PLANS[config.role], config.attach_metadata
    found = list(plan.joined)
    if plan.has_pods and (attach.node or (config.role is Role.POD and any(config.selector(Role.NODE)))):
        found.append(NODES)
    if plan.resource.is_namespaced and attach.namespace:
        found.append(NAMESPACES)
    if plan.has_pods and attach.deployment:
        found.append(REPLICA_SETS)
    if plan.has_pods and attach.cronjob:
        found.append(JOBS)
    return found


class View:
    """The groups of one namespace, or of all."""

    def __init__(self, config: KubernetesSdConfig, main: Watcher, joined: Mapping[str, Watcher]) -> None:
        """joined: name of the resource -> who keeps its objects."""
        assert config.role
        self._config, self._plan = config, PLANS[config.role]
        self._main, self._joined = main, joined
        self.dirty: dict[str, None] = dict.fromkeys(main.objects)
        """Keys of objects whose groups are to be built."""
        self._used: dict[str, list[tuple[str, str]]] = {}
        """Key -> the objects, (resource, key), that its group was joined with."""
        self._users: dict[tuple[str, str], set[str]] = {}
        self._warnings: dict[str, str] = {}
        """Key -> what was said of the object."""

    @property
    def watchers(self) -> list[Watcher]:
        """Those who keep its objects."""
        return [self._main, *self._joined.values()]

    @property
    def is_ready(self) -> bool:
        """Whether all objects are there that its groups are made of."""
        return all(watcher.is_listed for watcher in self.watchers)

    def mark(self, watcher_resource: Resource, key: str) -> bool:
        """Take note that an object changed; return whether a group has to be built."""
        if watcher_resource is self._plan.resource:
            self.dirty[key] = None
            return True
        users = self._users.get((watcher_resource.name, key))
        if users:
            self.dirty.update(dict.fromkeys(users))
        return bool(users)

    def build(self, key: str) -> TargetGroup:
        """Return the group of an object; without targets when the object is gone."""
        self._forget(key)
        source = f"{self._plan.prefix}/{key}"
        one = self._main.objects.get(key)
        if one is None:
            self._warnings.pop(key, None)
            return TargetGroup(source, ())
        if isinstance(one, Endpoints):
            self._warn(key, capacity_warning(one))
        used: list[tuple[str, str]] = []

        def find(resource: Resource, key: str) -> Object | None:
            watcher = self._joined.get(resource.name)
            if watcher is None:
                return None
            used.append((resource.name, key))
            return watcher.objects.get(key)

        group = self._plan.build(source, one, self._config, find)
        if used:
            self._used[key] = used
            for reference in used:
                self._users.setdefault(reference, set()).add(key)
        return group

    def _warn(self, key: str, reason: str) -> None:
        """Log what is wrong with an object, once."""
        if not reason:
            self._warnings.pop(key, None)
        elif self._warnings.get(key) != reason:
            self._warnings[key] = reason
            log.warning("use the role endpointslice", endpoints=key, reason=reason)

    def _forget(self, key: str) -> None:
        for reference in self._used.pop(key, ()):
            users = self._users.get(reference)
            if users is not None:
                users.discard(key)
                if not users:
                    del self._users[reference]
