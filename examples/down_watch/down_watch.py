"""A sink in one file: says when a target goes down, and when it is up again.

It reads what was stored from the log, in order, and settles each record when it is done with it.  After a restart it goes
on behind the last settled record, so a target that went down meanwhile is told of as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog
import trio

import tinyobs
from tinyobs.abc import CursorStart, Logged, Services, Sink
from tinyobs.model.labels import metric_name

log = structlog.get_logger("down_watch")


class DownWatch(Sink):
    """Follows the log for series `up`."""

    name = "down_watch"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._is_up: dict[int, bool] = {}
        """Ref of a series `up` -> whether its target was up last."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read until the agent stops; `read` returns nothing then."""
        follower = await self._services.follow(self.name, CursorStart(age_ms=0))
        task_status.started()
        try:
            while records := await follower.read(10_000):
                for logged in records:
                    for instance, is_up in self._changes(logged):
                        log.warning("target is up again" if is_up else "target went down", instance=instance)
                    follower.settle(logged)
        finally:
            await follower.aclose()

    def _changes(self, logged: Logged) -> Iterator[tuple[str, bool]]:
        """Yield the instances whose state changed."""
        batch, registry = logged.batch, self._services.registry
        for ref, value in zip(batch.refs.tolist(), batch.values.tolist(), strict=True):
            labels = registry.labels(ref)
            if metric_name(labels) == "up" and self._is_up.get(ref, True) != (value == 1):
                self._is_up[ref] = value == 1
                yield dict(labels).get("instance", ""), value == 1


@tinyobs.hookimpl
def tinyobs_sinks(services: Services) -> Sequence[Sink]:
    """Return the sink."""
    return [DownWatch(services)]
