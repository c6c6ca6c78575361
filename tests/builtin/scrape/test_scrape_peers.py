"""The same targets scraped by TinyObs and by Prometheus 3, compared through the query API of both.

Targets: a fixed protobuf body, prometheus_client (OpenMetrics with exemplars and created), node_exporter and Prometheus itself
(protobuf).
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Iterable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from peers import daemon, free_port, get, pause, program, prometheus_3, running
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, start_http_server
from protobuf_bodies import body_of

from tinyobs.exposition.client_schema import COUNTER, GAUGE, GAUGE_HISTOGRAM, HISTOGRAM, SUMMARY, UNTYPED

pytestmark = pytest.mark.peer

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
JOBS = ("fixed", "both", "custom", "client", "client_custom", "node", "self")
CONVERTED = ("custom", "client_custom")
"""Jobs that convert classic histograms; a Prometheus before 3.8 cannot do that and store zeros at start times."""
FEATURE = "created-timestamp-zero-ingestion"


def fixed_body() -> bytes:
    """Return a body with everything that the format has."""
    now = int(time.time())
    created = {"created_timestamp": {"seconds": now - 60, "nanos": 250_000_000}}

    def exemplar(value, seconds):
        return {"label": [{"name": "trace", "value": f"t{value}"}], "value": value, "timestamp": {"seconds": seconds}}

    buckets = [
        {"upper_bound": 0.5, "cumulative_count": 2, "exemplar": exemplar(0.3, now - 9)},
        {"upper_bound": 1, "cumulative_count": 5},
    ]
    native = {
        "sample_count": 12, "sample_sum": 18.4, "schema": 1, "zero_threshold": 0.001, "zero_count": 2,
        "positive_span": [{"offset": 0, "length": 3}, {"offset": 1, "length": 2}], "positive_delta": [1, -1, 2, -1, 0],
        "negative_span": [{"offset": -3, "length": 2}], "negative_delta": [2, 1],
        "exemplars": [exemplar(2.5, now - 5), exemplar(1.5, now - 7)], **created,
    }  # fmt: skip
    floats = {
        "sample_count_float": 3.5, "sample_sum": 1, "schema": -1, "zero_threshold": 0.5,
        "positive_span": [{"offset": 4, "length": 2}], "positive_count": [1.5, 2],
    }  # fmt: skip
    return body_of(
        ("c_total", COUNTER, [
            {"labels": {"a": "b", "empty": ""}, "counter": {"value": 7, "exemplar": exemplar(7, now - 3), **created}},
            {"labels": {"a": "ü"}, "counter": {"value": 0}},
        ]),
        ("g", GAUGE, [{"gauge": {"value": -1.5}}, {"labels": {"x": "inf"}, "gauge": {"value": float("inf")}}]),
        ("u", UNTYPED, [{"untyped": {"value": 1e-9}}]),
        ("with.dots", GAUGE, [{"labels": {"la.bel": "x"}, "gauge": {"value": 3}}]),
        ("s", SUMMARY, [
            {"summary": {"sample_count": 3, "sample_sum": 4.5, "quantile": [{"quantile": 1, "value": 7}, {"quantile": 0.99, "value": 2}], **created}}
        ]),
        ("classic", HISTOGRAM, [{"histogram": {"sample_count": 6, "sample_sum": 2, "bucket": buckets, **created}}]),
        ("native", HISTOGRAM, [{"labels": {"n": str(i)}, "histogram": {**native, "bucket": buckets}} for i in range(2)]),
        ("floats", HISTOGRAM, [{"histogram": floats}]),
        ("gauge_histogram", GAUGE_HISTOGRAM, [{"histogram": {**native, "exemplars": []}}]),
        ("no_span", HISTOGRAM, [{"histogram": {"sample_count": 0, "positive_span": [{"offset": 0, "length": 0}]}}]),
        ("empty_classic", HISTOGRAM, [{"histogram": {"sample_count": 0}}]),
    )  # fmt: skip


def serve_client(stack: ExitStack) -> int:
    """Serve metrics of prometheus_client, with exemplars and created series; return the port."""
    registry, port = CollectorRegistry(), free_port()
    counter = Counter("requests", "What was asked.", ["path"], registry=registry)
    counter.labels("/a").inc(3, {"trace": "c"})
    counter.labels('/"b"\n').inc(2.5)
    Gauge("level", "How full.", registry=registry).set(0.1)
    summary = Summary("took", "How long.", registry=registry)
    summary.observe(1.5)
    histogram = Histogram("sizes", "How large.", ["kind"], buckets=(1, 2.5, 10), registry=registry)
    for value in (0.5, 2, 3, 100):
        histogram.labels("x").observe(value, {"trace": f"h{value}"})
    server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return port


class Fixed(BaseHTTPRequestHandler):
    """Answers with one body."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", PROTOBUF)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *given: object) -> None:
        pass


def config(addresses: dict[str, str], jobs: Iterable[str], native: str = "") -> str:
    """Return a configuration that scrapes the targets; `native`: the line that switches native histograms on."""
    protobuf = "scrape_protocols: [PrometheusProto, OpenMetricsText1.0.0, PrometheusText0.0.4]"
    options = {
        "both": "always_scrape_classic_histograms: true",
        "custom": "convert_classic_histograms_to_nhcb: true",
        "client_custom": "convert_classic_histograms_to_nhcb: true",
    }
    lines = ["global: {scrape_interval: 1s, scrape_timeout: 1s}", "scrape_configs:"]
    for job in jobs:
        address = addresses[{"both": "fixed", "custom": "fixed", "client_custom": "client"}.get(job, job)]
        lines += [f"- job_name: {job}", f"  static_configs: [{{targets: ['{address}'], labels: {{instance: i}}}}]"]
        lines += [f"  {option}" for option in (options.get(job, ""), protobuf, native) if option]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Run the targets and both servers until each target was scraped some times; yields job -> (TinyObs, Prometheus)."""
    prometheus, exporter = prometheus_3(), program("prometheus-node-exporter")
    folder: Path = tmp_path_factory.mktemp("peers")
    handler = type("Handler", (Fixed,), {"body": fixed_body()})
    fixed = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=fixed.serve_forever, daemon=True).start()
    node, port, converting = (f"127.0.0.1:{free_port()}" for _ in range(3))
    with ExitStack() as stack:
        client = f"127.0.0.1:{serve_client(stack)}"
        addresses = {"fixed": f"127.0.0.1:{fixed.server_port}", "client": client, "node": node, "self": port}
        others = [job for job in JOBS if job not in CONVERTED]
        (folder / "p.yml").write_text(config(addresses, others))
        (folder / "q.yml").write_text(config(addresses, CONVERTED))
        (folder / "t.yml").write_text(config(addresses, JOBS, "scrape_native_histograms: true"))
        stack.enter_context(running([exporter, f"--web.listen-address={node}"], f"http://{node}/metrics", folder))
        for name, listen, features in (("p", port, f",{FEATURE}"), ("q", converting, "")):
            command = [
                prometheus, f"--config.file={folder / name}.yml", f"--storage.tsdb.path={folder / name}",
                f"--web.listen-address={listen}", f"--enable-feature=native-histograms,exemplar-storage{features}",
            ]  # fmt: skip
            stack.enter_context(running(command, f"http://{listen}/-/ready", folder))
        flags = f"--config.file={folder / 't.yml'}", f"--enable-feature={FEATURE}"
        base, _ = stack.enter_context(daemon(folder, *flags))
        bases = base, f"http://{port}", f"http://{converting}"
        for one, count in zip(bases, (len(JOBS), len(others), len(CONVERTED)), strict=True):
            wait_for_scrapes(one, count)
        yield lambda job: (base, bases[2 if job in CONVERTED else 1])


def wait_for_scrapes(base: str, count: int) -> None:
    """Wait until each target was up three times."""
    for _ in range(1200):
        found = vector(base, "sum_over_time(up[5m]) >= 3")
        if len(found) == count:
            return
        pause()
    raise AssertionError(
        f"{base}: {[(x['scrapePool'], x['health'], x['lastError']) for x in api(base, 'targets')['activeTargets']]}"
    )


def api(base: str, path: str, **parameters: str):
    return json.loads(get(f"{base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))["data"]


def vector(base: str, expression: str):
    """Return what an instant query yields, by label set: a text, or the object of a histogram."""
    found = api(base, "query", query=expression)["result"]
    return {tuple(sorted(r["metric"].items())): r["value"][1] if "value" in r else r["histogram"][1] for r in found}


@pytest.mark.parametrize("job", ["fixed", "both", "custom", "client", "client_custom"])
def test_series_of_fixed_targets_are_the_same(servers, job):
    """All series with their values and histograms, under the same labels."""
    ours, theirs = (
        vector(
            base,
            f'{{job="{job}",__name__!~"scrape_duration_seconds|scrape_series_added|scrape_samples_.+|.+_created"}}',
        )
        for base in servers(job)
    )
    assert ours == theirs
    assert len(ours) >= 6


@pytest.mark.parametrize("job", ["node", "self"])
def test_series_of_real_exporters_are_the_same(servers, job):
    """Exporters of the Go client, read as protobuf: the same series, each of the same kind."""

    def kinds(base):
        names = "node_.+|process_.+|promhttp_.+|go_.+" if job == "node" else "prometheus_.+|go_.+|net_.+"
        return {k: isinstance(v, dict) for k, v in vector(base, f'{{job="{job}",__name__=~"{names}"}}').items()}

    # Series come and go with what the process does; nearly all are always there.  One server sees a new one before the other.
    for _ in range(100):
        ours, theirs = map(kinds, servers(job))
        if len(ours.keys() ^ theirs.keys()) <= 10:
            break
        pause(0.3)
    assert len(ours.keys() ^ theirs.keys()) <= 10
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 300
    assert {k: ours[k] for k in shared} == {k: theirs[k] for k in shared}
    if job == "self":
        assert any(ours.values())


@pytest.mark.parametrize("job", ["fixed", "client"])
def test_start_times_are_the_same(servers, job):
    """The zeros at start times: the first sample of every series that tells when it began."""

    def zeros(base):
        found = {}
        for r in api(base, "query", query=f'{{job="{job}",__name__!~"up|scrape_.+|process_.+"}}[10m]')["result"]:
            points = r.get("values", []) + r.get("histograms", [])
            first = min(points)
            value = first[1] if isinstance(first[1], str) else first[1]["count"]
            if value == "0" and max(points)[1] != first[1]:
                found[tuple(sorted(r["metric"].items()))] = first[0]
        return found

    ours, theirs = map(zeros, servers(job))
    assert ours == theirs
    assert ours


@pytest.mark.parametrize("job", ["fixed", "both", "client"])
def test_exemplars_are_the_same(servers, job):
    """Exemplars of counters, buckets and native histograms, in order."""

    def exemplars(base):
        now = time.time()
        found = api(base, "query_exemplars", query=f'{{job="{job}"}}', start=f"{now - 600:.0f}", end=f"{now + 60:.0f}")
        return {
            tuple(sorted(s["seriesLabels"].items())): [(e["labels"], float(e["value"]), e["timestamp"]) for e in s["exemplars"]]
            for s in found
        }  # fmt: skip

    ours, theirs = map(exemplars, servers(job))
    # Prometheus 3.5 reads the exemplars of the first native histogram of a family only.
    second = {k: ours.pop(k) for k in list(ours) if ("n", "1") in k and k not in theirs}
    assert ours == theirs
    assert all(len(found) == 2 for found in second.values())
    assert ours


@pytest.mark.parametrize("job", ["fixed", "client", "node"])
def test_metadata_is_the_same(servers, job):
    """Type, help and unit of every family, as the target told them."""

    def metadata(base):
        found = api(base, "targets/metadata", match_target=f'{{job="{job}"}}')
        return {(m["metric"], m["type"], m["help"], m["unit"]) for m in found}

    ours, theirs = map(metadata, servers(job))
    assert ours == theirs
    assert len(ours) >= 4
