"""`tinyobs target test`: by a running daemon, and from here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from peers import daemon, get, pause, query

from tinyobs.cli.main import FAILED, OK, USAGE, run

BODY = b'# TYPE temperature gauge\ntemperature{room="a"} 20.5\ntemperature{room="b"} 19\ngo_threads 7\n'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/metrics"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(BODY if found else b"")

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A target that speaks HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def config(tmp_path: Path, address: str) -> Path:
    file = tmp_path / "tinyobs.yml"
    file.write_text(
        f"""
tinyobs: {{relabel: {{extended: true}}}}
scrape_configs:
- job_name: rooms
  scrape_interval: 5s
  scrape_timeout: 5s
  static_configs: [{{targets: ['{address}'], labels: {{site: x}}}}]
  relabel_configs:
  - {{source_labels: [__meta_skip], regex: "yes", action: drop}}
  metric_relabel_configs:
  - {{if: '{{job="rooms" or job="halls"}}', action: drop_metrics, regex: [go_.*, process_.*]}}
- job_name: broken
  metrics_path: /nothing
  static_configs: [{{targets: ['{address}', '127.0.0.1:1']}}]
"""
    )
    return file


def test_a_static_target_is_scraped_from_here(config: Path, address: str, capsys: Any) -> None:
    """Without a daemon, with the rules of its pool; the only target need not be named."""
    assert run(["target", "test", "--config.file", str(config), "--pool", "rooms"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f'target      {{instance="{address}", job="rooms", site="x"}}'
    assert f"answer      200, text/plain; version=0.0.4, {len(BODY)} bytes" in lines
    assert "samples     3 scraped, 2 to be stored" in lines
    assert "relabelling drops 1 of 3 series, changes 0, joins 0" in lines
    assert f'  temperature{{instance="{address}", job="rooms", room="a", site="x"}} 20.5' in lines
    assert "report      up 1" in lines


def test_a_scrape_that_fails_has_an_exit_code(config: Path, address: str, capsys: Any) -> None:
    """So has a target that relabelling drops; wrong usage has another."""
    here = ["target", "test", "--config.file", str(config), "--pool"]
    assert run([*here, "broken", address, "--json"]) == FAILED
    assert json.loads(capsys.readouterr().out)["status"] == 404
    assert run([*here, "broken", address]) == FAILED
    assert "FAILED      server returned HTTP status 404 Not Found" in capsys.readouterr().out
    assert run([*here, "rooms", "--labels", '{__address__="q:1", __meta_skip="yes"}', "--json"]) == FAILED
    assert json.loads(capsys.readouterr().out)["dropped"]
    assert run([*here, "rooms", "--address", "q:1", "--labels", '{__meta_skip="yes"}']) == FAILED
    assert 'DROPPED drop: "yes" matches yes' in capsys.readouterr().out
    assert run([*here, "broken"]) == USAGE
    assert "has 2 such targets" in capsys.readouterr().err
    assert run([*here, "nix"]) == USAGE
    assert run([*here, "rooms", "--labels", "{"]) == USAGE
    assert run([*here, "rooms", "a", "--address", "b:1"]) == USAGE


def test_a_daemon_tests_its_targets(config: Path, address: str, tmp_path: Path, capsys: Any) -> None:
    """Those that it scrapes, and any address where its admin API is enabled."""
    flags = (f"--config.file={config}", "--web.enable-admin-api")
    with daemon(tmp_path, *flags) as (url, _):
        while address.encode() not in get(f"{url}/api/v1/targets?state=active&scrapePool=rooms"):
            pause()
        while not query(url, 'temperature{room="a"}'):
            pause()
        assert query(url, "go_threads") == {}
        asked = ["target", "test", "--url", url, "--pool"]
        assert run([*asked, "rooms", "--json"]) == OK
        data = json.loads(capsys.readouterr().out)
        assert (data["active"], data["samplesKept"]) == (True, 2)
        assert [r["dropped"] for r in data["metricRelabelling"]["rules"]] == [1]
        assert run([*asked, "rooms", "--address", address, "--labels", '{zone="z"}', "--limit", "1"]) == OK
        text = capsys.readouterr().out
        assert 'zone="z"' in text
        assert "  ... 1 more" in text
        assert run([*asked, "rooms", "nobody:1"]) == FAILED
        assert 'has no target "nobody:1"' in capsys.readouterr().err


def test_a_daemon_without_the_admin_api_asks_no_other_address(config: Path, tmp_path: Path, capsys: Any) -> None:
    """Nobody outside chooses where it sends requests."""
    with daemon(tmp_path, f"--config.file={config}") as (url, _):
        assert run(["target", "test", "--url", url, "--pool", "rooms", "--address", "127.0.0.1:1"]) == FAILED
        assert "admin APIs disabled" in capsys.readouterr().err
