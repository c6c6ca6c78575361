"""Pushes to groups, to TinyObs and to prometheus/pushgateway: what a thousand a second cost, and how many go at all.

    python benchmarks/pushgateway.py [--rate 1000] [--seconds 10] [--groups 50 5000]

Each push is a PUT of 10 series whose values change, over 16 connections (--connections) that stay open.  Figures are CPU seconds of the server
for each second (all of its threads and children, from /proc), and the time to an answer.  Both keep what is pushed on disk:
TinyObs before it answers, with fsync, the peer every five minutes (its default).  The peer checks a push against all
groups, which is its default too; --unchecked lets both leave that out.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

from servers import cpu_seconds, free_port, rss_mib, serving, tinyobs

PEER = "prometheus-pushgateway"
CONNECTIONS = 16
SERIES = 10


def body_of(push: int) -> bytes:
    """Return a body whose values change with each push."""
    lines = ["# TYPE job_duration_seconds gauge", "# HELP job_duration_seconds How long each step took."]
    lines += [f'job_duration_seconds{{step="{i}"}} {push % 977 + i * 1.25}' for i in range(SERIES - 2)]
    lines += ["# TYPE job_records_total counter", f"job_records_total {push * 3}"]
    lines += ["# TYPE job_last_success gauge", f"job_last_success {1.7e9 + push}"]
    return "\n".join(lines).encode() + b"\n"


def request_of(push: int, groups: int) -> bytes:
    """Return a whole request."""
    body = body_of(push)
    head = f"PUT /metrics/job/batch/instance/worker-{push % groups} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ask(connection: socket.socket, request: bytes) -> bytes:
    """Send a request and return the status line of the answer."""
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError(answer)
        answer += piece
    return answer[:12]


class Load:
    """Pushes at a rate, 0 for as fast as they are answered."""

    connections = CONNECTIONS

    def __init__(self, port: int, groups: int, rate: float, seconds: float) -> None:
        self.port, self.groups, self.rate, self.seconds = port, groups, rate, seconds
        self.latencies: list[float] = []
        self.bad = 0

    def run(self) -> float:
        """Push; return how many pushes a second were answered."""
        threads = [threading.Thread(target=self._connection, args=(i,)) for i in range(self.connections)]
        self.begun = time.perf_counter() + 0.1
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(self.latencies) / (time.perf_counter() - self.begun)

    def _connection(self, number: int) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            push = number
            while True:
                request = request_of(push, self.groups)
                due = self.begun + push / self.rate if self.rate else time.perf_counter()
                if max(due, time.perf_counter()) > self.begun + self.seconds:
                    return
                time.sleep(max(due - time.perf_counter(), 0))
                began = time.perf_counter()
                status = ask(connection, request)
                self.latencies.append(time.perf_counter() - began)
                self.bad += status not in (b"HTTP/1.1 200", b"HTTP/1.1 202")
                push += self.connections


def server(name: str, folder: Path, unchecked: bool) -> tuple[list[str], int]:
    """Return the command that starts a server, and its port."""
    port = free_port()
    if name == "tinyobs":
        config = folder / "tinyobs.yml"
        config.write_text(f"tinyobs: {{pushgateway: {{consistency_check: {str(not unchecked).lower()}}}}}\n")
        return tinyobs(port, folder / "data", f"--config.file={config}"), port
    command = [PEER, f"--persistence.file={folder}/pushgateway.data", f"--web.listen-address=127.0.0.1:{port}"]
    return [*command, "--push.disable-consistency-check"] if unchecked else command, port


def fill(name: str, folder: Path, groups: int) -> None:
    """Push to each group once, unchecked, and stop the server: it keeps them."""
    command, port = server(name, folder, True)
    with (
        serving(command, f"http://127.0.0.1:{port}/-/ready", folder),
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        for push in range(groups):
            ask(connection, request_of(push, groups))


def measure(name: str, groups: int, rate: float, seconds: float, unchecked: bool) -> str:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        fill(name, folder, groups)
        command, port = server(name, folder, unchecked)
        with serving(command, f"http://127.0.0.1:{port}/-/ready", folder) as process:
            Load(port, groups, rate, 2).run()
            load = Load(port, groups, rate, seconds)
            began_cpu, began = cpu_seconds(process), time.perf_counter()
            reached = load.run()
            share = (cpu_seconds(process) - began_cpu) / (time.perf_counter() - began)
            middle = statistics.median(load.latencies) * 1000
            late = sorted(load.latencies)[int(len(load.latencies) * 0.99)] * 1000
            return (
                f"| {name} | {groups} | {rate or 'all it takes'} | {reached:.0f} | {share:.2f} | {share / reached * 1e6:.0f} "
                f"| {middle:.1f} | {late:.1f} | {rss_mib(process):.0f} | {load.bad} |"
            )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, nargs="+", default=[1000.0, 0.0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--groups", type=int, nargs="+", default=[50, 5000])
    parser.add_argument("--servers", nargs="+", default=["tinyobs", "pushgateway"])
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--unchecked", action="store_true")
    given = parser.parse_args()
    Load.connections = given.connections
    print("| server | groups | pushes/s asked | answered | cores | us CPU/push | median ms | 99% ms | MiB | refused |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for groups in given.groups:
        for rate in given.rate:
            for name in given.servers:
                if name == "tinyobs" or shutil.which(PEER):
                    print(measure(name, groups, rate, given.seconds, given.unchecked), flush=True)


if __name__ == "__main__":
    main()
