"""What a flood of pushes does to the daemon: 200 connections that send as much as one may, for some seconds.

    python benchmarks/flood.py [--seconds 20] [--connections 200] [--budget 256] [--kinds a,b] [--out FILE.json]

For each kind of flood a fresh daemon is started, which collects its own metrics every second.  Senders are a process of their own,
and so is who asks meanwhile.  Reported are: resident memory before, at its peak and 5 s after the end, in MiB; what of that the series are
that were stored, by their number; samples stored; answers by status; the CPU time of the daemon, of all its threads and of its
event loop, and the latter divided by the answers that refuse, all that it did besides included; how long `/-/healthy`, `/-/ready`
and a query took meanwhile in ms (median, 99th percentile, worst); of the scrapes that were due, how many are there; bytes that
are counted as held afterwards; and how many seconds SIGTERM takes in the midst of a second flood.

Kinds: `bodies` bodies of 30 MiB in JSON lines; `packed` the same series as gzip of 30 MiB; `bombs` gzip that would unpack to a
gigabyte; `slow` bodies that never end; `rates` small pushes beyond a rate; `writes`, `writes2`, `influx`, `otlp`, `text`: bodies in which
every series is new, of 4 MiB (`--size`); `points` OTLP that is made to do harm, of metrics without points.  `--series-max` is the
limit `tinyobs.limits.series_max` for those.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import re
import socket
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from flood_bodies import kinds
from servers import MIB, cpu_seconds, free_port, peak_mib, rss_mib, serving, tinyobs

ASKED = {"healthy": "/-/healthy", "ready": "/-/ready", "query": "/api/v1/query?query=vector(1)"}
LISTEN_SECONDS = 3.0
"""How long the second flood lasts before the daemon is told to stop."""

CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
- job_name: own
  static_configs: [{targets: ['127.0.0.1:PORT']}]
tinyobs:
  web: {bodies_size_max: BUDGETMiB, body_timeout: 10s}
  limits: {LIMITS}
"""


class Flood:
    """Connections of one kind, a thread each."""

    def __init__(self, port: int, bodies: list[bytes], seconds: float) -> None:
        self.answers: Counter[str] = Counter()
        self._port, self._end = port, time.monotonic() + seconds
        self._threads = [threading.Thread(target=self._run, args=(body,)) for body in bodies]

    def run(self) -> None:
        for t in self._threads:
            t.start()
        for t in self._threads:
            t.join()

    def _run(self, body: bytes) -> None:
        while time.monotonic() < self._end:
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=60) as s:
                    self._push(s, body)
            except OSError as e:
                self.answers[type(e).__name__] += 1
                time.sleep(0.01)

    def _push(self, s: socket.socket, body: bytes) -> None:
        """Push on one connection until it ends; an answer may come before the body is sent."""
        while time.monotonic() < self._end:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(body)
            s.settimeout(max(self._end - time.monotonic(), 0.5))
            head = s.recv(65536)
            if not head:
                return
            self.answers[head.split(b" ", 2)[1].decode()] += 1
            if b"connection: close" in head.lower():
                return


def send(name: str, port: int, options: argparse.Namespace, orders: Any) -> None:
    """A process that sends a flood of so many seconds for each order, and tells the answers."""
    bodies = kinds(name, options.connections, options.size * MIB)
    orders.send(None)
    while seconds := orders.recv():
        flood = Flood(port, bodies, seconds)
        flood.run()
        orders.send(dict(sorted(flood.answers.items())))


def ask(port: int, orders: Any) -> None:
    """A process that asks for all of `ASKED` in turn until it is told to stop, and tells how long each took."""
    took: dict[str, list[float]] = {name: [] for name in ASKED}
    while not orders.poll():
        for name, path in ASKED.items():
            began = time.monotonic()
            try:
                fetch(f"http://127.0.0.1:{port}{path}")
                took[name].append(time.monotonic() - began)
            except OSError:
                took[name].append(30.0)
            time.sleep(0.02)
    orders.send(took)


@contextlib.contextmanager
def helper(work: Any, *given: Any) -> Iterator[Any]:
    """Run `work` in a process; gives our end of a pipe to it."""
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.Process(target=work, args=(*given, its), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


def fetch(url: str) -> bytes:
    """Return an answer."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())


def metric(url: str, name: str) -> float:
    """A number that the daemon tells of itself."""
    found = re.search(rf"^{name} (\S+)$", fetch(f"{url}/metrics").decode(), re.M)
    return float(found[1]) if found else 0.0


def loop_seconds(process: psutil.Process) -> float:
    """The CPU time of the main thread so far, in which the event loop runs."""
    return float(sum(t.user_time + t.system_time for t in process.threads() if t.id == process.pid))


def stored(url: str) -> int:
    """Samples that pushes have stored."""
    found = re.findall(r"^tinyobs_receivers_samples_total\{.*\} (\S+)$", fetch(f"{url}/metrics").decode(), re.M)
    return int(sum(map(float, found)))


def count(url: str, query: str, at: float, seconds: float) -> int:
    """Samples of a series in some seconds before a time."""
    text = quote(f"count_over_time({query}[{int(seconds)}s])")
    result = json.loads(fetch(f"{url}/api/v1/query?query={text}&time={at}"))["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


def milliseconds(took: list[float]) -> list[float]:
    """The median, the 99th percentile and the worst."""
    ordered = sorted(took)
    return [round(1000 * ordered[min(int(len(ordered) * q), len(ordered) - 1)], 1) for q in (0.5, 0.99, 1.0)]


def measure(name: str, options: argparse.Namespace) -> dict[str, object]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        limits = f"series_max: {options.series_max}"
        if name == "rates":
            limits += ", rates: {requests_per_second: 50, burst: 1s}"
        config = CONFIG.replace("PORT", str(port)).replace("BUDGET", str(options.budget)).replace("LIMITS", limits)
        (Path(folder) / "tinyobs.yml").write_text(config)
        flags = (
            f"--config.file={folder}/tinyobs.yml",
            "--web.enable-remote-write-receiver",
            "--web.enable-otlp-receiver",
        )
        command = tinyobs(port, Path(folder) / "d", *flags)
        with (
            helper(send, name, port, options) as sender,
            serving(command, f"http://127.0.0.1:{port}/-/ready", Path(folder), options.log) as process,
        ):
            sender.recv()  # all bodies are there
            return observe(process, sender, port, name, options)


def observe(process: psutil.Popen, sender: Any, port: int, name: str, options: argparse.Namespace) -> dict[str, object]:
    url, seconds = f"http://127.0.0.1:{port}", options.seconds
    time.sleep(2)
    before, cpu_before, loop_before = rss_mib(process), cpu_seconds(process), loop_seconds(process)
    with helper(ask, port) as asker:
        sender.send(seconds)
        time.sleep(seconds)
        asker.send(None)
        ended, samples = time.time(), stored(url)
        cpu, loop = cpu_seconds(process) - cpu_before, loop_seconds(process) - loop_before
        answers, took = sender.recv(), asker.recv()
    time.sleep(5)
    refused = sum(n for status, n in answers.items() if status in ("413", "429", "503", "408"))
    found = {
        "kind": name,
        "before": round(before),
        "peak": round(peak_mib(process)),
        "after": round(rss_mib(process)),
        "series": int(metric(url, "tinyobs_registry_series")),
        "samples": samples,
        "answers": answers,
        "cpu_seconds": round(cpu, 2),
        "loop_seconds": round(loop, 2),
        "loop_ms_per_refusal": round(1000 * loop / refused, 3) if refused else None,
        **{f"{name}_ms": milliseconds(times) for name, times in took.items()},
        "asked": sum(map(len, took.values())),
        "scrapes": [count(url, 'up{job="own"}', ended, seconds), int(seconds)],
        "held": metric(url, "tinyobs_http_bodies_bytes"),
    }
    sender.send(30.0)
    time.sleep(LISTEN_SECONDS)
    began = time.monotonic()
    process.terminate()
    process.wait()
    return {**found, "stop_seconds": round(time.monotonic() - began, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--budget", type=int, default=256, help="tinyobs.web.bodies_size_max in MiB")
    parser.add_argument("--kinds", default="bodies,packed,bombs,slow,rates,writes,writes2,influx,otlp,text,points")
    parser.add_argument("--size", type=int, default=4, help="bodies of new series, in MiB")
    parser.add_argument("--series-max", type=int, default=0, help="the limit on series, 0 for none")
    parser.add_argument("--log", type=Path, help="a file for what the daemon says")
    parser.add_argument("--out")
    options = parser.parse_args()
    found = []
    for name in options.kinds.split(","):
        found.append(measure(name, options))
        print(json.dumps(found[-1]), flush=True)
    if options.out:
        Path(options.out).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
