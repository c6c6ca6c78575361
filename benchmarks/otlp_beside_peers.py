"""OTLP into TinyObs and into peers, in turn and with the same requests: data points and samples per CPU second.

    python benchmarks/otlp_beside_peers.py [--exporters 20] [--rounds 40] [--connections 2] [--kinds shuffled,batches]
        [--prometheus PROGRAM] [--victoria-metrics PROGRAM]

The requests are made before the clock starts: each exporter sends 1000 points a round, as protobuf without compression; the
first rounds, in which all series are new, are not counted.  CPU is that of the server's process while the requests run.  A
peer that is not installed, or is built without OTLP, is left out.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from otlp_decode import START_NS, batch, body, collector, reordered
from servers import cpu_seconds, free_port, serving

POINTS = 1000
STEP_NS = 10_000_000_000
WARM_ROUNDS = 3
PATH = "/opentelemetry/v1/metrics"
PATH_OF_PROMETHEUS = "/api/v1/otlp/v1/metrics"
SAMPLES = {"spread": 1, "grouped": 1, "shuffled": 1, "collector": 1, "batches": 1, "histograms": 18}
"""Samples of a data point, by kind of body.  `shuffled`: `grouped` in another order each time; `collector`: that, written backwards; `batches`: see `otlp_decode.batch`."""


def requests(kind: str, exporters: int, rounds: int) -> list[tuple[bytes, int]]:
    """Return the bodies round by round, with their points; the newest are as old as the present."""
    begin = time.time_ns() - rounds * STEP_NS
    if kind == "batches":  # one Collector, with a body after the other
        each = [(step, i) for step in range(rounds) for i in range(exporters)]
        return [batch(n, POINTS, at_ns=begin + s * STEP_NS + i * STEP_NS // exporters) for n, (s, i) in enumerate(each)]
    is_shuffled = kind in ("shuffled", "collector")
    shape = "grouped" if is_shuffled else kind
    found = []
    for step in range(rounds):
        old, new = ((base + step * STEP_NS).to_bytes(8, "little") for base in (START_NS, begin))
        start = (START_NS.to_bytes(8, "little"), (begin - STEP_NS).to_bytes(8, "little"))
        for i in range(exporters):
            made = body(shape, POINTS, step, shuffled=is_shuffled, fresh=i)
            if kind == "collector":
                made = reordered(made, collector)
            made = made.replace(b"\x19" + old, b"\x19" + new).replace(b"\x11" + start[0], b"\x11" + start[1])
            found.append((made, POINTS))
    return found


def send(port: int, path: str, bodies: list[bytes], connections: int) -> None:
    """Send all bodies over keep-alive connections, one part after another.  A refused request ends the run."""
    errors: list[object] = []
    waiting, lock = iter(bodies), threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while not errors:
            with lock:
                one = next(waiting, None)
            if one is None:
                return
            connection.request("POST", path, one, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200 or text:
                errors.append((answer.status, text[:200]))

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise SystemExit(f"refused: {errors[0]}")


def measure(command: list[str], ready: str, path: str, rounds: list[list[bytes]], connections: int) -> float:
    """Start a server, load it, stop it; return the CPU seconds of the rounds that count."""
    with tempfile.TemporaryDirectory(prefix="tinyobs-bench-") as folder:
        port = free_port()
        config = Path(folder) / "c.yml"
        config.write_text("global: {}\n")
        filled = [part.format(data=Path(folder) / "data", port=port, config=config) for part in command]
        with serving(filled, f"http://127.0.0.1:{port}{ready}", Path(folder)) as process:
            for one in rounds[:WARM_ROUNDS]:
                send(port, path, one, connections)
            before = cpu_seconds(process)
            for one in rounds[WARM_ROUNDS:]:  # one round after another, so that no series goes back in time
                send(port, path, one, connections)
            return cpu_seconds(process) - before


def has_otlp(program: str) -> bool:
    """Tell whether a Prometheus is there and has the receiver."""
    if shutil.which(program) is None:
        return False
    shown = subprocess.run([program, "--help"], capture_output=True, text=True)
    return "web.enable-otlp-receiver" in shown.stdout + shown.stderr


def main() -> None:
    """Run all servers with all kinds of bodies and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exporters", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--kinds", default=",".join(SAMPLES), help="kinds of bodies, separated by commas")
    parser.add_argument("--prometheus", default=os.environ.get("TINYOBS_PROMETHEUS3", "prometheus"))
    parser.add_argument("--victoria-metrics", default=os.environ.get("TINYOBS_VICTORIAMETRICS", "victoria-metrics"))
    given = parser.parse_args()
    flags = ["--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.path={data}", "--config.file={config}"]
    flags.append("--web.enable-otlp-receiver")
    servers = {
        "TinyObs": ([sys.executable, "-m", "tinyobs", "run", *flags, "--no-plugin=host"], "/-/ready", PATH_OF_PROMETHEUS),
        "Prometheus": ([given.prometheus, *flags], "/-/ready", PATH_OF_PROMETHEUS),
        "VictoriaMetrics": (
            [given.victoria_metrics, "-storageDataPath={data}", "-httpListenAddr=127.0.0.1:{port}"], "/health", PATH,
        ),
    }  # fmt: skip
    for kind in given.kinds.split(","):
        per_point = SAMPLES[kind]
        bodies = requests(kind, given.exporters, given.rounds)
        n = given.exporters
        rounds = [[one for one, _ in bodies[i : i + n]] for i in range(0, len(bodies), n)]
        points = sum(count for _, count in bodies[WARM_ROUNDS * n :])
        for name, (command, ready, path) in servers.items():
            if shutil.which(command[0]) is None or (name == "Prometheus" and not has_otlp(command[0])):
                print(f"{kind:12} {name:16} not installed, or built without OTLP")
                continue
            # Bodies of one Collector have the same series, so that none may overtake another.
            spent = measure(command, ready, path, rounds, 1 if kind == "batches" else given.connections)
            print(
                f"{kind:12} {name:16} {points / spent:12,.0f} points/CPU s {points * per_point / spent:12,.0f} samples/CPU s",
                flush=True,
            )


if __name__ == "__main__":
    main()
