"""How long small queries take while large ones run, and how ingestion fares meanwhile: one server process, asked over HTTP.

    python benchmarks/queries_side_by_side.py [--series 10000] [--heavy 2] [--seconds 15] [--threads 0]

The server fills itself with `--series` counters of an hour and goes on storing a sample for each every second.  This
process keeps `--heavy` large range queries running and asks small ones one after the other: a quick one that the server
knows, and one of some milliseconds whose text is always new.  Latencies are from socket to socket; the first lines are
without large queries.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import trio

HEAVY = "sum by (path) (rate(load_total[5m])) + on(path) sum by (path) (max_over_time(load_total[10m]))"


async def serve(folder: str, series: int, threads: int) -> None:
    """Be the server."""
    from tinyobs.model.batch import Batch
    from tinyobs.model.labels import from_mapping
    from tinyobs.runtime.settings import AgentSettings
    from tinyobs.testing.agents import running_agent

    text = f"tinyobs: {{query: {{threads: {threads}}}}}" if threads else ""
    settings = AgentSettings(
        config_text=text or "global: {}",
        storage_url=f"file:{folder}/data",
        listen=("127.0.0.1:0",),
        plugins_off=("host",),
    )
    async with running_agent(settings) as running:
        agent = running.agent
        refs = agent.registry.intern_many(
            from_mapping({"__name__": "load_total", "instance": f"i{i // 10}", "path": f"/p{i % 10}"})
            for i in range(series)
        )
        values = np.zeros(series)
        now = agent.clock.now_ms()
        for k in range(240):
            values = values + np.arange(series) % 7
            await agent.append(Batch(refs, np.full(series, now - (240 - k) * 15_000), values))
        print(running.url, flush=True)
        due = time.monotonic()
        while True:
            due += 1.0
            await trio.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            values = values + 1.0
            await agent.append(Batch(refs, np.full(series, agent.clock.now_ms()), values))
            took = time.monotonic() - started
            with open(Path(folder, "appends"), "a") as file:  # noqa: ASYNC230 - a few bytes once a second
                file.write(f"{took}\n")


class Client:
    """Asks over one connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=300)

    def ask(self, path: str) -> float:
        """Return the seconds for an answer."""
        started = time.perf_counter()
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:300]
        return time.perf_counter() - started


def shown(name: str, seconds: list[float]) -> None:
    """Print a line of figures."""
    ms = np.array(seconds) * 1e3
    q = np.percentile(ms, [50, 95, 99])
    print(f"{name:34} {len(ms):5}   p50 {q[0]:8.2f}   p95 {q[1]:8.2f}   p99 {q[2]:8.2f}   max {ms.max():8.2f} ms")


def measure(url: str, heavy: int, seconds: float, label: str) -> None:
    """Ask small queries for some time while `heavy` large ones run all the time."""
    ended = threading.Event()
    durations: list[float] = []

    def load() -> None:
        client = Client(url)
        while not ended.is_set():
            end = int(time.time())
            path = f"/api/v1/query_range?query={quote(HEAVY)}&start={end - 3300}&end={end}&step=5&nocache=1"
            durations.append(client.ask(path))

    workers = [threading.Thread(target=load) for _ in range(heavy)]
    for worker in workers:
        worker.start()
    client = Client(url)
    quick, medium, health = [], [], []
    known = "/api/v1/query?query=" + quote('load_total{instance="i3"}')
    for _ in range(3):
        client.ask(known)
    until = time.monotonic() + seconds
    for i in itertools.count():
        if time.monotonic() > until:
            break
        quick.append(client.ask(known))
        text = quote(f'sum(rate(load_total{{instance=~"i{i % 9 + 1}.?"}}[5m])) + {i}')
        medium.append(client.ask(f"/api/v1/query?query={text}"))
        health.append(client.ask("/-/healthy"))
        time.sleep(0.02)
    ended.set()
    for worker in workers:
        worker.join()
    shown(f"{label}: known quick query", quick)
    shown(f"{label}: new query of a few ms", medium)
    shown(f"{label}: /-/healthy", health)
    if durations:
        shown(f"{label}: the large ones", durations)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--heavy", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--switch-ms", type=float, default=1.0, help="sys.setswitchinterval of the server")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        sys.setswitchinterval(given.switch_ms / 1e3)
        trio.run(serve, given.serve, given.series, given.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--serve", folder, "--series", str(given.series)]
        command += ["--threads", str(given.threads), "--switch-ms", str(given.switch_ms)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout is not None
            url = next(line.strip() for line in server.stdout if line.startswith("http://"))
            for heavy in (0, given.heavy):
                before = len(_appends(folder))
                measure(url, heavy, given.seconds, f"beside {heavy}")
                shown(f"beside {heavy}: storing {given.series} samples", _appends(folder)[before:] or [0.0])
        finally:
            server.terminate()
            server.wait()


def _appends(folder: str) -> list[float]:
    file = Path(folder, "appends")
    return [float(line) for line in file.read_text().split()] if file.exists() else []


if __name__ == "__main__":
    main()
