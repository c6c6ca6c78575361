"""Imports into the directory of a running daemon, exports from it, and files of other programs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from peers import daemon, free_port, get, pause, program, running, victoria_metrics

pytestmark = [pytest.mark.slow]

FLAGS = ("--no-plugin=host", "--log.level=warn", "--storage.tsdb.retention.time=20y")
START = 1_600_000_000


def tinyobs(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tinyobs", "tsdb", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, **options)


def matrix(base: str, selector: str, seconds: int) -> dict[tuple, list]:
    """Return the raw samples of series within some time from START on."""
    text = get(f"{base}/api/v1/query?query={quote(f'{selector}[{seconds}s]')}&time={START + seconds - 1}")
    found = json.loads(text)["data"]["result"]
    return {tuple(sorted(r["metric"].items())): r["values"] for r in found}


def wait_for_series(base: str, selector: str, seconds: int, count: int) -> dict[tuple, list]:
    until = time.monotonic() + 150
    while time.monotonic() < until:
        found = matrix(base, selector, seconds)
        if sum(map(len, found.values())) >= count:
            return found
        pause(0.2)
    raise AssertionError(f"{selector} did not come: {found}")


def csv(path: Path, series: int, samples: int) -> None:
    rows = [f"{START + 60 * t},h{i},{t + i / 8}" for t in range(samples) for i in range(series)]
    path.write_text("time,host,temperature\n" + "\n".join(rows) + "\n")


def test_a_running_daemon_takes_an_import_over_by_itself(tmp_path):
    """Years-old samples are there within seconds, without a restart; the same import again is refused."""
    csv(tmp_path / "old.csv", 5, 200)
    with daemon(tmp_path, *FLAGS) as (base, _):
        path = f"--storage.tsdb.path={tmp_path / 'data'}"
        done = tinyobs("import", path, str(tmp_path / "old.csv"))
        assert done.returncode == 0, done.stderr
        assert "imported 1000 samples, 5 series from 2020-09-13" in done.stdout
        found = wait_for_series(base, "temperature", 60 * 200, 1000)
        assert found[("__name__", "temperature"), ("host", "h3")][7] == [START + 420, "7.375"]
        again = tinyobs("import", path, str(tmp_path / "old.csv"))
        assert again.returncode == 2
        assert "--again" in again.stderr
        refused = tinyobs("export", path)
        assert refused.returncode == 3
        assert "snapshot" in refused.stderr
    exported = tinyobs("export", path, "--match", '{host=~"h[12]"}', "--format", "csv", "--start", str(START + 600))
    assert exported.stdout.count("\n") == 1 + 2 * 190
    assert exported.stdout.startswith("__name__,host,timestamp_ms,value\ntemperature,h1,1600000600000,10.125\n")


def test_an_import_that_was_killed_goes_on_where_it_was(tmp_path):
    """After kill -9 the same command completes; what had been handed over is not read again."""
    csv(tmp_path / "old.csv", 50, 20_000)
    path = f"--storage.tsdb.path={tmp_path / 'data'}"
    arguments = ["import", "--create", path, "--round", "100000", "--memory", "20MB", str(tmp_path / "old.csv")]
    process = subprocess.Popen([sys.executable, "-m", "tinyobs", "tsdb", *arguments, "--rate", "300000"])
    incoming = tmp_path / "data" / "incoming"
    until = time.monotonic() + 150
    while not list(incoming.glob(".import-*.json")) and time.monotonic() < until:
        pause(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = tinyobs(*arguments)
    assert done.returncode == 0, done.stderr
    assert "imported 1000000 samples" in done.stdout
    assert "in an earlier run" in done.stdout
    with daemon(tmp_path, *FLAGS) as (base, _):
        expression = quote("sum(count_over_time(temperature[14d]))")
        until = time.monotonic() + 150
        count = ""
        while count != "1000000" and time.monotonic() < until:
            pause(0.2)
            url = f"{base}/api/v1/query?query={expression}&time={START + 60 * 19_999}"
            result = json.loads(get(url))["data"]["result"]
            count = result[0]["value"][1] if result else ""
    assert count == "1000000"


def test_bad_lines_are_told_and_the_rest_is_imported(tmp_path):
    """Exit code 1, each line with file, line and column; --strict imports nothing of it."""
    (tmp_path / "x.om").write_text("a 1 1\na x 2\na 3 3\n# EOF\n")
    path = f"--storage.tsdb.path={tmp_path / 'data'}"
    strict = tinyobs("import", "--create", path, "--strict", str(tmp_path / "x.om"))
    assert strict.returncode == 1
    done = tinyobs("import", path, str(tmp_path / "x.om"))
    assert done.returncode == 1
    assert 'x.om:2:3: not a number: "x"' in done.stderr
    assert "imported 2 samples" in done.stdout
    piped = tinyobs("import", path, "--format", "openmetrics", "-", input="b 1 1\n# EOF\n")
    assert (piped.returncode, piped.stdout[:18]) == (0, "imported 1 samples")


@pytest.mark.peer
def test_what_victoriametrics_exports_is_imported(tmp_path):
    """The same series, times and values; and what we export goes into VictoriaMetrics."""
    port = free_port()
    command = [
        victoria_metrics(), f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={tmp_path / 'vm'}",
        "-retentionPeriod=100y", "-search.latencyOffset=0s",
    ]  # fmt: skip
    peer = f"http://127.0.0.1:{port}"
    lines = [f'cpu{{host="h{i}"}} {t * 1.5 + i} {START * 1000 + t * 15_000}' for i in range(10) for t in range(300)]
    with running(command, f"{peer}/health", tmp_path):
        body = "\n".join(lines).encode()
        urllib.request.urlopen(urllib.request.Request(f"{peer}/api/v1/import/prometheus", body), timeout=60).read()
        get(f"{peer}/internal/force_flush")
        exported = b""
        while exported.count(b"\n") < 10:
            pause(0.2)
            exported = get(f"{peer}/api/v1/export?match[]=cpu&start={START - 10}&end={START + 10_000}")
        (tmp_path / "vm.jsonl").write_bytes(exported)
        path = f"--storage.tsdb.path={tmp_path / 'data'}"
        with daemon(tmp_path, *FLAGS) as (base, _):
            done = tinyobs("import", path, str(tmp_path / "vm.jsonl"))
            assert done.returncode == 0, done.stderr
            found = wait_for_series(base, "cpu", 10_000, 3000)
        assert found == {
            (("__name__", "cpu"), ("host", f"h{i}")): [[START + t * 15, f"{t * 1.5 + i:g}"] for t in range(300)]
            for i in range(10)
        }
        ours = tinyobs("export", path).stdout.replace('"cpu"', '"cpu2"').encode()
        urllib.request.urlopen(urllib.request.Request(f"{peer}/api/v1/import", ours), timeout=60).read()
        get(f"{peer}/internal/force_flush")
        back = b""
        while back.count(b"\n") < 10:
            pause(0.2)
            back = get(f"{peer}/api/v1/export?match[]=cpu2&start={START - 10}&end={START + 10_000}")
    assert sorted(back.replace(b'"cpu2"', b'"cpu"').splitlines()) == sorted(exported.splitlines())


@pytest.mark.peer
def test_promtool_reads_what_is_exported_and_both_read_alike(tmp_path):
    """OpenMetrics that we write makes a block of promtool's with the same samples as ours."""
    promtool = program("promtool")
    csv(tmp_path / "old.csv", 3, 100)
    path = f"--storage.tsdb.path={tmp_path / 'data'}"
    assert tinyobs("import", "--create", path, str(tmp_path / "old.csv")).returncode == 0
    with daemon(tmp_path, *FLAGS) as (base, _):
        wait_for_series(base, "temperature", 6000, 300)
    exported = tinyobs("export", path, "--match", "temperature", "--output", str(tmp_path / "out.om"))
    assert exported.returncode == 0, exported.stderr
    made = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", "out.om", "blocks"], cwd=tmp_path, capture_output=True
    )
    assert made.returncode == 0, made.stderr
    (tmp_path / "blocks" / "wal").mkdir()  # else promtool takes it for no database
    dumped = subprocess.run([promtool, "tsdb", "dump", "blocks"], cwd=tmp_path, capture_output=True, text=True).stdout
    ours = tinyobs("dump", path, "--match", "temperature").stdout
    assert len(ours.splitlines()) == 300
    assert sorted(dumped.splitlines()) == sorted(ours.splitlines())
