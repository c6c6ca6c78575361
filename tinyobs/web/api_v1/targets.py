"""`/targets` and `/scrape_pools`: what is scraped and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ..form import read_form
from ..services import ApiServices, DroppedTarget, TargetElsewhere, TargetView
from .envelope import success

NEVER: Final = "0001-01-01T00:00:00Z"
"""How Go writes a time that has not come yet."""


class TargetsApi:
    """The handlers."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    async def targets(self, request: Request) -> Response:
        """Answer `/targets`."""
        form = await read_form(request)
        state, pool = form.get("state").lower(), form.get("scrapePool")
        view = self._services.targets()
        with_dropped = state in ("", "any", "dropped")
        active = [t for t in view.active if not pool or t.scrape_pool == pool] if state in ("", "any", "active") else []
        dropped = [t for t in view.dropped if not pool or t.scrape_pool == pool] if with_dropped else []
        counts: Mapping[str, int] | None = None
        if with_dropped:
            counts = {p: view.dropped_counts.get(p, 0) for p in sorted({*view.pools, *view.dropped_counts})}
        data: dict[str, Any] = {
            "activeTargets": [_active(t) for t in active],
            "droppedTargets": [_dropped(t) for t in dropped],
            "droppedTargetCounts": counts,
        }
        if view.elsewhere_counts and state in ("", "any", "elsewhere"):
            data["elsewhereTargets"] = [_elsewhere(t) for t in view.elsewhere if not pool or t.scrape_pool == pool]
            data["elsewhereTargetCounts"] = dict(view.elsewhere_counts)
        return success(data)

    async def pools(self, request: Request) -> Response:
        """Answer `/scrape_pools`."""
        return success({"scrapePools": sorted(self._services.targets().pools)})


def rfc3339(time_ms: int) -> str:
    """Return a time as JSON of Go has it; 0 is "never"."""
    if not time_ms:
        return NEVER
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{time_ms % 1000:03}".rstrip("0") if time_ms % 1000 else ""
    return f"{moment}{fraction}Z"


def _active(target: TargetView) -> dict[str, Any]:
    return {
        "discoveredLabels": dict(target.discovered_labels),
        "labels": dict(target.labels),
        "scrapePool": target.scrape_pool,
        "scrapeUrl": target.scrape_url,
        "globalUrl": target.global_url,
        "lastError": target.last_error,
        "lastScrape": rfc3339(target.last_scrape_ms),
        "lastScrapeDuration": target.last_scrape_seconds,
        "health": target.health,
        "scrapeInterval": target.scrape_interval,
        "scrapeTimeout": target.scrape_timeout,
    }


def _elsewhere(target: TargetElsewhere) -> dict[str, Any]:
    return {
        "discoveredLabels": dict(target.discovered_labels),
        "labels": dict(target.labels),
        "scrapePool": target.scrape_pool,
        "scrapeUrl": target.scrape_url,
        "members": list(target.members),
        "memberUrls": list(target.member_urls),
    }


def _dropped(target: DroppedTarget) -> dict[str, Any]:
    return {"discoveredLabels": dict(target.discovered_labels), "scrapePool": target.scrape_pool}
