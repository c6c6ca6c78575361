"""The servers that benchmarks measure: TinyObs and peers, on free ports of the loopback interface, and what they used."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

MIB = 1 << 20
START_SECONDS = 150.0
"""How long a server may take to start: machines on which others measure as well are slow."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def tinyobs(port: int, data: Path, *flags: str) -> list[str]:
    """Return the command that runs the daemon of this tree."""
    where = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={data}"]
    return [sys.executable, "-m", "tinyobs", "run", *where, *flags]


@contextmanager
def serving(
    command: list[str], ready: str | Callable[[], Any], folder: Path, output: Path | None = None
) -> Iterator[psutil.Popen]:
    """Run a server while the context is open.

    ready: the URL that answers 200, or what is true, once it serves.  folder: where it runs.  output: a file that gets what
    it says, which is thrown away else.
    """
    with (output or Path("/dev/null")).open("ab") as said:
        process = psutil.Popen(command, stdout=said, stderr=said, cwd=folder)
    try:
        wait_until(ready if callable(ready) else lambda: answers(ready), process)
        yield process
    finally:
        if process.poll() is None:  # a measurement may have ended it
            process.terminate()
        process.wait()


def answers(url: str) -> bool:
    """Tell whether a URL answers 200."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[bytes] | psutil.Popen) -> None:
    """Wait until something is true and raises no `OSError`; ends the run when the process ends or takes too long."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{process.args} does not serve")


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and its children so far."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))


def rss_mib(process: psutil.Process) -> float:
    """Return the memory that a process takes now."""
    return float(process.memory_info().rss / MIB)


def peak_mib(process: psutil.Process) -> float:
    """Return the most memory that a process took so far."""
    return int(Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
