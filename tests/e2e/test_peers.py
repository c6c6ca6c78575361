"""TinyObs beside the real Prometheus and node_exporter: same targets, same answers."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.parse

import pytest
from peers import daemon, free_port, get, pause, program, query, running

pytestmark = [pytest.mark.peer, pytest.mark.slow]

SCRAPE = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {{env: test}}}}]
"""
REMOTE_WRITE = """
remote_write:
  - url: {base}/api/v1/write
    queue_config: {{batch_send_deadline: 200ms, max_shards: 1}}
"""


def prometheus(folder, config):
    """Run the Debian Prometheus on a configuration; yields its base URL in a context."""
    port = free_port()
    (folder / "peer.yml").write_text(config)
    command = [
        program("prometheus"), "--config.file=peer.yml", f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'peer-data'}",
    ]  # fmt: skip
    return f"http://127.0.0.1:{port}", running(command, f"http://127.0.0.1:{port}/-/ready", folder)


def node_exporter(folder):
    port = free_port()
    command = [program("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{port}"]
    return port, running(command, f"http://127.0.0.1:{port}/metrics", folder)


def normalized(found):
    """Return a vector with `le` and `quantile` as Prometheus 3 writes them: the Debian one is older."""
    return {
        tuple((k, repr(float(v)) if k in ("le", "quantile") else v) for k, v in labels): value
        for labels, value in found.items()
    }


def seconds_of_data(base, count):
    """Wait until a server has so many scrapes of the node job."""
    until = time.monotonic() + 100
    while time.monotonic() < until:
        found = query(base, 'sum(count_over_time(up{job="node"}[1m]))')
        if found and max(found.values()) >= count:
            return
        pause(0.2)
    raise AssertionError("no data")


def when_both_are_up(*bases):
    """Return a time at which the last scrape of all servers was a good one: on a busy machine one may be too late."""
    until = time.monotonic() + 150
    while True:
        at = time.time()
        found = [query(base, "up", at) for base in bases]
        if all(list(up.values()) == [1.0] for up in found):
            assert found.count(found[0]) == len(found)
            return at
        assert time.monotonic() < until, found
        pause(0.2)


def last_samples(base, at):
    """Return the samples of the node job in the last 12 s before a time, by series."""
    parameters = {"query": '{job="node"}[12s]', "time": repr(at)}
    data = json.loads(get(f"{base}/api/v1/query?{urllib.parse.urlencode(parameters)}"))["data"]
    return {tuple(sorted(r["metric"].items())): r["values"] for r in data["result"]}


def when_all_has_come(base, peer_base, at):
    """Wait until a server has what another one forwards to it, up to a time: the queues of that send side by side."""
    until = time.monotonic() + 60
    while last_samples(base, at) != last_samples(peer_base, at):
        assert time.monotonic() < until, "some samples did not come, or are others"
        pause(0.2)


def test_both_scrape_the_same_exporter_alike(tmp_path):
    """Counters, gauges and rates of one exporter agree within what a second of jitter explains."""
    port, exporter = node_exporter(tmp_path)
    config = SCRAPE.format(port=port)
    (tmp_path / "prometheus.yml").write_text(config)
    peer_base, peer = prometheus(tmp_path, config)
    with exporter, peer, daemon(tmp_path, f"--config.file={tmp_path / 'prometheus.yml'}") as (base, _):
        for server in (base, peer_base):
            seconds_of_data(server, 15)
        at = when_both_are_up(base, peer_base)
        ours, theirs = (normalized(query(b, '{job="node"}', at)) for b in (base, peer_base))
        assert set(ours) == set(theirs)
        names = (
            "node_uname_info",
            "node_boot_time_seconds",
            "node_memory_MemTotal_bytes",
            "node_filesystem_size_bytes",
        )
        for labels in (k for k in ours if dict(k)["__name__"] in names):
            assert ours[labels] == theirs[labels], labels
        # Ten seconds that begin and end up to 1.5 s apart, in which a processor may do one thing or another.
        for expression, most in (("{}", 1), ("sum by (mode) ({})", os.cpu_count())):
            expression = expression.format("rate(node_cpu_seconds_total[10s])")
            mine, other = (query(b, expression, at) for b in (base, peer_base))
            assert set(mine) == set(other)
            for labels, value in mine.items():
                assert value == pytest.approx(other[labels], abs=0.3 * most), (expression, labels)


def test_prometheus_delivers_by_remote_write_and_both_answer_alike(tmp_path):
    """What a real Prometheus scrapes and forwards is stored exactly: the same samples, the same answers."""
    port, exporter = node_exporter(tmp_path)
    with exporter, daemon(tmp_path, "--web.enable-remote-write-receiver", "--no-plugin=host") as (base, _):
        peer_base, peer = prometheus(tmp_path, SCRAPE.format(port=port) + REMOTE_WRITE.format(base=base))
        with peer:
            seconds_of_data(base, 15)
            (at,) = query(base, 'timestamp(scrape_series_added{job="node"})').values()
            at += 0.001  # that no sample stands where a range begins, which Prometheus 2 counts and 3 does not
            when_all_has_come(base, peer_base, at)
            for expression in (
                '{job="node"}',
                "count_over_time(node_load1[8s])",
                "sum by (mode) (rate(node_cpu_seconds_total[8s]))",
                "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[8s])))",
                "topk(3, node_filesystem_size_bytes)",
                'label_replace(up{job="node"}, "host", "$1", "instance", "(.*):.*")',
                "node_memory_MemFree_bytes / on (instance) node_memory_MemTotal_bytes",
                "max_over_time(node_load1[6s]) - min_over_time(node_load1[6s])",
                "absent(nothing_of_the_kind)",
            ):
                mine, other = query(base, expression, at), query(peer_base, expression, at)
                assert set(mine) == set(other), expression
                for labels, value in mine.items():
                    assert value == pytest.approx(other[labels], rel=1e-9, nan_ok=True), (expression, labels)


NAMED_UPSTREAM = b"prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total "
"""The lint wants no `histogram` in a name; this one is upstream's own."""


def test_promtool_accepts_our_metrics_and_queries_us(tmp_path):
    """The lint of `promtool check metrics` finds nothing, and `promtool query instant` works against the daemon."""
    promtool = program("promtool")
    with daemon(tmp_path, "--web.enable-remote-write-receiver") as (base, _):
        found = subprocess.run([promtool, "check", "metrics"], input=get(f"{base}/metrics"), capture_output=True)
        told = [line for line in (found.stdout + found.stderr).splitlines() if not line.startswith(NAMED_UPSTREAM)]
        assert told == []
        until = time.monotonic() + 150
        while not query(base, "up") and time.monotonic() < until:
            pause(0.1)
        for command, wanted in (
            (["instant", base, "up"], b"up{instance="),
            (["labels", base, "job"], b"tinyobs"),
            (["series", "--match=up", base], b'__name__="up"'),
            (["range", f"--start={time.time() - 60:.0f}", f"--end={time.time() + 10:.0f}", base, "up"], b"up{"),
        ):
            found = subprocess.run([promtool, "query", *command], capture_output=True)
            assert found.returncode == 0, found.stderr.decode()
            assert wanted in found.stdout
