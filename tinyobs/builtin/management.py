"""Health, readiness, reload, quit, `/metrics` and the status page."""

from __future__ import annotations

from collections.abc import Sequence

from ..abc import Route, Services
from ..hookspecs import hookimpl
from ..web.management import management_routes
from ..web.status_page import page_routes


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the routes beside the API."""
    return [
        *management_routes(services.api, services.web_options),
        *page_routes(services.api, services.web_options),
    ]
