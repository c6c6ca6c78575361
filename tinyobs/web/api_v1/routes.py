"""The list of all endpoints below `/api/v1`."""

from __future__ import annotations

from ...abc import Route
from ..options import WebOptions
from ..services import ApiServices
from . import rules
from .admin import AdminApi
from .cardinality import CardinalityApi
from .envelope import allow
from .exemplars import ExemplarsApi
from .expressions import ExpressionsApi
from .metadata import MetadataApi
from .query import QueryApi
from .series import SeriesApi
from .status import StatusApi
from .targets import TargetsApi

PREFIX = "/api/v1"
_GET = ("GET",)
_FORM = ("GET", "POST")
_CHANGE = ("POST", "PUT")


def api_routes(services: ApiServices, options: WebOptions) -> list[Route]:
    """Return the routes of the API."""
    query, series = QueryApi(services, options), SeriesApi(services, options.queries_max)
    status, targets, cardinality = StatusApi(services), TargetsApi(services), CardinalityApi(services)
    expressions, admin = ExpressionsApi(services.parse, services.format), AdminApi(services.admin)
    table = [
        ("/query", query.instant, _FORM),
        ("/query_range", query.range, _FORM),
        ("/parse_query", expressions.parse, _FORM),
        ("/query_exemplars", ExemplarsApi(services).exemplars, _FORM),
        ("/labels", series.names, _FORM),
        ("/label/{name}/values", series.values, _GET),
        ("/series", series.series, _FORM),
        ("/metadata", MetadataApi(services).metadata, _GET),
        ("/targets", targets.targets, _GET),
        ("/scrape_pools", targets.pools, _GET),
        ("/rules", rules.rules, _GET),
        ("/alerts", rules.alerts, _GET),
        ("/alertmanagers", rules.alertmanagers, _GET),
        ("/status/buildinfo", status.build, _GET),
        ("/status/config", status.config, _GET),
        ("/status/flags", status.flags, _GET),
        ("/status/runtimeinfo", status.runtime, _GET),
        ("/status/tsdb", cardinality.tsdb, _GET),
        ("/status/cardinality", cardinality.cardinality, _GET),
        ("/status/walreplay", status.replay, _GET),
        ("/admin/tsdb/snapshot", admin.snapshot, _CHANGE),
        ("/admin/tsdb/delete_series", admin.delete_series, _CHANGE),
        ("/admin/tsdb/clean_tombstones", admin.clean_tombstones, _CHANGE),
        ("/admin/tsdb/compact", admin.compact, _CHANGE),
    ]
    if services.format is not None:
        table.append(("/format_query", expressions.format, _FORM))
    routes = [Route(PREFIX + path, handler, methods) for path, handler, methods in table]
    # Browsers ask before they send a request across origins; the headers are the application's.
    return [*routes, *(Route(path, allow, ("OPTIONS",)) for path in dict.fromkeys(r.path for r in routes))]
