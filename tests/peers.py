"""Real processes for tests: our daemon and programs of others, on free loopback ports.

The variable `TINYOBS_PROMETHEUS3` names a Prometheus 3 where the installed one is older, `TINYOBS_VICTORIAMETRICS` a newer
VictoriaMetrics.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PORTS = range(12_000, 32_000)
"""Below those that the system gives to connections and to listeners on port 0, which take a port at any moment."""
WORKERS_MAX = 32
_candidates: list[int] = []


def free_port() -> int:
    """Return a port that stays free, for UDP too, until a program that starts slowly listens on it.

    Each worker of pytest-xdist has ports of its own, and gives none twice before all were given.
    """
    while True:
        if not _candidates:
            worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
            share = PORTS[worker % WORKERS_MAX :: WORKERS_MAX]
            _candidates.extend(random.sample(share, len(share)))
        port = _candidates.pop()
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams, suppress(OSError):
            stream.bind(("127.0.0.1", port))
            datagrams.bind(("127.0.0.1", port))
            return port


def program(name: str) -> str:
    """Return the path of another project's program, or skip the test."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian package {name.replace('promtool', 'prometheus')})")
    return path


def prometheus_3() -> str:
    """Return the path of a Prometheus 3, or skip the test."""
    path = os.environ.get("TINYOBS_PROMETHEUS3") or program("prometheus")
    shown = subprocess.run([path, "--version"], capture_output=True, text=True)
    if "version 3." not in shown.stdout + shown.stderr:
        pytest.skip("the installed prometheus is older than 3; TINYOBS_PROMETHEUS3 may name another")
    return path


def victoria_metrics(*features: str) -> str:
    """Return the path of a VictoriaMetrics, or skip the test.

    Each feature is a text that only programs with it contain, as a flag or a path: builds do not all tell their version.
    """
    path = os.environ.get("TINYOBS_VICTORIAMETRICS") or program("victoria-metrics")
    contents = Path(path).read_bytes()
    for feature in features:
        if feature.encode() not in contents:
            pytest.skip(
                f"the installed victoria-metrics is older than {feature}; TINYOBS_VICTORIAMETRICS may name another"
            )
    return path


def get(url: str, seconds: float = 30.0) -> bytes:
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        return bytes(answer.read())


def query(base: str, expression: str, at: float | None = None) -> dict[tuple[tuple[str, str], ...], float]:
    """Return the vector that an expression yields, by label set."""
    parameters = {"query": expression} | ({"time": repr(at)} if at is not None else {})
    data = json.loads(get(f"{base}/api/v1/query?{urllib.parse.urlencode(parameters)}"))["data"]
    assert data["resultType"] == "vector", data
    return {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in data["result"]}


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a URL answers 200; fails when the process ends.  How long it may take only the test's timeout says."""
    while True:
        assert process.poll() is None, f"the process ended with {process.returncode}"
        try:
            get(url, 10.0)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pause()
        else:
            return


def pause(seconds: float = 0.05) -> None:
    """Let other processes run: real time is all that helps with real programs."""
    signal.sigtimedwait([], seconds)


@contextmanager
def running(command: list[str], ready: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the context ends; `ready` is the URL that tells that it works."""
    with (folder / f"{Path(command[0]).name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            wait_for(ready, process)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def daemon(folder: Path, *flags: str, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run TinyObs; yields (base URL, process)."""
    port = port or free_port()
    base = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "tinyobs", "run", f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'data'}", *flags,
    ]  # fmt: skip
    with running(command, f"{base}/-/ready", folder) as process:
        yield base, process
