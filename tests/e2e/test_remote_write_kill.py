"""An agent and its receiver are killed under load, and the receiver is away for a while: nothing is lost or doubled.

`TINYOBS_REMOTE_KILLS` (20), `TINYOBS_REMOTE_OUTAGE_SECONDS` (600) and `TINYOBS_REMOTE_SERIES` (1000: 20 000 samples/s) make the
full run.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import cramjam
import pytest
from peers import free_port, get, pause, program, wait_for

from tinyobs.model.registry import encode_block, varint

KILLS = int(os.environ.get("TINYOBS_REMOTE_KILLS", "3"))
OUTAGE_SECONDS = float(os.environ.get("TINYOBS_REMOTE_OUTAGE_SECONDS", "2"))
SERIES = int(os.environ.get("TINYOBS_REMOTE_SERIES", "200"))
STEP_MS = 50
"""Between two samples of a series; as much real time passes at least."""
AGENT = """\
global: {{external_labels: {{agent: one}}}}
remote_write:
- url: {url}
  name: far
  queue_config: {{batch_send_deadline: 100ms, max_samples_per_send: 500, min_shards: 3, max_backoff: 500ms}}
"""


class Process:
    """A program that is killed and started again, on the same port and data."""

    def __init__(self, command: list[str], ready: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.command, self.ready, self.folder = command, ready, folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)
        wait_for(self.ready, self.process)

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)
            self.process.wait(60)


class Load:
    """Pushes a sample of every series again and again; each until it is acknowledged."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.base_ms = int(time.time() * 1000)
        self.count = 0
        self.is_over = threading.Event()
        self.blocks = [encode_block((("__name__", "forwarded"), ("i", f"{i:03d}"))) for i in range(SERIES)]
        self.thread = threading.Thread(target=self.run)

    def body(self) -> bytes:
        sample = b"\x09" + struct.pack("<d", self.count) + b"\x10" + varint(self.base_ms + STEP_MS * self.count)
        parts = []
        for block in self.blocks:
            series = block + b"\x12" + varint(len(sample)) + sample
            parts.append(b"\x0a" + varint(len(series)) + series)
        return bytes(cramjam.snappy.compress_raw(b"".join(parts)))

    def run(self) -> None:
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        while not self.is_over.is_set():
            body = self.body()
            while not self.is_over.is_set():
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                with suppress(http.client.HTTPException, OSError):
                    connection.request("POST", "/api/v1/write", body, headers)
                    if connection.getresponse().status == 204:
                        self.count += 1
                        break
                connection.close()
                pause(0.05)
            connection.close()
            pause(max(self.base_ms / 1000 + self.count * STEP_MS / 1000 - time.time(), 0.001))


def arrived(base: str, load: Load) -> dict[str, list[tuple[int, float]]]:
    """Return series -> [(number by its time, value), ...] of what the receiver has."""
    end = (load.base_ms + STEP_MS * load.count) / 1000 + 5
    found = {}
    for digit in range(10):  # all at once would be too much to ask for after a full run
        selector = f'forwarded{{agent="one",i=~"{digit}.*"}}'
        expression = quote(f"{selector}[{int(load.count * STEP_MS / 1000) + 60}s]")
        result = json.loads(get(f"{base}/api/v1/query?query={expression}&time={end}"))["data"]["result"]
        for s in result:
            times = [round((float(t) * 1000 - load.base_ms) / STEP_MS) for t, _ in s["values"]]
            found[s["metric"]["i"]] = list(zip(times, (float(v) for _, v in s["values"]), strict=True))
    return found


def tinyobs_command(port: int, folder: Path, *flags: str) -> list[str]:
    kind = "agent" if "--agent" in flags else "tsdb"
    return [
        sys.executable, "-m", "tinyobs", "run", f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.{kind}.path={folder / 'data'}", "--web.enable-remote-write-receiver", "--log.level=warn", *flags,
    ]  # fmt: skip


def receiver_command(kind: str, port: int, folder: Path) -> list[str]:
    if kind == "tinyobs":
        return tinyobs_command(port, folder, "--no-plugin=host")
    (folder / "p.yml").write_text("global: {}\n")
    return [
        program("prometheus"), f"--config.file={folder / 'p.yml'}", f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'data'}", "--web.enable-remote-write-receiver",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300 + KILLS * 20 + 2 * OUTAGE_SECONDS)
@pytest.mark.parametrize(
    ("kind", "flags"),
    [("tinyobs", ["--agent"]), pytest.param("prometheus", ["--no-plugin=host"], marks=pytest.mark.peer)],
)
def test_kills_and_an_outage_lose_and_double_nothing(tmp_path, kind, flags):
    """Every sample that the agent acknowledged is at the receiver in the end, once."""
    random_ = random.Random(11)
    ports = free_port(), free_port()
    far, near = tmp_path / "receiver", tmp_path / "agent"
    far.mkdir()
    near.mkdir()
    base = f"http://127.0.0.1:{ports[0]}"
    (near / "agent.yml").write_text(AGENT.format(url=f"{base}/api/v1/write"))
    receiver = Process(receiver_command(kind, ports[0], far), f"{base}/-/ready", far)
    agent = Process(
        tinyobs_command(ports[1], near, f"--config.file={near / 'agent.yml'}", *flags),
        f"http://127.0.0.1:{ports[1]}/-/ready",
        near,
    )
    load = Load(ports[1])
    try:
        receiver.start()
        agent.start()
        load.thread.start()
        for number in range(KILLS):
            pause(random_.uniform(0.3, 2.0))
            if number == KILLS // 2:
                receiver.end()
                pause(OUTAGE_SECONDS)
                receiver.start()
            victim = agent if number % 3 != 1 else receiver
            victim.end()
            pause(random_.uniform(0, 0.5))
            victim.start()
        pause(1.0)
        load.is_over.set()
        load.thread.join()
        expected = [(i, float(i)) for i in range(load.count)]
        until = time.monotonic() + 150 + OUTAGE_SECONDS
        found = arrived(base, load)
        while time.monotonic() < until and any(s[: load.count] != expected for s in found.values() or [[]]):
            pause(0.5)
            found = arrived(base, load)
        assert len(found) == SERIES
        for samples in found.values():
            missing = sorted(set(expected) - set(samples))
            assert not missing, f"{len(missing)} of {load.count} are missing: {missing[:5]}"
            assert samples[: load.count] == expected
            assert len(samples) <= load.count + 1  # the last push may have been stored without an answer
    finally:
        load.is_over.set()
        if load.thread.ident is not None:
            load.thread.join()
        for process in (agent, receiver):
            process.end()
