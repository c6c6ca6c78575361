"""Mutated requests over real connections: the server stays whole and leaks no connection."""

from __future__ import annotations

import random
from typing import Any

import pytest
import structlog
import trio
from test_server import connect, running, until
from web_fakes import FakeEngine, make_application, make_services, scalar

from tinyobs.web.options import ServerOptions, WebOptions
from tinyobs.web.server import Server

REQUESTS = [
    b"GET /api/v1/query?query=1&time=1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 7\r\n\r\nquery=1",
    b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n",
    b"GET /api/v1/label/%FF%zz/values?limit=1&match[]=up HTTP/1.1\r\nHost: x\r\nOrigin: \xff\r\n"
    b"Accept-Encoding: gzip;q=1,zstd\r\nAuthorization: Basic x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
]


def mutate(source: random.Random) -> bytes:
    """Return one to three requests with bytes changed, lost and added."""
    data = bytearray(b"".join(source.choices(REQUESTS, k=source.randint(1, 3))))
    for _ in range(source.randint(0, 4)):
        at = source.randrange(len(data))
        match source.randrange(3):
            case 0:
                data[at] = source.randrange(256)
            case 1:
                del data[at : at + source.randint(1, 10)]
            case _:
                data[at:at] = bytes(source.choices(b"\r\n:%/ \x00aA0", k=source.randint(1, 5)))
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
async def test_mutated_requests_disturb_nobody(seed: int) -> None:
    """Nothing fails inside the server, every connection ends, and the next proper request is answered."""
    engine = FakeEngine()
    engine.answers["1"] = scalar(1.0)
    application = make_application(make_services(promql=engine), WebOptions())
    server = Server(application, ["127.0.0.1:0"], ServerOptions(keep_alive_seconds=5))
    source = random.Random(seed)

    async def send(url: str, data: bytes, half_close: bool) -> None:
        stream = await connect(url)
        try:
            await stream.send_all(data)
            if half_close:
                await stream.send_eof()
                while await stream.receive_some():
                    pass
        except trio.BrokenResourceError:
            pass
        await trio.aclose_forcefully(stream)

    with structlog.testing.capture_logs() as logged:
        async with running(server) as [url]:
            for _ in range(10):
                async with trio.open_nursery() as nursery:
                    for _ in range(10):
                        nursery.start_soon(send, url, mutate(source), source.random() < 0.7)
            await until(lambda: server.statistics().connections == 0)
            last = await connect(url)
            await last.send_all(REQUESTS[0])
            assert (await last.receive_some()).startswith(b"HTTP/1.1 200 OK")
            await trio.aclose_forcefully(last)
    failures: list[Any] = [entry for entry in logged if entry["log_level"] in ("warning", "error")]
    assert failures == []
