"""One entry of `kubernetes_sd_configs`: watches what its role needs and publishes the groups that change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Final, TypeAlias

import structlog
import trio
from attrs import field, frozen

from ...abc import Discoverer, DiscovererContext, TargetGroup
from ...config.kubernetes_sd import KubernetesSdConfig, Role
from ...discovery.refreshing import DiscoveryError
from ...model.families import MetricFamily
from .access import Access, namespaces_of
from .client import Scope
from .resources import ENDPOINT_SLICES, ENDPOINTS, INGRESSES, NODES, PODS, SERVICES, Resource
from .views import PLANS, View, joined_resources
from .watching import RequestCounters, Watcher, shared_access, shared_watcher

GATHER_SECONDS: Final = 0.5
"""Events are gathered this long before groups are built: a rollout changes one many times."""
SLICE_SECONDS: Final = 0.005
"""How long groups are built before others get their turn."""
RETRY_SECONDS: Final = 30.0
"""When the own namespace is asked for again."""

ROLES: Final = {
    PODS.name: Role.POD,
    SERVICES.name: Role.SERVICE,
    ENDPOINTS.name: Role.ENDPOINTS,
    ENDPOINT_SLICES.name: Role.ENDPOINTSLICE,
    INGRESSES.name: Role.INGRESS,
    NODES.name: Role.NODE,
}
"""Kind of objects -> its name in selectors and metrics."""
EVENTS: Final = ("add", "delete", "update")

Publish: TypeAlias = Callable[[Sequence[TargetGroup]], Awaitable[None]]
log = structlog.get_logger("kubernetes_sd")


@frozen
class KubernetesSdStatistics:
    """How the discovery in Kubernetes clusters fares."""

    events_total: Mapping[tuple[str, str], int] = field(
        metadata={"metric": "prometheus_sd_kubernetes_events_total", "label": ("role", "event")}
    )
    """The number of Kubernetes events handled."""
    failures_total: int = field(metadata={"metric": "prometheus_sd_kubernetes_failures_total"})
    """The number of failed WATCH/LIST requests."""
    http_requests_total: Mapping[str, int] = field(
        metadata={"metric": "prometheus_sd_kubernetes_http_request_total", "label": "status_code"}
    )
    """Total number of HTTP requests to the Kubernetes API by status code."""
    http_durations_total: MetricFamily
    """Time to the head of their answers, by path."""


class KubernetesDiscoverer(Discoverer):
    """Publishes one group for each object of the entry's role."""

    def __init__(self, config: KubernetesSdConfig, context: DiscovererContext) -> None:
        assert config.role
        self._config, self._context = config, context
        self._plan = PLANS[config.role]
        self._views: list[View] = []
        self._published: dict[str, TargetGroup] = {}
        self._events = {(role.value, event): 0 for role in Role for event in EVENTS}
        self._requests = RequestCounters()
        self._has_failed = False
        self._wake = trio.Event()

    async def run(self, publish: Publish, *, task_status: trio.TaskStatus[None]) -> None:
        """Watch and publish until cancelled."""
        namespaces, is_started = await self._namespaces(publish, task_status)
        self._views = [self._view(namespace) for namespace in namespaces]
        with self._listening() as watchers:
            async with trio.open_nursery() as nursery:
                for watcher in watchers:
                    nursery.start_soon(watcher.run, self._requests)
                while not (self._has_failed or all(view.is_ready for view in self._views)):
                    await self._next_event()
                await publish(await self._changed_groups())
                if not is_started:
                    task_status.started()
                while True:
                    await self._next_event()
                    await trio.sleep(GATHER_SECONDS)
                    if changed := await self._changed_groups():
                        await publish(changed)

    def statistics(self) -> KubernetesSdStatistics:
        """Return the counters."""
        statuses = {str(status): count for status, count in sorted(self._requests.statuses.items())}
        durations = self._requests.durations.family(
            "prometheus_sd_kubernetes_http_request_duration_seconds",
            "Summary of latencies for HTTP requests to the Kubernetes API by endpoint.",
            lambda path: {"endpoint": path},
        )
        return KubernetesSdStatistics(dict(self._events), self._requests.failures, statuses, durations)

    def changed(self, scope: Scope, key: str, event: str, differs: bool) -> None:
        """Take note of an event of a watcher."""
        role = ROLES.get(scope.resource.name)
        is_main = scope.resource is self._plan.resource
        if role and (is_main or scope.resource is SERVICES or (scope.resource is PODS and event == "update")):
            self._events[role.value, event] += 1
        if differs and [view for view in self._views_of(scope) if view.mark(scope.resource, key)]:
            self._wake.set()

    def listed(self, scope: Scope) -> None:
        """Take note that a watcher has all objects."""
        self._wake.set()

    def failed(self, scope: Scope, reason: str) -> None:
        """Take note of a failure."""
        self._has_failed = True
        self._context.note_failure()
        self._wake.set()

    async def _namespaces(self, publish: Publish, task_status: trio.TaskStatus[None]) -> tuple[tuple[str, ...], bool]:
        """Return (the namespaces to look at, whether the start was reported while they were not known)."""
        is_started = False
        while True:
            try:
                return namespaces_of(self._config), is_started
            except DiscoveryError as e:
                self._requests.failures += 1
                self._context.note_failure()
                log.error("no targets can be had", job=self._context.job, reason=str(e), retry_in_s=RETRY_SECONDS)
            if not is_started:
                await publish([])
                task_status.started()
                is_started = True
            await trio.sleep(RETRY_SECONDS)

    def _view(self, namespace: str) -> View:
        access = shared_access(Access.of(self._config))

        def watcher(resource: Resource) -> Watcher:
            role = ROLES.get(resource.name)
            selectors = self._config.selector(role) if role else ("", "")
            return shared_watcher(access, Scope(resource, namespace if resource.is_namespaced else "", *selectors))

        joined = {resource.name: watcher(resource) for resource in joined_resources(self._config)}
        return View(self._config, watcher(self._plan.resource), joined)

    @contextmanager
    def _listening(self) -> Iterator[list[Watcher]]:
        """Listen to the watchers of all views while the context is open."""
        watchers = list({id(w): w for view in self._views for w in view.watchers}.values())
        for watcher in watchers:
            watcher.add(self)
        self._wake.set()
        try:
            yield watchers
        finally:
            for watcher in watchers:
                watcher.remove(self)

    def _views_of(self, scope: Scope) -> Iterator[View]:
        return (view for view in self._views if any(w.scope is scope for w in view.watchers))

    async def _next_event(self) -> None:
        await self._wake.wait()
        self._wake = trio.Event()

    async def _changed_groups(self) -> list[TargetGroup]:
        """Build the groups that may have changed, a few at a time; return those that did, and empty ones for the gone."""
        changed = []
        began = perf_counter()
        for view in self._views:
            if not view.is_ready:
                continue
            keys, view.dirty = view.dirty, {}
            for key in keys:
                group = view.build(key)
                if group.targets:
                    if self._published.get(group.source) != group:
                        self._published[group.source] = group
                        changed.append(group)
                elif self._published.pop(group.source, None) is not None:
                    changed.append(TargetGroup(group.source, ()))
                if perf_counter() - began > SLICE_SECONDS:
                    await trio.lowlevel.checkpoint()
                    began = perf_counter()
        return changed
