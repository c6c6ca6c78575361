"""One target's life under a virtual clock: schedule, samples, staleness, limits, failures."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise
from types import SimpleNamespace

import pytest
import trio

from tinyobs.builtin.scrape.loop import ScrapeLoop
from tinyobs.builtin.scrape.rules import LoopRules
from tinyobs.builtin.scrape.series import SeriesRules
from tinyobs.builtin.scrape.statistics import PoolCounters
from tinyobs.builtin.scrape.targets import PoolDefaults, make_target
from tinyobs.errors import Unavailable
from tinyobs.exposition.formats import Format
from tinyobs.http_client import HttpError
from tinyobs.model.staleness import is_stale_value
from tinyobs.testing.services import EPOCH_MS, FakeServices
from tinyobs.testing.targets import OPENMETRICS, TEXT

INSTANCE = "h:1"


class FakeClient:
    """Answers every request with what the test has set."""

    def __init__(self) -> None:
        self.body, self.type, self.status, self.delay = b"", TEXT, 200, 0.0
        self.error: Exception | None = None
        self.headers: dict[str, str] = {}

    @asynccontextmanager
    async def stream(self, method, url, headers):
        self.headers = headers
        await trio.sleep(self.delay)
        if self.error:
            raise self.error

        async def pieces():
            yield self.body

        yield SimpleNamespace(status=self.status, reason="Reason", headers={"content-type": self.type}, pieces=pieces)


@pytest.fixture
def client():
    return FakeClient()


@pytest.fixture
def services():
    return FakeServices()


def make(services, client, **rules):
    defaults = PoolDefaults("j", 15_000, 10_000)
    target = make_target({"__address__": INSTANCE}, {}, defaults)[1]
    series = rules.pop("series", SeriesRules())
    headers = ()
    return ScrapeLoop(target, LoopRules(series, headers, **rules), client, services, PoolCounters(), "seed")


def last(services, name, **labels):
    """Return the newest sample of a series of the target."""
    found = services.values(__name__=name, instance=INSTANCE, job="j", **labels)
    return float(found[-1]) if len(found) else None


async def test_a_scrape_stores_samples_and_says_how_it_went(services, client):
    """Samples get the target's labels and the time of the scrape; the synthetic series stand beside them."""
    client.body = b'# TYPE x counter\nx_total{a="1"} 5\nx_total{a="2"} 7\n'
    loop = make(services, client)
    await loop.scrape(1000)
    assert services.samples("x_total") == {
        'x_total{a="1", instance="h:1", job="j"}': [(1000, 5.0)],
        'x_total{a="2", instance="h:1", job="j"}': [(1000, 7.0)],
    }
    assert last(services, "up") == 1
    assert last(services, "scrape_samples_scraped") == 2
    assert last(services, "scrape_samples_post_metric_relabeling") == 2
    assert last(services, "scrape_series_added") == 2
    assert loop.health.up is True
    assert client.headers["X-Prometheus-Scrape-Timeout-Seconds"] == "10"
    await loop.scrape(2000)
    assert last(services, "scrape_series_added") == 0


async def test_a_series_that_vanishes_gets_a_staleness_marker(services, client):
    """The marker is written once, at the scrape that no longer has the series."""
    loop = make(services, client)
    for at, body in ((1000, b"x 1\ny 1\n"), (2000, b"x 2\n"), (3000, b"x 3\n")):
        client.body = body
        await loop.scrape(at)
    (samples,) = services.samples("y").values()
    assert [at for at, _ in samples] == [1000, 2000]
    assert is_stale_value(samples[1][1])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"status": 503}, "server returned HTTP status 503 Reason"),
        ({"error": HttpError("connection refused")}, "connection refused"),
        ({"body": b"x{ 1\n"}, "1:"),
        ({"type": "text/html"}, "text/html"),
        ({"delay": 11.0}, "context deadline exceeded"),
    ],
)
async def test_a_failed_scrape_ends_all_series_and_up_is_0(services, client, autojump_clock, change, error):
    """Whatever goes wrong, the series of the last scrape get markers and the error is shown."""
    loop = make(services, client)
    client.body = b"x 1\n"
    await loop.scrape(1000)
    for name, value in change.items():
        setattr(client, name, value)
    await loop.scrape(2000)
    assert last(services, "up") == 0
    assert is_stale_value(last(services, "x"))
    assert error in loop.health.last_error
    client.__init__()
    client.body = b"x 2\n"
    await loop.scrape(3000)
    assert (last(services, "up"), last(services, "x"), loop.health.last_error) == (1, 2, "")


async def test_limits_fail_the_whole_scrape(services, client):
    """More samples than `sample_limit` store nothing but the report."""
    loop = make(services, client, sample_limit=1, body_size_limit=100)
    client.body = b"x 1\ny 1\n"
    await loop.scrape(1000)
    assert services.samples("x") == {}
    assert loop.health.last_error == "sample limit exceeded"
    client.body = b"x 1\n" + b"#" * 200 + b"\n"
    await loop.scrape(2000)
    assert loop.health.last_error == "body size limit exceeded"


async def test_explicit_timestamps_are_honoured_and_not_tracked(services, client):
    """A sample with a timestamp keeps it and gets no marker; without `honor_timestamps` it is stamped like the others."""
    client.body = b"x 1 500\ny 1\n"
    honest = make(services, client)
    await honest.scrape(1000)
    client.body = b"z 1\n"
    await honest.scrape(2000)
    assert services.samples("x") == {'x{instance="h:1", job="j"}': [(500, 1.0)]}
    assert len(services.samples("y")['y{instance="h:1", job="j"}']) == 2
    client.body = b"w 1 500\n"
    await make(services, client, honor_timestamps=False).scrape(3000)
    assert services.samples("w") == {'w{instance="h:1", job="j"}': [(3000, 1.0)]}


async def test_tracked_timestamps_get_markers(services, client):
    """`track_timestamps_staleness` writes markers for samples with timestamps as well."""
    loop = make(services, client, track_timestamps_staleness=True)
    client.body = b"x 1 500\n"
    await loop.scrape(1000)
    client.body = b"y 1\n"
    await loop.scrape(2000)
    assert is_stale_value(last(services, "x"))


async def test_a_target_that_is_gone_leaves_markers_on_everything(services, client):
    """`finish` ends the samples and the synthetic series."""
    client.body = b"x 1\n"
    loop = make(services, client)
    await loop.scrape(1000)
    await loop.finish(2000)
    for name in ("x", "up", "scrape_duration_seconds"):
        assert is_stale_value(last(services, name))


async def test_a_loop_goes_on_where_another_stopped(services, client):
    """Inherited series are not new, and vanish with a marker."""
    client.body = b"x 1\n"
    first = make(services, client)
    await first.scrape(1000)
    second = make(services, client)
    second.inherit(first)
    client.body = b"y 1\n"
    await second.scrape(2000)
    assert is_stale_value(last(services, "x"))


async def test_scrapes_fall_on_a_stable_grid(services, client, autojump_clock):
    """Ticks are one interval apart, at a phase that is the same for every run."""
    client.body = b"x 1\n"
    loop = make(services, client)
    with trio.move_on_after(60):
        await loop.run()
    times = [at for at, _ in services.samples("x")['x{instance="h:1", job="j"}']]
    assert len(times) == 4
    assert {b - a for a, b in pairwise(times)} == {15_000}
    assert EPOCH_MS < times[0] <= EPOCH_MS + 15_000
    assert times[0] % 15_000 == make(services, client)._phase


async def test_a_full_storage_skips_the_scrape_and_counts_it(services, client):
    """Samples that cannot be stored are counted; the loop goes on."""
    client.body = b"x 1\n"
    loop = make(services, client)
    services.fail_with = Unavailable("full")
    await loop.scrape(1000)
    services.fail_with = None
    await loop.scrape(2000)
    assert loop._counters.skipped == 1
    assert last(services, "up") == 1


async def test_the_format_may_change_between_scrapes(services, client):
    """A target that switches to OpenMetrics is read in the new format; a fallback serves those without a type."""
    loop = make(services, client, fallback=Format.TEXT_0_0_4)
    client.body, client.type = b"x 1\n", ""
    await loop.scrape(1000)
    client.body, client.type = b"# TYPE x gauge\nx 2\n# EOF\n", OPENMETRICS
    await loop.scrape(2000)
    assert [v for _, v in services.samples("x")['x{instance="h:1", job="j"}']] == [1.0, 2.0]


async def test_extra_metrics_are_reported_when_asked_for(services, client):
    """`extra_scrape_metrics` adds timeout, limit and size of the body."""
    client.body = b"x 1\n"
    await make(services, client, extra_metrics=True, sample_limit=9).scrape(1000)
    assert last(services, "scrape_timeout_seconds") == 10
    assert last(services, "scrape_sample_limit") == 9
    assert last(services, "scrape_body_size_bytes") == 4
