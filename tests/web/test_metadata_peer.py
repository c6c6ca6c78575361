"""Metadata of targets beside a real Prometheus that scrapes the same target."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from peers import daemon, free_port, get, pause, prometheus_3, running

pytestmark = [pytest.mark.peer]

BODY = b"""# HELP a_total Some "counter" with \\\\ and \\n in it.
# TYPE a_total counter
a_total 1
# HELP b A gauge.
# TYPE b gauge
b{x="1"} 2
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 2
h_sum 3
h_count 2
# HELP s Only a help text.
s 1
bare 5
# HELP q A summary.
# TYPE q summary
q{quantile="0.5"} 1
q_sum 1
q_count 1
"""
CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: one
    static_configs: [{{targets: ["{target}"]}}]
  - job_name: two
    static_configs: [{{targets: ["{target}"], labels: {{env: test}}}}]
"""
QUERIES = (
    *("/targets/metadata", "/targets/metadata?metric=b", "/targets/metadata?metric=nope", "/metadata"),
    "/targets/metadata?match_target=" + quote('{job="two"}'),
    "/targets/metadata?match_target=" + quote('{env=""}') + "&metric=a_total",
    *("/metadata?metric=h", "/metadata?metric=bare", "/metadata?limit_per_metric=1", "/metadata?limit=0"),
)


class _Target(BaseHTTPRequestHandler):
    """Answers every request with the same metrics."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield the URLs of ours and of a Prometheus, both of which have scraped the target under two jobs."""
    folder: Path = tmp_path_factory.mktemp("metadata")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Target)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "both.yml").write_text(CONFIG.format(target=f"127.0.0.1:{server.server_address[1]}"))
    port = free_port()
    theirs = f"http://127.0.0.1:{port}"
    command = [
        prometheus_3(), "--config.file=both.yml", f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'theirs'}",
    ]  # fmt: skip
    try:
        with daemon(folder, f"--config.file={folder / 'both.yml'}") as (ours, _):  # noqa: SIM117
            with running(command, f"{theirs}/-/ready", folder):
                until = time.monotonic() + 150
                for base in (ours, theirs):
                    while len({e["target"]["job"] for e in data(base, "/targets/metadata")}) < 2:
                        assert time.monotonic() < until, "nothing was scraped"
                        pause(0.2)
                yield ours, theirs
    finally:
        server.shutdown()
        server.server_close()


def data(base: str, path: str) -> Any:
    """Return the data of an answer."""
    return json.loads(get(f"{base}/api/v1{path}"))["data"]


@pytest.mark.parametrize("path", QUERIES)
def test_prometheus_says_the_same(bases: tuple[str, str], path: str) -> None:
    """But for the order, which it leaves open."""
    ours, theirs = (data(base, path) for base in bases)
    if isinstance(ours, list):
        ours, theirs = (sorted(map(json.dumps, map(in_order, some))) for some in (ours, theirs))
    assert ours == theirs


def in_order(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry with its keys in order."""
    return dict(sorted(entry.items()))
