"""What a small push costs the daemon: CPU of its process for each request, whatever the samples in it.

    python benchmarks/small_requests.py [--kinds influx,pushgateway,write,ingest,otlp,json,refused] [--seconds 2]
        [--rounds 5] [--connections 1 16] [--beside FOLDER]

Bodies have some 20 samples of series that are known, with new values and times.  Each connection sends its next request when
all were answered, and has series (for `pushgateway`: 50 groups of 10 series) of its own.  `json` is `/api/v1/import`, `refused`
are Influx lines beyond a rate.  Printed are microseconds, the least of the rounds; with --beside those of another checkout as
well, which is measured in turns with this one, and what part of them this one takes.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from flood_bodies import field, request
from servers import cpu_seconds, free_port, serving

SERIES, GROUPS = 20, 50
STEP_NS = 10**7
FIRST_NS = time.time_ns() - 3600 * 10**9
Make = Callable[[int, int], bytes]
"""Makes a request from the numbers of its connection and of the push."""
HERE = Path(__file__).resolve().parent.parent


def influx(connection: int, push: int) -> bytes:
    """14 lines."""
    at = FIRST_NS + push * STEP_NS
    host = f"host=h{connection}"
    lines = [
        f"cpu,cpu=cpu{i},{host} usage_user={push % 97 + i / 8},usage_idle={push % 89}i {at}" for i in range(SERIES - 14)
    ]
    lines += [f"net,{host},interface=eth{i} bytes={push * 3 + i}i {at}" for i in range(8)]
    return request("/write?db=d", ("\n".join(lines) + "\n").encode(), {})


def pushgateway(connection: int, push: int) -> bytes:
    """Ten series; most have other values than the last push to the group had."""
    lines = ["# TYPE job_duration_seconds gauge", "# HELP job_duration_seconds How long each step took."]
    lines += [f'job_duration_seconds{{step="{i}"}} {push % 977 + i * 1.25}' for i in range(8)]
    lines += ["# TYPE job_records_total counter", f"job_records_total {push * 3}"]
    lines += ["# TYPE job_last_success gauge", f"job_last_success {1.7e9 + push}"]
    path = f"/metrics/job/batch/instance/worker-{connection}-{push % GROUPS}"
    return request(path, "\n".join(lines).encode() + b"\n", {})


def write(connection: int, push: int) -> bytes:
    """Remote write 1.0."""
    from tinyobs.exposition.remote_write_encoder import encode
    from tinyobs.model.labels import from_mapping

    at = (FIRST_NS + push * STEP_NS) // 10**6
    labels = [{"__name__": "up", "instance": f"i{connection}", "job": f"j{i}"} for i in range(SERIES)]
    body = encode((from_mapping(some), [at], [push % 97 + i / 8]) for i, some in enumerate(labels))
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    return request("/api/v1/write", body, {**headers, "X-Prometheus-Remote-Write-Version": "0.1.0"})


def ingest(connection: int, push: int) -> bytes:
    """JSON of `/v1/ingest`."""
    at = datetime.fromtimestamp((FIRST_NS + push * STEP_NS) / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    metrics = [
        {"name": "hits_total", "type": "counter", "value": push + i, "timestamp": at}
        | {"labels": {"instance": f"i{connection}", "path": f"/p{i}"}}
        for i in range(SERIES)
    ]
    return request("/v1/ingest", json.dumps({"metrics": metrics}).encode(), {"Content-Type": "application/json"})


def otlp(connection: int, push: int) -> bytes:
    """Points of a gauge, with a resource of two attributes."""
    at = b"\x19" + (FIRST_NS + push * STEP_NS).to_bytes(8, "little")

    def attribute(number: int, name: bytes, value: bytes) -> bytes:
        return field(number, field(1, name) + field(2, field(1, value)))

    points = [
        field(1, attribute(7, b"path", b"/p%d" % i) + at + b"\x31" + (push + i).to_bytes(8, "little"))
        for i in range(SERIES)
    ]
    metric = field(1, b"queue_length") + field(5, b"".join(points))
    resource = attribute(1, b"service.name", b"shop") + attribute(1, b"service.instance.id", b"i%d" % connection)
    scope = field(1, field(1, b"meter")) + field(2, metric)
    body = field(1, field(1, resource) + field(2, scope))
    return request("/v1/metrics", body, {"Content-Type": "application/x-protobuf"})


def json_lines(connection: int, push: int) -> bytes:
    """JSON lines of `/api/v1/import`."""
    at = (FIRST_NS + push * STEP_NS) // 10**6
    lines = [
        json.dumps(
            {"metric": {"__name__": "hits", "i": f"{connection}", "path": f"/p{i}"}, "values": [push + i]}
            | {"timestamps": [at]}
        )
        for i in range(SERIES)
    ]
    return request("/api/v1/import", "\n".join(lines).encode(), {})


KINDS: dict[str, Make] = {
    "influx": influx, "pushgateway": pushgateway, "write": write, "ingest": ingest, "otlp": otlp, "json": json_lines,
    "refused": influx,
}  # fmt: skip


class Load:
    """Connections to one server, which stay open."""

    def __init__(self, port: int, make: Make, connections: int) -> None:
        self.expected = b""
        """How the status of every answer begins."""
        self._make, self._pushes = make, 0
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]

    def close(self) -> None:
        """Close the connections."""
        for s in self._sockets:
            s.close()

    def run(self, pushes: int) -> int:
        """Send so many pushes over each connection; return how many that were."""
        for push in range(self._pushes, self._pushes + pushes):
            for i, s in enumerate(self._sockets):
                s.sendall(self._make(i, push))
            for s in self._sockets:
                answer = s.recv(65536)
                if not answer.startswith(b"HTTP/1.1 " + self.expected):
                    raise SystemExit(f"refused: {answer[:500]!r}")
        self._pushes += pushes
        return pushes * len(self._sockets)


def command(tree: Path, folder: Path, port: int, kind: str) -> list[str]:
    """Return what runs the daemon of a checkout."""
    limits = "{rates: {requests_per_second: 1, burst: 1ms}}" if kind == "refused" else "{}"
    config = folder / "tinyobs.yml"
    config.write_text(f"global: {{}}\ntinyobs: {{limits: {limits}}}\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tree)!r}); import runpy; runpy.run_module('tinyobs', run_name='__main__')"
    )
    where = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder / 'data'}"]
    flags = ["--web.enable-remote-write-receiver", "--web.enable-otlp-receiver", "--no-plugin=host"]
    return [sys.executable, "-P", "-c", code, "run", f"--config.file={config}", *where, *flags]


def measure(trees: list[Path], kind: str, connections: int, options: argparse.Namespace) -> list[float]:
    """Return microseconds of a request to the daemon of each checkout: the least of the rounds."""
    spent: list[list[float]] = [[] for _ in trees]
    with ExitStack() as stack:
        loads = []
        for tree in trees:
            folder, port = Path(stack.enter_context(tempfile.TemporaryDirectory())), free_port()
            process = stack.enter_context(
                serving(command(tree, folder, port, kind), f"http://127.0.0.1:{port}/-/ready", folder)
            )
            load = Load(port, KINDS[kind], connections)
            stack.callback(load.close)
            load.run(2 * GROUPS)
            load.expected = b"" if kind == "refused" else b"20"
            loads.append((load, process))
        for _ in range(options.rounds):
            for (load, process), figures in zip(loads, spent, strict=True):
                begun = cpu_seconds(process)
                done = load.run(options.requests // connections)
                figures.append((cpu_seconds(process) - begun) / done * 1e6)
    return [min(figures) for figures in spent]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--requests", type=int, default=1600, help="in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--beside", type=Path, help="another checkout")
    options = parser.parse_args()
    trees = [HERE, options.beside.resolve()] if options.beside else [HERE]
    os.environ.pop("PYTHONPATH", None)
    print("| requests | connections | us CPU each" + (" | of the other | ratio |" if options.beside else " |"))
    print("|---|---|---|" + ("---|---|" if options.beside else ""))
    for kind in options.kinds.split(","):
        for connections in options.connections:
            mine, *other = measure(trees, kind, connections, options)
            more = "".join(f" {o:.0f} | {mine / o:.2f} |" for o in other)
            print(f"| {kind} | {connections} | {mine:.0f} |{more}", flush=True)


if __name__ == "__main__":
    main()
