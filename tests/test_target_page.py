"""The page docs/target-test.md: its example shows what the command prints."""

from __future__ import annotations

import re
import shlex
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tinyobs.cli.main import OK, run

TEXT = (Path(__file__).parents[1] / "docs" / "target-test.md").read_text()


def block(kind: str, number: int = 0) -> str:
    """Return a block of a kind, the first one by default."""
    return re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[number]


def test_the_example_prints_what_the_page_says(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the port and the times."""
    body = block("text").encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        address = f"127.0.0.1:{server.server_port}"
        (tmp_path / "rooms.yml").write_text(block("yaml").replace("localhost:9100", address))
        monkeypatch.chdir(tmp_path)
        assert run(shlex.split(block("sh"))[1:]) == OK
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    printed = capsys.readouterr().out.replace(address, "localhost:9100")
    seconds = r"\b(\d+\.\d+)(?= s$)|\b0\.\d+"
    assert re.sub(seconds, "T", printed, flags=re.M) == re.sub(seconds, "T", block("text", 1), flags=re.M)
