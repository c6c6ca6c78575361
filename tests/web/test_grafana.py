"""What Grafana's Prometheus data source asks, and what it gets: as from a Prometheus with the same samples."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from peers import daemon, free_port, prometheus_3, running

from tinyobs.exposition.remote_write_encoder import encode
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import Histogram
from tinyobs.model.labels import Labels, from_mapping

REQUESTS = json.loads((Path(__file__).parent / "grafana" / "requests.json").read_text())["requests"]
NAMES = [request["name"] for request in REQUESTS]
SECONDS = 600


def ask(base: str, request: dict[str, Any], end_ms: int) -> tuple[int, str, Any]:
    """Return (status, content type, JSON) of a request; the body as text where it is no JSON."""
    times = {"$start": str((end_ms - SECONDS * 1000) / 1000), "$end": str(end_ms / 1000)}

    def encoded(key: str) -> str:
        return urlencode([(k, times.get(v, v)) for k, v in request.get(key, ())])

    query, form = encoded("query"), encoded("form")
    url = f"{base}{request['path']}" + (f"?{query}" if query else "")
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if request["method"] == "POST" else {}
    body = form.encode() if request["method"] == "POST" else None
    sent = urllib.request.Request(url, body, headers, method=request["method"])
    try:
        with urllib.request.urlopen(sent, timeout=60) as answer:
            status, kind, data = answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as e:
        status, kind, data = e.code, e.headers["content-type"], e.read()
    return status, kind, json.loads(data) if "json" in kind else data.decode()


def write(base: str, end_ms: int) -> None:
    """Store gauges, counters with exemplars, a native histogram, and a label with a dot."""
    times = list(range(end_ms - SECONDS * 1000, end_ms + 1, 15_000))
    counter = from_mapping({"__name__": "graf_requests_total", "job": "a", "my.label": "é"})
    native = [Histogram(0, 0.001, 1, 4 + i, 1.5 * i, ((0, 2),), (i, 3), is_integer=True) for i, _ in enumerate(times)]
    series: list[tuple[Labels, list[int], list[Any]]] = [
        (from_mapping({"__name__": "graf_up", "job": job}), times, [float(i // 7 % 2) for i in range(len(times))])
        for job in ("a", "b", "c")
    ]
    series += [
        (counter, times, [float(i * i) for i in range(len(times))]),
        (from_mapping({"__name__": "graf_latency", "job": "a"}), times, native),
    ]
    exemplars = [
        (
            counter,
            [Exemplar(0, (("trace_id", "x1"),), 2.5, times[-3]), Exemplar(0, (("trace_id", "x2"),), 3.0, times[-2])],
        )
    ]
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    for body in (encode(series), encode([], exemplars=exemplars)):
        with urllib.request.urlopen(
            urllib.request.Request(f"{base}/api/v1/write", body, headers), timeout=60
        ) as answer:
            assert answer.status == 204


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Yield the URL of an agent with samples, and the time of the newest."""
    folder = tmp_path_factory.mktemp("ours")
    (folder / "ours.yml").write_text("global: {}\n")
    with daemon(folder, f"--config.file={folder / 'ours.yml'}", "--web.enable-remote-write-receiver") as (base, _):
        end_ms = time.time_ns() // 1_000_000_000 * 1000
        write(base, end_ms)
        yield base, end_ms


@pytest.fixture(scope="module")
def theirs(ours: tuple[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a Prometheus with the same samples."""
    folder, port = tmp_path_factory.mktemp("theirs"), free_port()
    (folder / "theirs.yml").write_text("global: {}\n")
    command = [
        prometheus_3(), "--config.file=theirs.yml", f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'data'}", "--web.enable-remote-write-receiver",
        "--enable-feature=native-histograms,exemplar-storage",
    ]  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    with running(command, f"{base}/-/ready", folder):
        write(base, ours[1])
        yield base


def shape(value: Any) -> Any:
    """Return JSON with types in place of values."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    return [shape(v) for v in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize("request_", REQUESTS, ids=NAMES)
def test_every_request_has_an_answer_of_the_right_kind(ours: tuple[str, int], request_: dict[str, Any]) -> None:
    """JSON in the envelope; refusals are those that were meant, and everything asked for is there."""
    status, kind, answer = ask(*(ours[0], request_, ours[1]))
    name = request_["name"]
    if "by POST, before" in name:
        assert (status, kind) == (405, "text/plain; charset=utf-8")
        return
    assert kind == "application/json"
    if name in ("an expression that is wrong", "too many points", "a series selector that selects everything"):
        assert (status, answer["status"], answer["errorType"]) == (400, "error", "bad_data")
    elif name == "an expression that fails":
        assert (status, answer["errorType"]) == (422, "execution")
    else:
        assert (status, answer["status"]) == (200, "success")
        data = answer["data"]
        assert data or name == "types and help texts"
        if isinstance(data, dict) and "result" in data:
            assert data["result"], answer


@pytest.mark.peer
@pytest.mark.parametrize("request_", REQUESTS, ids=NAMES)
def test_prometheus_gives_the_same_answers(ours: tuple[str, int], theirs: str, request_: dict[str, Any]) -> None:
    """Status, content type, and all of the body or its shape."""
    mine, other = (ask(base, request_, ours[1]) for base in (ours[0], theirs))
    assert mine[:2] == other[:2]
    if request_["compare"] == "exact":
        assert mine[2] == other[2]
    elif request_["compare"] == "unordered":
        assert sorted(map(str, mine[2].pop("data"))) == sorted(map(str, other[2].pop("data")))
        assert mine[2] == other[2]
    elif request_["compare"] == "shape":
        assert shape(mine[2]) == shape(other[2])
