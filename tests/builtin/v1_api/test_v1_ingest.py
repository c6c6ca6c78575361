"""Pushes of the Go SDK and of others, as they are stored: counters, gauges, and histograms that become counters."""

from __future__ import annotations

import json

import pytest
import trio
from go_sdk import GoSdk
from test_v1_contract import INGEST, METRICS, SECTIONS

from tinyobs.builtin.v1_api import tinyobs_routes
from tinyobs.builtin.v1_api.deltas import Deltas
from tinyobs.errors import StorageError, Unavailable
from tinyobs.exposition.v1_metrics import FORGET_MS, SWEEP_MS, V1Decoder, V1Limits
from tinyobs.exposition.v1_times import write_time
from tinyobs.model.batch import AppendResult, LimitHit, Refused
from tinyobs.model.registry import SeriesRegistry
from tinyobs.testing.check_receiver import ReceiverCase, push, services_for
from tinyobs.testing.services import EPOCH_MS


class Daemon:
    """Fake services with the routes of the API, made once: what is remembered of series lives in them."""

    def __init__(self, config="", path="/v1/ingest"):
        self.case = ReceiverCase(path, b"", 0, config=config, sections=SECTIONS)
        self.services = services_for(self.case)
        self.made = tinyobs_routes(self.services)

    async def send(self, body, headers=None):
        """Push a body; return (status, answer)."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await push(lambda services: self.made, self.services, self.case, body, headers)
        return answer.status, json.loads(answer.body)

    async def taken(self, body):
        """Push a body that has to be taken."""
        status, answer = await self.send(body)
        assert status == 200, answer


def part(name, value, at=None, **labels):
    """Return a push of one part of a histogram."""
    metric = {"name": name, "type": "histogram", "value": value, "labels": labels}
    return {"metrics": [metric | ({"timestamp": write_time(at)} if at else {})]}


async def test_counters_and_gauges_of_the_sdk(autojump_clock):
    """Sums are stored as they are sent, one for each millisecond: the last."""
    daemon = Daemon()
    sdk = GoSdk("shop", lambda: write_time(daemon.services.clock.now_ms()))
    for _ in range(3):
        for _ in range(700):
            sdk.inc("requests_total", path="/x")
        sdk.set("queue", 7.5)
        assert await sdk.flush(daemon.taken) == 1
        await trio.sleep(5)
    assert daemon.services.samples() == {
        'requests_total{path="/x", service="shop"}': [(EPOCH_MS + 5000 * i, 700.0 * (i + 1)) for i in range(3)],
        'queue{service="shop"}': [(EPOCH_MS + 5000 * i, 7.5) for i in range(3)],
    }


async def test_histograms_of_the_sdk_become_counters(autojump_clock):
    """Each flush is added to the sum of those before; the sum begins with 0; `+Inf` has all observations."""
    daemon = Daemon()
    sdk = GoSdk("shop", lambda: write_time(daemon.services.clock.now_ms()))
    for seen in ((0.02, 0.3, 60.0), (), (0.3,), (7.0,)):
        for value in seen:
            sdk.observe("latency", value)
        await sdk.flush(daemon.taken)
        await trio.sleep(5)
    at = [EPOCH_MS - 1, EPOCH_MS, EPOCH_MS + 10_000, EPOCH_MS + 15_000]
    stored = daemon.services.samples()
    assert stored['latency_count{service="shop"}'] == list(zip(at, [0, 3, 4, 5], strict=True))
    assert stored['latency_bucket{le="0.25", service="shop"}'] == list(zip(at, [0, 1, 1, 1], strict=True))
    assert stored['latency_bucket{le="5", service="shop"}'] == list(zip(at, [0, 2, 3, 3], strict=True))
    assert stored['latency_bucket{le="+Inf", service="shop"}'] == list(zip(at, [0, 3, 4, 5], strict=True))
    assert [v for _, v in stored['latency_sum{service="shop"}']] == pytest.approx([0, 60.32, 60.62, 67.62])


async def test_batches_that_cut_a_histogram(autojump_clock):
    """`+Inf` catches up with the next flush."""
    daemon = Daemon()
    for _ in range(2):
        await daemon.taken(part("h_bucket", 1, le="+Inf"))
        await daemon.taken(part("h_count", 3))
        await trio.sleep(5)
    assert [v for _, v in daemon.services.samples()['h_bucket{le="+Inf"}']] == [0, 1, 3]


async def test_two_processes_with_the_same_series(autojump_clock):
    """Both are added; flushes within one millisecond get times of their own."""
    daemon = Daemon()
    for _ in range(3):
        await daemon.taken(part("h_count", 1))
    assert daemon.services.samples()["h_count"] == [(EPOCH_MS - 1 + i, float(i)) for i in range(4)]


async def test_a_flush_that_comes_late(autojump_clock):
    """It counts when it comes: a counter never falls."""
    daemon = Daemon()
    await daemon.taken(part("h_count", 1, EPOCH_MS))
    await daemon.taken(part("h_count", 2, EPOCH_MS - 60_000))
    assert daemon.services.samples()["h_count"] == [(EPOCH_MS - 1, 0.0), (EPOCH_MS, 1.0), (EPOCH_MS + 1, 3.0)]


async def test_histograms_as_they_are(autojump_clock):
    """For clients that send sums."""
    daemon = Daemon("tinyobs: {v1: {histogram_deltas: false}}\n")
    await daemon.taken(part("h_count", 1))
    await trio.sleep(1)
    await daemon.taken(part("h_count", 4))
    assert daemon.services.samples()["h_count"] == [(EPOCH_MS, 1.0), (EPOCH_MS + 1000, 4.0)]


@pytest.mark.parametrize("error", [Unavailable("full"), StorageError("broken")])
async def test_what_was_not_stored_is_not_counted(autojump_clock, error):
    """A client that pushes again is counted once."""
    daemon = Daemon()
    daemon.services.fail_with = error
    assert (await daemon.send(part("h_count", 5)))[0] == 503
    daemon.services.fail_with = None
    await daemon.taken(part("h_count", 5))
    assert [v for _, v in daemon.services.samples()["h_count"]][-1] == 5


def test_sums_are_forgotten_after_a_day():
    """What was not pushed for long begins anew."""
    registry = SeriesRegistry()
    deltas, decoder = Deltas(registry), V1Decoder(registry, V1Limits())
    for now_ms, total in ((EPOCH_MS, 2), (EPOCH_MS + SWEEP_MS, 4), (EPOCH_MS + FORGET_MS + 2 * SWEEP_MS + 1, 2)):
        decoded = decoder.take(part("h_count", 2)["metrics"], (), now_ms)
        assert deltas.batch(decoded, now_ms).values.tolist()[-1] == total
    assert len(deltas) == 1


async def test_series_beyond_the_limits(autojump_clock):
    """429, nothing of the push is stored, and all is counted."""
    daemon = Daemon("tinyobs: {v1: {series_max: 1}}\n")
    assert await daemon.send(METRICS) == (
        429, {"error": "Too Many Requests", "message": "cardinality limit exceeded (max 1 unique series)"}
    )  # fmt: skip
    assert not daemon.services.batches
    assert daemon.services.receptions.statistics().refused_total == {("v1", "series_limit"): 1}


@pytest.mark.parametrize(
    ("refused", "status", "answer"),
    [
        ({Refused.DUPLICATE: 1}, 200, {"status": "success", "count": 1}),
        ({Refused.TOO_OLD: 2}, 400, {"error": "Bad Request"}),
        ({Refused.LIMIT: 1}, 429, {"error": "Too Many Requests"}),
    ],
)
async def test_what_the_storage_refuses(autojump_clock, monkeypatch, refused, status, answer):
    """It is told, and the rest stays."""
    daemon = Daemon()

    async def append(batch, *, then=None):
        result = AppendResult(len(batch) - sum(refused.values()), refused, {next(iter(refused)): 0})
        if then is not None:
            then(result)
        return result

    monkeypatch.setattr(daemon.services, "append", append)
    found, body = await daemon.send(METRICS)
    assert found == status
    assert "in this request" in body.pop("message")
    assert body == answer


@pytest.mark.parametrize(
    ("hits", "status"),
    [((False,), 200), ((True,), 429), ((False, True), 429)],
    ids=["shape", "number", "both"],
)
async def test_limits_that_samples_are_beyond(autojump_clock, monkeypatch, hits, status):
    """429 says that there are too many series; one that is too long will never be taken, as one that is too old."""
    daemon = Daemon()

    async def append(batch, *, then=None):
        limits = tuple(LimitHit("a limit", 1, is_cardinality) for is_cardinality in hits)
        result = AppendResult(len(batch) - 1, {Refused.LIMIT: 1}, limits=limits)
        if then is not None:
            then(result)
        return result

    monkeypatch.setattr(daemon.services, "append", append)
    found, body = await daemon.send(METRICS)
    assert (found, "beyond the limit a limit" in body["message"]) == (status, True)


async def test_a_large_push(autojump_clock):
    """It is decoded in a thread, to the same end."""
    daemon = Daemon("tinyobs: {v1: {metrics_per_request_max: 100000}}\n")
    metrics = [{"name": "a", "type": "gauge", "value": i, "labels": {"i": "x" * 50 + str(i)}} for i in range(4000)]
    assert await daemon.send({"metrics": metrics}) == (200, {"status": "success", "count": 4000})
    assert len(daemon.services.samples("a")) == 4000


async def test_labels_of_the_url(autojump_clock):
    """They tell processes apart that the SDK cannot."""
    daemon = Daemon(path="/v1/ingest?extra_label=instance=a")
    await daemon.taken(METRICS)
    assert 'a{instance="a", x="1"}' in daemon.services.samples()


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:9090", True),
        ("http://127.0.0.1:3000", True),
        ("http://localhost:3001", False),
        ("https://evil.example", False),
    ],
)
async def test_pages_of_the_same_machine_may_read(autojump_clock, origin, allowed):
    """Those on the own port and on 3000, as the first TinyObs has it; without credentials of the browser."""
    daemon = Daemon()
    answer = await push(lambda s: daemon.made, daemon.services, daemon.case, INGEST.good, {"origin": origin})
    assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
    assert "access-control-allow-credentials" not in answer.headers
