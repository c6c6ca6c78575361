"""Fixtures of the HTTP tests: a client that talks to an application without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from web_fakes import make_services

from tinyobs.web.api_v1.routes import api_routes
from tinyobs.web.application import Application
from tinyobs.web.management import management_routes
from tinyobs.web.options import WebOptions
from tinyobs.web.services import ApiServices
from tinyobs.web.status_page import page_routes


def make_application(services: ApiServices, options: WebOptions) -> Application:
    """Return the application with every route of TinyObs."""
    routes = [*api_routes(services, options), *management_routes(services, options), *page_routes(services, options)]
    return Application(routes, options, services.readiness)


@pytest.fixture
def make_client() -> Callable[..., httpx.AsyncClient]:
    """Return a function that makes a client of an application; keyword arguments are services, or `options`."""

    def make(options: WebOptions | None = None, **services: Any) -> httpx.AsyncClient:
        options = options or WebOptions()
        app = make_application(make_services(**services), options)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
        client = httpx.AsyncClient(transport=transport, base_url="http://test")
        client.app = app  # type: ignore[attr-defined]
        return client

    return make
