"""Lines of the Influx line protocol: decoded alone, and over HTTP into TinyObs and VictoriaMetrics in the same run.

    python benchmarks/influx.py [--interval-lines 20000] [--intervals 20] [--lines 5000] [--kinds one,tsbs,telegraf]
        [--compress] [--shuffle] [--only decode|servers] [--victoria-metrics PROGRAM]

Bodies: `one` has one field and four tags; `tsbs` is cpu-only of TSBS, ten tags and ten integers; `telegraf` is what its
usual inputs send of a host, with floats of 17 digits, booleans and a string; `varied` is the same, but one line of five lacks
one of its fields, another one each time.  Telegraf itself sends 1000 lines in a request, packed, in no order: `--lines 1000
--compress --shuffle`.  The first interval makes the series known; what is counted is CPU of the process tree (user and system) while all other intervals are sent over two connections,
each with half of the hosts, so that the samples of a series come in order, and for decoding the median of the intervals.
There are as many hosts as make `--interval-lines` lines.  TINYOBS_VICTORIAMETRICS names a program as well.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import os
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from servers import cpu_seconds, free_port, peak_mib, serving, tinyobs

from tinyobs.exposition.influx import InfluxDecoder, InfluxOptions
from tinyobs.model.registry import SeriesRegistry

STEP_SECONDS = 10
Command = Callable[[int, Path], list[str]]
"""Makes the command of a server from its port and its folder for data."""
CONNECTIONS = 2
TSBS_FIELDS = (
    "usage_user", "usage_system", "usage_idle", "usage_nice", "usage_iowait", "usage_irq", "usage_softirq", "usage_steal",
    "usage_guest", "usage_guest_nice",
)  # fmt: skip
CPU_FIELDS = tuple(
    "usage_" + n for n in ["guest", "guest_nice", "idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"]
)


def one(host: int, at: int, rng: random.Random) -> Iterator[str]:
    """Yield ten lines with one field."""
    for k in range(10):
        yield f"sensor_{k},hostname=host_{host},region=eu-central-1,rack={host % 40},kind=t value={rng.random() * 100:.2f} {at}"


def tsbs(host: int, at: int, rng: random.Random) -> Iterator[str]:
    """Yield the line of a host."""
    tags = f"hostname=host_{host},region=eu-central-1,datacenter=eu-central-1a,rack={host % 97},os=Ubuntu15.10,arch=x86"
    tags += f",team=SF,service={host % 19},service_version=1,service_environment=production"
    yield f"cpu,{tags} {','.join(f'{n}={rng.randrange(101)}i' for n in TSBS_FIELDS)} {at}"


def telegraf(host: int, at: int, rng: random.Random) -> Iterator[str]:
    """Yield what the inputs cpu, mem, disk, diskio, net, swap, processes and system send of a host."""
    name, number = f"host=host-{host:05d}.example.com", rng.randrange
    for cpu in ("cpu0", "cpu1", "cpu2", "cpu3", "cpu-total"):
        yield f"cpu,cpu={cpu},{name} {','.join(f'{n}={rng.random() * 100}' for n in CPU_FIELDS)} {at}"
    sizes = ",".join(
        f"{n}={number(10**10)}i"
        for n in ["active", "available", "buffered", "cached", "free", "inactive", "total", "used"]
    )
    yield f"mem,{name} {sizes},available_percent={rng.random() * 100},used_percent={rng.random() * 100} {at}"
    for path in ("/", "/var", "/home"):
        sizes = ",".join(
            f"{n}={number(10**12)}i" for n in ["free", "inodes_free", "inodes_total", "inodes_used", "total", "used"]
        )
        yield f"disk,device=sda1,fstype=ext4,{name},mode=rw,path={path} {sizes},used_percent={rng.random() * 100} {at}"
    counts = ",".join(
        f"{n}={number(10**9)}i"
        for n in ["io_time", "read_bytes", "read_time", "reads", "write_bytes", "write_time", "writes"]
    )
    yield f"diskio,{name},name=sda {counts} {at}"
    counts = ",".join(
        f"{n}={number(10**9)}i" for n in ["bytes_recv", "bytes_sent", "drop_in", "drop_out", "err_in", "packets_sent"]
    )
    yield f"net,{name},interface=eth0 {counts},up=true {at}"
    yield f"system,{name} load1={rng.random():.2f},load15={rng.random():.2f},load5={rng.random():.2f},n_cpus=4i {at}"
    yield f"system,{name} uptime={number(10**6)}i {at}"
    yield f'system,{name} uptime_format="3 days, {number(24)}:{number(60):02d}" {at}'


def varied(host: int, at: int, rng: random.Random) -> Iterator[str]:
    """Yield the lines of `telegraf`, some without one of their fields."""
    for line in telegraf(host, at, rng):
        key, _, rest = line.partition(" ")
        fields = rest.rpartition(" ")[0].split(",")
        if len(fields) > 2 and rng.random() < 0.2:
            del fields[rng.randrange(len(fields))]
        yield f"{key} {','.join(fields)} {at}"


def bodies(kind: Callable[..., Iterator[str]], args: argparse.Namespace) -> list[list[list[bytes]]]:
    """Return the bodies of each interval, for each connection."""
    rng, first = random.Random(7), int(time.time()) - args.intervals * STEP_SECONDS
    hosts = max(args.interval_lines // len(list(kind(0, 0, rng))), CONNECTIONS)
    found = []
    for i in range(args.intervals):
        at, of_connections = (first + i * STEP_SECONDS) * 10**9, []
        for c in range(CONNECTIONS):
            lines = [line for host in range(c, hosts, CONNECTIONS) for line in kind(host, at, rng)]
            if args.shuffle:
                rng.shuffle(lines)
            parts = [lines[k : k + args.lines] for k in range(0, len(lines), args.lines)]
            of_connections.append([("\n".join(part) + "\n").encode() for part in parts])
        found.append(of_connections)
    return found


def decode(intervals: list[list[list[bytes]]]) -> tuple[float, float, int, int]:
    """Return (CPU seconds of an interval, of the first, lines and samples of one)."""
    decoder, seconds, samples = InfluxDecoder(SeriesRegistry()), [], 0
    for some in intervals:
        began = time.process_time()
        samples = sum(len(decoder.decode(body, InfluxOptions(0)).batch) for part in some for body in part)
        seconds.append(time.process_time() - began)
    return (
        statistics.median(seconds[1:]),
        seconds[0],
        sum(b.count(b"\n") for part in intervals[-1] for b in part),
        samples,
    )


def send(port: int, waiting: list[list[bytes]], compress: bool) -> None:
    """Send bodies, those of each connection in order; one that is refused ends the run."""
    headers = {"Content-Encoding": "gzip"} if compress else {}

    def work(bodies: list[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for body in bodies:
            connection.request("POST", "/write?db=bench", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 204:
                os._exit(print(f"refused: {answer.status} {text[:300]!r}") or 1)

    threads = [threading.Thread(target=work, args=[bodies]) for bodies in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def serve(
    command: Command, ready: str, intervals: list[list[list[bytes]]], compress: bool
) -> tuple[float, float, float]:
    """Return (CPU seconds of the intervals after the first, of the first, peak memory in MiB) of a server."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tinyobs-bench-") as folder:
        filled = command(port, Path(folder) / "data")
        with serving(filled, f"http://127.0.0.1:{port}{ready}", Path(folder)) as process:
            packed = [[[gzip.compress(b, 1) if compress else b for b in part] for part in some] for some in intervals]
            begun = cpu_seconds(process)
            send(port, packed[0], compress)
            known = cpu_seconds(process)
            send(port, [[b for some in packed[1:] for b in some[c]] for c in range(CONNECTIONS)], compress)
            return cpu_seconds(process) - known, known - begun, peak_mib(process)


def main() -> None:
    """Measure all and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interval-lines", type=int, default=20_000)
    parser.add_argument("--intervals", type=int, default=20)
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--compress", action="store_true")
    parser.add_argument("--shuffle", action="store_true", help="lines in another order each time")
    parser.add_argument("--only", default="", choices=("", "decode", "servers"))
    parser.add_argument("--kinds", default="one,tsbs,telegraf")
    parser.add_argument("--victoria-metrics", default=os.environ.get("TINYOBS_VICTORIAMETRICS", "victoria-metrics"))
    args = parser.parse_args()

    def peer(port: int, data: Path) -> list[str]:
        return [args.victoria_metrics, f"-storageDataPath={data}", f"-httpListenAddr=127.0.0.1:{port}"]

    servers: dict[str, tuple[Command, str]] = {
        "TinyObs": (lambda port, data: tinyobs(port, data, "--no-plugin=host"), "/-/ready"),
        "VictoriaMetrics": (peer, "/health"),
    }
    for kind in [k for k in (one, tsbs, telegraf, varied) if k.__name__ in args.kinds.split(",")]:
        intervals = bodies(kind, args)
        steady, cold, lines, samples = decode(intervals)
        size = sum(len(body) for part in intervals[-1] for body in part)
        print(
            f"{kind.__name__}: {lines} lines an interval, {samples / lines:.1f} samples and {size / lines:.0f} bytes a line"
        )
        if args.only != "servers":
            show("decoding alone", steady, cold, lines, samples)
        for name, (command, ready) in servers.items():
            if args.only == "decode" or (command is peer and shutil.which(args.victoria_metrics) is None):
                continue
            spent, first, peak = serve(command, ready, intervals, args.compress)
            show(name, spent / (len(intervals) - 1), first, lines, samples, f"{peak:6.0f} MB peak")


def show(name: str, seconds: float, first: float, lines: int, samples: int, more: str = "") -> None:
    """Print figures of one interval, and of the first one."""
    print(
        f"  {name:16} {lines / seconds:10,.0f} lines and {samples / seconds:10,.0f} samples per CPU s; "
        f"first interval {first / samples * 1e6:6.1f} us a series {more}"
    )


if __name__ == "__main__":
    main()
