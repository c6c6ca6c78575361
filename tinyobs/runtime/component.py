"""The status of a component: one enum with legal transitions, and the record that pages and metrics show."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import define


class Status(StrEnum):
    """Where a component is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"


_LEGAL: Final = {
    Status.STARTING: {Status.RUNNING, Status.BACKING_OFF, Status.STOPPED},
    Status.RUNNING: {Status.BACKING_OFF, Status.STOPPED},
    Status.BACKING_OFF: {Status.STARTING, Status.STOPPED},
    Status.STOPPED: {Status.STARTING},
}


@define
class ComponentState:
    """What is known of one component."""

    name: str
    status: Status = Status.STARTING
    reason: str = ""
    """The last crash, "" when there was none."""
    crashes: int = 0
    since_ms: int = 0

    def move(self, status: Status, now_ms: int, reason: str = "") -> None:
        """Change the status; an illegal transition is a bug of ours."""
        assert status in _LEGAL[self.status], f"{self.name}: {self.status} -> {status}"
        self.status, self.since_ms = status, now_ms
        if status is Status.BACKING_OFF:
            self.crashes += 1
            self.reason = reason
