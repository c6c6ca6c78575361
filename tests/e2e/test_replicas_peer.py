"""Two Prometheus servers of one cluster write what they scrape; one dies, and the other takes over."""

from __future__ import annotations

import json
import re
from itertools import groupby, pairwise

import pytest
from peers import daemon, free_port, get, pause, program, query, running

pytestmark = [pytest.mark.peer, pytest.mark.slow]

GAP_SECONDS_MAX = 14.0
"""The `failover_timeout` below, and what scraping and sending take on a slow machine."""
CHANGES = re.compile(r'^tinyobs_replicas_elected_replica_changes_total\{cluster="pair"\} (\S+)', re.MULTILINE)
ELECTED = re.compile(r'^tinyobs_replicas_elected_replica_timestamp_seconds\{.*replica="(.)".*\}', re.MULTILINE)
CONFIG = """
global:
  scrape_interval: 1s
  external_labels: {{cluster: pair, __replica__: {name}}}
scrape_configs: [{{job_name: shared, static_configs: [{{targets: ['{target}']}}]}}]
remote_write:
- url: {url}/api/v1/write
  queue_config: {{batch_send_deadline: 300ms}}
  metadata_config: {{send: false}}
"""
OURS = "tinyobs: {replicas: {enabled: true, failover_timeout: 4s, update_timeout: 1s}}\n"


def prometheus(folder, name, base):
    """Return (command, base URL) of a replica."""
    own = folder / name
    own.mkdir()
    (own / "p.yml").write_text(CONFIG.format(name=name, url=base, target=base.removeprefix("http://")))
    port = free_port()
    command = [
        program("prometheus"), f"--config.file={own / 'p.yml'}", f"--storage.tsdb.path={own / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle",
    ]  # fmt: skip
    return command, f"http://127.0.0.1:{port}"


def written(base):
    """Return the series of `up` that are stored: labels and times."""
    found = json.loads(get(f"{base}/api/v1/query?query=up%7Bjob=%22shared%22%7D%5B5m%5D"))["data"]["result"]
    return [(r["metric"], [float(t) for t, _ in r["values"]]) for r in found]


def wait_for_samples(base, count):
    """Wait until there are so many."""
    while sum(len(times) for _, times in written(base)) < count:
        pause(0.1)


def test_a_pair_writes_one_series_and_one_of_it_may_die(tmp_path):
    """What is stored comes from one of them at a time, without a hole, and no sender sees an error."""
    (tmp_path / "t.yml").write_text(OURS)
    flags = (f"--config.file={tmp_path / 't.yml'}", "--web.enable-remote-write-receiver")
    with daemon(tmp_path, *flags) as (base, _):
        one, one_url = prometheus(tmp_path, "a", base)
        two, two_url = prometheus(tmp_path, "b", base)
        with (
            running(one, f"{one_url}/-/ready", tmp_path) as a,
            running(two, f"{two_url}/-/ready", tmp_path) as b,
        ):
            wait_for_samples(base, 8)
            elected = ELECTED.findall(get(f"{base}/metrics").decode())
            assert len(elected) == 1
            before = len(written(base)[0][1])
            (a if elected == ["a"] else b).kill()
            wait_for_samples(base, before + 8)
            survivor = two_url if elected == ["a"] else one_url
            failed = query(survivor, "sum(prometheus_remote_storage_samples_failed_total)")
            ((labels, times),) = written(base)
            ((_, own),) = written(survivor)
        metrics = get(f"{base}/metrics").decode()
    assert (labels["cluster"], labels.get("__replica__")) == ("pair", None)
    assert max(b - a for a, b in pairwise(times)) < GAP_SECONDS_MAX
    runs = [(is_own, list(run)) for is_own, run in groupby(times, set(own).__contains__)]
    assert len(runs) == 1 + sum(map(float, CHANGES.findall(metrics)))
    is_own, last = runs[-1]
    assert is_own
    assert last == [t for t in own if last[0] <= t <= last[-1]]
    assert all(value == 0 for value in failed.values())
    assert ELECTED.findall(metrics) != elected
    assert 'tinyobs_replicas_deduplicated_samples_total{cluster="pair"}' in metrics
