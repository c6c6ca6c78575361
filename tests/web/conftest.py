"""Fixtures of the HTTP tests: a client that talks to an application without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from web_fakes import make_application, make_services

from tinyobs.builtin.remote_write_receiver.routes import Write
from tinyobs.web.options import WebOptions


@pytest.fixture
def make_client() -> Callable[..., httpx.AsyncClient]:
    """Return a function that makes a client of an application; keyword arguments are services, or `options`."""

    def make(
        options: WebOptions | None = None, remote_write: Write | None = None, **services: Any
    ) -> httpx.AsyncClient:
        options = options or WebOptions()
        app = make_application(make_services(**services), options, remote_write)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
        client = httpx.AsyncClient(transport=transport, base_url="http://test")
        client.app = app  # type: ignore[attr-defined]
        return client

    return make
