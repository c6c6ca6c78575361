"""Processor time of one request of the HTTP client, as a scrape makes it, over loopback.

Usage: python benchmarks/http_client_requests.py [bytes of the body]

The server is a process of its own that costs the client nothing.  The best of three rounds counts.
"""

from __future__ import annotations

import multiprocessing
import socket
import ssl
import sys
import threading
import time
from contextlib import aclosing
from typing import Any

import trio
import trustme

from tinyobs.config.http_client import Authorization, HttpClientConfig, TlsConfig
from tinyobs.http_client import Client
from tinyobs.model.secrets import Secret

REQUESTS = 2000
HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "X-Prometheus-Scrape-Timeout-Seconds": "10",
}


def serve(answer: bytes, certificate: str, ports: Any) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    ports.put(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        threading.Thread(target=answer_all, args=(connection, answer), daemon=True).start()


def answer_all(connection: socket.socket, answer: bytes) -> None:
    data = b""
    while piece := connection.recv(65536):
        data += piece
        if data.endswith(b"\r\n\r\n"):
            data = b""
            connection.sendall(answer)


async def measure(name: str, url: str, config: HttpClientConfig, size: int) -> None:
    client = Client(config)

    async def once() -> None:
        async with client.stream("GET", url, HEADERS) as answer, aclosing(answer.pieces()) as pieces:
            assert sum([len(piece) async for piece in pieces]) == size

    best = float("inf")
    await once()
    for _ in range(3):
        before = time.process_time()
        for _ in range(REQUESTS):
            await once()
        best = min(best, time.process_time() - before)
    await client.aclose()
    print(f"{name:24} {best / REQUESTS * 1e6:6.0f} us of processor a request")


def main(size: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n" % size
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    plain = HttpClientConfig()
    ports: Any = multiprocessing.Queue()
    with issued.private_key_and_cert_chain_pem.tempfile() as certificate:
        for name, file, config in (
            ("plain", "", plain),
            ("plain, with a token", "", HttpClientConfig(authorization=Authorization(credentials=Secret("t")))),
            ("TLS", certificate, HttpClientConfig(tls_config=TlsConfig(ca=authority.cert_pem.bytes().decode()))),
        ):
            server = multiprocessing.Process(target=serve, args=(answer + bytes(size), file, ports), daemon=True)
            server.start()
            url = f"http{'s' if file else ''}://127.0.0.1:{ports.get()}/metrics"
            trio.run(measure, name, url, config, size)
            server.terminate()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
