"""Remote write into TinyObs and into peers, in turn and with the same requests: samples per CPU second and memory.

    python benchmarks/ingest_beside_peers.py [--series 100000] [--intervals 40] [--connections 2]
        [--prometheus PROGRAM] [--victoria-metrics PROGRAM]

The requests are made before the clock starts: series of the shape of a node_exporter fleet (counters, gauges,
constants), 2000 series a request, one interval after the other.  CPU is that of the server's process tree while the
requests run.  A peer that is not installed is left out.  Every server must answer that all series are there.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cramjam
import numpy as np
from servers import cpu_seconds, free_port, peak_mib, serving

from tinyobs.exposition.remote_write_encoder import encode_blocks
from tinyobs.model.registry import encode_block

SERIES_PER_REQUEST = 2000
STEP_MS = 15_000
HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def blocks_of(count: int) -> list[bytes]:
    """Return the label blocks of `count` series, about 500 a host."""
    out = []
    for i in range(count):
        host, metric = divmod(i, 500)
        labels = {
            "__name__": f"bench_metric_{metric % 60:02d}_total",
            "device": f"dev{metric // 60}",
            "env": "prod" if host % 3 else "dev",
            "instance": f"host-{host:05d}.example.com:9100",
            "job": "bench",
            "mode": ("idle", "user", "system", "iowait")[metric % 4],
            "region": ("eu", "us", "ap")[host % 3],
        }
        out.append(encode_block(tuple(sorted(labels.items()))))
    return out


def columns(count: int, intervals: int) -> Iterator[np.ndarray]:
    """Yield the values of all series, interval by interval: counters, gauges and constants in equal parts."""
    rng = np.random.default_rng(7)
    kind = np.arange(count) % 3
    values = rng.integers(0, 10**9, count).astype(np.float64)
    for _ in range(intervals):
        values = np.where(kind == 0, values + rng.poisson(60, count), values)
        yield np.where(kind == 1, np.round(rng.random(count) * 1e6, 2), values)


def requests(series: int, intervals: int) -> list[bytes]:
    """Return all request bodies, in the order of sending; the newest sample is as old as the present."""
    blocks = blocks_of(series)
    first = int(time.time() * 1000) - intervals * STEP_MS
    bodies = []
    for k, values in enumerate(columns(series, intervals)):
        times = np.full(series, first + k * STEP_MS, np.int64)
        for at in range(0, series, SERIES_PER_REQUEST):
            part = slice(at, at + SERIES_PER_REQUEST)
            bodies.append(encode_blocks(blocks[part], times[part].tolist(), values[part].tolist()))
    return bodies


def send(port: int, bodies: list[bytes], connections: int) -> float:
    """Send all bodies over keep-alive connections; return the seconds it took.  A refused request ends the run."""
    waiting, lock, errors = iter(bodies), threading.Lock(), []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                body = next(waiting, None)
            if body is None or errors:
                return
            connection.request("POST", "/api/v1/write", body, HEADERS)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                errors.append((answer.status, text[:200]))

    began = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise SystemExit(f"refused: {errors[0]}")
    return time.perf_counter() - began


def measure(
    name: str, command: list[str], ready: str, bodies: list[bytes], args: argparse.Namespace
) -> dict[str, float]:
    """Start a server, load it, ask it, stop it; return its figures."""
    with tempfile.TemporaryDirectory(prefix="tinyobs-bench-") as folder:
        port = free_port()
        filled = [part.format(data=Path(folder) / "data", port=port) for part in command]
        with serving(filled, f"http://127.0.0.1:{port}{ready}", Path(folder)) as process:
            before = cpu_seconds(process)
            wall = send(port, bodies, args.connections)
            spent = cpu_seconds(process) - before
            peak = peak_mib(process)
            if not all_there(port, args.series):
                raise SystemExit(f"{name}: not all series are there")
            samples = args.series * args.intervals
            return {"per CPU s": samples / spent, "per s": samples / wall, "peak MB": peak}


def all_there(port: int, series: int) -> bool:
    """Tell whether a server has so many series; VictoriaMetrics shows new ones after a second or two."""
    query = urllib.parse.urlencode({"query": 'count({__name__=~"bench_.+"})'})
    for _ in range(30):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=120) as answer:
            result = json.loads(answer.read())["data"]["result"]
        if result and int(float(result[0]["value"][1])) == series:
            return True
        time.sleep(1)
    return False


def main() -> None:
    """Run all servers and print a table with ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--intervals", type=int, default=40)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--prometheus", default="prometheus")
    parser.add_argument("--victoria-metrics", default="victoria-metrics")
    args = parser.parse_args()
    listen, path = "--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.path={data}"
    receiver = "--web.enable-remote-write-receiver"
    servers = {
        "TinyObs": ([sys.executable, "-m", "tinyobs", "run", listen, path, receiver, "--no-plugin=host"], "/-/ready"),
        "Prometheus": ([args.prometheus, "--config.file=/dev/null", listen, path, receiver], "/-/ready"),
        "VictoriaMetrics": (
            [args.victoria_metrics, "-storageDataPath={data}", "-httpListenAddr=127.0.0.1:{port}", "-search.latencyOffset=0s"], "/health",
        ),
    }  # fmt: skip
    bodies = requests(args.series, args.intervals)
    size = sum(map(len, bodies)) / 1e6
    raw = sum(cramjam.snappy.decompress_raw_len(b) for b in bodies) / 1e6
    print(f"{args.series} series x {args.intervals}: {len(bodies)} requests, {size:.0f} MB, unpacked {raw:.0f} MB")
    ours: dict[str, float] = {}
    for name, (command, ready) in servers.items():
        if shutil.which(command[0]) is None:
            print(f"{name:16} not installed")
            continue
        found = measure(name, command, ready, bodies, args)
        ours = ours or found
        ratio = ours["per CPU s"] / found["per CPU s"]
        print(
            f"{name:16} {found['per CPU s']:12,.0f} samples/CPU s {found['per s']:12,.0f} samples/s "
            f"{found['peak MB']:8,.0f} MB peak   TinyObs per CPU s: {ratio:.2f}x"
        )


if __name__ == "__main__":
    main()
