"""The state of all targets as the API shows it."""

from __future__ import annotations

from collections.abc import Iterable

from ...model.durations import format_duration
from ...web.services import DroppedTarget, TargetsView, TargetView
from .loop import ScrapeLoop
from .pool import ScrapePool

_HEALTH = {None: "unknown", True: "up", False: "down"}


def targets_view(pools: Iterable[ScrapePool]) -> TargetsView:
    """Return active and dropped targets of pools, by pool name."""
    ordered = sorted(pools, key=lambda p: p.name)
    dropped = [DroppedTarget(labels, pool.name) for pool in ordered for labels in pool.found.dropped]
    return TargetsView(
        [p.name for p in ordered],
        [_active(pool.name, loop) for pool in ordered for loop in pool.loops],
        dropped,
        {p.name: p.found.dropped_count for p in ordered},
    )


def _active(pool: str, loop: ScrapeLoop) -> TargetView:
    target, health = loop.target, loop.health
    return TargetView(
        target.discovered,
        target.labels,
        pool,
        target.url,
        target.url,
        _HEALTH[health.up],
        health.last_error,
        health.last_scrape_ms,
        health.last_duration_seconds,
        format_duration(target.interval_ms),
        format_duration(target.timeout_ms),
        health.metadata,
    )
