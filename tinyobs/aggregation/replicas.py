"""Which of several replicas of one sender is listened to: elections by cluster, in the rules of Cortex' HA tracker.

The replica that is heard first is elected.  When it is heard again after `update_timeout` or more, that is noted.  Another
one is elected when it is heard `failover_timeout` or more after the last time that was noted.  A cluster whose elected
replica was not heard for half an hour is forgotten.  Source: cortex pkg/ha/ha_tracker.go (CheckReplica, checkKVStore).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from attrs import define

FORGET_MS: Final = 1_800_000


class Verdict(Enum):
    """What becomes of samples of a replica."""

    TAKEN = auto()
    DUPLICATE = auto()
    """Another replica is elected."""
    TOO_MANY = auto()
    """The cluster is new, and there are as many as there may be."""


@define
class Elected:
    """The elected replica of a cluster; changes: how often another one was elected."""

    replica: str
    heard_ms: int
    changes: int = 0


class Elections:
    """The elections of all clusters.  Times are milliseconds of the wall clock."""

    def __init__(self, failover_ms: int, update_ms: int, clusters_max: int) -> None:
        """clusters_max: 0 for no limit."""
        self.failover_ms, self.update_ms, self.clusters_max = failover_ms, update_ms, clusters_max
        self.clusters: dict[str, Elected] = {}

    def hear(self, cluster: str, replica: str, now_ms: int) -> Verdict:
        """Return what becomes of samples that a replica sends now."""
        elected = self.clusters.get(cluster)
        if elected is None:
            if self.clusters_max and len(self.clusters) >= self.clusters_max:
                self._forget(now_ms)
                if len(self.clusters) >= self.clusters_max:
                    return Verdict.TOO_MANY
            self.clusters[cluster] = Elected(replica, now_ms)
            return Verdict.TAKEN
        silent_ms = now_ms - elected.heard_ms
        if elected.replica == replica:
            if silent_ms >= self.update_ms:
                elected.heard_ms = now_ms
            return Verdict.TAKEN
        if silent_ms < max(self.failover_ms, self.update_ms):
            return Verdict.DUPLICATE
        elected.replica, elected.heard_ms = replica, now_ms
        elected.changes += 1
        return Verdict.TAKEN

    def _forget(self, now_ms: int) -> None:
        """Forget clusters that were not heard for long."""
        self.clusters = {name: e for name, e in self.clusters.items() if now_ms - e.heard_ms < FORGET_MS}
