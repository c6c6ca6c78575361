"""`kill -9` under load of every kind: nothing that was acknowledged is lost, deletes hold, the directory is sound.

Floats, three kinds of native histograms, exemplars, metadata, late samples; deletes, cleaning, snapshots; segments
handed over by an import; cuts, merges, expiry and two tiers going on all the time.  `TINYOBS_KILLS=200` is the full run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from mixed_checks import REACH, check_lane, samples_of
from mixed_load import LATE_WITHIN, STEP_MS, Lane, Operator, value_of
from peers import daemon, free_port, get, pause

from tinyobs.cli.tsdb.directories import read_engine
from tinyobs.model.labels import from_mapping
from tinyobs.model.matchers import equal
from tinyobs.model.ragged import offsets_of
from tinyobs.storage.layout import INCOMING_FOLDER
from tinyobs.storage.manifest import read_manifest
from tinyobs.storage.posix_disk import PosixDisk
from tinyobs.storage.read_only_disk import ReadOnlyDisk
from tinyobs.storage.runs import Runs
from tinyobs.storage.segment_writer import SegmentWriter
from tinyobs.storage.verify import verify_directory

KILLS = int(os.environ.get("TINYOBS_KILLS", "12"))
"""How often the daemon is killed; continuous integration keeps it short."""
SEED = int(os.environ.get("TINYOBS_KILLS_SEED", "11"))
CONFIG = """\
tinyobs:
  storage:
    block_range: 1m
    head_size: 1MiB
    wal_file_size: 1MiB
    tiers: {5m: 60d, 1h: 90d}
    retention_by_selector: [{match: short, retention: 1h}]
"""
DAY_MS = 86_400_000
IMPORTED = 50
"""Samples of an import."""
FULL_EVERY = 25
"""Kills after which everything is compared, not only what may have changed."""


class Imports:
    """Finished segments that appear in `incoming/`: a series of its own each, and samples that live ones win over."""

    def __init__(self, data: Path, lanes: list[Lane], random_: random.Random) -> None:
        self.data, self.lanes, self.random, self.count = data, lanes, random_, 0

    def hand_over(self) -> None:
        """Write the next segment and give it its name."""
        k, lane = self.count, self.lanes[self.count % len(self.lanes)]
        known = sorted(lane.acknowledged)[-200:]
        slots = sorted(self.random.sample(known, min(5, len(known))))
        series = {self.labels(k): self.samples(k)}
        if slots:
            series[lane.labels["keep", 0]] = {lane.time_ms(n): -1.0 for n in slots}
        disk = PosixDisk(self.data)
        disk.make_folder(INCOMING_FOLDER)
        name = f"{INCOMING_FOLDER}/import-{k}.seg"
        write_segment(disk, f"{name}.tmp", series)
        disk.rename(f"{name}.tmp", name)
        disk.sync_folder(INCOMING_FOLDER)
        self.count += 1

    def labels(self, k: int):
        return from_mapping({"__name__": "imported", "k": f"{k:04d}"})

    def samples(self, k: int) -> dict[int, float]:
        first = self.lanes[0].base_ms - DAY_MS + k * 60_000
        return {first + j * 1000: k + j / 64 for j in range(IMPORTED)}

    def check(self, engine) -> int:
        """Each is there, or still waits to be taken over; return how many wait."""
        waiting = set(ReadOnlyDisk(self.data).list(INCOMING_FOLDER))
        assert not [f for f in waiting if f.endswith(".bad")]
        found = samples_of(engine, [equal("__name__", "imported")], 0)
        left = 0
        for k in range(self.count):
            if self.labels(k) not in found and f"import-{k}.seg" in waiting:
                left += 1
                continue
            assert found.get(self.labels(k)) == self.samples(k), f"import {k}"
        return left


def write_segment(disk, name: str, series) -> None:
    writer = SegmentWriter(disk, name, level=0)
    ordered = sorted(series)
    times = [t for s in ordered for t in series[s]]
    values = [v for s in ordered for v in series[s].values()]
    offsets = offsets_of(np.array([len(series[s]) for s in ordered]))
    writer.add(Runs(offsets, np.array(times, np.int64), np.array(values, np.float64)).columns(ordered))
    writer.finish()


def check_directory(data: Path, lanes: list[Lane], imports: Imports, *, full: bool) -> int:
    """Compare all that is stored with what was acknowledged; return how many imports wait."""
    report = verify_directory(ReadOnlyDisk(data))
    assert not report.damage, "\n".join(map(str, report.damage))
    with read_engine(data) as engine:
        newest_ms = max(lane.time_ms(lane.next + LATE_WITHIN) for lane in lanes)  # `late` is ahead as well
        for lane in lanes:
            recent = max(0, (lane.next - REACH - 200) // LATE_WITHIN * LATE_WITHIN)
            check_lane(engine, lane, 0 if full else recent, newest_ms)
        return imports.check(engine)


def check_over_http(base: str, lane: Lane) -> None:
    """What a client sees after the restart: a series of each lane, to the bit."""
    last = max(lane.acknowledged, default=-1)
    since = max(0, last - 100)
    end = lane.time_ms(lane.next + LATE_WITHIN) / 1000
    stored = {n for n in lane.acknowledged if n > since}
    selector = f'keep{{lane="{lane.number}"}}[{(lane.next - since + LATE_WITHIN) * STEP_MS // 1000}s]'
    found = json.loads(get(f"{base}/api/v1/query?query={quote(selector)}&time={end}"))["data"]["result"]
    slots = {lane.slot(round(t * 1000)): float(v) for series in found for t, v in series["values"]}
    assert stored <= set(slots)
    assert all(value == value_of("keep", 0, n) for n, value in slots.items())


def check_tiers(base: str, imports: Imports, base_ms: int) -> None:
    """What tiers say of imports, which came in one after the other, is what raw samples say."""
    start, end = base_ms // 1000 - 86_400, base_ms // 1000 - 86_400 + (imports.count // 60 + 2) * 3600
    for function in ("count", "sum", "min", "max"):
        expression = quote(f"sum by (k) ({function}_over_time(imported[1h]))")
        url = f"{base}/api/v1/query_range?query={expression}&start={start}&end={end}&step=3600&resolution="
        raw, *tiers = [json.loads(get(url + r))["data"]["result"] for r in ("raw", "5m", "1h")]
        assert len(raw) == imports.count
        assert tiers == [raw, raw], function


def check_snapshots(data: Path, operator: Operator, lanes: list[Lane], *, deep: bool) -> int:
    """Acknowledged snapshots are sound and hold what was stored before them; all are removed again."""
    folder = data / "snapshots"
    for name, settled in operator.snapshots:
        report = verify_directory(ReadOnlyDisk(folder / name), quick=not deep)
        assert not report.findings, "\n".join(map(str, report.findings))
        if not deep:
            continue
        with read_engine(folder / name) as engine:
            for lane, below in zip(lanes, settled, strict=True):
                first = max(0, below - 300)
                found = samples_of(engine, [equal("__name__", "keep"), equal("lane", str(lane.number))], 0)
                slots = {lane.slot(t) for samples in found.values() for t in samples}
                assert {n for n in lane.acknowledged if first <= n < below} <= slots
    count = len(operator.snapshots)
    operator.snapshots.clear()
    shutil.rmtree(folder, ignore_errors=True)
    return count


def run_and_kill(folder: Path, port: int, flags, lanes, operator, imports, random_, kill: int) -> None:
    """Start the daemon, check it over HTTP, let all senders work, on a slow machine for longer, kill it."""
    with daemon(folder, *flags, port=port) as (base, process):
        for lane in lanes:
            check_over_http(base, lane)
        stop = threading.Event()
        threads = [threading.Thread(target=lane.send_until_cut, args=(port,)) for lane in lanes]
        threads.append(threading.Thread(target=operator.work_until_cut, args=(port, stop)))
        for thread in threads:
            thread.start()
        whole = random_.uniform(0.05, 2.0)
        share = random_.random()
        pause(whole * share)
        if random_.random() < 0.5:
            imports.hand_over()
        pause(whole * (1 - share))
        while not is_enough(lanes, kill) and all(thread.is_alive() for thread in threads):
            pause()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        stop.set()
        for thread in threads:
            thread.join()


def is_enough(lanes: list[Lane], kill: int) -> bool:
    """Whether what was done up to a kill proves something."""
    return all(len(lane.acknowledged) > 5 * (kill + 1) and (lane.removals or kill < KILLS // 2) for lane in lanes)


def kill_while_starting(folder: Path, port: int, flags, random_) -> None:
    """Kill the daemon at some moment of its start."""
    command = [sys.executable, "-m", "tinyobs", "run", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "start.log").open("ab") as log:
        process = subprocess.Popen([*command, f"--storage.tsdb.path={folder / 'data'}", *flags], stdout=log, stderr=log)
        pause(random_.uniform(0.2, 2.0))
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(300 + KILLS * 25)
def test_nothing_acknowledged_is_lost_by_kills_under_mixed_load(tmp_path):
    """Every restart and every directory between two runs is compared with what senders and operator were told."""
    random_ = random.Random(SEED)
    port, data = free_port(), tmp_path / "data"
    (tmp_path / "tinyobs.yml").write_text(CONFIG)
    flags = ["--web.enable-remote-write-receiver", "--web.enable-admin-api", "--no-plugin=host", "--log.level=warn"]
    flags.append(f"--config.file={tmp_path / 'tinyobs.yml'}")
    base_ms = (int(time.time() * 1000) // DAY_MS - 3) * DAY_MS
    lanes = [Lane(0, base_ms), Lane(1, base_ms)]
    operator, imports = Operator(lanes, random_), Imports(data, lanes, random_)
    snapshots = 0
    for kill in range(KILLS):
        print(f"kill {kill}", flush=True)
        if kill % 6 == 5:
            kill_while_starting(tmp_path, port, flags, random_)
        else:
            run_and_kill(tmp_path, port, flags, lanes, operator, imports, random_, kill)
        assert not operator.errors, operator.errors
        check_directory(data, lanes, imports, full=kill % FULL_EVERY == FULL_EVERY - 1)
        snapshots += check_snapshots(data, operator, lanes, deep=kill % 4 == 0)
    with daemon(tmp_path, *flags, port=port) as (base, _):
        until = time.monotonic() + 150
        while list((data / INCOMING_FOLDER).glob("*.seg")) and time.monotonic() < until:
            pause(0.2)
        for lane in lanes:
            check_over_http(base, lane)
        check_tiers(base, imports, base_ms)
    assert check_directory(data, lanes, imports, full=True) == 0
    verified = subprocess.run(
        [sys.executable, "-m", "tinyobs", "tsdb", "verify", f"--storage.tsdb.path={data}"],
        capture_output=True,
        text=True,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert all(len(lane.acknowledged) > KILLS * 4 and lane.removals for lane in lanes)
    logged = "".join(p.read_text() for p in tmp_path.glob("*.log"))
    assert "Traceback" not in logged, logged[-3000:]
    entries = read_manifest(ReadOnlyDisk(data)).segments
    assert {e.tier_ms for e in entries} == {0, 300_000, 3_600_000}
    assert max(e.level for e in entries) > 1
    print(figures_text(lanes, imports, snapshots, entries))


def figures_text(lanes, imports, snapshots: int, entries) -> str:
    """Return what the run did, for who wants to see it (pytest -s)."""
    requests = sum(len(lane.acknowledged) for lane in lanes)
    removals = sum(len(lane.removals) for lane in lanes)
    levels = sorted({e.level for e in entries})
    parts = [f"{requests} requests", f"{removals} deletes", f"{imports.count} imports", f"{snapshots} snapshots"]
    return f"{KILLS} kills: {', '.join(parts)}; {len(entries)} segments of levels {levels}"
