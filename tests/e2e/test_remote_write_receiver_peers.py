"""Remote write from servers of others: what they scrape arrives, in 1.0 and 2.0."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from peers import daemon, free_port, get, pause, program, prometheus_3, query, running
from remote_write_requests import V1, V2

PAGE = Path(__file__).resolve().parents[2] / "docs" / "receivers" / "remote-write.md"
CONFIG = """\
global: {{scrape_interval: 1s, external_labels: {{site: cellar}}}}
scrape_configs:
- job_name: self
  static_configs: [{{targets: ['127.0.0.1:{own}']}}]
- job_name: app
  static_configs: [{{targets: ['127.0.0.1:{app}']}}]
"""
QUICK = "  queue_config: {batch_send_deadline: 200ms}\n"
TEXT = """\
# HELP orders Orders taken.
# TYPE orders counter
orders_total{{shop="a"}} {0} # {{trace_id="{0}"}} 1.0 {1:.3f}
orders_total{{shop="b"}} {0}
# EOF
"""


@contextmanager
def app() -> Iterator[int]:
    """Serve a counter with an exemplar that changes with each scrape; yields the port."""
    scrapes = iter(range(1, 1_000_000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = TEXT.format(next(scrapes), time.time()).encode()
            self.send_response(200)
            self.send_header("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def api(base, path):
    """Return the data of an answer of the API."""
    return json.loads(get(f"{base}/api/v1/{path}"))["data"]


def until(found, seconds=150.0):
    """Wait until something is found; return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        pause(0.3)
    raise AssertionError("nothing came")


def own(base, name):
    """Return the sum of a metric of a server itself."""
    lines = get(f"{base}/metrics").decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and "#" not in line)


@pytest.mark.peer
@pytest.mark.parametrize("message", [V1, V2])
def test_prometheus_3_sends(tmp_path, message):
    """Floats, native histograms and exemplars, in 2.0 metadata; nothing is refused by either side."""
    path, port = prometheus_3(), free_port()
    far, near = tmp_path / "far", f"http://127.0.0.1:{port}"
    far.mkdir()
    (sending,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    with app() as target, daemon(far, "--web.enable-remote-write-receiver", "--no-plugin=host") as (base, _):
        text = CONFIG.format(own=port, app=target) + sending.replace("http://127.0.0.1:9090", base).replace(V2, message)
        (tmp_path / "p.yml").write_text(text + QUICK)
        command = [
            path, "--config.file=p.yml", f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={tmp_path / 'near'}",
            "--enable-feature=exemplar-storage,native-histograms,metadata-wal-records",
        ]  # fmt: skip
        with running(command, f"{near}/-/ready", tmp_path):
            end = lambda name: f"{time.time() - 60:.0f}&end={time.time() + 60:.0f}&query={name}"  # noqa: E731
            exemplars = until(lambda: api(base, f"query_exemplars?start={end('orders_total')}"))
            assert exemplars[0]["exemplars"][0]["labels"]["trace_id"].isdigit()
            assert len(query(base, 'orders_total{site="cellar"}')) == 2
            count = "histogram_count(prometheus_http_request_duration_seconds)"
            assert until(lambda: any(v > 0 for v in query(base, count).values()))
            if message == V2:
                assert until(lambda: api(base, "metadata?metric=prometheus_http_requests_total"))
            for kind in ("samples", "histograms", "exemplars"):
                assert own(near, f"prometheus_remote_storage_{kind}_failed_total") == 0
            assert own(base, "tinyobs_receivers_refused_total") == 0
            sent = own(near, "prometheus_remote_storage_samples_total")
        assert sent > 100
        assert own(base, 'tinyobs_receivers_samples_total{protocol="remote_write"}') >= sent


@pytest.mark.peer
def test_debians_prometheus_sends(tmp_path):
    """Version 2.42 speaks 1.0; its values are there, and metadata in requests of its own."""
    port = free_port()
    far, near = tmp_path / "far", f"http://127.0.0.1:{port}"
    far.mkdir()
    with app() as target, daemon(far, "--web.enable-remote-write-receiver", "--no-plugin=host") as (base, _):
        sending = f"remote_write:\n- url: {base}/api/v1/push\n  metadata_config: {{send_interval: 1s}}\n  send_exemplars: true\n"
        (tmp_path / "p.yml").write_text(CONFIG.format(own=port, app=target) + sending + QUICK)
        command = [
            program("prometheus"), "--config.file=p.yml", f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={tmp_path / 'near'}", "--enable-feature=exemplar-storage",
        ]  # fmt: skip
        with running(command, f"{near}/-/ready", tmp_path):
            assert until(lambda: api(base, "metadata?metric=prometheus_http_requests_total"))
            assert until(lambda: len(query(base, 'orders_total{site="cellar"}')) == 2)
            assert own(near, "prometheus_remote_storage_samples_failed_total") == 0
            (at,) = query(base, 'timestamp(orders_total{shop="a"})').values()  # what is newer may be on its way
            ours, theirs = (query(b, 'orders_total{shop="a"}', at) for b in (base, near))
        assert sorted(ours.values()) == sorted(theirs.values())
        assert own(base, "tinyobs_receivers_refused_total") == 0
