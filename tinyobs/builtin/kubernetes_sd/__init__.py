"""Targets in a Kubernetes cluster: `kubernetes_sd_configs`.

Objects are listed once and then watched.  The parts, from the bottom: `objects` (what is kept of an object), `labels`
and `targets` (objects to target groups, pure), `json_lists` (long lists in small steps), `client` (the API),
`access` with `kubeconfig` and `exec_plugin` (where the API server is and who we are), `watching` (one kind of objects,
kept in step and shared), `views` (which groups an event changes) and `discoverer`, which ties them together.

Fields, labels, permissions: docs/discovery/kubernetes.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import DiscovererKind
from ...config.kubernetes_sd import KUBERNETES, KubernetesSdConfig
from ...discovery.lazily import lazily
from ...hookspecs import hookimpl


@hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer `kubernetes_sd_configs`."""
    return [DiscovererKind(KUBERNETES, KubernetesSdConfig, lazily(f"{__name__}.discoverer", "KubernetesDiscoverer"))]
