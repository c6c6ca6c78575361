"""What the application refuses before a handler has it, in the words of both versions; and credentials as both send them."""

from __future__ import annotations

import bcrypt
import httpx
import pytest

from tinyobs.abc import ConfigSection
from tinyobs.builtin.influx import InfluxSettings, tinyobs_routes
from tinyobs.config import loader
from tinyobs.testing.services import FakeServices
from tinyobs.web.application import Application
from tinyobs.web.options import WebOptions
from tinyobs.web.services import Readiness

HASH = bcrypt.hashpw(b"p:w", bcrypt.gensalt(4)).decode()
LINE = b"m v=1\n"


def client(readiness=None, **options):
    """Return a client of an application with the routes of InfluxDB."""
    services = FakeServices(loader.parse("", "test.yml", [ConfigSection("influx", InfluxSettings)]))
    application = Application(tinyobs_routes(services), WebOptions(**options), readiness)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://test")


def check(answer, status, version, message, code=""):
    """Check the form of an error."""
    expected = {"error": message} if version == 1 else {"code": code, "message": message}
    assert (answer.status_code, answer.json()) == (status, expected)
    assert answer.headers["x-influxdb-version"] == "1.8.10"
    assert answer.headers.get("x-influxdb-error") == (message if version == 1 else None)
    assert answer.headers.get("x-platform-error-code") == (None if version == 1 else code)


@pytest.mark.parametrize("prefix", ["", "/influx"])
async def test_methods_and_paths_that_are_not_there(prefix):
    """405 says which methods there are; 404 below the paths of each version is JSON as well."""
    given = client()
    for path, version in (("/write", 1), ("/api/v2/write", 2)):
        answer = await given.get(prefix + path)
        check(answer, 405, version, "Method Not Allowed", "method not allowed")
        assert answer.headers["allow"] == "OPTIONS, POST"
    check(await given.get(prefix + "/api/v2/buckets"), 404, 2, "404 page not found", "not found")
    check(await given.get("/influx/debug/vars"), 404, 1, "404 page not found")
    assert (await given.options(prefix + "/api/v2/buckets")).status_code == 204
    assert (await given.get("/other")).text == "404 page not found\n"


async def test_before_it_is_ready():
    """A client sees JSON, and when to come again."""
    given = client(lambda: Readiness(False, "replaying"))
    for path, version in (("/write", 1), ("/api/v2/write", 2)):
        answer = await given.post(path, content=LINE)
        check(answer, 503, version, "Service Unavailable", "unavailable")
        assert answer.headers["retry-after"] == "5"


async def test_bodies_that_are_too_large():
    """What the application finds while it reads a body is put so too."""
    for path, version in (("/write", 1), ("/api/v2/write", 2)):
        answer = await client(body_bytes_max=3).post(path, content=LINE)
        check(answer, 413, version, "the body is larger than 3 bytes", "request too large")


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/write", 1),
        ("/influx/write", 1),
        ("/query", 1),
        ("/api/v2/write", 2),
        ("/influx/api/v2/write", 2),
        ("/api/v2/x", 2),
    ],
)
async def test_without_credentials(path, version):
    """401 has a challenge, whether the path exists or not; wrong ones are no better, in whatever way they come."""
    given = client(users={"ann": HASH})
    for url, headers in (
        (path, {}),
        (f"{path}?u=ann", {}),
        (f"{path}?u=ann&p=", {}),
        (f"{path}?u=ann&p=wrong", {}),
        (f"{path}?u=bob&p=p%3Aw", {}),
        (f"{path}?u=ann&p={'x' * 80}", {}),
        (f"{path}?u=ann&p=p%3Aw", {"authorization": "Token ann:wrong"}),
        (path, {"authorization": "Token of-version-2"}),
    ):
        answer = await given.post(url, content=LINE, headers=headers)
        check(answer, 401, version, "Unauthorized", "unauthorized")
        assert answer.headers["www-authenticate"] == "Basic"


@pytest.mark.parametrize("path", ["/write", "/api/v2/write"])
async def test_the_ways_of_credentials(path):
    """The header of either version, or parameters of the URL; a header goes before them."""
    given = client(users={"ann": HASH})
    for url, more in (
        (path, {"auth": ("ann", "p:w")}),
        (path, {"headers": {"authorization": "Token ann:p:w"}}),
        (f"{path}?u=ann&p=p%3Aw", {}),
        (f"{path}?u=someone&p=else", {"auth": ("ann", "p:w")}),
    ):
        assert (await given.post(url, content=LINE, **more)).status_code == 204
