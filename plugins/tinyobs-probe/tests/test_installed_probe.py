"""The plugin as its users have it: installed by pip, found by its entry point, working in a real daemon."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from importlib import metadata

import pytest

CONFIG = """
tinyobs:
  probe:
    interval: 1s
    targets:
      - module: tcp_connect
        targets: ["127.0.0.1:{port}"]
"""


@pytest.fixture
def installed():
    """Skip where only the source tree is there: the environment `plugins` of tox installs the distribution."""
    try:
        distribution = metadata.distribution("tinyobs-probe")
    except metadata.PackageNotFoundError:
        pytest.skip("the distribution tinyobs-probe is not installed (tox -e plugins installs it)")
    return distribution


def test_the_plugin_is_listed(installed):
    """`tinyobs plugins` names the distribution, its version and its hooks."""
    out = subprocess.run([sys.executable, "-m", "tinyobs", "plugins", "-o", "json"], capture_output=True, check=True)
    (found,) = [p for p in json.loads(out.stdout) if p["name"] == "probe"]
    assert (found["origin"], found["version"], found["status"]) == ("tinyobs-probe", installed.version, "active")
    assert "tinyobs_sources" in found["hooks"]


def ask(base, expression):
    parameters = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{base}/api/v1/query?{parameters}", timeout=60) as answer:
            return json.loads(answer.read())["data"]["result"]
    except (urllib.error.URLError, ConnectionError):
        return []


def test_a_daemon_probes_with_it(installed, tmp_path):
    """A configured target is probed, stored and found by PromQL; `/probe` answers as blackbox_exporter does."""
    with socket.create_server(("127.0.0.1", 0)) as target, socket.create_server(("127.0.0.1", 0)) as free:
        port = target.getsockname()[1]
        (tmp_path / "tinyobs.yml").write_text(CONFIG.format(port=port))
        own = free.getsockname()[1]
        free.close()
        base = f"http://127.0.0.1:{own}"
        command = [
            sys.executable,
            "-m",
            "tinyobs",
            "run",
            "--config.file=tinyobs.yml",
            f"--web.listen-address=127.0.0.1:{own}",
        ]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon:
            try:
                until = time.monotonic() + 150
                found = []
                while not found and time.monotonic() < until:
                    found = ask(base, "probe_success == 1")
                    target.setblocking(True)
                assert [r["metric"]["instance"] for r in found] == [f"127.0.0.1:{port}"]
                url = f"{base}/probe?target=127.0.0.1:{port}&module=tcp_connect"
                with urllib.request.urlopen(url, timeout=60) as answer:
                    assert b"probe_success 1" in answer.read()
            finally:
                daemon.terminate()
