"""The program as a process: it starts, says where to look, reloads, stops, and explains what is in its way."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from functools import partial

import psutil
import pytest

WAIT_SECONDS = 150


@contextmanager
def daemon(folder, *arguments, **environment):
    """Run `tinyobs run` on a free port; yields (process, URL) when it has greeted."""
    command = [
        sys.executable,
        "-m",
        "tinyobs",
        "run",
        "--web.listen-address=127.0.0.1:0",
        "--no-plugin=host",
        *arguments,
    ]
    process = subprocess.Popen(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        url = ""
        for line in process.stdout:
            if found := re.match(r"  look at +(\S+)/$", line):
                url = found.group(1)
            if line.startswith("  own metrics"):
                break
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT_SECONDS)


def ended(process):
    """Wait for the end; return (exit code, log)."""
    _, log = process.communicate(timeout=WAIT_SECONDS)
    return process.returncode, log


def get(url):
    """Return the body of an answer."""
    with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer:
        return answer.read()


def tinyobs(folder, *arguments):
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tinyobs", *arguments],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_with_nothing_and_stops_in_order(tmp_path, number):
    """Data in ./data, an answer at the address it told, exit code 0 after the signal, every line of the log in order."""
    with daemon(tmp_path) as (process, url):
        assert get(url + "/-/ready")
        assert (tmp_path / "data").is_dir()
        process.send_signal(number)
        code, log = ended(process)
    assert code == 0
    assert 'msg="TinyObs is ready"' in log
    assert log.splitlines()[-1].endswith("msg=stopped")


def test_a_hangup_reloads(tmp_path):
    """The new file counts; a broken one is logged with its faults, and the daemon goes on."""
    file = tmp_path / "prometheus.yml"
    file.write_text("global: {scrape_interval: 1h}\n")
    with daemon(tmp_path, "--log.format=json") as (process, url):

        def reload(text, message):
            file.write_text(text)
            process.send_signal(signal.SIGHUP)
            for line in process.stderr:
                entry = json.loads(line)
                if entry["msg"] == message:
                    return entry
            return None

        assert reload("global: {scrape_interval: 2h}\n", "configuration reloaded")
        assert b"scrape_interval: 2h" in get(url + "/api/v1/status/config")
        broken = reload("global: {scrape_intervall: 3h}\n", "configuration was not reloaded; the running one stays")
        assert "did you mean 'scrape_interval'" in broken["error"]
        assert broken["level"] == "error"
        assert b"scrape_interval: 2h" in get(url + "/api/v1/status/config")


def test_a_hangup_does_not_disturb_the_end(tmp_path):
    """A request whose body has not come is answered after SIGTERM, whatever SIGHUP comes then; the end is one in order."""
    with daemon(tmp_path) as (process, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=WAIT_SECONDS) as client:
            head = "POST /api/v1/query HTTP/1.1\r\nHost: t\r\nContent-Length: 7\r\n"
            client.sendall(head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\nquery")
            while not get_waiting(url):
                pass
            process.terminate()
            for line in process.stderr:
                if "msg=stopping" in line:
                    break
            process.send_signal(signal.SIGHUP)
            answer = b"".join(iter(partial(client.recv, 4096), b""))
        assert answer.startswith(b"HTTP/1.1 503")
        assert answer.endswith(b"the daemon is stopping\n")
        assert ended(process)[0] == 0


def get_waiting(url):
    """Tell whether another connection than ours is open."""
    return b"tinyobs_http_connections 2" in get(url + "/metrics")


def test_a_locked_directory_is_told(tmp_path):
    """The second daemon ends with code 3 and one line that names the directory and the process."""
    with daemon(tmp_path) as (process, _):
        second = tinyobs(tmp_path, "run", "--web.listen-address=127.0.0.1:0", "--no-plugin=host")
        assert second.returncode == 3
        assert "Traceback" not in second.stderr
        assert re.search(rf"^tinyobs: .*data.*{process.pid}", second.stderr, re.MULTILINE)


def test_a_used_port_is_told(tmp_path):
    """Code 1 and the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = tinyobs(tmp_path, "run", f"--web.listen-address=127.0.0.1:{port}", "--no-plugin=host")
    assert done.returncode == 1
    assert done.stderr == f"tinyobs: cannot listen on 127.0.0.1:{port}: the address is already in use\n"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    """Code 3 and the path: here a file stands in the way."""
    (tmp_path / "file").touch()
    done = tinyobs(tmp_path, "run", "--storage.tsdb.path=file/data", "--web.listen-address=127.0.0.1:0")
    assert done.returncode == 3
    assert "tinyobs: cannot create the data directory file/data" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(tmp_path):
    """Code 3 and the path."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0)
    done = tinyobs(tmp_path, "run", "--web.listen-address=127.0.0.1:0")
    assert done.returncode == 3
    assert "no right to read and write the data directory" in done.stderr


def test_a_damaged_directory_is_told(tmp_path):
    """Code 3, the file and the byte."""
    with daemon(tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        ended(process)
    manifest = next((tmp_path / "data").glob("MANIFEST*"))
    manifest.write_bytes(b"\xff" * 20)
    done = tinyobs(tmp_path, "run", "--web.listen-address=127.0.0.1:0", "--no-plugin=host")
    assert done.returncode == 3
    assert re.search(rf"^tinyobs: {manifest.name}: damaged at byte \d+: ", done.stderr, re.MULTILINE)


def test_a_bad_configuration_is_told(tmp_path):
    """Code 1, every fault on a line with its position, and no data directory."""
    (tmp_path / "bad.yml").write_text("global: {scrape_intervall: 1m}\nrule_file: []\n")
    done = tinyobs(tmp_path, "run", "--config.file=bad.yml")
    assert done.returncode == 1
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == ["bad.yml:1:10", "bad.yml:2:1", "tinyobs"]
    assert not (tmp_path / "data").exists()


def test_the_greeting_knows_the_prefix(tmp_path):
    """The addresses that are shown are those that work, also where only the external URL has a path."""
    with daemon(tmp_path, "--web.external-url=http://example.org/tiny/") as (_, url):
        assert url.endswith("/tiny")
        assert get(url + "/-/healthy")


def test_the_console_script_is_there():
    """`tinyobs` and `python -m tinyobs` are the same program."""
    script = os.path.join(os.path.dirname(sys.executable), "tinyobs")
    if not os.path.exists(script):
        pytest.skip("the package is not installed with its scripts")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.stdout.startswith("tinyobs ")


def test_output_may_end_early(tmp_path):
    """A reader that closes its end, as `head` does, gets no traceback."""
    command = f"{sys.executable} -m tinyobs plugins -o json | true"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_the_page_has_the_title_of_the_flag(tmp_path):
    """Escaped as HTML wants it."""
    with daemon(tmp_path, "--web.page-title=Mine & <yours>") as (_, url):
        assert b"<title>Mine &amp; &lt;yours&gt;</title>" in get(url + "/")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("broken", [">/dev/full", "2>/dev/full", "| true", ">&-", "2>&-"])
def test_it_runs_where_nobody_can_read_what_it_says(tmp_path, broken):
    """A full disk below the log, or a reader that is gone, stops neither the daemon nor its end in order."""
    socket_file = tmp_path / "socket"
    run = f"{sys.executable} -m tinyobs run --web.listen-address=unix:{socket_file} --no-plugin=host"
    script = f"( {run}; echo $? >code ) {broken}"
    shell = subprocess.Popen(["/bin/sh", "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        answer = _ready(socket_file, shell)
    finally:
        for child in psutil.Process(shell.pid).children(recursive=True):
            if "tinyobs" in child.cmdline():
                child.terminate()
        _, errors = shell.communicate(timeout=WAIT_SECONDS)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Traceback" not in errors
    assert (tmp_path / "code").read_text() == "0\n"


def _ready(socket_file, process):
    """Return the answer of a daemon on a Unix socket when it is ready."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(str(socket_file))
                s.sendall(b"GET /-/ready HTTP/1.0\r\n\r\n")
                answer = s.recv(4096)
            except OSError:
                answer = b""
            if answer.startswith(b"HTTP/1.1 200"):
                return answer
        signal.sigtimedwait([], 0.1)
    return b""


def test_a_daemon_in_memory_writes_nothing(tmp_path):
    """`memory://` in place of a path: it scrapes itself, answers queries and pages, and says that all of it will go."""
    config = tmp_path / "prometheus.yml"
    config.write_text("tinyobs: {self_metrics: {enabled: true, interval: 1s}}\n")
    with daemon(tmp_path, "--storage.tsdb.path=memory://") as (process, url):
        deadline = time.monotonic() + WAIT_SECONDS
        found = []
        while not found and time.monotonic() < deadline:
            found = json.loads(get(f"{url}/api/v1/query?query=up"))["data"]["result"]
        assert found[0]["value"][1] == "1"
        assert json.loads(get(f"{url}/api/v1/status/cardinality"))["data"]["series"] > 10
        assert b"TinyObs" in get(f"{url}/")
        process.send_signal(signal.SIGTERM)
        code, log = ended(process)
    assert code == 0
    assert "kept in memory only and end with this process" in log
    assert list(tmp_path.iterdir()) == [config]


def test_an_interrupt_while_the_program_is_loaded(tmp_path):
    """It ends with 130 and no traceback, however early it comes."""
    (tmp_path / "attrs.py").write_text("raise KeyboardInterrupt\n")  # among the first that are imported
    command = [sys.executable, "-m", "tinyobs", "version"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
