"""The Prometheus HTTP API below `/api/v1`, and `/federate`."""

from __future__ import annotations

from collections.abc import Sequence

from ..abc import Route, Services
from ..hookspecs import hookimpl
from ..web.api_v1.routes import api_routes
from ..web.federate import federation_routes


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the routes of the API."""
    return [*api_routes(services.api, services.web_options), *federation_routes(services.api)]
