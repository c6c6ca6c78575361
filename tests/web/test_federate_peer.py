"""A real Prometheus federates from us: every sample arrives, native histograms included."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest
from peers import daemon, free_port, get, pause, prometheus_3, running

from tinyobs.exposition.remote_write_encoder import encode
from tinyobs.model.histograms import Histogram, ResetHint
from tinyobs.model.labels import from_mapping
from tinyobs.model.staleness import STALE_NAN

pytestmark = [pytest.mark.peer]

READER = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: federate
    honor_labels: true
    metrics_path: /federate
    scrape_protocols: [{protocol}]
    params: {{"match[]": ['{{__name__=~"fed.*"}}']}}
    static_configs: [{{targets: ["{target}"]}}]
"""
OURS = "global: {external_labels: {dc: x, job: not-this}}\n"


def send(base: str, now_ms: int, **more: str) -> None:
    """Store floats, native histograms, and a series that has ended; more: further labels of all."""
    histogram = Histogram(3, 0.001, 2, 17, 18.5, ((-2, 2), (3, 1)), (1, 4, 5), ((0, 1),), (5,), is_integer=True)
    gauge = Histogram(0, 0.0, 0.0, 1.5, 2.0, ((0, 1),), (1.5,), reset_hint=ResetHint.GAUGE)
    series = [
        *({"__name__": "fed_float", "job": "j", "n": str(i)} for i in range(5)),
        {"__name__": "fed.utf8", "a.b": "é", "instance": "i"},
        {"__name__": "fed_special"},
    ]
    values = [*(i * 1.5 for i in range(5)), float("inf"), float("nan")]
    samples = [(from_mapping(s), [now_ms], [v]) for s, v in zip(series, values, strict=True)]
    samples += [
        (from_mapping({"__name__": "fed_gone"}), [now_ms - 1, now_ms], [1.0, STALE_NAN]),
        (from_mapping({"__name__": "fed_native", "job": "j"}), [now_ms], [histogram]),
        (from_mapping({"__name__": "fed_native_gauge", "job": "j"}), [now_ms], [gauge]),
    ]
    samples = [(from_mapping({**dict(labels), **more}), times, values) for labels, times, values in samples]
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    request = urllib.request.Request(f"{base}/api/v1/write", encode(samples), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 204


def found(base: str, at: float, **label: str) -> dict[str, object]:
    """Return the instant vector of a server: series -> value or histogram."""
    ((name, value),) = label.items()
    query = urlencode({"query": f'{{__name__=~"fed.*",{name}="{value}"}}'})
    data = json.loads(get(f"{base}/api/v1/query?{query}&time={at}"))["data"]["result"]
    return {text(r["metric"], name): r.get("value", r.get("histogram"))[1] for r in data}


def text(labels: dict[str, str], without: str = "") -> str:
    """Return labels in order."""
    return json.dumps({k: v for k, v in labels.items() if k != without}, sort_keys=True)


@pytest.mark.parametrize("protocol", ["PrometheusProto", "OpenMetricsText1.0.0", "PrometheusText0.0.4"])
def test_prometheus_reads_what_is_stored_here(tmp_path: Path, protocol: str) -> None:
    """What it has read equals the same samples written to it, with external labels; text has no histograms."""
    (tmp_path / "ours.yml").write_text(OURS)
    flags = (f"--config.file={tmp_path / 'ours.yml'}", "--web.enable-remote-write-receiver")
    port = free_port()
    with daemon(tmp_path, *flags) as (base, _):
        now_ms = time.time_ns() // 1_000_000
        send(base, now_ms)
        (tmp_path / "reader.yml").write_text(READER.format(target=base.removeprefix("http://"), protocol=protocol))
        command = [
            prometheus_3(), "--config.file=reader.yml", f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={tmp_path / 'reader'}", "--enable-feature=native-histograms",
            "--web.enable-remote-write-receiver",
        ]  # fmt: skip
        reader = f"http://127.0.0.1:{port}"
        with running(command, f"{reader}/-/ready", tmp_path):
            send(reader, now_ms, src="direct")
            at, until = now_ms / 1000 + 1, time.monotonic() + 150
            federated: dict[str, object] = {}
            while not federated and time.monotonic() < until:
                pause(0.2)
                federated = found(reader, at, src="")
            direct = found(reader, at, src="direct")
    assert (len(direct), sum(isinstance(v, dict) for v in direct.values())) == (9, 2)
    expected: dict[str, object] = {}
    for key, value in direct.items():
        labels = json.loads(key)
        if protocol != "OpenMetricsText1.0.0":  # only this one carries such names where they are not asked for
            labels = {k.replace(".", "_"): v for k, v in labels.items()}
            labels["__name__"] = labels["__name__"].replace(".", "_")
        if protocol == "PrometheusProto" or not isinstance(value, dict):
            expected[text({"dc": "x", "job": "not-this", **labels})] = value
    assert federated == expected
