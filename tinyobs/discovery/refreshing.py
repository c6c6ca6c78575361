"""A discovery that asks for the whole list of targets again and again: most kinds are one.

Not here: kinds that are told of changes (files, watches); they are `Discoverer`s of their own.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Final

import attrs
import structlog
import trio

from ..abc import Discoverer, DiscovererContext, TargetGroup
from ..errors import TinyObsError

TARGETS_MAX: Final = 100_000
"""Targets that one entry may have; a longer list is refused as a whole, and the last good one stays."""

log = structlog.get_logger("discovery")


class DiscoveryError(TinyObsError):
    """A list of targets could not be had; the text says from whom and why."""


class RefreshingDiscoverer(Discoverer):
    """Publishes what `refresh` returns, at the start and at each interval; after an error the last good groups stay."""

    def __init__(self, kind: str, interval_ms: int, context: DiscovererContext) -> None:
        """kind: the key of the kind without `_sd_configs`, for the log."""
        self.kind, self.context = kind, context
        self.interval_seconds = interval_ms / 1000
        self._published: dict[str, TargetGroup] = {}
        self._error = ""

    @abc.abstractmethod
    async def refresh(self) -> Sequence[TargetGroup]:
        """Return all groups there are now; raises `TinyObsError` (`HttpError`, `DiscoveryError`) when they cannot be had.

        It sets its own deadlines; a refresh that takes longer than the interval delays the next.
        """

    async def wait(self, until: float) -> None:
        """Sleep until the next refresh is due; a source that tells of changes may return earlier.

        until: a time of trio's clock.
        """
        await trio.sleep_until(until)

    async def aclose(self) -> None:
        """Close connections; called once, at the end."""

    async def run(
        self, publish: Callable[[Sequence[TargetGroup]], Awaitable[None]], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Refresh until cancelled."""
        try:
            began = trio.current_time()
            changed = await self._try_refresh()
            await publish(changed or [])
            task_status.started()
            while True:
                began += self.interval_seconds
                await self.wait(max(began, trio.current_time()))
                began = trio.current_time()
                changed = await self._try_refresh()
                if changed:
                    await publish(changed)
        finally:
            with trio.move_on_after(1, shield=True):
                await self.aclose()

    async def _try_refresh(self) -> list[TargetGroup]:
        """Return what changed; nothing after an error, which is counted, and logged when it is another than before."""
        began = perf_counter()
        try:
            groups = list(await self.refresh())
            if (count := sum(len(group.targets) for group in groups)) > TARGETS_MAX:
                raise DiscoveryError(f"{count} targets, more than the {TARGETS_MAX} that are taken")
        except TinyObsError as e:
            self.context.note_failure()
            if str(e) != self._error:
                self._error = str(e)
                log.error(
                    "targets cannot be had; the last good ones stay",
                    kind=self.kind,
                    job=self.context.job,
                    reason=str(e),
                )
            return []
        finally:
            self.context.note_refresh(perf_counter() - began)
        if self._error:
            self._error = ""
            log.info("targets can be had again", kind=self.kind, job=self.context.job)
        return self._difference(groups)

    def _difference(self, groups: Sequence[TargetGroup]) -> list[TargetGroup]:
        """Return the groups that are not as before, and empty ones for those that are gone."""
        now = {group.source: group for group in groups if group.targets}
        changed = [group for group in now.values() if self._published.get(group.source) != group]
        gone = [attrs.evolve(g, targets=(), labels={}) for g in self._published.values() if g.source not in now]
        self._published = now
        return changed + gone
