"""A real Prometheus reads from us, and answers as one that has the samples itself."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

import cramjam
import numpy as np
import pytest
from peers import daemon, free_port, get, prometheus_3, running

from tinyobs.exposition.remote_read import ReadQuery, encode_request
from tinyobs.exposition.remote_write_encoder import encode
from tinyobs.model.histograms import Histogram, ResetHint
from tinyobs.model.labels import from_mapping
from tinyobs.model.matchers import Matcher, MatchType
from tinyobs.model.staleness import STALE_NAN

pytestmark = [pytest.mark.peer]

READS = 'remote_read: [{{url: "{base}/api/v1/read", read_recent: true}}]\n'
COUNT = 400
QUERIES = (
    '{__name__=~"rr_.*"}[2h]',
    "sum by (n) (rate(rr_counter[5m]))",
    "histogram_quantile(0.9, rate(rr_native[5m]))",
    "rr_float_native",
    'rr_counter{dc="x"}',
    'rr_counter{dc="y"}',
)


def write(base: str, now_ms: int, **more: str) -> None:
    """Store counters, odd values, native histograms of both kinds, and a series that ends; more: labels of all."""
    times = [now_ms - 15_000 * i - i % 3 for i in range(COUNT)][::-1]
    rng = np.random.default_rng(7)
    counters = [np.cumsum(rng.integers(0, 50, COUNT)).astype(float).tolist() for _ in range(3)]
    odd = rng.choice([0.1, 1e300, -0.0, float("inf"), float("nan"), 3.0], COUNT).tolist()
    grown = np.cumsum(rng.integers(0, 4, (COUNT, 4)), axis=0)
    grown[250:] -= grown[250]  # a counter reset
    native = [
        Histogram(1, 2.0**-128, int(r[0]), int(r.sum()), float(r[1]) * 1.5, ((0, 2), (1, 1)),
                  tuple(map(int, r[1:])), is_integer=True)
        for r in grown
    ]  # fmt: skip
    gauge = [
        Histogram(0, 0.01, 1.0, float(r.sum()) / 4 + 1, 0.5, ((-1, 3),), tuple(map(float, r[1:] / 4)),
                  reset_hint=ResetHint.GAUGE)
        for r in grown
    ]  # fmt: skip
    samples: list[tuple[dict[str, str], list[int], list[Any]]] = [
        *(({"__name__": "rr_counter", "n": str(i)}, times, c) for i, c in enumerate(counters)),
        ({"__name__": "rr_odd"}, times, odd),
        ({"__name__": "rr_gone"}, times[-3:], [1.0, 2.0, STALE_NAN]),
        ({"__name__": "rr_native"}, times, native),
        ({"__name__": "rr_float_native"}, times, gauge),
    ]
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    encoded = encode([(from_mapping({**labels, **more}), t, v) for labels, t, v in samples])
    with urllib.request.urlopen(urllib.request.Request(f"{base}/api/v1/write", encoded, headers), timeout=60) as answer:
        assert answer.status == 204


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str, int]]:
    """Yield the URLs of ours, of a Prometheus that reads from it, of one that has the samples, and the last time."""
    folder = tmp_path_factory.mktemp("read")

    def prometheus(stack: ExitStack, name: str, config: str) -> str:
        (folder / f"{name}.yml").write_text(config)
        port = free_port()
        command = [
            prometheus_3(), f"--config.file={name}.yml", f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={folder / name}", "--enable-feature=native-histograms",
            "--web.enable-remote-write-receiver",
        ]  # fmt: skip
        stack.enter_context(running(command, f"http://127.0.0.1:{port}/-/ready", folder))
        return f"http://127.0.0.1:{port}"

    with ExitStack() as stack:
        reference = prometheus(stack, "reference", "global: {}\n")
        (folder / "ours.yml").write_text("global: {external_labels: {dc: x}}\n")
        flags = (f"--config.file={folder / 'ours.yml'}", "--web.enable-remote-write-receiver")
        ours, _ = stack.enter_context(daemon(folder, *flags))
        reader = prometheus(stack, "reader", READS.format(base=ours))
        now_ms = time.time_ns() // 1_000_000
        write(ours, now_ms)
        write(reference, now_ms, dc="x")
        yield ours, reader, reference, now_ms


@pytest.mark.parametrize("query", QUERIES)
def test_prometheus_answers_with_our_samples(servers: tuple[str, str, str, int], query: str) -> None:
    """Floats and histograms, values and times, external labels included."""
    _, reader, reference, now_ms = servers
    asked = "/api/v1/query?" + urlencode({"query": query, "time": now_ms / 1000})
    theirs, expected = (json.loads(get(base + asked)) for base in (reader, reference))
    assert theirs == expected
    assert theirs["data"]["result"] or 'dc="y"' in query


@pytest.mark.parametrize("accepted", [(), (0,), (1,)])
def test_answers_equal_those_of_prometheus(servers: tuple[str, str, str, int], accepted: tuple[int, ...]) -> None:
    """The bytes of an answer for the last 100 samples of a series, which are one chunk either way."""
    ours, _, reference, now_ms = servers
    matchers = tuple(Matcher(MatchType.EQUAL, n, v) for n, v in (("__name__", "rr_gone"), ("dc", "x")))
    query = ReadQuery(now_ms - 1_500_000, now_ms, matchers)
    body = bytes(cramjam.snappy.compress_raw(encode_request([query], accepted)))
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    answers = []
    for base in (ours, reference):
        with urllib.request.urlopen(urllib.request.Request(f"{base}/api/v1/read", body, headers), timeout=60) as answer:
            data = answer.read()
            answers.append((answer.status, answer.headers["content-type"], data))
    if accepted != (1,):
        answers = [(s, k, bytes(cramjam.snappy.decompress_raw(d))) for s, k, d in answers]
    assert answers[0] == answers[1]


def test_refusals_equal_those_of_prometheus(servers: tuple[str, str, str, int]) -> None:
    """Status and the part of the text that is not Go's."""
    ours, _, reference, _ = servers
    bad = Matcher(MatchType.REGEX, "a", "b")
    message = encode_request([ReadQuery(0, 1, (bad,))]).replace(b"\x1a\x01b", b"\x1a\x01(")
    for body in (b"\xff\xff", bytes(cramjam.snappy.compress_raw(message)), bytes(cramjam.snappy.compress_raw(encode_request([], (9,))))):  # fmt: skip
        found = []
        for base in (ours, reference):
            try:
                urllib.request.urlopen(urllib.request.Request(f"{base}/api/v1/read", body), timeout=60)
            except urllib.error.HTTPError as e:
                found.append((e.code, e.read().decode()))
        assert found[0][0] == found[1][0], found
        if b"(" in body:
            assert found[0] == found[1]
