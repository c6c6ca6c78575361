"""Fetching over real sockets: decompression, limits, redirects, credentials, errors."""

from __future__ import annotations

import gzip
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio

from tinyobs.builtin.scrape import fetch as fetch_module
from tinyobs.builtin.scrape.fetch import ScrapeError, fetch
from tinyobs.config.http_client import Authorization, BasicAuth, Header, HttpClientConfig
from tinyobs.errors import LimitExceeded
from tinyobs.http_client import Client, HttpError
from tinyobs.model.secrets import Secret
from tinyobs.testing.targets import FakeTarget, fake_target


async def get(target, config=None, limit=0):
    client = Client(config)
    try:
        return await fetch(client, f"http://{target.address}/metrics?a=b", {"Accept": "text/plain"}, limit)
    finally:
        await client.aclose()


async def test_a_body_comes_back_with_its_type():
    """The request carries our headers, the answer its content type."""
    async with fake_target() as target:
        fetched = await get(target)
    assert (fetched.body, fetched.content_type) == (target.body, target.content_type)
    assert target.requests[0][":path"] == "/metrics?a=b"
    assert target.requests[0]["accept"] == "text/plain"
    assert target.requests[0]["user-agent"].startswith("TinyObs/")


async def test_a_compressed_body_is_unpacked_within_the_limit():
    """The limit counts unpacked bytes: a small body that unpacks to a huge one is stopped."""
    async with fake_target(FakeTarget(body=b"x" * 5_000_000, compress=True)) as target:
        assert len((await get(target)).body) == 5_000_000
        with pytest.raises(LimitExceeded, match="body size limit exceeded"):
            await get(target, limit=1_000_000)


@pytest.mark.parametrize("damage", [b"not gzip", gzip.compress(b"x" * 1000, mtime=0)[:-4]])
async def test_a_damaged_compressed_body_is_an_error(damage):
    """Neither garbage nor a cut body passes for data."""
    async with fake_target(FakeTarget(body=damage, encoding="gzip")) as target:
        with pytest.raises(ScrapeError, match="gzip"):
            await get(target)


async def test_redirects_are_followed_unless_switched_off():
    """`follow_redirects: false` shows the redirect's status as an error."""
    async with fake_target() as final, fake_target() as first:
        first.status, first.location = 302, f"http://{final.address}/there"
        assert (await get(first)).body == final.body
        with pytest.raises(ScrapeError, match="server returned HTTP status 302 Found"):
            await get(first, HttpClientConfig(follow_redirects=False))


async def test_credentials_are_sent(tmp_path):
    """Basic authentication, an authorization header and extra headers; a file is read for each request."""
    file = tmp_path / "token"
    file.write_text("t0\n")
    async with fake_target() as target:
        await get(target, HttpClientConfig(basic_auth=BasicAuth(username="u", password=Secret("p"))))
        config = HttpClientConfig(
            authorization=Authorization(credentials_file=str(file)),
            http_headers=(("X-Extra", Header(values=("1",), secrets=(Secret("2"),))),),
        )
        await get(target, config)
        file.write_text("t1")
        await get(target, config)
    seen = [r["authorization"] for r in target.requests]
    assert seen == ["Basic dTpw", "Bearer t0", "Bearer t1"]


async def test_a_missing_credentials_file_names_itself(tmp_path):
    """The error says which file cannot be read."""
    config = HttpClientConfig(authorization=Authorization(credentials_file=str(tmp_path / "gone")))
    async with fake_target() as target:
        with pytest.raises(HttpError, match="gone"):
            await get(target, config)


async def test_a_refused_connection_is_an_error_with_a_reason():
    """Nobody listens: the text says so."""
    async with fake_target() as target:
        pass
    with pytest.raises(HttpError, match="Connection refused"):
        await get(target)


async def test_no_limit_in_the_configuration_is_still_a_limit(monkeypatch):
    """Without `body_size_limit` a built-in bound holds, for packed and plain bodies, and the error tells which one it is."""
    assert fetch_module.BODY_BYTES_MAX == 256 << 20
    monkeypatch.setattr(fetch_module, "BODY_BYTES_MAX", 1_000_000)
    for compress in (True, False):
        async with fake_target(FakeTarget(body=b"x" * 1_000_001, compress=compress)) as target:
            with pytest.raises(LimitExceeded, match="1000000 bytes that are read without a body_size_limit") as caught:
                await get(target)
            assert caught.value.limit == "body_size_limit"
            assert len((await get(target, limit=2_000_000)).body) == 1_000_001


async def test_other_tasks_run_while_a_body_is_unpacked():
    """One small piece that unpacks to many portions gives others a turn in between."""
    packed = gzip.compress(b"x" * (20 * fetch_module.READ_SIZE))
    turns = []

    class OnePiece:
        @asynccontextmanager
        async def stream(self, method, url, headers):
            async def pieces():
                turns.clear()
                yield packed

            head = {"content-encoding": "gzip", "content-type": "text/plain"}
            yield SimpleNamespace(status=200, reason="OK", headers=head, pieces=pieces)

    async def take_turns():
        while True:
            turns.append(1)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        fetched = await fetch(OnePiece(), "http://h/", {}, 0)
        nursery.cancel_scope.cancel()
    assert len(fetched.body) == 20 * fetch_module.READ_SIZE
    assert len(turns) >= 15


async def test_a_long_body_is_put_together_unchanged(monkeypatch):
    """The parts keep their order where a worker thread joins them."""
    monkeypatch.setattr(fetch_module, "JOIN_IN_THREAD_BYTES", 1000)
    body = bytes(range(256)) * 8000
    async with fake_target(FakeTarget(body=body, compress=True)) as target:
        assert (await get(target)).body == body
