"""The state of all targets as the API shows it."""

from __future__ import annotations

from collections.abc import Iterable

from ...model.durations import format_duration
from ...web.services import DroppedTarget, TargetElsewhere, TargetsView, TargetView
from .loop import ScrapeLoop
from .pool import ScrapePool
from .targets import Target

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
        [_elsewhere(pool, target) for pool in ordered for target in pool.found.elsewhere],
        {p.name: p.found.elsewhere_count for p in ordered if p.found.elsewhere_count},
    )


def _elsewhere(pool: ScrapePool, target: Target) -> TargetElsewhere:
    cluster = pool.cluster
    urls = (
        [cluster.member_url(n) for n in target.members] if cluster is not None and cluster.member_url_template else []
    )
    return TargetElsewhere(target.discovered, target.labels, pool.name, target.url, target.members, urls)


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
