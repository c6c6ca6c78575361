"""The configuration as shown, compared with what Prometheus 3 shows for the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from peers import free_port, get, prometheus_3, running

from tinyobs.config.loader import load

EXAMPLE = Path(__file__).parent / "example" / "full.yml"

NEWER_KEYS = {
    "scrape_native_histograms",
    "extra_scrape_metrics",
    "label_name_underscore_sanitization",
    "label_name_preserve_multiple_underscores",
}
"""Keys that came after the version at hand."""


def _without_newer(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_newer(v) for k, v in value.items() if k not in NEWER_KEYS}
    return [_without_newer(v) for v in value] if isinstance(value, list) else value


def _shown_by_prometheus(program: str, config: Path) -> str:
    base = f"http://127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={config.name}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        f"--web.listen-address={base.removeprefix('http://')}",
    ]
    with running(command, f"{base}/-/ready", config.parent):
        text: str = json.loads(get(f"{base}/api/v1/status/config"))["data"]["yaml"]
    return text


@pytest.mark.peer
def test_shown_configuration_is_that_of_prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults, order of keys, masks and paths are as Prometheus shows them, but for keys that are newer."""
    program = prometheus_3()
    file = tmp_path / "prometheus.yml"
    file.write_bytes(EXAMPLE.read_bytes())
    theirs = _without_newer(yaml.safe_load(_shown_by_prometheus(program, file)))
    monkeypatch.chdir(tmp_path)
    ours = _without_newer(yaml.safe_load(load("prometheus.yml").to_yaml()))
    # What newer versions show or fill in differently, and a field that is shown by mistake.
    del theirs["global"]["scrape_protocols"], ours["global"]["metric_name_validation_scheme"]
    del theirs["storage"]["tsdb"]["outofordertimewindow"]
    assert json.dumps(ours, indent=1).splitlines() == json.dumps(theirs, indent=1).splitlines()
