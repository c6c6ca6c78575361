"""The description of the API: complete, true, and given to whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import httpx
import pytest
import yaml
from web_fakes import make_application, make_services

from tinyobs.builtin.remote_write_receiver.routes import write_routes
from tinyobs.exposition import protobuf_json
from tinyobs.model.families import MetricFamily, Point, counter
from tinyobs.model.metadata import MetricType
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions
from tinyobs.promql.parser import parse
from tinyobs.web.api_v1.openapi.document import document
from tinyobs.web.api_v1.openapi.endpoints import ENDPOINTS
from tinyobs.web.api_v1.openapi.schemas import COMPONENTS
from tinyobs.web.api_v1.routes import PREFIX, api_routes
from tinyobs.web.api_v1.syntax_tree import to_json
from tinyobs.web.form import Form
from tinyobs.web.options import WebOptions
from tinyobs.web.services import StorageAdmin

READ: ContextVar[set[str] | None] = ContextVar("read", default=None)


def test_every_route_is_described_with_its_methods() -> None:
    """And nothing is described that is not routed."""
    routes = [*api_routes(make_services(format=str), WebOptions()), *write_routes(None)]
    served: dict[str, set[str]] = {}
    for route in routes:
        if not route.path.endswith("/*"):
            served.setdefault(route.path.removeprefix(PREFIX), set()).update(set(route.methods) - {"OPTIONS"})
    assert served == {path: set(e.methods) for path, e in ENDPOINTS.items()}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note which parameters handlers read."""

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Form, name: str, *more: Any) -> Any:
            names = READ.get()
            if names is not None:
                names.add(name)
            return method(self, name, *more)

        return wrapped

    monkeypatch.setattr(Form, "get", noting(Form.get))
    monkeypatch.setattr(Form, "all", noting(Form.all))


def admin() -> StorageAdmin:
    """Return an administration that does nothing."""

    async def done(*arguments: Any) -> Any:
        return "name"

    return StorageAdmin(done, done, done, done)


ASKED = [(path, method) for path, e in ENDPOINTS.items() for method in e.methods if not e.takes and not e.since_3_2]


@pytest.mark.parametrize(("path", "method"), ASKED, ids=[f"{m} {p}" for p, m in ASKED])
async def test_handlers_read_the_parameters_that_are_described(recorded: None, path: str, method: str) -> None:
    """Neither less nor more, and the examples of the description are accepted."""
    engine = PromqlEngine(EngineOptions())
    services = make_services(format=str, promql=engine, admin=admin(), search_enabled=lambda: True)
    application = make_application(services, WebOptions())
    described = [p for p in ENDPOINTS[path].parameters if p.place == "query"]
    given = {p.name: p.example for p in described if p.example is not None}
    names: set[str] = set()
    READ.set(names)
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        where = {"data": given} if method == "POST" else {"params": given}
        inside = {p.name: p.example for p in ENDPOINTS[path].parameters if p.place == "path"}
        answer = await client.request(method, PREFIX + path.format(**inside), **where)
    # There is no query to be stopped.
    assert answer.status_code in ((404,) if "{id}" in path else (200, 204)), answer.text
    assert names == {p.name for p in described}


def test_references_lead_somewhere_and_every_component_is_used() -> None:
    """In both versions."""
    for version in ("3.1", "3.2"):
        plain = document(version, ENDPOINTS.values(), "/api/v1")
        found: set[str] = set()
        collect(plain, found)
        assert found == set(COMPONENTS)


def collect(value: Any, into: set[str]) -> None:
    """Collect the names of components that are referred to."""
    if isinstance(value, dict):
        if "$ref" in value:
            into.add(value["$ref"].removeprefix("#/components/schemas/"))
        for inner in value.values():
            collect(inner, into)
    elif isinstance(value, list):
        for inner in value:
            collect(inner, into)


def test_operations_have_names_of_their_own() -> None:
    """Generators of clients make functions of them."""
    plain = document("3.2", ENDPOINTS.values(), "/api/v1")
    names = [operation["operationId"] for path in plain["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names) > 40
    assert "get-label-name-values" in names


async def test_the_document_is_served_in_two_versions(make_client: Any) -> None:
    """3.1 by default, and without what only 3.2 can say; the server's path follows the prefix."""
    client = make_client(WebOptions(route_prefix="/obs"))
    answer = await client.get("/obs/api/v1/openapi.yaml")
    assert answer.headers["content-type"] == "application/yaml; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    first = yaml.safe_load(answer.text)
    assert (first["openapi"], first["servers"]) == ("3.1.0", [{"url": "/obs/api/v1"}])
    assert "/notifications/live" not in first["paths"]
    second = yaml.safe_load((await client.get("/obs/api/v1/openapi.yaml?openapi_version=3.2")).text)
    assert second["openapi"] == "3.2.0"
    events = second["paths"]["/notifications/live"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert "itemSchema" in events
    assert "&id" not in answer.text


TREES = (
    "sum by (a, b) (rate(x{a=~'b'}[5m] offset 1m))", "topk(5, x @ 10)", "a * on(b) group_left(c) d", "-a + 1e-7",
    "a[1h:5m] @ end()", "a[1h:]", "'s'", "round(a)", "a[5m] @ start()", "count_values('v', a)", "(a == bool 1)",
)  # fmt: skip


def validator(name: str) -> Any:
    """Return the validator of a component."""
    jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="jsonschema_rs, which schemathesis needs, is missing")
    components = document("3.1", ENDPOINTS.values(), "/")["components"]
    return jsonschema_rs.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components})


@pytest.mark.parametrize("query", TREES)
def test_syntax_trees_are_as_described(query: str) -> None:
    """Every kind of node; one that lacks a field is not."""
    tree = to_json(parse(query))
    assert validator("SyntaxTree").is_valid(tree)
    tree.popitem()
    assert not validator("SyntaxTree").is_valid(tree)


def test_own_metrics_are_as_described() -> None:
    """Every type, and numbers that JSON has none for."""
    points = (Point(float("nan"), (("quantile", "0.5"),)), Point(1.0, (), "_sum"), Point(2.0, (), "_count"))
    families = [
        counter("a_total", "Help.", float("inf"), x="1"),
        MetricFamily("s", MetricType.SUMMARY, "", points),
        MetricFamily("h", MetricType.HISTOGRAM, "", (Point(2, (("le", "+Inf"),), "_bucket"), *points[1:])),
        MetricFamily("u", MetricType.UNKNOWN, "", (Point(1.0, (), "", 5),)),
    ]
    check = validator("OwnMetricFamily")
    assert all(check.is_valid(family) for family in protobuf_json.to_json(families))
    assert not check.is_valid({"name": "a", "type": "nonsense"})
