"""`kill -9` of a daemon that writes a file: what was acknowledged is in the file once, in order, whenever it was killed."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time

import pytest
from peers import free_port, pause, running
from test_kill import SERIES, Pusher, wait_for_progress

KILLS = int(os.environ.get("TINYOBS_KILLS", "5"))
"""How often the daemon is killed; continuous integration keeps it short."""
DAY_MS = 86_400_000
CONFIG = """
tinyobs:
  file_sinks:
    - {name: out, path: out.jsonl, rotate_size: 1GiB, match: ['load']}
"""
MODES = {"server": ["--storage.tsdb.path={}"], "agent": ["--agent", "--storage.agent.path={}"]}


def written(path):
    """(lane, series) -> values in the order of the file."""
    found = {}
    for line in path.read_text().splitlines():
        data = json.loads(line)
        found.setdefault((data["metric"]["lane"], data["metric"]["i"]), []).extend(data["values"])
    return found


@pytest.mark.slow
@pytest.mark.timeout(300 + KILLS * 20)
@pytest.mark.parametrize("mode", MODES)
def test_a_sink_loses_and_doubles_nothing_by_kills(tmp_path, mode):
    """Two connections push; behind the last start and an orderly stop, the file has what was acknowledged, once each."""
    random_ = random.Random(11)
    port = free_port()
    (tmp_path / "c.yml").write_text(CONFIG)
    command = [
        *(sys.executable, "-m", "tinyobs", "run", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
        *("--web.enable-remote-write-receiver", "--no-plugin=host", f"--config.file={tmp_path / 'c.yml'}"),
        *(flag.format(tmp_path / "data") for flag in MODES[mode]),
    ]
    begin_ms = (
        int(time.time() * 1000) - DAY_MS
    )  # samples a second apart, pushed as fast as they go, must not reach the future
    pushers = [Pusher(port, lane, begin_ms) for lane in (0, 1)]
    for life in range(KILLS + 1):
        with running(command, f"http://127.0.0.1:{port}/-/ready", tmp_path) as process:
            if life == KILLS:
                break
            threads = [threading.Thread(target=p.push_until_cut) for p in pushers]
            for thread in threads:
                thread.start()
            pause(random_.uniform(0.1, 2.5))
            wait_for_progress(pushers, threads, life + 1)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            for thread in threads:
                thread.join()
    found = written(tmp_path / "out.jsonl")
    for pusher in pushers:
        assert len(pusher.acknowledged) > KILLS
        for i in range(SERIES):
            values = found[(str(pusher.lane), f"{i:02d}")]
            assert values == sorted(set(values)), "out of order, or twice"
            assert pusher.acknowledged <= set(values), "acknowledged, but lost"
            assert set(values) <= set(range(pusher.next)), "invented"
