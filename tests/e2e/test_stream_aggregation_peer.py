"""The same samples through VictoriaMetrics and through TinyObs, with the same file of rules, give the same series.

TINYOBS_VICTORIAMETRICS names a program where none is installed.
"""

from __future__ import annotations

import json
import random
import time
import urllib.request

import pytest
from peers import daemon, free_port, get, pause, running, victoria_metrics

pytestmark = [pytest.mark.peer, pytest.mark.slow]

RULES = """
- name: all
  match: ['gauge', 'counter_total']
  interval: 4s
  staleness_interval: 8s
  ignore_first_sample_interval: 0s
  without: [pod]
  outputs: [avg, count_samples, count_series, increase, increase_prometheus, last, max, min, "quantiles(0, 0.5, 0.9, 1)",
            stddev, stdvar, sum_samples, total, total_prometheus, unique_samples, rate_sum, rate_avg]
- name: each
  match: '{__name__=~"gau.*"}'
  interval: 4s
  outputs: [max]
  input_relabel_configs:
  - action: drop
    source_labels: [pod]
    regex: p1
  output_relabel_configs:
  - target_label: aggregated
    replacement: "yes"
- name: by
  match: 'counter_total{job="a"}'
  interval: 2s
  by: [job]
  outputs: [rate_sum]
- name: newest
  match: 'gauge'
  interval: 4s
  dedup_interval: 2s
  by: [pod]
  outputs: [sum_samples, count_samples]
- name: ranges
  match: 'gauge'
  interval: 4s
  by: [job]
  outputs: [histogram_bucket]
"""
PERIOD = 4.0
PERIODS = 4
QUIET, LATEST = (0.6, 1.4), 1.8
"""When in every two seconds samples are sent, late ones up to half a second before, and have come: far from the ends of intervals, which no two programs see at one
time."""
ATTEMPTS = 3


def push(base, samples):
    """Push JSON lines of (labels, time in ms, value)."""
    lines = [json.dumps({"metric": m, "values": [v], "timestamps": [t]}) for m, t, v in samples]
    request = urllib.request.Request(f"{base}/api/v1/import", "\n".join(lines).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status in (200, 204)


def round_of(chance, counters, now_ms):
    """Return samples of all series: gauges, counters with resets, now and then late or twice, and some that nothing takes."""
    out = []
    for pod in range(6):
        labels = {"job": "ab"[pod % 2], "pod": f"p{pod}"}
        if chance.random() < 0.8:
            late = 500 if chance.random() < 0.1 else 0
            out.append(({"__name__": "gauge", **labels}, now_ms - late, float(chance.randint(0, 50))))
        counters[pod] = 0.0 if chance.random() < 0.05 else counters[pod] + chance.randint(0, 9)
        if chance.random() < 0.7:
            out.append(({"__name__": "counter_total", **labels}, now_ms, counters[pod]))
            if chance.random() < 0.1:
                out.append(({"__name__": "counter_total", **labels}, now_ms - 500, counters[pod] - 1))
    return [*out, ({"__name__": "other"}, now_ms, 1.0)]


def feed(bases):
    """Send the same to all, from the beginning of an interval, for some intervals; tell whether all came in time."""
    chance, counters, in_time = random.Random(7), [0.0] * 6, True
    begin = (time.time() // PERIOD + 1) * PERIOD
    while time.time() < begin + PERIODS * PERIOD:
        if time.time() > begin and QUIET[0] < time.time() % 2 < QUIET[1]:
            samples = round_of(chance, counters, int(time.time() * 1000))
            for base in bases:
                push(base, samples)
            in_time &= time.time() % 2 < LATEST
        pause(0.15)
    pause(2 * PERIOD + 1)
    return in_time


def exported(base):
    """Return series -> [(time in ms, value)] that a VictoriaMetrics has stored."""
    get(f"{base}/internal/force_flush")
    lines = get(f"{base}/api/v1/export?match[]=%7B__name__!=%22%22%7D").splitlines()
    found = [json.loads(line) for line in lines]
    return {
        tuple(sorted(f["metric"].items())): dict(zip(_ends(f["metric"], f["timestamps"]), f["values"], strict=True))
        for f in found
    }


def _ends(labels, times):
    """Return the ends of intervals; the clock for timestamps goes in steps of a second there and is up to one late."""
    return [-(-t // 2000) * 2000 for t in times] if ":" in labels["__name__"] else times


def stored(base):
    """Return the same of a TinyObs."""
    answer = json.loads(get(f"{base}/api/v1/query?query=%7B__name__!=%22%22%7D%5B5m%5D"))
    return {
        tuple(sorted(r["metric"].items())): {round(t * 1000): float(v) for t, v in r["values"]}
        for r in answer["data"]["result"]
    }


def both(folder, peer):
    """Run both programs; return what they have stored, None when the machine was too busy to feed them in time."""
    folder.mkdir()
    (folder / "aggr.yml").write_text(RULES)
    config = folder / "tinyobs.yml"
    config.write_text("tinyobs: {stream_aggregation: {file: aggr.yml, histogram: vmrange}}\n")
    port = free_port()
    command = [
        peer, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder / 'vm'}", "-retentionPeriod=1d",
        f"-streamAggr.config={folder / 'aggr.yml'}", "-memory.allowedBytes=128MB",
    ]  # fmt: skip
    theirs = f"http://127.0.0.1:{port}"
    with running(command, f"{theirs}/-/ready", folder), daemon(folder, f"--config.file={config}") as (ours, _):
        pause(PERIOD)
        return (exported(theirs), stored(ours)) if feed([theirs, ours]) else None


def test_what_is_put_out_equals_that_of_victoriametrics(tmp_path):
    """Names, labels, times and values of every output, resets and late samples included."""
    peer = victoria_metrics("streamAggr.enableWindows")
    found = None
    for attempt in range(ATTEMPTS):
        found = found or both(tmp_path / str(attempt), peer)
    if found is None:
        pytest.skip("the machine is too busy to send samples at certain times")
    theirs, ours = found
    assert len(theirs) > 50
    assert set(ours) == set(theirs)
    wrong = {k: (ours[k], v) for k, v in theirs.items() if ours[k] != pytest.approx(v, rel=1e-9)}
    assert not wrong
