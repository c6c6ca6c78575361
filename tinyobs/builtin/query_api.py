"""The Prometheus HTTP API below `/api/v1`, and `/federate`."""

from __future__ import annotations

from collections.abc import Sequence

from ..abc import Route, Services
from ..hookspecs import hookimpl
from ..web.api_v1.agent_routes import agent_routes


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the routes of the API, or those of agent mode."""
    if services.settings.agent:
        return agent_routes(services.api)
    from ..web.api_v1.routes import api_routes  # agent mode is spared what answers queries
    from ..web.federate import federation_routes

    return [*api_routes(services.api, services.web_options), *federation_routes(services.api)]
