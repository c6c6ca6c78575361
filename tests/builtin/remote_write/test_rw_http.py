"""Requests of remote write over real sockets: headers, credentials, signatures, addresses, redirects, time-outs."""

from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from rw_fakes import config_of

import tinyobs
from tinyobs.builtin.remote_write.poster import NoAnswer, Poster
from tinyobs.http_client import dialing
from tinyobs.testing.targets import FakeTarget, fake_target


@asynccontextmanager
async def posting(target, text="remote_timeout: 10s", path="/w"):
    """Yield a poster to a target."""
    (config,) = config_of(text).remote_write
    config = attrs.evolve(config, url=f"http://{target.address}{path}")
    poster = Poster(config, lambda: 1_700_000_000_000)
    yield poster
    await poster.aclose()


async def test_all_headers_of_the_specification_are_sent():
    """Also the name and version of the sender, and a length; what is configured comes along."""
    async with (
        fake_target(FakeTarget(b"thanks", status=200)) as target,
        posting(target, "headers: {X-Own: 1}") as poster,
    ):
        reply = await poster.post(b"body", "application/x-protobuf", "0.1.0")
    assert (reply.status, reply.text) == (200, "thanks")
    (asked,) = target.requests
    assert asked["user-agent"] == f"TinyObs/{tinyobs.__version__}"
    assert asked["content-encoding"] == "snappy"
    assert asked["content-type"] == "application/x-protobuf"
    assert asked["x-prometheus-remote-write-version"] == "0.1.0"
    assert (asked["content-length"], asked["x-own"], asked[":path"]) == ("4", "1", "/w")


@pytest.mark.parametrize(
    ("text", "authorization"),
    [
        ("basic_auth: {username: u, password: p}", "Basic dTpw"),
        ("authorization: {credentials: t}", "Bearer t"),
        ("sigv4: {region: eu-west-1, access_key: AKID, secret_key: s}", "AWS4-HMAC-SHA256 Credential=AKID/"),
    ],
)
async def test_credentials_are_sent(text, authorization):
    """Each kind, as the HTTP client has them."""
    async with fake_target() as target, posting(target, text) as poster:
        await poster.post(b"body", "application/x-protobuf", "0.1.0")
    assert target.requests[0]["authorization"].startswith(authorization)


async def test_a_connection_is_kept():
    """Requests that follow one another use one; an answer with a body does not change that."""
    opened = []

    class Counting(dialing.Dialer):
        async def open(self, place, proxy):
            opened.append(place)
            return await super().open(place, proxy)

    async with fake_target(FakeTarget(b"x" * 5000, status=503)) as target, posting(target) as poster:
        poster._client._pool._dialer.__class__ = Counting
        for _ in range(5):
            reply = await poster.post(b"body", "application/x-protobuf", "0.1.0")
    assert (len(opened), len(target.requests), len(reply.text)) == (1, 5, 1024)


async def test_redirects():
    """308 keeps method and body; one that is not followed is the answer."""
    async with fake_target() as there, fake_target(FakeTarget(status=308)) as here:
        here.location = f"http://{there.address}/new"
        async with posting(here) as poster:
            assert (await poster.post(b"body", "application/x-protobuf", "0.1.0")).status == 200
        async with posting(here, "follow_redirects: false") as poster:
            assert (await poster.post(b"body", "application/x-protobuf", "0.1.0")).status == 308
    assert there.requests[0]["content-length"] == "4"
    assert there.requests[0]["content-encoding"] == "snappy"


async def test_round_robin_dns_picks_an_address(monkeypatch):
    """Of all that the name has; the header Host and the URL keep the name."""
    async with fake_target() as target:
        asked = []

        async def getaddrinfo(host, port, **_):
            asked.append(host)
            return [(None, None, None, "", ("127.0.0.1", target.port))]

        async with posting(target, "round_robin_dns: true") as poster:
            poster._config = attrs.evolve(poster._config, url=f"http://many.example:{target.port}/w")
            monkeypatch.setattr(dialing.trio.socket, "getaddrinfo", getaddrinfo)
            monkeypatch.setattr(dialing.trio, "open_tcp_stream", _open(trio.open_tcp_stream, monkeypatch))
            assert (await poster.post(b"body", "application/x-protobuf", "0.1.0")).status == 200
    assert asked == ["many.example"]
    assert target.requests[0]["host"] == f"many.example:{target.port}"


def _open(real, monkeypatch):
    async def open_tcp_stream(host, port):
        assert host == "127.0.0.1"
        monkeypatch.undo()
        return await real(host, port)

    return open_tcp_stream


async def test_no_answer_is_told():
    """Not in time, or not at all."""
    async with (
        fake_target(FakeTarget(delay_seconds=60)) as target,
        posting(target, "remote_timeout: 100ms") as poster,
    ):
        with pytest.raises(NoAnswer, match=r"no answer within 0\.1s"):
            await poster.post(b"body", "application/x-protobuf", "0.1.0")
    async with posting(target) as poster:
        with pytest.raises(NoAnswer, match="connect"):
            await poster.post(b"body", "application/x-protobuf", "0.1.0")
