"""Pushes in other formats, and of anything at all, to the routes."""

from __future__ import annotations

import random

from gateways import Gateways
from prometheus_client_model import native_histogram

from tinyobs.builtin.pushgateway import handlers
from tinyobs.model.histograms import is_handle
from tinyobs.storage.layout import PUSH_JOURNAL
from tinyobs.testing.mem_disk import MemDisk

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


async def test_native_histograms(autojump_clock):
    """They are stored, at once and again, and are there after a restart."""
    disk = MemDisk()
    g = Gateways(disk=disk)
    for job in ("a", "b"):
        answer = await g.ask("PUT", f"/metrics/job/{job}", native_histogram("h", 5), content_type=PROTOBUF)
        assert answer.status == 200
    restarted = Gateways(disk=disk, services=g.services)
    await restarted.again()
    for batch, count in zip(g.services.batches, (1, 1, 2), strict=True):
        handles = is_handle(batch.values)
        assert handles.sum() == count
        numbers = [batch.histograms.one(i).count for i in range(len(batch.histograms))]
        assert numbers == [5] * count


async def test_openmetrics(autojump_clock):
    """A content type that says so is believed."""
    g = Gateways()
    body = b"# TYPE c counter\nc_total 1\n# EOF\n"
    kind = "application/openmetrics-text; version=1.0.0"
    assert (await g.ask("PUT", "/metrics/job/a", body, content_type=kind)).status == 200
    assert (await g.ask("PUT", "/metrics/job/a", body[:-6], content_type=kind)).status == 400
    text = (await g.ask("GET", "/pushgateway/metrics")).body
    assert b"# TYPE c counter\n" in text or b"# TYPE c_total counter\n" in text


async def test_anything_at_all(autojump_clock):
    """Random requests are answered below 500, and groups, journal and shown text stay sound."""
    rng = random.Random(17)
    disk = MemDisk()
    g = Gateways(disk=disk, rewrite_bytes_min=4096)
    parts = [
        b"job",
        b"job@base64",
        b"a",
        b"YQ",
        b"=",
        b"",
        b"x",
        b"x@base64",
        b"%2F",
        b"%ff",
        b"instance",
        b"..",
        b"\xc3\xa4",
    ]
    lines = [
        b"m 1", b"m 2", b'm{x="1"} 3', b"# TYPE m gauge", b"# TYPE m counter", b"# TYPE s summary", b"s_sum 1",
        b"s_count 2", b's{quantile="1"} 3', b"m 1 5", b"\xff", b"push_time_seconds 1", b"n -Inf", b"",
    ]  # fmt: skip
    kinds = ["", "text/plain", PROTOBUF, "application/openmetrics-text", ";;;", "\x00"]
    statuses = set()
    for _ in range(600):
        path = b"/".join([b"job", *rng.choices(parts, k=rng.choice((1, 1, 3, 3, 2, 5)))])
        body = b"".join(line + b"\n" for line in rng.choices(lines, k=rng.randrange(5)))
        if rng.random() < 0.2:
            body = native_histogram("h", rng.randrange(9))[: rng.randrange(80)]
        method = rng.choice(("PUT", "POST", "POST", "DELETE"))
        kind = rng.choice(kinds)
        answer = await g.ask(
            method, "/metrics/" + path.decode("latin-1"), body, **({"content_type": kind} if kind else {})
        )
        statuses.add(answer.status)
    assert statuses <= {200, 202, 400, 404}, statuses
    assert {200, 202, 400} <= statuses
    assert (await g.ask("GET", "/pushgateway/metrics")).status == 200
    assert (await g.ask("GET", "/api/v1/metrics")).status == 200
    assert Gateways(disk=disk, services=g.services).shown() == g.shown()
    assert disk.size(PUSH_JOURNAL) < 200_000


async def test_what_is_remembered_of_paths_is_bounded(monkeypatch):
    """Neither many paths nor long ones stay in memory."""
    monkeypatch.setattr(handlers, "PATHS_MAX", 3)
    gateways = Gateways()
    for i in range(7):
        assert await gateways.put(f"job/{i}", b"m 1\n") == 200
        assert await gateways.put(f"job/{i}/long/{'x' * handlers.REMEMBERED_PATH_BYTES_MAX}", b"n 1\n") == 200
    assert {path for path, _ in gateways.handlers._keys} == {b"job/6"}
    assert len(gateways.gateway.groups) == 14
