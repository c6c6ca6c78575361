"""Catching up by remote write: how fast a backlog leaves an agent over real HTTP, and what a sample costs.

    python benchmarks/remote_write_out.py [--series 20000] [--times 100] [--message 1.0|2.0]

An agent stores samples while the receiver, a process of its own that reads and forgets bodies, answers 503; then the
receiver opens.  Told are samples a second from the first accepted request to the last, and the CPU time that the whole
agent took meanwhile, by sample.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import trio

from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until

MESSAGES = {"1.0": "prometheus.WriteRequest", "2.0": "io.prometheus.write.v2.Request"}
SERIES_PER_BATCH = 1000


def receive() -> None:
    """Serve until the standard input ends; a line there opens the receiver, which refuses until then."""
    is_open = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), is_open.set()), daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            threading.Thread(target=answer, args=(server.accept()[0], is_open), daemon=True).start()


def answer(connection: socket.socket, is_open: threading.Event) -> None:
    buffer = bytearray(1 << 20)
    view, have = memoryview(buffer), b""
    while True:
        while b"\r\n\r\n" not in have:
            size = connection.recv_into(view)
            if not size:
                return
            have += bytes(view[:size])
        head, _, rest = have.partition(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        left = int(lines[b"content-length"]) - len(rest)
        while left > 0:
            left -= connection.recv_into(view, min(left, len(buffer)))
        have = b""
        written = b"X-Prometheus-Remote-Write-Samples-Written: 1000000\r\n" if b"v2" in head else b""
        status = b"204 No Content" if is_open.is_set() else b"503 Service Unavailable"
        connection.sendall(b"HTTP/1.1 " + status + b"\r\n" + written + b"Content-Length: 0\r\n\r\n")


async def measure(series: int, times: int, message: str) -> None:
    receiver = subprocess.Popen(  # noqa: ASYNC220 - it starts in no time
        [sys.executable, __file__, "--receive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert receiver.stdin is not None
    assert receiver.stdout is not None
    port = int(receiver.stdout.readline())
    config = (
        f"remote_write: [{{url: 'http://127.0.0.1:{port}/w', name: far, protobuf_message: {MESSAGES[message]}}}]\n"
        "tinyobs: {self_metrics: {enabled: false}}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = AgentSettings(config_text=config, storage_url=f"file:{Path(folder, 'data')}", listen=())
        async with running_agent(settings) as running:
            agent = running.agent
            labels = [
                from_mapping(
                    {
                        "__name__": f"node_metric_{i % 200}_total",
                        "instance": f"host-{i // SERIES_PER_BATCH}:9100",
                        "job": "node",
                        "mode": f"m{i % 7}",
                        "n": str(i),
                    }
                )
                for i in range(series)
            ]
            refs = agent.registry.intern_many(labels)
            now, total = agent.clock.now_ms() - 10_000 * times, series * times
            random = np.random.default_rng(1)
            for t in range(times):
                for first in range(0, series, SERIES_PER_BATCH):
                    part = refs[first : first + SERIES_PER_BATCH]
                    stamps = np.full(len(part), now + 10_000 * t)
                    await agent.append(Batch(part, stamps, random.integers(0, 1000, len(part)) + 1000.0 * t, "bench"))
            counters = agent.component("remote_write")._memories["far"].counters  # type: ignore[union-attr]
            process = psutil.Process()
            receiver.stdin.write("\n")
            receiver.stdin.flush()
            await until(lambda: counters.sent["samples"] > 0)
            sent, began, cpu = counters.sent["samples"], time.perf_counter(), process.cpu_times()
            await until(lambda: counters.sent["samples"] == total)
            seconds, after = time.perf_counter() - began, process.cpu_times()
            count = total - sent
            used = after.user + after.system - cpu.user - cpu.system
            print(
                f"remote write {message}: {count} samples in {seconds:.2f} s, {count / seconds:,.0f} samples/s; "
                f"CPU {used / count * 1e6:.2f} us a sample, {used / seconds * 100:.0f} % of a core; "
                f"{counters.bytes / total:.1f} bytes a sample; RSS {process.memory_info().rss >> 20} MB"
            )
    receiver.kill()
    receiver.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--message", choices=MESSAGES, default="1.0")
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.receive:
        receive()
    else:
        trio.run(measure, given.series, given.times, given.message)


if __name__ == "__main__":
    main()
