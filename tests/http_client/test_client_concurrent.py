"""Requests that share a client at the same time."""

from __future__ import annotations

import trio

from tinyobs.http_client import Client, HttpError
from tinyobs.testing.targets import FakeTarget, fake_target


async def ask(client: Client, url: str, failed: list[str]) -> None:
    """Ask once; a refused request is a failure."""
    try:
        async with client.stream("GET", url) as answer:
            async for _ in answer.pieces():
                pass
    except HttpError as e:
        failed.append(str(e))


async def test_several_requests_find_their_kept_connections_closed() -> None:
    """Each closes what it took from the pool and opens a new connection, whatever the others do meanwhile."""
    client, failed = Client(), list[str]()
    async with fake_target(FakeTarget(b"x\n", delay_seconds=0.01)) as target:
        url = f"http://{target.address}/"
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, client, url, failed)
    assert failed == []
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask, client, url, failed)
    assert len(failed) == 3
    await client.aclose()
