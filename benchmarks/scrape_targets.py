"""The same targets scraped by TinyObs, Prometheus and VictoriaMetrics side by side: CPU, memory, punctuality.

    python benchmarks/scrape_targets.py [--targets 200] [--series 1000] [--interval 10] [--minutes 5] [--real] [--protobuf]
        [--servers tinyobs,prometheus,victoria-metrics] [--prometheus PROGRAM] [--victoria-metrics PROGRAM] [--in-turn]

The targets are ports of one process (`--in-turn`: of one process for each server).  Every interval a target shows other
values: either series of the shape of a node_exporter's, or with `--real` recorded bodies, read from the file that
`TINYOBS_SCRAPES` names (or `data/scrapes.zst` in the folder `TINYOBS_SHARED`), of a size of their own.  With `--protobuf` they are shown as
protobuf, which VictoriaMetrics does not read.

What is measured begins when each server has stored a scrape of each target.  CPU is user and system time of the server's process
tree.  Jitter is how far a request arrives from the target's own phase, the median over its requests; it includes the delay of
the targets' process.  `missed` are intervals without a request, and `lost` those whose `up` is not stored or not 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zstandard
from scrape_parse import as_protobuf
from servers import cpu_seconds, free_port, serving, tinyobs

BODIES = 60
"""Different bodies of a target before the first one comes again, as a process that restarts."""
SETTLE_SECONDS = 3
TEXT = b"text/plain; version=0.0.4"
PROTOBUF = b"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


def made_bodies(series: int) -> list[bytes]:
    """Return bodies of one target as they follow one another: counters, gauges and constants in equal parts."""
    rng = random.Random(7)
    values = [float(rng.randrange(10**9)) for _ in range(series)]
    bodies = []
    for _ in range(BODIES):
        lines = []
        for i in range(series):
            metric, at = divmod(i, 25)
            if not at:
                kind = "counter" if metric % 3 == 0 else "gauge"
                lines += [
                    f"# HELP bench_{metric:03d} What metric {metric} counts.",
                    f"# TYPE bench_{metric:03d} {kind}",
                ]
            values[i] += (rng.randrange(120), 0.0, round(rng.uniform(-1, 1), 3))[metric % 3]
            value = f"{values[i]:.10g}"
            lines.append(
                f'bench_{metric:03d}{{device="dev{at:02d}",mode="{("idle", "user", "system")[at % 3]}"}} {value}'
            )
        bodies.append("\n".join([*lines, ""]).encode())
    return bodies


def real_bodies() -> list[list[bytes]]:
    """Return the recorded bodies of each job."""
    file = os.environ.get("TINYOBS_SCRAPES") or Path(os.environ["TINYOBS_SHARED"]) / "data" / "scrapes.zst"
    found: dict[bytes, list[bytes]] = {}
    with open(file, "rb") as f, zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(f) as packed:
        reader = _Lines(packed)
        while head := reader.line():
            _, job, _, size = head.split()
            bodies = found.setdefault(job, [])
            bodies.append(reader.take(int(size)))
            if len(bodies) >= BODIES and len(found) >= 3 and min(map(len, found.values())) >= BODIES:
                break
    return [bodies[:BODIES] for bodies in found.values()]


class _Lines:
    """Lines and counted bytes of a stream."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._have = stream, b""

    def line(self) -> bytes:
        while b"\n" not in self._have:
            more = self._stream.read(1 << 20)
            if not more:
                return b""
            self._have += more
        head, _, self._have = self._have.partition(b"\n")
        return head

    def take(self, count: int) -> bytes:
        parts = [self._have]
        while sum(map(len, parts)) < count:
            parts.append(self._stream.read(1 << 20))
        joined = b"".join(parts)
        self._have = joined[count:]
        return joined[:count]


class Target(asyncio.Protocol):
    """One connection to a target: answers each GET at once and notes who asked when."""

    def __init__(
        self, number: int, bodies: list[bytes], type_: bytes, interval: float, arrivals: list[tuple[str, int, float]]
    ) -> None:
        self.number, self.bodies, self.type, self.interval, self.arrivals = number, bodies, type_, interval, arrivals
        self.read = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.read += data
        while b"\r\n\r\n" in self.read:
            head, _, self.read = self.read.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            now = time.time()
            if path == "/arrivals":
                body = json.dumps(self.arrivals).encode()
            else:
                self.arrivals.append((path.strip("/"), self.number, now))
                body = self.bodies[(int(now / self.interval) + self.number) % len(self.bodies)]
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (self.type, len(body))
            )
            self.transport.write(body)


async def serve(ports: list[int], series: int, interval: float, real: bool, protobuf: bool) -> None:
    """Be the targets, until terminated."""
    jobs = real_bodies() if real else [made_bodies(series)]
    if protobuf:
        jobs = [as_protobuf(bodies) for bodies in jobs]
    type_, arrivals = PROTOBUF if protobuf else TEXT, list[tuple[str, int, float]]()
    loop = asyncio.get_running_loop()
    for number, port in enumerate(ports):
        bodies = jobs[number % len(jobs)]
        await loop.create_server(lambda n=number, b=bodies: Target(n, b, type_, interval, arrivals), "127.0.0.1", port)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


@contextmanager
def targets(args: argparse.Namespace, folder: Path) -> Iterator[list[int]]:
    """Run the process of the targets; yields their ports."""
    ports: list[int] = []
    while len(ports) < args.targets:
        ports = sorted({*ports, free_port()})
    own = {
        "ports": ports,
        "series": args.series,
        "interval": args.interval,
        "real": args.real,
        "protobuf": args.protobuf,
    }
    command = [sys.executable, __file__, "--serve", json.dumps(own)]
    with serving(command, f"http://127.0.0.1:{ports[-1]}/arrivals", folder, folder / "targets.log"):
        yield ports


@contextmanager
def server(name: str, args: argparse.Namespace, ports: list[int], folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run a server that scrapes the targets; yields its URL and process."""
    own = folder / name
    own.mkdir()
    config = own / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {args.interval}s, scrape_timeout: {args.interval}s}}\n"
        f"scrape_configs:\n- job_name: bench\n  metrics_path: /{name}\n  static_configs:\n"
        f"  - targets: [{', '.join(f'127.0.0.1:{p}' for p in ports)}]\n"
    )
    port = free_port()
    listen, path = f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={own / 'data'}"
    commands = {
        "tinyobs": tinyobs(port, own / "data", f"--config.file={config}", "--no-plugin=host"),
        "prometheus": [args.prometheus, f"--config.file={config}", listen, path],
        "victoria-metrics": [
            args.victoria_metrics, f"-promscrape.config={config}", f"-storageDataPath={own / 'data'}",
            f"-httpListenAddr=127.0.0.1:{port}", "-search.latencyOffset=0s", "-promscrape.config.strictParse=false",
        ],
    }  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    ready = base + ("/health" if name == "victoria-metrics" else "/-/ready")
    with serving(commands[name], ready, own, own / "log") as process:
        yield base, process


def value(base: str, expression: str, at: float) -> float:
    """Return the one value of a query, 0 where there is none."""
    query = urllib.parse.urlencode({"query": expression, "time": f"{at:.3f}", "nocache": 1})
    with urllib.request.urlopen(f"{base}/api/v1/query?{query}", timeout=120) as answer:
        result = json.loads(answer.read())["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


def arrivals_of(ports: list[int]) -> list[tuple[str, int, float]]:
    """Return who asked which target when."""
    with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/arrivals", timeout=60) as answer:
        return [tuple(a) for a in json.loads(answer.read())]


def punctuality(
    arrivals: list[tuple[int, float]], interval: float, began: float, ended: float
) -> tuple[np.ndarray, int]:
    """Return the distance of each request from its target's phase in seconds, and how many intervals had none."""
    times: dict[int, list[float]] = {}
    for number, at in arrivals:
        times.setdefault(number, []).append(at)
    off, missed = [], 0
    for own in times.values():
        every = np.array(own)
        ticks = np.round((every - own[0]) / interval)
        residual = every - own[0] - ticks * interval
        phase = own[0] + np.median(residual)
        inside = (began <= every) & (every < ended)
        off.append(np.abs(residual - np.median(residual))[inside])
        # Ticks at the edges of what is measured count neither way.
        first, last = np.ceil((began - phase) / interval + 0.1), np.floor((ended - phase) / interval - 0.1)
        missed += int(last - first) + 1 - len(np.unique(ticks[(first <= ticks) & (ticks <= last)]))
    return np.concatenate(off), missed


def wait_for_all(running: dict[str, Any], targets: int, interval: float) -> None:
    """Wait until each server has stored a scrape of each target."""
    waiting = {name: base for name, (base, _) in running.items()}
    for _ in range(int(interval) + 60):
        waiting = {n: base for n, base in waiting.items() if value(base, "sum(up{job='bench'})", time.time()) < targets}
        if not waiting:
            return
        time.sleep(1)
    raise SystemExit(f"not all targets are scraped by {', '.join(waiting)}")


def measure(names: list[str], args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Run servers on the same targets, together; return the figures of each."""
    with tempfile.TemporaryDirectory(prefix="tinyobs-bench-") as made:
        folder = Path(made)
        with targets(args, folder) as ports:
            return _measure(names, args, ports, folder, {})


def _measure(
    names: list[str], args: argparse.Namespace, ports: list[int], folder: Path, running: dict[str, Any]
) -> dict[str, dict[str, float]]:
    for name in names:
        if name not in running:
            with server(name, args, ports, folder) as one:
                return _measure(names, args, ports, folder, {**running, name: one})
    wait_for_all(running, len(ports), args.interval)
    began, before = time.time(), {n: cpu_seconds(p) for n, (_, p) in running.items()}
    time.sleep(args.minutes * 60)
    ended, spent = time.time(), {n: cpu_seconds(p) - before[n] for n, (_, p) in running.items()}
    memory = {n: p.memory_info().rss / 2**20 for n, (_, p) in running.items()}
    peak = {
        n: int(Path(f"/proc/{p.pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
        for n, (_, p) in running.items()
    }
    time.sleep(SETTLE_SECONDS)
    everything = arrivals_of(ports)
    found = {}
    for name, (base, _) in running.items():
        own = [(number, at) for who, number, at in everything if who == name]
        off, missed = punctuality(own, args.interval, began, ended)
        requests = sum(began <= at < ended for _, at in own)
        stored = value(base, f"sum(sum_over_time(up{{job='bench'}}[{int((ended - began) * 1000)}ms]))", ended)
        samples = value(
            base, f"sum(sum_over_time(scrape_samples_scraped{{job='bench'}}[{int((ended - began) * 1000)}ms]))", ended
        )
        p50, p99 = np.percentile(off, [50, 99]) * 1000
        found[name] = {
            "cpu": spent[name], "rss": memory[name], "peak": peak[name], "missed": missed, "lost": requests - stored,
            "p50": p50, "p99": p99, "max": off.max() * 1000, "samples": samples, "requests": requests,
        }  # fmt: skip
    return found


def show(found: dict[str, dict[str, float]]) -> None:
    """Print a table."""
    ours = found.get("tinyobs")
    print(f"{'':18}{'CPU s':>8}{'us/sample':>11}{'CPU ratio':>11}{'RSS MB':>8}{'peak MB':>9}{'scrapes':>9}{'missed':>8}{'lost':>6}"
          f"{'jitter p50 ms':>15}{'p99':>8}{'max':>8}")  # fmt: skip
    for name, f in found.items():
        ratio = f"{ours['cpu'] / f['cpu']:.2f}x" if ours and f["cpu"] else "-"
        print(
            f"{name:18}{f['cpu']:8.1f}{f['cpu'] / max(f['samples'], 1) * 1e6:11.2f}{ratio:>11}{f['rss']:8.0f}{f['peak']:9.0f}"
            f"{f['requests']:9.0f}{f['missed']:8.0f}{f['lost']:6.0f}{f['p50']:15.1f}{f['p99']:8.1f}{f['max']:8.1f}"
        )


def main() -> None:
    """Run all servers and print a table; CPU ratio: that of TinyObs to that of the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--interval", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--protobuf", action="store_true")
    parser.add_argument("--in-turn", action="store_true")
    parser.add_argument("--servers", default="tinyobs,prometheus,victoria-metrics")
    parser.add_argument("--prometheus", default="prometheus")
    parser.add_argument("--victoria-metrics", default="victoria-metrics")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(**json.loads(args.serve)))
        return
    programs = {"prometheus": args.prometheus, "victoria-metrics": args.victoria_metrics}
    if args.protobuf:
        args.servers = args.servers.replace(",victoria-metrics", "")
    names = [n for n in args.servers.split(",") if n not in programs or shutil.which(programs[n])]
    print(
        f"{args.targets} targets every {args.interval} s for {args.minutes:g} min, {'in turn' if args.in_turn else 'together'}"
    )
    if args.in_turn:
        show({name: measure([name], args)[name] for name in names})
    else:
        show(measure(names, args))


if __name__ == "__main__":
    main()
