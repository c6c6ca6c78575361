"""Parameters as Go reads them, and the choice of a route."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from tinyobs.abc import Dialect, Route
from tinyobs.web import form as form_module
from tinyobs.web.form import FIELDS_MAX, FORM_BYTES_MAX, THREAD_BYTES_MIN, read_form
from tinyobs.web.problem import ApiError, HttpError
from tinyobs.web.router import NoRoute, Router


def request(query: bytes, method: str = "GET", body: bytes = b"", kind: str = "") -> Request:
    """Return a request with a query string and a body."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())] if kind else []
    scope = {"type": "http", "method": method, "path": "/", "query_string": query, "headers": headers}
    return Request(scope, receive)


async def test_pairs_are_decoded_in_order() -> None:
    """Plus is a space, a repeated name keeps every value, a name alone has the empty value."""
    form = await read_form(request(b"a=1+2&b=%C3%A9&a=3&c&=x"))
    assert form.values == {"a": ["1 2", "3"], "b": ["é"], "c": [""], "": ["x"]}
    assert (form.get("a"), form.get("z", "no"), form.all("a")) == ("1 2", "no", ["1 2", "3"])


async def test_malformed_pairs_are_left_out() -> None:
    """A semicolon or a bad escape spoils only its own pair."""
    assert (await read_form(request(b"a=%zz&b=1;2&c=3&%4=1"))).values == {"c": ["3"]}


async def test_only_form_bodies_are_read() -> None:
    """A POST of another content type has the parameters of its URL."""
    kind = "application/x-www-form-urlencoded; charset=utf-8"
    assert (await read_form(request(b"a=2", "POST", b"a=1", kind))).all("a") == ["1", "2"]
    assert (await read_form(request(b"a=2", "POST", b"a=1", "text/plain"))).all("a") == ["2"]


async def test_the_number_of_parameters_is_bounded() -> None:
    """Too many are a bad request."""
    with pytest.raises(ApiError, match="more than 10000 parameters"):
        await read_form(request(b"&".join([b"a=1"] * (FIELDS_MAX + 1))))


FORM = "application/x-www-form-urlencoded"


async def test_the_size_of_a_form_is_bounded() -> None:
    """A larger one is a bad request, before any of it is decoded."""
    await read_form(request(b"", "POST", b"a=" + b"x" * (FORM_BYTES_MAX - 2), FORM))
    with pytest.raises(ApiError, match="larger than 10485760 bytes"):
        await read_form(request(b"", "POST", b"a=" + b"x" * (FORM_BYTES_MAX - 1), FORM))


async def test_a_large_form_does_not_hold_up_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is decoded in a worker thread; a small one at once."""
    threads = []
    original = form_module._collect

    def collect(raw: bytes, into: dict[str, list[str]]) -> None:
        threads.append(threading.current_thread() is not threading.main_thread())
        original(raw, into)

    monkeypatch.setattr(form_module, "_collect", collect)
    for size in (8, THREAD_BYTES_MIN):
        form = await read_form(request(b"", "POST", b"query=" + b"%41" * size, FORM))
        assert form.get("query") == "A" * size
    assert threads == [False, False, True, False]


async def handler(request: Request) -> Response:
    """Answer nothing."""
    return Response()


def test_exact_paths_patterns_and_labels() -> None:
    """A pattern captures one decoded part; its label is written as Prometheus does."""
    router = Router([Route("/x", handler), Route("/label/{name}/values", handler)])
    assert router.find("GET", "/x").label == "/x"
    assert router.find("GET", "/%78").label == "/x"
    found = router.find("GET", "/label/a%2Fb/values")
    assert (found.label, found.parameters) == ("/label/:name/values", {"name": "a/b"})


def test_unknown_paths_and_methods() -> None:
    """404 for a path that nobody has, 405 with the methods for one that somebody has."""
    router = Router([Route("/x", handler, ("POST", "PUT"))])
    with pytest.raises(HttpError) as missing:
        router.find("GET", "/label//values")
    assert missing.value.status == 404
    with pytest.raises(HttpError) as wrong:
        router.find("GET", "/x")
    assert (wrong.value.status, wrong.value.headers) == (405, {"allow": "OPTIONS, POST, PUT"})


async def test_options_tells_the_methods() -> None:
    """Where no route answers OPTIONS itself; HEAD is a method like any other, as in Prometheus."""
    router = Router([Route("/x", handler), Route("/p/{name}", handler, ("GET", "HEAD"))])
    for path, methods in (("/x", "GET, OPTIONS"), ("/p/a", "GET, HEAD, OPTIONS")):
        answer = await router.find("OPTIONS", path).route.handler(None)
        assert (answer.status_code, answer.headers["allow"]) == (200, methods)
    assert router.find("HEAD", "/p/a").label == "/p/:name"
    with pytest.raises(HttpError) as wrong:
        router.find("HEAD", "/x")
    assert (wrong.value.status, wrong.value.headers) == (405, {"allow": "GET, OPTIONS"})


def test_a_prefix_answers_what_nobody_else_knows() -> None:
    """One that answers OPTIONS alone makes no path known to other methods."""
    router = Router([Route("/api/x", handler), Route("/api/*", handler, ("OPTIONS",))])
    assert router.find("OPTIONS", "/api/nope").label == "/api/*"
    assert router.find("GET", "/api/x").label == "/api/x"
    with pytest.raises(HttpError) as missing:
        router.find("GET", "/api/nope")
    assert missing.value.status == 404


async def test_a_prefix_with_methods_makes_paths_known():
    """Others are answered 405, and OPTIONS with the methods, as elsewhere."""
    router = Router([Route("/push/*", handler, ("PUT", "DELETE"))])
    assert router.find("PUT", "/push/a/b").label == "/push/*"
    assert (await router.find("OPTIONS", "/push/a").route.handler(None)).headers["allow"] == "DELETE, OPTIONS, PUT"
    with pytest.raises(HttpError) as wrong:
        router.find("GET", "/push/a")
    assert (wrong.value.status, wrong.value.headers) == (405, {"allow": "DELETE, OPTIONS, PUT"})


def test_a_dialect_counts_for_the_path() -> None:
    """Whatever is wrong; below prefixes that of the longest."""
    one, two = Dialect(lambda *_: Response()), Dialect(lambda *_: Response())
    router = Router(
        [
            Route("/x", handler),
            Route("/x", handler, ("POST",), dialect=one),
            Route("/p/{name}", handler, dialect=one),
            Route("/p/*", handler, ("OPTIONS",), dialect=one),
            Route("/p/q/*", handler, ("OPTIONS",), dialect=two),
            Route("/plain", handler),
        ]
    )
    found = [
        router.find(*asked).dialect for asked in (("GET", "/x"), ("OPTIONS", "/x"), ("GET", "/p/a"), ("GET", "/plain"))
    ]
    assert found == [one, one, one, None]
    for method, path, dialect in (
        ("PUT", "/x", one), ("PUT", "/p/a", one), ("GET", "/p/q/r", two), ("GET", "/p/r/s", one), ("PUT", "/plain", None),
        ("GET", "/nope", None),
    ):  # fmt: skip
        with pytest.raises(NoRoute) as caught:
            router.find(method, path)
        assert caught.value.dialect is dialect


def test_two_claims_on_a_path_stop_the_start() -> None:
    """The message names method and path."""
    with pytest.raises(ValueError, match="two routes for GET /x"):
        Router([Route("/x", handler), Route("/x", handler)])
