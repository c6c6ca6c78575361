"""Bad surroundings of the real daemon: full disks, no rights, second daemons, used ports, damaged data, signals."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from peers import daemon, free_port, get, pause, query
from test_kill import FLAGS, Pusher, check, request
from test_storage_faults import in_namespace, mount

pytestmark = [pytest.mark.slow]

UID = 65534
"""The user `nobody`."""
HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}


def start(folder, *flags, uid=None):
    """Run the daemon until it ends by itself; return (exit code, what it said)."""
    command = [
        sys.executable, "-m", "tinyobs", "run", f"--web.listen-address=127.0.0.1:{free_port()}",
        f"--storage.tsdb.path={folder}", "--no-plugin=host", *flags,
    ]  # fmt: skip
    if uid is not None:
        command = ["setpriv", f"--reuid={uid}", "--clear-groups", *command]
    found = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd="/")
    assert "Traceback" not in found.stderr, found.stderr
    return found.returncode, found.stderr


def port_of(base):
    return int(base.rpartition(":")[2])


def push(base, blocks, at_ms, value):
    """Push one sample of each series; return the status and text of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(base), timeout=60)
    try:
        connection.request("POST", "/api/v1/write", request(blocks, at_ms, value), HEADERS)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def metric(base, name):
    lines = get(f"{base}/metrics").decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + " ", name + "{")))


def filled(folder):
    """Leave a data directory with a segment and a log of several records behind; return the pusher's record."""
    file = folder / "tinyobs.yml"
    file.write_text("tinyobs: {storage: {block_range: 1m, out_of_order_window: 0s}}\n")
    pusher = Pusher(0, 0, int(time.time() * 1000) - 7_200_000)
    with daemon(folder, *FLAGS, f"--config.file={file}") as (base, _):
        for i in range(400):
            assert push(base, pusher.blocks, pusher.base_ms + i * 10_000, float(i))[0] == 204
        until = time.monotonic() + 150
        while not metric(base, "prometheus_tsdb_blocks_loaded"):
            assert time.monotonic() < until, "no segment was written"
            pause(0.2)
    return pusher


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Return a data directory with segments and a log."""
    folder = tmp_path_factory.mktemp("sound")
    filled(folder)
    return folder / "data"


@pytest.fixture
def data(sound, tmp_path):
    """Return a copy of the directory, to be damaged."""
    shutil.copytree(sound, tmp_path / "data")
    return tmp_path / "data"


def only(files):
    """Return the largest of some files."""
    found = sorted(files, key=lambda f: f.stat().st_size)
    assert found, "there is no such file"
    return found[-1]


def flip(file: Path, offset: int) -> None:
    """Turn one bit of a file."""
    content = bytearray(file.read_bytes())
    content[offset] ^= 0x10
    file.write_bytes(content)


def test_a_full_disk(tmp_path):
    """Pushes are refused with 507 or 503 and counted, queries go on, and storing resumes by itself when there is space."""
    done = in_namespace("full_disk_case", tmp_path, __name__)
    assert done.returncode == 0, done.stdout + done.stderr


def full_disk_case(tmp_path):
    """Fill the file system, of 6 MB, of a running daemon, and make room again."""
    small_disk = tmp_path / "small"
    small_disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small_disk))
    file = tmp_path / "tinyobs.yml"
    file.write_text("tinyobs: {storage: {wal_file_size: 1MiB}}\n")
    pusher = Pusher(0, 0, int(time.time() * 1000) - 3_000_000)
    with daemon(small_disk, *FLAGS, f"--config.file={file}") as (base, _):
        filler = small_disk / "filler"
        pusher.port, statuses = port_of(base), []

        def push_next():
            at, pusher.next = pusher.next, pusher.next + 1
            status, text = push(base, pusher.blocks, pusher.base_ms + at * 1000, float(at))
            statuses.append(status)
            if status == 204:
                pusher.acknowledged.add(at)
            return status, text

        assert push_next()[0] == 204
        with filler.open("wb", buffering=0) as f, contextlib.suppress(OSError):
            while True:
                f.write(b"\0" * 4096)
        until = time.monotonic() + 150
        while statuses[-1] == 204:
            assert time.monotonic() < until, "the disk never was full"
            push_next()
        assert statuses[-1] in (507, 503)
        for _ in range(5):
            status, text = push_next()
            assert status in (204, 503, 507), text
        assert query(base, "vector(1)") == {(): 1.0}
        assert metric(base, "tinyobs_ingest_disk_full_total") >= 1
        assert metric(base, "tinyobs_storage_read_only") == 0
        check(base, pusher)
        filler.unlink()
        until = time.monotonic() + 150
        while push_next()[0] != 204:
            assert time.monotonic() < until, f"storing did not resume: {statuses[-5:]}"
            pause(0.1)
        check(base, pusher)
    with daemon(small_disk, *FLAGS, f"--config.file={file}") as (base, _):
        check(base, pusher)


def test_a_directory_without_rights(tmp_path):
    """The start ends with the path and the reason."""
    uid = None
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("running as another user needs setpriv")
        uid = UID
        for parent in [tmp_path, *tmp_path.parents]:
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o055)
        probe = subprocess.run(
            ["setpriv", f"--reuid={uid}", "--clear-groups", sys.executable, "-c", "import tinyobs"], capture_output=True
        )
        if probe.returncode:
            pytest.skip("another user cannot read the interpreter")
    code, said = start(folder / "data", uid=uid)
    assert code == 3, said
    assert str(folder) in said
    assert "ermission denied" in said


def test_a_second_daemon_on_the_directory(tmp_path):
    """It ends with exit code 3 and names the process that has the directory; the first goes on."""
    with daemon(tmp_path, *FLAGS) as (base, process):
        code, said = start(tmp_path / "data")
        assert code == 3, said
        assert str(process.pid) in said
        assert query(base, "vector(1)") == {(): 1.0}


def test_a_used_port(tmp_path):
    """The start ends with exit code 1 or 2 and names the address; no data directory is made."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        code, said = start(tmp_path / "data", f"--web.listen-address=127.0.0.1:{port}")
    assert code in (1, 2)
    assert f"127.0.0.1:{port}" in said
    assert not (tmp_path / "data").exists()


def test_a_log_that_is_torn_at_its_end(data, tmp_path):
    """The daemon starts, counts the bytes that were cut off, and answers."""
    file = max((data / "wal").iterdir())  # the newest: damage in any other is no torn tail
    with file.open("ab") as f:
        f.write(b"\x17" * 100)
    with daemon(tmp_path, *FLAGS) as (base, _):
        assert metric(base, "tinyobs_storage_replay_torn_bytes") > 0
        at = time.time()
        assert query(base, "count(count_over_time(load[3h]))", at) == {(): 40.0}


def test_a_log_that_is_damaged_in_the_middle(tmp_path):
    """Exit code 3, with the file and the byte; nothing is changed."""
    pusher, data = Pusher(0, 0, int(time.time() * 1000) - 600_000), tmp_path / "data"
    with daemon(tmp_path, *FLAGS) as (base, _):
        for i in range(50):
            assert push(base, pusher.blocks, pusher.base_ms + i * 1000, float(i))[0] == 204
    file = only((data / "wal").iterdir())
    flip(file, file.stat().st_size // 2)
    before = file.read_bytes()
    code, said = start(data)
    assert code == 3, said
    assert file.name in said
    assert "at byte" in said
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "header", "missing"])
def test_a_damaged_segment(data, damage):
    """A segment that is cut off, whose head is damaged, or that is not there: exit code 3, and its name."""
    file = only(f for f in (data / "segments").rglob("*") if f.is_file())
    if damage == "truncated":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "header":
        flip(file, 3)
    else:
        file.unlink()
    code, said = start(data)
    assert code == 3, said
    assert file.name in said


def test_a_flipped_bit_in_the_samples_of_a_segment(data, tmp_path):
    """A query that meets it fails with the file in its message; others go on."""
    file = only(f for f in (data / "segments").rglob("*") if f.is_file())
    for part in (4, 3, 2):
        flip(file, file.stat().st_size // part)
    with daemon(tmp_path, *FLAGS) as (base, _):
        connection = http.client.HTTPConnection("127.0.0.1", port_of(base), timeout=60)
        connection.request("GET", "/api/v1/query?query=count_over_time(load[3h])")
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status >= 400, text[:300]
        connection.close()
        assert file.name in json.loads(text)["error"], text
        assert query(base, "vector(1)") == {(): 1.0}


def test_a_directory_of_a_newer_version(data):
    """Exit code 3, and the message names both versions and what to do."""
    file = data / "MANIFEST"
    raise_version(file)
    code, said = start(data)
    assert code == 3, said
    assert "this release reads up to" in said
    assert "upgrade TinyObs" in said


def raise_version(file):
    """Let the manifest say that it has a version that is not there yet."""
    plain = json.loads(file.read_bytes().partition(b"\n")[0])
    text = json.dumps({**plain, "format": plain["format"] + 1}).encode()
    file.write_bytes(text + b"\n%08x\n" % zlib.crc32(text))


def test_sigterm_during_load(tmp_path):
    """The daemon ends with code 0 while clients push; all that was acknowledged is there at the next start."""
    port = free_port()
    pushers = [Pusher(port, lane, int(time.time() * 1000) - 3_600_000) for lane in (0, 1)]
    with daemon(tmp_path, *FLAGS, port=port) as (_, process):
        threads = [threading.Thread(target=_push, args=(p,)) for p in pushers]
        for thread in threads:
            thread.start()
        while min(len(p.acknowledged) for p in pushers) <= 5:
            assert process.poll() is None
            pause()
        process.send_signal(signal.SIGTERM)
        assert process.wait(100) == 0
        for thread in threads:
            thread.join()
    with daemon(tmp_path, *FLAGS, port=port) as (base, _):
        for pusher in pushers:
            check(base, pusher)


def _push(pusher):
    """Push until the daemon is gone or says that it stops."""
    with contextlib.suppress(AssertionError):
        pusher.push_until_cut()


def test_sighup_reloads(tmp_path):
    """A signal takes over a changed file; one with faults leaves the running configuration."""
    file = tmp_path / "tinyobs.yml"
    file.write_text("global: {scrape_interval: 7s}\n")
    with daemon(tmp_path, *FLAGS, f"--config.file={file}") as (base, process):
        for text, shown, good in (
            ("global: {scrape_interval: 8s}\n", "scrape_interval: 8s", 1),
            ("global: {scrape_interval: no}\n", "scrape_interval: 8s", 0),
        ):
            before = metric(base, "tinyobs_config_reloads_total")
            file.write_text(text)
            process.send_signal(signal.SIGHUP)
            until = time.monotonic() + 150
            while metric(base, "tinyobs_config_reloads_total") == before:
                assert time.monotonic() < until, "no reload"
                pause()
            assert shown in get(f"{base}/api/v1/status/config").decode()
            assert metric(base, "prometheus_config_last_reload_successful") == good
    log = next(tmp_path.glob("python*.log")).read_text()
    assert "scrape_interval" in log
