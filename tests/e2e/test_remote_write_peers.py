"""Remote write to servers of others: what a daemon stores arrives, in 1.0 and 2.0."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from peers import daemon, free_port, get, pause, program, prometheus_3, query, running, victoria_metrics

CONFIG = """\
global: {{scrape_interval: 1s, external_labels: {{site: cellar}}}}
scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{own}']}}]}}]
remote_write:
- url: {url}
  name: far
  protobuf_message: {message}
  send_native_histograms: true
  send_exemplars: true
  metadata_config: {{send_interval: 1s}}
  queue_config: {{batch_send_deadline: 100ms}}
"""
V1, V2 = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"


def metric(base: str, name: str) -> dict[str, float]:
    """Return the values of a metric of ours, by its labels as text."""
    found = {}
    for line in get(f"{base}/metrics").decode().splitlines():
        if line.startswith(name) and not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            found[key] = float(value)
    return found


def sent(base: str) -> float:
    """Return how many samples a daemon knows to have arrived."""
    return sum(metric(base, "prometheus_remote_storage_samples_total").values())


def forwarded(tmp_path: Path, url: str, base: str, message: str, seconds: float = 150.0) -> dict[str, float]:
    """Run a daemon that scrapes itself and sends; return its counters once the receiver has its samples."""
    port = free_port()
    (tmp_path / "near.yml").write_text(CONFIG.format(own=port, url=url, message=message))
    folder = tmp_path / "near"
    folder.mkdir()
    with daemon(folder, f"--config.file={tmp_path / 'near.yml'}", "--no-plugin=host", port=port) as (own, _):
        until = time.monotonic() + seconds
        while not query(base, 'up{job="self",site="cellar"} == 1') or not sent(own):
            assert time.monotonic() < until, metric(own, "prometheus_remote_storage_")
            pause(0.3)
        counters = metric(own, "prometheus_remote_storage_")
        assert sum(v for k, v in counters.items() if "samples_failed_total" in k) == 0
        return counters | metric(own, "tinyobs_remote_write_")


def prometheus(path: str, folder: Path, port: int) -> list[str]:
    (folder / "p.yml").write_text("global: {}\n")
    return [
        path, f"--config.file={folder / 'p.yml'}", f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'data'}", "--web.enable-remote-write-receiver",
    ]  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("message", [V1, V2])
def test_debians_prometheus_receives(tmp_path, message):
    """Version 2.42 knows 1.0 only: what was sent in 2.0 is sent again, and arrives."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with running(prometheus(program("prometheus"), tmp_path, port), f"{base}/-/ready", tmp_path):
        forwarded(tmp_path, f"{base}/api/v1/write", base, message)


@pytest.mark.peer
def test_prometheus_3_receives_2_0(tmp_path):
    """With metadata beside the series."""
    port, path = free_port(), prometheus_3()
    base = f"http://127.0.0.1:{port}"
    with running(prometheus(path, tmp_path, port), f"{base}/-/ready", tmp_path):
        forwarded(tmp_path, f"{base}/api/v1/write", base, V2)
        text = get(f"{base}/metrics").decode()
    assert "X-Prometheus" not in text
    assert 'prometheus_http_requests_total{code="204",handler="/api/v1/write"}' in text


@pytest.mark.peer
@pytest.mark.parametrize("message", [V1, V2])
def test_victoria_metrics_receives(tmp_path, message):
    """The single-node server; it knows 1.0."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [
        victoria_metrics(), f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={tmp_path / 'vm'}",
        "-search.latencyOffset=0s",
    ]  # fmt: skip
    with running(command, f"{base}/health", tmp_path):
        forwarded(tmp_path, f"{base}/api/v1/write", base, message)


def test_tinyobs_receives(tmp_path):
    """In 2.0, with metadata, and without any fallback."""
    far = tmp_path / "far"
    far.mkdir()
    with daemon(far, "--web.enable-remote-write-receiver", "--no-plugin=host") as (base, _):
        forwarded(tmp_path, f"{base}/api/v1/write", base, V2)
        until = time.monotonic() + 150
        known: dict[str, object] = {}
        while time.monotonic() < until and "tinyobs_registry_series" not in known:
            pause(0.3)
            known = json.loads(get(f"{base}/api/v1/metadata"))["data"]
        assert "tinyobs_registry_series" in known
        assert not metric(base, 'prometheus_http_requests_total{code="415"')
