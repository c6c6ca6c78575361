"""Requests per second through the whole HTTP stack, with an engine and a store that cost nothing.

Usage: python benchmarks/http_requests.py [seconds]

The load comes from a process of its own with plain sockets, so that the numbers are those of the server.  The
processor time a request takes in the server is the steadier number on a machine that does other things too.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import time
from pathlib import Path

import trio
from starlette.requests import Request

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "web"))
from web_fakes import FakeEngine, make_application, make_services, scalar

from tinyobs.builtin.remote_write_receiver.negotiation import Message
from tinyobs.builtin.remote_write_receiver.routes import Written
from tinyobs.web.options import ServerOptions, WebOptions
from tinyobs.web.server import Server

CONNECTIONS = 8


def load(port: int, request: bytes, seconds: float, counts: multiprocessing.Queue) -> None:
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for s in socks:
            s.sendall(request)
        for s in socks:
            read_answer(s)
            done += 1
    counts.put(done)


def read_answer(s: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line[15:])
    assert head.startswith(b"HTTP/1.1 2"), head
    while len(body) < length:
        body += s.recv(65536)


async def main(seconds: float) -> None:
    engine = FakeEngine()
    engine.answers["1"] = scalar(1.0)

    async def store(request: Request, message: Message) -> Written:
        await request.body()
        return Written(1)

    application = make_application(make_services(promql=engine), WebOptions(), store)
    server = Server(application, ["127.0.0.1:0"], ServerOptions())
    body = bytes(380_000)
    requests = {
        "GET /-/healthy": b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /api/v1/query": b"GET /api/v1/query?query=1&time=1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /api/v1/write 380 kB": b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\n"
        b"Content-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
    }
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(lambda task_status: server.serve(task_status=task_status))
        port = int(addresses[0].rsplit(":", 1)[1])
        for name, request in requests.items():
            counts = multiprocessing.Queue()
            process = multiprocessing.Process(target=load, args=(port, request, seconds, counts))
            before = time.process_time()
            process.start()
            done = await trio.to_thread.run_sync(counts.get)
            spent = time.process_time() - before
            process.join()
            print(f"{name:28} {done / seconds:8.0f} requests/s {spent / done * 1e6:8.0f} us of processor each")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    trio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
