"""Shows how the elections stand; the work is done by the processor."""

from __future__ import annotations

import trio

from ...abc import Component, Source
from .processor import Replicas, ReplicaStatistics


class ReplicaStates(Source):
    """Has statistics, and makes nothing."""

    name = "replicas"

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Do nothing until cancelled."""
        task_status.started()
        await trio.sleep_forever()

    def restart(self) -> Component:
        """Return another one."""
        return ReplicaStates(self._replicas)

    def statistics(self) -> ReplicaStatistics:
        """Return how the elections stand."""
        return self._replicas.statistics()
