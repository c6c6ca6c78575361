"""The endpoints of agent mode: those that need no stored samples work, all others say that they are unavailable.

Which are which: prometheus web/api/v1/api.go (`wrapAgent`).  Not here: the handlers, which are those of the server.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ...abc import Route
from ..problem import ApiError
from ..services import ApiServices
from .envelope import allow
from .http_sd import HttpSdApi
from .metadata import MetadataApi
from .notifications import NotificationsApi
from .relabelling import RelabelApi
from .status import StatusApi
from .target_trial import TargetTestApi
from .targets import TargetsApi

PREFIX: Final = "/api/v1"
UNAVAILABLE: Final = "unavailable with Prometheus Agent"
_GET: Final = ("GET",)
_FORM: Final = ("GET", "POST")
_CHANGE: Final = ("POST", "PUT")
_OF_SAMPLES: Final = (
    *[(path, _FORM) for path in ("/query", "/query_range", "/query_exemplars", "/labels", "/series")],
    *[(path, _FORM) for path in ("/format_query", "/parse_query", "/relabel/preview")],
    *[(f"/search/{what}", _FORM) for what in ("metric_names", "label_names", "label_values")],
    *[(path, _GET) for path in ("/label/{name}/values", "/rules", "/alerts", "/alertmanagers")],
    *[(f"/status/{what}", _GET) for what in ("tsdb", "tsdb/blocks", "cardinality", "active_queries")],
    ("/read", ("POST",)),
    *[(f"/admin/tsdb/{what}", _CHANGE) for what in ("snapshot", "delete_series", "clean_tombstones", "compact")],
)


def agent_routes(services: ApiServices) -> list[Route]:
    """Return the routes of the API in agent mode, and `/federate`."""
    status, targets, metadata = StatusApi(services), TargetsApi(services), MetadataApi(services)
    live, relabelling = NotificationsApi(services.notifications), RelabelApi(services)
    table = [
        ("/metadata", metadata.metadata, _GET),
        ("/targets", targets.targets, _GET),
        ("/targets/metadata", metadata.of_targets, _GET),
        ("/scrape_pools", targets.pools, _GET),
        ("/http_sd", HttpSdApi(services).http_sd, _GET),
        ("/targets/relabel_steps", relabelling.steps, _GET),
        ("/scrape_pools/config", relabelling.pool_config, _GET),
        ("/targets/test", TargetTestApi(services).test, ("POST",)),
        ("/status/buildinfo", status.build, _GET),
        ("/status/config", status.config, _GET),
        ("/status/flags", status.flags, _GET),
        ("/status/runtimeinfo", status.runtime, _GET),
        ("/status/self_metrics", status.self_metrics, _GET),
        ("/status/walreplay", status.replay, _GET),
        ("/features", status.features, _GET),
        ("/notifications", live.all, _GET),
        ("/notifications/live", live.live, _GET),
    ]
    routes = [Route(PREFIX + path, handler, methods) for path, handler, methods in table]
    routes += [Route(PREFIX + path, _unavailable, methods) for path, methods in _OF_SAMPLES]
    paths = dict.fromkeys([*(r.path for r in routes), PREFIX + "/*"])
    allowed = [Route(path, allow, ("OPTIONS",)) for path in paths]
    return [*routes, *allowed, Route("/federate", _unavailable)]


async def _unavailable(request: Request) -> Response:
    """Say that there is nothing to ask for here."""
    raise ApiError("execution", UNAVAILABLE)
