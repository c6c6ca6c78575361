"""The list of all endpoints below `/api/v1`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ...abc import Route
from ..options import WebOptions
from ..queries.desk import QueryDesk
from ..services import ApiServices
from . import rules
from .active_queries import ActiveQueriesApi
from .admin import AdminApi
from .cardinality import CardinalityApi
from .envelope import allow
from .exemplars import ExemplarsApi
from .expressions import ExpressionsApi
from .http_sd import HttpSdApi
from .metadata import MetadataApi
from .notifications import NotificationsApi
from .openapi.handler import OpenApi
from .query import QueryApi
from .read import ReadApi
from .relabelling import RelabelApi
from .search import SearchApi
from .series import SeriesApi
from .status import StatusApi
from .target_trial import TargetTestApi
from .targets import TargetsApi

PREFIX = "/api/v1"
_GET = ("GET",)
_FORM = ("GET", "POST")
_CHANGE = ("POST", "PUT")


WATCHFUL: Final = frozenset(("/query", "/query_range", "/labels", "/label/{name}/values", "/series"))
"""Routes whose handlers look after their clients themselves, and only when they have to wait for a thread."""
Table = list[tuple[str, Callable[[Request], Awaitable[Response]], tuple[str, ...]]]


def api_routes(services: ApiServices, options: WebOptions) -> list[Route]:
    """Return the routes of the API."""
    desk = services.desk or QueryDesk(options, services.clock.now_ms)
    table = [*_of_data(services, desk), *_of_server(services), *_of_queries(services, desk), *_of_storage(services)]
    table += [*_of_searches(services, options), *_of_relabelling(services)]
    routes = [Route(PREFIX + path, handler, methods, path in WATCHFUL) for path, handler, methods in table]
    routes.append(Route(PREFIX + "/read", ReadApi(services, options).read, ("POST",)))
    routes.append(Route(PREFIX + "/openapi.yaml", OpenApi(options).document))
    # Browsers ask before they send a request across origins; the headers are the application's.
    paths = dict.fromkeys([*(r.path for r in routes), PREFIX + "/*"])
    return [*routes, *(Route(path, allow, ("OPTIONS",)) for path in paths)]


def _of_data(services: ApiServices, desk: QueryDesk) -> Table:
    """Return what answers questions about samples, series and targets."""
    query, series = QueryApi(services, desk), SeriesApi(services, desk.options.queries_max)
    expressions, targets = ExpressionsApi(services.parse, services.format, services.functions), TargetsApi(services)
    metadata = MetadataApi(services)
    table: Table = [
        ("/query", query.instant, _FORM),
        ("/query_range", query.range, _FORM),
        ("/parse_query", expressions.parse, _FORM),
        ("/query_exemplars", ExemplarsApi(services).exemplars, _FORM),
        ("/labels", series.names, _FORM),
        ("/label/{name}/values", series.values, _GET),
        ("/series", series.series, _FORM),
        ("/metadata", metadata.metadata, _GET),
        ("/targets", targets.targets, _GET),
        ("/targets/metadata", metadata.of_targets, _GET),
        ("/scrape_pools", targets.pools, _GET),
        ("/http_sd", HttpSdApi(services).http_sd, _GET),
        ("/rules", rules.rules, _GET),
        ("/alerts", rules.alerts, _GET),
        ("/alertmanagers", rules.alertmanagers, _GET),
    ]
    if services.format is not None:
        table.append(("/format_query", expressions.format, _FORM))
    return table


def _of_server(services: ApiServices) -> Table:
    """Return what tells of the server itself."""
    status, live = StatusApi(services), NotificationsApi(services.notifications)
    return [
        ("/status/buildinfo", status.build, _GET),
        ("/status/config", status.config, _GET),
        ("/status/flags", status.flags, _GET),
        ("/status/limits", status.limits, _GET),
        ("/status/runtimeinfo", status.runtime, _GET),
        ("/status/self_metrics", status.self_metrics, _GET),
        ("/status/walreplay", status.replay, _GET),
        ("/features", status.features, _GET),
        ("/notifications", live.all, _GET),
        ("/notifications/live", live.live, _GET),
    ]


def _of_queries(services: ApiServices, desk: QueryDesk) -> Table:
    """Return what tells of queries under way."""
    active = ActiveQueriesApi(desk, may_cancel=services.admin is not None)
    return [
        ("/status/active_queries", active.list, _GET),
        ("/status/active_queries/{id}", active.cancel, ("POST", "DELETE")),
    ]


def _of_relabelling(services: ApiServices) -> Table:
    """Return what tells what relabelling does."""
    relabelling = RelabelApi(services)
    return [
        ("/targets/relabel_steps", relabelling.steps, _GET),
        ("/scrape_pools/config", relabelling.pool_config, _GET),
        ("/relabel/preview", relabelling.preview, _FORM),
        ("/targets/test", TargetTestApi(services).test, ("POST",)),
    ]


def _of_searches(services: ApiServices, options: WebOptions) -> Table:
    """Return what finds names for somebody who types."""
    search = SearchApi(services, options)
    return [
        ("/search/metric_names", search.metric_names, _FORM),
        ("/search/label_names", search.label_names, _FORM),
        ("/search/label_values", search.label_values, _FORM),
    ]


def _of_storage(services: ApiServices) -> Table:
    """Return what tells of the storage, and what changes it."""
    status, cardinality, admin = StatusApi(services), CardinalityApi(services), AdminApi(services.admin)
    return [
        ("/status/tsdb", cardinality.tsdb, _GET),
        ("/status/tsdb/blocks", status.blocks, _GET),
        ("/status/cardinality", cardinality.cardinality, _GET),
        ("/admin/tsdb/snapshot", admin.snapshot, _CHANGE),
        ("/admin/tsdb/delete_series", admin.delete_series, _CHANGE),
        ("/admin/tsdb/clean_tombstones", admin.clean_tombstones, _CHANGE),
        ("/admin/tsdb/compact", admin.compact, _CHANGE),
    ]
