"""docs/api.md names what is served, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from web_fakes import make_application, make_services

from tinyobs.builtin.remote_write_receiver.routes import write_routes
from tinyobs.web.api_v1.routes import api_routes
from tinyobs.web.application import Application
from tinyobs.web.management import management_routes
from tinyobs.web.options import WebOptions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_every_route_is_documented() -> None:
    """The tables of the page hold each path, the last part alone where a row lists several."""
    text = PAGE.read_text()
    services, options = make_services(format=str), WebOptions()
    for route in [*api_routes(services, options), *write_routes(None), *management_routes(services, options)]:
        path = route.path.replace("{", "<").replace("}", ">")
        if path.endswith("/*"):
            continue  # OPTIONS of whatever path, of which the page speaks below its table
        assert f"`{path}`" in text or f"`/{path.rsplit('/', 1)[1]}`" in text, path
    assert isinstance(make_application(services, options), Application)


def test_every_documented_path_is_served() -> None:
    """No promise without a route."""
    app = make_application(make_services(format=str), WebOptions())
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| (GET|POST)", line)]
    assert len(rows) > 15
    for row in rows:
        methods, paths = row.split("|")[1].split(), re.findall(r"`(/[^`]*)`", row.split("|")[2])
        base = paths[0].rsplit("/", 1)[0]
        for path in paths:
            full = path if path.startswith(("/api", "/-")) or len(paths) == 1 else base + path
            for method in methods:
                app._router.find(method, full.replace("<name>", "job"))
