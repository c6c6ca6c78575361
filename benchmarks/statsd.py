"""What StatsD over UDP costs a daemon, and what is lost, at a steady rate of packets.

    python benchmarks/statsd.py [--rate 100000] [--seconds 20] [--lines 1] [--keys 1000] [--rounds 3]

A process of its own sends packets of one line (or `--lines`) with DogStatsD tags over so many keys, evenly.  Measured are the
processor time of the daemon and its reader over the time of sending, and lines that were lost: what was sent less what the
daemon's counters, asked by a query, say.  Each round has the default buffer of 16 MiB, and one of 208 KiB, which is what a
process without privileges gets of a kernel with its defaults.  Where collectd is installed, its plugin `statsd` takes the same
packets without tags, which it does not know; what it lost the kernel tells.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
from servers import cpu_seconds, free_port, serving, tinyobs

BUFFERS = {"16MiB": "16MiB", "208KiB": "208KiB"}
PACKETS = 1 << 14
AT_ONCE = 64


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Head(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("head", _Head), ("length", ctypes.c_uint))


def send(port: int, rate: int, seconds: float, lines: int, keys: int, tags: str) -> None:
    """Send packets evenly, at most 64 at one call, and print how many."""
    random.seed(3)
    kinds = [f"myapp.requests.endpoint{i % 50}.h{i // 50}:1|c{tags}".encode() for i in range(keys)]
    packets = [b"\n".join(random.choices(kinds, k=lines)) for _ in range(PACKETS)]
    buffers = [ctypes.create_string_buffer(p, len(p)) for p in packets]
    vectors, messages = (_IoVec * PACKETS)(), (_Message * PACKETS)()
    for i, packet in enumerate(packets):
        vectors[i].base, vectors[i].length = ctypes.addressof(buffers[i]), len(packet)
        messages[i].head.vectors, messages[i].head.vector_count = ctypes.addressof(vectors[i]), 1
    call = ctypes.CDLL(None, use_errno=True).sendmmsg
    first, size = ctypes.addressof(messages), ctypes.sizeof(_Message)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sent, total, began = 0, int(rate * seconds), time.perf_counter()
        while sent < total:
            due = min(int((time.perf_counter() - began) * rate), total) - sent
            if due <= 0:
                time.sleep(0.0001)
                continue
            at = sent % PACKETS
            done = call(sock.fileno(), ctypes.c_void_p(first + at * size), min(due, AT_ONCE, PACKETS - at), 0)
            if done < 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            sent += done
    print(json.dumps({"packets": sent, "seconds": time.perf_counter() - began}))


def kernel_drops(port: int) -> int:
    """Return what the kernel dropped of the socket at a port."""
    lines = Path("/proc/net/udp").read_text().split("\n")[1:]
    return sum(int(line.split()[-1]) for line in lines if line and line.split()[1].endswith(f":{port:04X}"))


def is_bound(port: int) -> bool:
    """Tell whether somebody listens at a port."""
    return f":{port:04X} " in Path("/proc/net/udp").read_text()


def measure(process: psutil.Process, port: int, options: argparse.Namespace, tags: str) -> tuple[int, float, float]:
    """Send; return (packets, packets a second, processor time over time)."""
    before = cpu_seconds(process)
    arguments = [port, options.rate, options.seconds, options.lines, options.keys, tags]
    command = [sys.executable, __file__, "--send", json.dumps(arguments)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    used = cpu_seconds(process) - before  # the last packets take some milliseconds more, which is not seen here
    return said["packets"], said["packets"] / said["seconds"], used / said["seconds"]


def daemon(folder: Path, buffer: str, options: argparse.Namespace) -> tuple[str, float, float, int, int]:
    """Return (what, packets/s, CPU, lines sent, lines lost) of TinyObs."""
    port, web = free_port(socket.SOCK_DGRAM), free_port()
    config = folder / "tinyobs.yml"
    config.write_text(
        f"tinyobs: {{statsd: {{listen_udp: '127.0.0.1:{port}'}}, receivers: {{receive_buffer_size: {buffer}}}}}\n"
    )
    command = tinyobs(web, folder / "data", f"--config.file={config}")
    with serving(command, lambda: is_bound(port), folder) as process:
        time.sleep(3)
        packets, rate, cpu = measure(process, port, options, "|#env:prod,region:eu")
        time.sleep(11)  # the next flush
        query = urllib.parse.quote('sum({env="prod"})')
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/api/v1/query?query={query}") as answer:
            counted = int(float(json.load(answer)["data"]["result"][0]["value"][1]))
    lines = packets * options.lines
    return f"TinyObs, buffer {buffer}", rate, cpu, lines, lines - counted


def collectd(folder: Path, options: argparse.Namespace) -> tuple[str, float, float, int, int]:
    """Return the same of collectd."""
    port = free_port(socket.SOCK_DGRAM)
    config = folder / "collectd.conf"
    config.write_text(
        f'BaseDir "{folder}"\nPIDFile "{folder}/pid"\nInterval 10\nLoadPlugin statsd\nLoadPlugin csv\n'
        f'<Plugin statsd>\n Host "127.0.0.1"\n Port "{port}"\n CounterSum true\n</Plugin>\n'
        f'<Plugin csv>\n DataDir "{folder}/csv"\n</Plugin>\n'
    )
    with serving(["collectd", "-f", "-C", str(config)], lambda: is_bound(port), folder) as process:
        packets, rate, cpu = measure(process, port, options, "")
        time.sleep(1)
        lost = kernel_drops(port) * options.lines
    return "collectd 5.12, no tags", rate, cpu, packets * options.lines, lost


def main() -> None:
    """Run all, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--lines", type=int, default=1)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--send", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send(*json.loads(options.send))
        return
    print("| Receiver | packets/s | lines sent | lost | CPU, cores |\n|---|---|---|---|---|")
    for _ in range(options.rounds):
        runs: list[Callable[[Path], tuple[str, float, float, int, int]]] = [
            lambda folder, size=size: daemon(folder, size, options)  # type: ignore[misc]
            for size in BUFFERS.values()
        ]
        if shutil.which("collectd"):
            runs.append(lambda folder: collectd(folder, options))
        for run in runs:
            with tempfile.TemporaryDirectory() as folder:
                what, rate, cpu, sent, lost = run(Path(folder))
            print(f"| {what} | {rate:.0f} | {sent} | {lost} ({lost / sent:.3%}) | {cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
