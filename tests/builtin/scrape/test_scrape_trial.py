"""A scrape for trial: everything as in a real one, but for the storing."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from attrs import evolve
from protobuf_bodies import body_of

from tinyobs.builtin.scrape.loop import LoopRules, ScrapeLoop
from tinyobs.builtin.scrape.series import SeriesRules
from tinyobs.builtin.scrape.statistics import PoolCounters
from tinyobs.builtin.scrape.targets import PoolDefaults, Target, make_target
from tinyobs.builtin.scrape.trial import TrialPool, choose, run_trial, target_at
from tinyobs.exposition.client_schema import HISTOGRAM
from tinyobs.exposition.histogram_rules import HistogramRules
from tinyobs.http_client import HttpError
from tinyobs.model.labels import NAME, from_mapping
from tinyobs.relabel import Action, Rule
from tinyobs.testing.services import FakeServices
from tinyobs.testing.targets import TEXT
from tinyobs.web.target_trial import TargetQuestion, TargetTest

BODY = b'# HELP a_total Things.\n# TYPE a_total counter\na_total 5\nb{x="1"} 1.5 99000\nb{x="2"} NaN\ngo_x 1\n'


class FakeClient:
    """Answers every request with what the test has set."""

    def __init__(self, body: bytes = BODY, **more: Any) -> None:
        self.answer = {"status": 200, "reason": "OK", "headers": {"content-type": TEXT}} | more
        self.body, self.asked, self.closed = body, [], False
        self.error: Exception | None = None
        self.delay = 0.0

    @asynccontextmanager
    async def stream(self, method: str, url: str, headers: Any) -> AsyncIterator[Any]:
        self.asked.append((url, headers))
        await trio.sleep(self.delay)
        if self.error:
            raise self.error

        async def pieces() -> Any:
            yield self.body[:7]
            yield self.body[7:]

        yield SimpleNamespace(**self.answer, pieces=pieces)

    async def aclose(self) -> None:
        self.closed = True


DEFAULTS = PoolDefaults(
    "j", 15_000, 10_000, rules=(Rule(source_labels=("__meta_drop",), regex="yes", action=Action.DROP),)
)
RULES = (Rule(source_labels=(NAME,), regex="go_.*", action=Action.DROP), Rule(regex="x", action=Action.LABELDROP))


def target() -> Target:
    found = make_target({"__address__": "h:1"}, {}, DEFAULTS)[1]
    assert found is not None
    return found


def pool(client: FakeClient, **rules: Any) -> TrialPool:
    made = LoopRules(rules.pop("series", SeriesRules()), (("Accept", "text/plain"),), **rules)
    return TrialPool(DEFAULTS, made, lambda target: client)  # type: ignore[arg-type,return-value]


async def trial(client: FakeClient, running: ScrapeLoop | None = None, **rules: Any) -> TargetTest:
    found = await run_trial(pool(client, **rules), target(), FakeServices().clock, 10, running)
    assert client.closed
    return found


async def test_it_shows_what_would_be_stored() -> None:
    """The answer, the samples with their own timestamps, the synthetic series, the metadata."""
    client = FakeClient()
    found = await trial(client)
    assert (found.error, found.status, found.content_type) == ("", 200, TEXT)
    assert (found.body_bytes, found.exposition_bytes) == (len(BODY), len(BODY))
    assert (found.samples, found.samples_kept, found.metadata_count) == (4, 4, 1)
    base = {"instance": "h:1", "job": "j"}
    assert [(dict(s.labels), s.value) for s in found.series] == [
        ({NAME: "a_total", **base}, "5"),
        ({NAME: "b", "x": "1", **base}, "1.5"),
        ({NAME: "b", "x": "2", **base}, "NaN"),
        ({NAME: "go_x", **base}, "1"),
    ]
    assert found.series[1].timestamp_ms == 99_000
    assert {k: v for k, v in found.reports.items() if k != "scrape_duration_seconds"} == {
        "up": 1.0,
        "scrape_samples_scraped": 4.0,
        "scrape_samples_post_metric_relabeling": 4.0,
        "scrape_series_added": 3.0,
    }
    assert "scrape_body_size_bytes" in (await trial(FakeClient(), extra_metrics=True)).reports
    assert (found.is_active, found.stale_count) == (False, 0)
    assert client.asked[0][0] == "http://h:1/metrics"
    assert client.asked[0][1]["X-Prometheus-Scrape-Timeout-Seconds"] == "10"
    assert len(client.asked) == 1


async def test_it_tells_what_metric_relabelling_does() -> None:
    """Which series it drops and why, which it changes, and which of them become one."""
    found = await trial(FakeClient(), series=SeriesRules(metric_rules=RULES))
    told = found.metric_relabelling
    assert told is not None
    assert (told.series, told.dropped, told.changed, told.collided) == (4, 1, 2, 2)
    assert told.dropped_examples[0].reason == 'drop: "go_x" matches go_.*'
    assert (found.samples, found.samples_kept) == (4, 3)


async def test_native_histograms_are_shown_as_count_and_sum() -> None:
    """Protobuf is read as in any scrape."""
    metric = {"histogram": {"sample_count": 10, "sample_sum": 5.5, "schema": 3, "zero_threshold": 0.001, "positive_span": [{"offset": 0, "length": 4}], "positive_delta": [1, 1, 1, 1]}}  # fmt: skip
    kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    client = FakeClient(body_of(("h", HISTOGRAM, [metric])), headers={"content-type": kind})
    native = evolve(target(), histograms=HistogramRules(native=True))
    found = await run_trial(pool(client), native, FakeServices().clock, 10)
    assert [(dict(s.labels)[NAME], s.value) for s in found.series] == [("h", "native histogram: count 10, sum 5.5")]
    assert (found.error, found.samples_kept, found.reports["up"]) == ("", 1, 1.0)
    assert found.metric_relabelling is not None


async def test_compressed_bodies_have_two_sizes() -> None:
    """As sent, and unpacked."""
    client = FakeClient(gzip.compress(BODY), headers={"content-type": TEXT, "content-encoding": "gzip"})
    found = await trial(client)
    assert (found.content_encoding, found.exposition_bytes) == ("gzip", len(BODY))
    assert found.body_bytes == len(client.body)


@pytest.mark.parametrize(
    ("client", "rules", "error", "limit", "dropped"),
    [
        (FakeClient(status=503, reason="Busy"), {}, "server returned HTTP status 503 Busy", "", None),
        (FakeClient(b"x{ 1\n"), {}, "1:", "", None),
        (FakeClient(), {"sample_limit": 2}, "sample limit exceeded", "sample_limit", 0),
        (FakeClient(), {"body_size_limit": 5}, "body size limit exceeded", "body_size_limit", None),
        (FakeClient(), {"series": SeriesRules(label_limit=3)}, "label_limit exceeded", "label_limit", 0),
    ],
)
async def test_failures_are_shown(
    client: FakeClient, rules: dict[str, Any], error: str, limit: str, dropped: int | None
) -> None:
    """The error that the targets page would show, the limit, and what could be read all the same."""
    found = await trial(client, **rules)
    assert error in found.error
    assert (found.limit, list(found.series), found.reports["up"]) == (limit, [], 0.0)
    assert (None if found.metric_relabelling is None else found.metric_relabelling.dropped) == dropped


async def test_no_answer_at_all(autojump_clock: Any) -> None:
    """A refused connection and a target that is too slow."""
    client = FakeClient()
    client.error = HttpError("connection refused")
    found = await trial(client)
    assert (found.error, found.status, found.body_bytes) == ("connection refused", 0, 0)
    slow = FakeClient()
    slow.delay = 11.0
    found = await trial(slow)
    assert "context deadline exceeded" in found.error
    assert found.duration_seconds == pytest.approx(10.0)


async def test_it_tells_which_series_would_become_stale() -> None:
    """Compared with the last scrape of the running loop, which does not notice."""
    services, client = FakeServices(), FakeClient(b"a_total 1\ngone 1\n")
    rules = LoopRules(SeriesRules(), ())
    loop = ScrapeLoop(target(), rules, client, services, PoolCounters(), "seed")  # type: ignore[arg-type]
    await loop.scrape(1000)
    before = dict(services.samples("gone"))
    found = await trial(FakeClient(), loop)
    base = {"instance": "h:1", "job": "j"}
    assert (found.is_active, [dict(s) for s in found.stale]) == (True, [{NAME: "gone", **base}])
    found = await trial(FakeClient(status=500), loop)
    assert found.stale_count == 2
    assert services.samples("gone") == before
    loop.forced_error = "target_limit exceeded"
    assert (await trial(FakeClient(), loop)).error == "target_limit exceeded"


def test_an_address_becomes_a_target_as_discovery_would_make_it() -> None:
    """Relabelling may drop it; what is no address is refused."""
    found = target_at(pool(FakeClient()), TargetQuestion("j", address="new:2"))
    assert isinstance(found, Target)
    assert found.url == "http://new:2/metrics"
    labels = from_mapping({"__address__": "new:3", "__meta_drop": "yes"})
    dropped = target_at(pool(FakeClient()), TargetQuestion("j", labels=labels))
    assert isinstance(dropped, TargetTest)
    assert (dropped.labels, dropped.relabelling[0].reason) == (None, 'drop: "yes" matches yes')
    with pytest.raises(LookupError, match="no target can be made"):
        target_at(pool(FakeClient()), TargetQuestion("j", address="a/b"))


def test_a_target_is_named_by_url_instance_or_address() -> None:
    """The only one need not be named, and a name must mean one."""
    one = target()
    other = make_target({"__address__": "h:2", "instance": "h:1"}, {}, DEFAULTS)[1]
    assert other is not None
    assert choose([one], "", "j") is one
    assert choose([one, other], "http://h:2/metrics", "j") is other
    assert choose([one, other], "h:2", "j") is other
    there = evolve(other, members=(2, 0))
    with pytest.raises(LookupError, match="another member of the cluster: number 2, 0"):
        choose([one], "h:2", "j", [there])
    for targets, wanted, message in (
        ([one, other], "", "has 2 such targets"),
        ([one, other], "h:1", "has 2 such targets"),
        ([one], "q", 'has no target "q"'),
        ([], "", "has 0 such targets"),
    ):
        with pytest.raises(LookupError, match=message):
            choose(targets, wanted, "j")
