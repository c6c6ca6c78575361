"""Faults of a real directory under the real daemon: what it answers, what it logs, its exit code, and how it goes on.

Those that need a file system of their own run in a private mount namespace and are skipped where there is none.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from peers import daemon, free_port, get, pause, query

from tinyobs.exposition.remote_write_encoder import encode
from tinyobs.model.labels import from_mapping
from tinyobs.storage.layout import MANIFEST
from tinyobs.storage.manifest import read_manifest
from tinyobs.storage.read_only_disk import ReadOnlyDisk

pytestmark = [pytest.mark.slow]

FLAGS = ("--web.enable-remote-write-receiver", "--no-plugin=host", "--log.level=info")
CONFIG = "tinyobs:\n  storage:\n    block_range: 1m\n"
STORAGE_EXIT = 3
ROOT = Path(__file__).resolve().parents[2]
BASE_MS = int(time.time()) // 3600 * 3_600_000 - 6 * 3_600_000


def push(base: str, name: str, first: int, count: int, series: int = 5) -> int:
    """Push samples a second apart; return the HTTP status."""
    times = [BASE_MS + (first + j) * 1000 for j in range(count)]
    rows = [
        (from_mapping({"__name__": name, "i": str(i)}), times, [float(first + j) for j in range(count)])
        for i in range(series)
    ]
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=60)
    try:
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        connection.request("POST", "/api/v1/write", encode(rows), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def count(base: str, name: str) -> float:
    """Return how many samples of a metric there are."""
    found = query(base, f"sum(count_over_time({name}[6h]))", BASE_MS / 1000 + 3 * 3600)
    return next(iter(found.values()), 0.0)


def flags_in(folder: Path) -> tuple[str, ...]:
    (folder / "tinyobs.yml").write_text(CONFIG)
    return (*FLAGS, f"--config.file={folder / 'tinyobs.yml'}")


def wait_until(what, seconds: float = 150.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        pause(0.1)


def segments_of(folder: Path) -> list[Path]:
    disk = ReadOnlyDisk(folder / "data")
    return [folder / "data" / "segments" / f"{e.sequence:08d}.seg" for e in read_manifest(disk).segments]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A data directory with segments and a log, that nobody has open."""
    folder = tmp_path_factory.mktemp("filled")
    with daemon(folder, *flags_in(folder)) as (base, _):
        for first in range(0, 600, 100):
            assert push(base, "m", first, 100) == 204
        wait_until(lambda: segments_of(folder))
        assert count(base, "m") == 3000
    return folder


@pytest.fixture
def copied(filled, tmp_path):
    shutil.copytree(filled / "data", tmp_path / "data")
    return tmp_path


def started(folder: Path) -> subprocess.CompletedProcess[str]:
    """Start the daemon, which ends by itself; return how."""
    command = [sys.executable, "-m", "tinyobs", "run", f"--web.listen-address=127.0.0.1:{free_port()}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", *flags_in(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("what", ["log", "footer", "manifest", "segment gone"])
def test_a_damaged_directory_ends_the_start_in_words(copied, what):
    """Exit code 3 and one message with file, byte and remedy; after a repair the daemon runs."""
    segment, log = segments_of(copied)[0], sorted((copied / "data" / "wal").iterdir())[0]
    if what == "log":
        flip(log, 100)
        expected = f"tinyobs: wal/{log.name}: damaged at byte "
    elif what == "footer":
        flip(segment, segment.stat().st_size - 40)
        expected = f"tinyobs: segments/{segment.name}: damaged at byte "
    elif what == "manifest":
        flip(copied / "data" / MANIFEST, 30)
        expected = f"tinyobs: {MANIFEST}: damaged at byte 0: its checksum does not fit; "
    else:
        segment.unlink()
        expected = f"tinyobs: segments/{segment.name} is listed in {MANIFEST} but missing"
    done = started(copied)
    assert done.returncode == STORAGE_EXIT
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("tinyobs: ")]
    assert line.startswith(expected)
    assert "`tinyobs tsdb repair`" in line
    assert "Traceback" not in done.stderr
    repaired = subprocess.run(
        [sys.executable, "-m", "tinyobs", "tsdb", "repair", "--yes", f"--storage.tsdb.path={copied / 'data'}"],
        capture_output=True,
        text=True,
    )
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    with daemon(copied, *flags_in(copied)) as (base, _):
        assert push(base, "after", 700, 10) == 204
        assert count(base, "after") == 50


def test_a_newer_format_ends_the_start_in_words(copied):
    """Exit code 3; the message names file, version and remedy."""
    path = segments_of(copied)[0]
    data = bytearray(path.read_bytes())
    data[8:12] = data[-16:-12] = (99).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    done = started(copied)
    assert done.returncode == STORAGE_EXIT
    assert f"segments/{path.name} has segment format 99; this release reads up to" in done.stderr
    assert "upgrade TinyObs" in done.stderr


def test_a_torn_tail_is_in_the_log_of_the_daemon(copied):
    """The start goes on and says what it cut off."""
    log = sorted((copied / "data" / "wal").iterdir())[-1]
    size = log.stat().st_size
    with log.open("ab") as file:
        file.write(b"half a record")
    with daemon(copied, *flags_in(copied)) as (base, _):
        text = copied / f"{Path(sys.executable).name}.log"
        wait_until(lambda: "cut off" in text.read_text())
        assert f"wal/{log.name}: cut off 13 bytes at byte {size}" in text.read_text()
        assert count(base, "m") == 3000


def test_a_damaged_page_fails_only_the_queries_that_need_it(copied):
    """The answer names file and byte; so does the log; other queries, pushes and the health of the daemon go on."""
    path = segments_of(copied)[0]
    flip(path, 70)
    with daemon(copied, *flags_in(copied)) as (base, _):
        connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=60)
        connection.request("GET", f"/api/v1/query?query=sum(count_over_time(m[6h]))&time={BASE_MS / 1000 + 3 * 3600}")
        answer = connection.getresponse()
        error = json.loads(answer.read())["error"]
        connection.close()
        assert answer.status >= 400
        assert f"segments/{path.name}: damaged at byte " in error
        assert push(base, "other", 700, 10) == 204
        assert count(base, "other") == 50
        assert b"tinyobs_storage_corruptions_total" in get(f"{base}/metrics")
        text = copied / f"{Path(sys.executable).name}.log"
        wait_until(lambda: "all else goes on; run `tinyobs tsdb verify" in text.read_text())


# -- file systems of their own ---------------------------------------------------------------------------------


def in_namespace(case: str, folder: Path, module: str = __name__) -> subprocess.CompletedProcess[str]:
    """Run a function of a module in a private mount namespace, which no other test sees, or skip the test."""
    probe = ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs none {folder}"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no right to a mount namespace of one's own (unshare -rm)")
    code = f"import sys; sys.path[:0] = {[str(ROOT / 'tests'), str(ROOT / 'tests' / 'e2e')]}; "
    code += f"from pathlib import Path; import {module} as t; t.{case}(Path({str(folder)!r}))"
    return subprocess.run(["unshare", "-rm", sys.executable, "-c", code], capture_output=True, text=True, timeout=250)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def read_only_case(folder: Path) -> None:
    """Fill a directory, mount it read-only, look at it, start on it."""
    data = folder / "data"
    data.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "none", str(data))
    with daemon(folder, *flags_in(folder)) as (base, _):
        assert push(base, "m", 0, 100) == 204
    mount("-o", "remount,ro", str(data))
    done = started(folder)
    assert done.returncode == STORAGE_EXIT, done.stderr
    assert f"tinyobs: the file system of the data directory {data} is read-only: find out why (dmesg)" in done.stderr
    for command in ("verify", "export"):
        looked = subprocess.run(
            [sys.executable, "-m", "tinyobs", "tsdb", command, f"--storage.tsdb.path={data}"],
            capture_output=True,
            text=True,
        )
        assert looked.returncode == 0, looked.stderr
    mount("-o", "remount,rw", str(data))
    with daemon(folder, *flags_in(folder)) as (base, _):
        assert count(base, "m") == 500
        assert push(base, "m", 100, 100) == 204
    print("done")


def full_case(folder: Path) -> None:
    """Fill the file system below a running daemon, kill it, make room, see that all is there."""
    data = folder / "data"
    data.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "none", str(data))
    acknowledged = 0
    with daemon(folder, *flags_in(folder)) as (base, process):
        assert push(base, "m", 0, 100) == 204
        ballast = (data / "ballast").open("wb", buffering=0)
        with contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))
        ballast.close()
        acknowledged = 100
        while (status := push(base, "m", acknowledged, 100)) == 204:
            acknowledged += 100
        assert status == 507
        assert count(base, "m") == 5 * acknowledged
        process.send_signal(signal.SIGKILL)
        process.wait()
    with daemon(folder, *flags_in(folder)) as (base, _):  # still full: what is there can be asked for
        assert count(base, "m") == 5 * acknowledged
        (data / "ballast").unlink()
        wait_until(lambda: push(base, "m", acknowledged, 100) == 204)
        assert count(base, "m") == 5 * (acknowledged + 100)
    print("done")


@pytest.mark.parametrize("case", ["read_only_case", "full_case"])
def test_real_file_systems(case, tmp_path):
    """A read-only one ends the start in words and can be looked at; a full one refuses pushes until there is room."""
    done = in_namespace(case, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done\n")
