"""A request that pushes: who sends it, whether it may, and what labels it adds."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from tinyobs.errors import CorruptionError, DiskFullError, LimitExceeded, RateLimited, Unavailable, WireError
from tinyobs.receiving.answers import http_error
from tinyobs.receiving.push import EXTRA_LABELS_MAX, extra_labels, refuse_cross_site, source_of, take_push
from tinyobs.testing.check_receiver import ReceiverCase, services_for
from tinyobs.web.problem import HttpError


def request(query=b"", client=("192.0.2.7", 5), body=b"", **scope):
    """A request; header names have underscores."""
    headers = [(k.replace("_", "-").encode(), v.encode()) for k, v in scope.pop("headers", {}).items()]
    full = {"type": "http", "query_string": query, "headers": headers, "client": client, **scope}

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(full, receive)


def test_the_source_of_a_request():
    """Its user, else the address of its client, else that it came by a Unix socket."""
    assert source_of(request(user="ann")) == "ann"
    assert source_of(request()) == "192.0.2.7"
    assert source_of(request(client=None)) == "unix"


@pytest.mark.parametrize(
    ("client", "told", "source"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.2.3.4", "203.0.113.9"),
        ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.7", "203.0.113.9", "192.0.2.7"),
    ],
)
def test_the_source_behind_a_proxy(client, told, source):
    """Only what trusted proxies say is believed, from the last of them backwards."""
    given = request(client=(client, 5), headers={"x_forwarded_for": told})
    assert source_of(given, ["10.0.0.0/8"]) == source
    assert source_of(given) == client
    assert source_of(request(user="ann", client=(client, 5)), ["10.0.0.0/8"]) == "ann"


def test_pages_of_other_sites():
    """They may not push; programs send no such header."""
    refuse_cross_site(request())
    refuse_cross_site(request(headers={"sec_fetch_site": "same-origin", "origin": "http://elsewhere.example"}))
    with pytest.raises(HttpError) as caught:
        refuse_cross_site(request(headers={"sec_fetch_site": "cross-site"}))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("origin", "host", "may"),
    [
        ("http://tinyobs.lan:9090", "tinyobs.lan:9090", True),
        ("http://tinyobs.lan:3000", "TinyObs.LAN:9090", True),
        ("http://[::1]:3000", "[::1]:9090", True),
        ("https://metrics.example", "10.0.0.1:9090", True),
        ("http://elsewhere.example", "tinyobs.lan:9090", False),
        ("http://tinyobs.lan.elsewhere.example", "tinyobs.lan", False),
        ("null", "tinyobs.lan", False),
        ("http://[", "tinyobs.lan", False),
        ("null", "", False),
    ],
)
def test_pages_by_their_origin(origin, host, may):
    """Browsers say nothing else when they speak plain HTTP to another machine."""
    given = request(headers={"origin": origin, "host": host})
    if may:
        refuse_cross_site(given, "https://metrics.example/tinyobs/")
        return
    with pytest.raises(HttpError, match="other sites"):
        refuse_cross_site(given, "https://metrics.example/tinyobs/")


def test_labels_of_the_url():
    """Names are sorted, the last value of a name counts, and an empty one takes the label away."""
    assert extra_labels(request(b"extra_label=z=1&extra_label=a=x%3Dy&extra_label=z=2&extra_label=e=")) == (
        ("a", "x=y"),
        ("z", "2"),
    )
    assert extra_labels(request()) == ()


@pytest.mark.parametrize("query", [b"extra_label=novalue", b"extra_label==v"])
def test_labels_of_the_url_that_are_none(query):
    """The answer quotes them."""
    with pytest.raises(HttpError, match="name=value") as caught:
        extra_labels(request(query))
    assert caught.value.status == 400


def test_too_many_labels_of_the_url():
    """Each request has a bounded number."""
    query = "&".join(f"extra_label=l{i}=v" for i in range(EXTRA_LABELS_MAX + 1))
    with pytest.raises(HttpError):
        extra_labels(request(query.encode()))


async def test_what_a_request_is_counted_as():
    """One request of as many bytes as it says."""
    services = services_for(ReceiverCase("/", b"", 0))
    push = await take_push(request(body=b"abc", headers={"content_length": "3"}), services, services.reception("p"))
    assert (push.body, push.source) == (b"abc", "192.0.2.7")
    statistics = services.receptions.statistics()
    assert (statistics.requests_total, statistics.received_bytes_total) == ({"p": 1}, {"p": 3})


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (WireError("x", 3), 400, None),
        (LimitExceeded("l", "x"), 413, None),
        (RateLimited("x", 2.1), 429, "3"),
        (RateLimited("x", 0.001), 429, "1"),
        (Unavailable("x"), 503, "5"),
        (DiskFullError("x"), 507, "5"),
        (CorruptionError("f", 1, "x"), 503, "5"),
    ],
)
def test_what_errors_are_answered_with(error, status, retry):
    """A status, and when to try again where that may help."""
    answer = http_error(error)
    assert (answer.status, (answer.headers or {}).get("retry-after")) == (status, retry)
