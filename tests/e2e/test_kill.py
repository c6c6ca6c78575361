"""`kill -9` under load: what was acknowledged is there after the restart, again and again."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import struct
import threading
import time
from urllib.parse import quote

import cramjam
import pytest
from peers import daemon, free_port, get, pause

from tinyobs.model.registry import encode_block, varint

KILLS = int(os.environ.get("TINYOBS_KILLS", "12"))
"""How often the daemon is killed; continuous integration keeps it short."""
SERIES = 40
FLAGS = ("--web.enable-remote-write-receiver", "--no-plugin=host", "--log.level=warn")


def request(blocks: list[bytes], at_ms: int, value: float) -> bytes:
    """Return a remote-write body: one sample of every series."""
    sample = b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at_ms)
    parts = []
    for block in blocks:
        series = block + b"\x12" + varint(len(sample)) + sample
        parts.append(b"\x0a" + varint(len(series)) + series)
    return bytes(cramjam.snappy.compress_raw(b"".join(parts)))


class Pusher:
    """Pushes batch after batch and remembers which were acknowledged."""

    def __init__(self, port: int, lane: int, base_ms: int) -> None:
        self.port, self.lane, self.base_ms = port, lane, base_ms
        labels = [(("__name__", "load"), ("i", f"{i:02d}"), ("lane", str(lane))) for i in range(SERIES)]
        self.blocks = [encode_block(pairs) for pairs in labels]
        self.next, self.acknowledged = 0, set()

    def push_until_cut(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        try:
            while True:
                at, self.next = self.next, self.next + 1
                body = request(self.blocks, self.base_ms + at * 1000, float(at))
                connection.request("POST", "/api/v1/write", body, headers)
                answer = connection.getresponse()
                text = answer.read()
                assert answer.status == 204, (answer.status, text)
                self.acknowledged.add(at)
        except (http.client.HTTPException, OSError):
            pass
        finally:
            connection.close()


def stored(base: str, pusher: Pusher) -> dict[str, dict[int, float]]:
    """Return series -> {batch: value} of a pusher's lane."""
    end = (pusher.base_ms + pusher.next * 1000) / 1000
    expression = quote(f'load{{lane="{pusher.lane}"}}[{pusher.next + 60}s]')
    data = json.loads(get(f"{base}/api/v1/query?query={expression}&time={end}"))["data"]["result"]
    found = {}
    for series in data:
        samples = {round(t * 1000 - pusher.base_ms) // 1000: float(v) for t, v in series["values"]}
        found[series["metric"]["i"]] = samples
    return found


def check(base: str, pusher: Pusher) -> None:
    """All acknowledged is there, nothing is invented, a batch is there whole or not at all."""
    found = stored(base, pusher)
    if not pusher.acknowledged:
        return
    assert len(found) == SERIES
    batches = [frozenset(samples) for samples in found.values()]
    assert len(set(batches)) == 1, "a batch is there for some series only"
    missing = pusher.acknowledged - batches[0]
    assert not missing, f"acknowledged, but lost: {sorted(missing)[:10]}"
    assert batches[0] <= set(range(pusher.next))
    assert all(at == value for samples in found.values() for at, value in samples.items())


def wait_for_progress(pushers: list[Pusher], threads: list[threading.Thread], count: int) -> None:
    """Wait until each has more than so many acknowledgements, as it has at once where the machine is not slow."""
    while min(len(p.acknowledged) for p in pushers) <= count:
        assert all(thread.is_alive() for thread in threads)
        pause()


@pytest.mark.slow
@pytest.mark.timeout(300 + KILLS * 20)
def test_no_acknowledged_sample_is_lost_by_kills(tmp_path):
    """Two connections push while the daemon is killed at random moments; every restart is checked."""
    random_ = random.Random(7)
    port = free_port()
    base_ms = int(time.time() * 1000) - 86_400_000
    pushers = [Pusher(port, lane, base_ms) for lane in (0, 1)]
    for kill in range(KILLS):
        with daemon(tmp_path, *FLAGS, port=port) as (base, process):
            for pusher in pushers:
                check(base, pusher)
            threads = [threading.Thread(target=p.push_until_cut) for p in pushers]
            for thread in threads:
                thread.start()
            pause(random_.uniform(0.02, 0.6))
            wait_for_progress(pushers, threads, kill + 1)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            for thread in threads:
                thread.join()
    with daemon(tmp_path, *FLAGS, port=port) as (base, _):
        for pusher in pushers:
            check(base, pusher)
            assert len(pusher.acknowledged) > KILLS
