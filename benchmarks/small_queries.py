"""Latency of small queries from socket to socket, beside what each layer takes of it.

    python benchmarks/small_queries.py [--series 20000] [--hours 4] [--rounds 100] [--only TEXT] [--profile FOLDER]

Panels of one host over an hour (241 steps), an alerting rule, and what an editor asks for names and values.  A store
of `--series` series is filled in memory and served by the real HTTP stack; the client is a process of its own, so that
the processor time of this one is the server's.  Printed are, in microseconds a request: the median between the last byte of
the question and the last of the answer, the server's least processor time, and what of it the engine, the writing of
JSON, and everything else (HTTP, threads) take.  `--profile` writes a cProfile of the engine for each query.
"""

from __future__ import annotations

import argparse
import cProfile
import multiprocessing
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "web"))
from web_fakes import make_application, make_services

from tinyobs.model.batch import Batch
from tinyobs.model.labels import Labels, from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.promql.engine import PromqlEngine
from tinyobs.storage.engine import Engine
from tinyobs.storage.options import EngineOptions
from tinyobs.testing.mem_disk import MemDisk
from tinyobs.web.api_v1.query import encode
from tinyobs.web.options import ServerOptions, WebOptions
from tinyobs.web.server import Server

STEP_MS = 15_000
END_MS = 1_795_000_020_000
BATCH = 10
"""Requests over which the processor time of the server is taken; the least of several counts."""
HOST = "host-00003.example.com:9100"
MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
DEVICES = ("eth0", "eth1", "lo", "docker0", "sda", "sdb", "nvme0n1")
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
HANDLERS = ("/", "/api", "/login", "/static", "/metrics", "/search")

QUERIES = {
    "cpu by mode": f'sum by (mode) (rate(node_cpu_seconds_total{{instance="{HOST}"}}[5m]))',
    "network rate": f'rate(node_network_receive_bytes_total{{instance="{HOST}",device=~"eth.*"}}[5m])',
    "memory ratio": f'1 - node_memory_03_bytes{{instance="{HOST}"}} / node_memory_00_bytes{{instance="{HOST}"}}',
    "p95 latency": f'histogram_quantile(0.95, sum by (le) (rate(http_bucket{{instance="{HOST}",handler="/api"}}[5m])))',
    "alert": f'max_over_time(node_disk_io_now{{instance="{HOST}"}}[10m]) > 5',
}
METADATA = {
    "values of instance": ("label/instance/values", {"match[]": "node_cpu_seconds_total"}),
    "metric names": ("label/__name__/values", {}),
    "series of a host": ("series", {"match[]": f'{{instance="{HOST}"}}'}),
    "label names": ("labels", {}),
    "number": ("query", {"query": "1", "time": str(END_MS // 1000)}),
}


class Clock:
    def now_ms(self) -> int:
        return END_MS


def series_of_host(host: int) -> list[dict[str, str]]:
    """Return about 500 label sets, as exporters on one machine have them."""
    base = {"job": "node", "instance": f"host-{host:05d}.example.com:9100", "env": "dev", "rack": f"r{host % 40:02d}"}
    found = [{"__name__": "node_cpu_seconds_total", "cpu": str(c), "mode": m} for c in range(16) for m in MODES]
    for metric in ("node_network_receive_bytes_total", "node_network_transmit_bytes_total", "node_disk_io_now"):
        found += [{"__name__": metric, "device": d} for d in DEVICES]
    found += [{"__name__": f"node_memory_{i:02d}_bytes"} for i in range(30)]
    found += [{"__name__": f"node_misc_{i:02d}"} for i in range(60)]
    codes = ("200", "404", "500")
    found += [
        {"__name__": "http_bucket", "le": b, "code": c, "handler": h} for c in codes for b in BOUNDS for h in HANDLERS
    ]
    return [{**base, **more} for more in found]


def filled(series: int, hours: int) -> Engine:
    """Return a store with counters in steps of 15 s."""
    registry, samples = SeriesRegistry(), hours * 3_600_000 // STEP_MS
    labels: list[Labels] = []
    for host in range(series // 450 + 1):
        labels += map(from_mapping, series_of_host(host))
    refs = registry.intern_many(labels[:series])
    engine = Engine.open(MemDisk(), registry, EngineOptions(), Clock().now_ms)
    values = np.zeros(len(refs))
    rng = np.random.default_rng(1)
    for i in range(samples):
        time_ms = END_MS - (samples - 1 - i) * STEP_MS - 3000
        values = values + np.round(rng.random(len(refs)) * 100, 2)
        engine.append([Batch(refs, np.full(len(refs), time_ms, np.int64), values)])
        engine.maintain(time_ms)
    return engine


def requests() -> dict[str, bytes]:
    """Return the bytes of each request by its name."""
    out = {}
    end = END_MS // STEP_MS * STEP_MS // 1000
    for name, text in QUERIES.items():
        if name == "alert":
            out[name] = ("query", {"query": text, "time": str(end)})
        else:
            out[name] = ("query_range", {"query": text, "start": str(end - 3600), "end": str(end), "step": "15"})
    span = {"start": str(end - 14_400), "end": str(end)}
    out |= {
        name: (path, parameters if path == "query" else {**parameters, **span})
        for name, (path, parameters) in METADATA.items()
    }
    return {
        name: f"GET /api/v1/{path}?{urlencode(parameters)} HTTP/1.1\r\nHost: localhost:9090\r\nAccept: */*\r\n"
        "User-Agent: panel/1\r\nAccept-Encoding: identity\r\n\r\n".encode()
        for name, (path, parameters) in out.items()
    }


def client(port: int, tasks: multiprocessing.Queue, results: multiprocessing.Queue) -> None:
    """Ask what comes through the queue, again and again, and put the seconds that each answer took."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for request, rounds in iter(tasks.get, None):
        took = []
        for _ in range(rounds):
            began = time.perf_counter()
            connection.sendall(request)
            answered(connection)
            took.append(time.perf_counter() - began)
        results.put(took)


def answered(connection: socket.socket) -> None:
    """Read one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 18)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), data[:1000]
    left = next(int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")) - len(body)
    while left > 0:
        left -= len(connection.recv(1 << 18))


def best(rounds: int, work: Callable[[], object]) -> float:
    """Return the least processor time of some runs, in microseconds."""
    took = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        took.append(time.thread_time() - began)
    return min(took) * 1e6


def layers(engine: Engine, promql: PromqlEngine, name: str, rounds: int, folder: str) -> tuple[float, float]:
    """Return what evaluating a query and writing its answer take."""
    text, end = QUERIES[name], END_MS // STEP_MS * STEP_MS

    def evaluate():
        if name == "alert":
            return promql.instant(engine, text, end)
        return promql.range(engine, text, end - 3_600_000, end, STEP_MS)

    result = evaluate()
    if folder:
        profile = cProfile.Profile()
        for _ in range(rounds):
            profile.runcall(evaluate)
        profile.dump_stats(Path(folder) / f"{name.replace(' ', '_')}.prof")
    return best(rounds, evaluate), best(rounds, lambda: "".join(encode(result)).encode())


async def main(options: argparse.Namespace, engine: Engine) -> None:
    promql = PromqlEngine()
    services = make_services(
        clock=Clock(), queryable=engine, promql=promql, parse=promql.parse, series_count=lambda: len(engine.registry)
    )

    async def store(body: bytes) -> None:
        raise AssertionError

    server = Server(make_application(services, WebOptions(), store), ["127.0.0.1:0"], ServerOptions())
    tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(lambda task_status: server.serve(task_status=task_status))
        port = int(addresses[0].rsplit(":", 1)[1])
        process = multiprocessing.Process(target=client, args=(port, tasks, results))
        process.start()
        print(f"{'':20}{'median':>9}{'server':>9}{'engine':>9}{'JSON':>9}{'rest':>9}  us")
        medians = {}
        for name, request in requests().items():
            if options.only not in name:
                continue
            took, spent = [], []
            for _ in range(options.rounds // BATCH):
                before = time.process_time()
                tasks.put((request, BATCH))
                took += await trio.to_thread.run_sync(results.get)
                spent.append((time.process_time() - before) / BATCH * 1e6)
            median, server_us = statistics.median(took[BATCH:]) * 1e6, min(spent)
            medians[name] = median
            evaluating, writing = (
                layers(engine, promql, name, options.rounds, options.profile) if name in QUERIES else (0.0, 0.0)
            )
            rest = server_us - evaluating - writing
            print(f"{name:20}{median:9.0f}{server_us:9.0f}{evaluating:9.0f}{writing:9.0f}{rest:9.0f}")
        for title, names in (("queries", QUERIES), ("metadata", METADATA)):
            chosen = [medians[n] for n in names if n in medians and n != "number"]
            if chosen:
                print(f"{title}: geometric mean of medians {statistics.geometric_mean(chosen):.0f} us")
        tasks.put(None)
        process.join()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--hours", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--only", default="")
    parser.add_argument("--profile", default="")
    given = parser.parse_args()
    trio.run(main, given, filled(given.series, given.hours))
