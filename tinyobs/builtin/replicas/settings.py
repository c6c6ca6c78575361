"""The section `tinyobs.replicas`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from ...config.fields import Fault, setting
from ...model.durations import DurationMs

SECTION: Final = "replicas"
DAY_MS: Final = 86_400_000


@frozen(kw_only=True)
class ReplicaSettings:
    """How replicas are told apart, and when another one is listened to."""

    enabled: bool = setting(default=False)
    """Whether samples are chosen by replica; default false."""
    cluster_label: str = setting(default="cluster")
    """The label that all replicas of one sender share; default cluster."""
    replica_label: str = setting(default="__replica__")
    """The label that tells them apart; default __replica__."""
    drop_replica_label: bool = setting(default=True)
    """Whether it is taken off the series that are stored; default true."""
    failover_timeout_ms: DurationMs = setting("failover_timeout", default=DurationMs(30_000), low=1000, high=DAY_MS)
    """How long the elected replica may be silent before another one is elected; default 30s."""
    update_timeout_ms: DurationMs = setting("update_timeout", default=DurationMs(15_000), low=0, high=DAY_MS)
    """How often it is noted that it was heard; default 15s."""
    clusters_max: int = setting(default=100, low=0, high=1_000_000)
    """Clusters that are followed at a time, 0 for no limit; samples of more are refused; default 100."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the times and the labels."""
        if self.failover_timeout_ms < self.update_timeout_ms + 1000:
            yield Fault("failover_timeout must be at least 1s longer than update_timeout", "failover_timeout")
        if not self.cluster_label or not self.replica_label or self.cluster_label == self.replica_label:
            yield Fault("cluster_label and replica_label must be two labels", "replica_label")
