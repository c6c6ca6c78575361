"""Headers and parameters of requests are found as Starlette finds them."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from tinyobs.web.request import WebRequest

RAW = [(b"host", b"a"), (b"x-twice", b"1"), (b"x-twice", b"2"), (b"x-word", b"\xfc"), (b"x-empty", b"")]


def both(query: bytes = b"", raw=RAW):
    """Return a request of ours, and Starlette's own."""
    scope = {"type": "http", "headers": raw, "query_string": query}
    return WebRequest(scope), Request(scope)


@pytest.mark.parametrize("name", ["host", "Host", "X-TWICE", "x-word", "x-empty", "x-none"])
def test_headers_are_found_whatever_their_case(name):
    """The first one of those that are there twice; and all of them where that is asked for."""
    ours, its = both()
    assert ours.headers.get(name) == its.headers.get(name)
    assert ours.headers.get(name, "-") == its.headers.get(name, "-")
    assert (name in ours.headers) == (name in its.headers)
    assert ours.headers.getlist(name) == its.headers.getlist(name)
    assert 1 not in ours.headers
    if name in its.headers:
        assert ours.headers[name] == its.headers[name]
    else:
        with pytest.raises(KeyError):
            ours.headers[name]


def test_headers_are_all_there():
    """In their order."""
    ours, its = both()
    assert ours.headers.items() == its.headers.items()
    assert ours.headers == its.headers


@pytest.mark.parametrize(
    "query", [b"", b"db=a&db=b&x=%C3%BC+1&empty=", b"a=" + b"1" * 1000], ids=["none", "short", "long"]
)
def test_parameters_are_those_of_the_url(query):
    """Again and again, and of each request its own."""
    for _ in range(2):
        ours, its = both(query)
        assert ours.query_params == its.query_params
        assert ours.query_params.multi_items() == its.query_params.multi_items()
        assert both(b"db=other")[0].query_params.get("db") == "other"
