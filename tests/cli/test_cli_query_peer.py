"""`tinyobs query` asks the real Prometheus as it asks TinyObs."""

from __future__ import annotations

import json
import time

import pytest
from peers import free_port, pause, program, running

from tinyobs.cli.main import run

pytestmark = [pytest.mark.peer]


def test_every_query_command_understands_prometheus(tmp_path, capsys):
    """Instant, range, series and labels against a server that scrapes itself."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: own, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    command = [
        program("prometheus"),
        "--config.file=prometheus.yml",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={tmp_path / 'd'}",
    ]
    with running(command, url + "/-/ready", tmp_path):

        def ask(*arguments):
            capsys.readouterr()
            assert run(["query", *arguments, "--url", url]) == 0
            return capsys.readouterr().out

        until = time.monotonic() + 150
        while "} " not in (found := ask("instant", "up == 1")):
            assert time.monotonic() < until
            pause(0.2)
        assert found.splitlines()[1].startswith(f'up{{instance="127.0.0.1:{port}", job="own"}}')
        now = str(int(time.time()) + 1)
        assert json.loads(ask("range", "up", "--start", now, "--end", now, "--step", "1s", "-o", "json"))["result"]
        assert ask("series", "up").splitlines()[1].startswith("up{")
        assert ask("labels", "job").split() == ["job", "own"]
        assert run(["query", "instant", "sum(", "--url", url]) == 1
        assert "bad_data" in capsys.readouterr().err
