"""The configuration as shown, compared with what Prometheus 3 shows for the same file."""

from __future__ import annotations

import glob
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tinyobs.config.loader import load

EXAMPLE = Path(__file__).parent / "example" / "full.yml"

NEWER_KEYS = {
    "scrape_native_histograms",
    "extra_scrape_metrics",
    "label_name_underscore_sanitization",
    "label_name_preserve_multiple_underscores",
}
"""Keys that came after the version at hand."""


def _prometheus() -> str | None:
    found = glob.glob(os.path.expanduser("~/.cache/tinyobs-peers/prometheus_3.*/usr/bin/prometheus"))
    return found[0] if found else None


def _without_newer(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_newer(v) for k, v in value.items() if k not in NEWER_KEYS}
    return [_without_newer(v) for v in value] if isinstance(value, list) else value


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def _shown_by_prometheus(program: str, config: Path) -> str:
    port = _free_port()
    process = subprocess.Popen(
        [
            program,
            f"--config.file={config.name}",
            f"--storage.tsdb.path={config.parent / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        cwd=config.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status/config", timeout=2) as answer:
                    text: str = json.load(answer)["data"]["yaml"]
                    if "job_name" in text:
                        return text
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        raise AssertionError("Prometheus did not start")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.mark.peer
@pytest.mark.skipif(_prometheus() is None, reason="needs a Prometheus 3 in the cache of peers")
def test_shown_configuration_is_that_of_prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults, order of keys, masks and paths are as Prometheus shows them, but for keys that are newer."""
    program = _prometheus()
    assert program is not None
    file = tmp_path / "prometheus.yml"
    file.write_bytes(EXAMPLE.read_bytes())
    theirs = _without_newer(yaml.safe_load(_shown_by_prometheus(program, file)))
    monkeypatch.chdir(tmp_path)
    ours = _without_newer(yaml.safe_load(load("prometheus.yml").to_yaml()))
    # What newer versions show or fill in differently, and a field that is shown by mistake.
    del theirs["global"]["scrape_protocols"], ours["global"]["metric_name_validation_scheme"]
    del theirs["storage"]["tsdb"]["outofordertimewindow"]
    assert json.dumps(ours, indent=1).splitlines() == json.dumps(theirs, indent=1).splitlines()
