"""The way of pushed samples into storage: rates by source, sizes of requests, counters."""

from __future__ import annotations

import numpy as np
import pytest
import trio

from tinyobs.config import loader
from tinyobs.errors import ConfigError, LimitExceeded, RateLimited, Unavailable
from tinyobs.model.batch import Batch
from tinyobs.model.gate import SOURCE
from tinyobs.testing.services import FakeServices


def services(**limits):
    """Return services with limits."""
    found = FakeServices()
    configure(found, **limits)
    return found


def configure(found, **limits):
    """Set limits as a reload would."""
    found.config = loader.parse(f"tinyobs: {{limits: {limits!r}}}\n", "test.yml")


def batch(samples, series=1):
    """Return a batch."""
    refs = np.arange(samples, dtype=np.uint32) % series
    return Batch(refs, np.arange(samples), np.zeros(samples), "test")


async def test_requests_and_bytes_are_limited_before_anything_else(autojump_clock):
    """What is beyond is counted and told how long to wait; each source has its own."""
    s = services(rates={"requests_per_second": 1, "bytes_per_second": 100, "burst": "2s"})
    reception = s.reception("p")
    reception.admit("a", 200)
    with pytest.raises(RateLimited, match=r"a pushes too many bytes.*bytes_per_second") as e:
        reception.admit("a", 100)
    reception.admit("b", 100)
    await trio.sleep(e.value.retry_after_seconds)
    reception.admit("a", 100)
    found = s.receptions.statistics()
    assert found.requests_total == {"p": 3}
    assert found.received_bytes_total == {"p": 400}
    assert found.refused_total == {("p", "rate_limit"): 1}


async def test_who_is_refused_for_one_thing_pays_for_none(autojump_clock):
    """A request beyond the rate of bytes takes nothing from that of requests."""
    s = services(rates={"requests_per_second": 1, "bytes_per_second": 1, "burst": "1s"})
    reception = s.reception("p")
    reception.admit("a", 1)
    for _ in range(10):
        with pytest.raises(RateLimited):
            reception.admit("a", 100)
    await trio.sleep(1)
    reception.admit("a", 1)


async def test_samples_are_limited_for_all_protocols_together(autojump_clock):
    """Nothing is stored of what is beyond."""
    s = services(rates={"samples_per_second": 10, "burst": "1s"})
    await s.reception("p").store(batch(10), "a")
    with pytest.raises(RateLimited, match="too many samples"):
        await s.reception("q").store_from(lambda: batch(5), 5, "a")
    assert len(s.batches) == 1
    assert s.batches[0].source == "a"
    found = s.receptions.statistics()
    assert found.samples_total == {"p": 10, "q": 0}
    assert found.refused_total == {("q", "rate_limit"): 5}


async def test_samples_are_counted_as_they_are_where_they_were_estimated(autojump_clock):
    """Who stores from a function is let in by an estimate, and owes what the batch has: more, or less."""
    s = services(rates={"samples_per_second": 10, "burst": "10s"})
    s.append_from = lambda make, samples: s.append(make())
    reception = s.reception("p")
    await reception.store_from(lambda: batch(90), 40, "a")
    with pytest.raises(RateLimited) as e:
        await reception.store_from(lambda: batch(20), 20, "a")
    assert e.value.retry_after_seconds == pytest.approx(1)
    await reception.store_from(lambda: batch(10), 90, "b")
    await reception.store_from(lambda: batch(90), 90, "b")
    with pytest.raises(RateLimited):
        await reception.store_from(lambda: batch(1), 1, "b")


async def test_some_sources_have_other_rates(autojump_clock):
    """By user, address or network; the first that names a source holds, and what it does not say is as for all."""
    rules = [
        {"sources": ["ann", "10.0.0.0/8"], "samples_per_second": 100},
        {"sources": ["10.0.0.1", "::1"], "samples_per_second": 0},
    ]
    s = services(rates={"samples_per_second": 10, "requests_per_second": 5, "burst": "1s", "overrides": rules})
    reception = s.reception("p")
    for source, samples in (("ann", 100), ("10.0.0.1", 100), ("::1", 10_000), ("bob", 10)):
        await reception.store(batch(samples), source)
        if source == "::1":
            await reception.store(batch(samples), source)
        else:
            with pytest.raises(RateLimited):
                await reception.store(batch(samples), source)
    for _ in range(5):
        reception.admit("ann")
    with pytest.raises(RateLimited):
        reception.admit("ann")


async def test_only_some_sources_may_be_limited(autojump_clock):
    """Without a rate for all, those of the overrides hold all the same."""
    s = services(rates={"burst": "1s", "overrides": [{"sources": ["bob"], "requests_per_second": 1}]})
    for _ in range(3):
        s.reception("p").admit("ann")
    s.reception("p").admit("bob")
    with pytest.raises(RateLimited):
        s.reception("p").admit("bob")


async def test_a_reload_changes_the_rates(autojump_clock):
    """At once, for everybody."""
    s = services(rates={"requests_per_second": 1, "burst": "1s"})
    reception = s.reception("p")
    reception.admit("a")
    with pytest.raises(RateLimited):
        reception.admit("a")
    configure(s)
    for _ in range(10):
        reception.admit("a")
    configure(s, rates={"requests_per_second": 1, "burst": "1s"})
    reception.admit("a")
    with pytest.raises(RateLimited):
        reception.admit("a")


async def test_requests_have_a_size(autojump_clock):
    """More samples or series than one may have are refused as a whole, whichever thread makes the batch."""
    s = services(samples_per_request_max=10, series_per_request_max=3)
    reception = s.reception("p")
    await reception.store(batch(10, 3), "a")
    with pytest.raises(LimitExceeded, match="11 samples in one request") as e:
        await reception.store(batch(11), "a")
    assert e.value.limit == "samples_per_request_max"
    with pytest.raises(LimitExceeded, match="4 series in one request"):
        await reception.store_from(lambda: batch(8, 4), 8, "a")
    assert len(s.batches) == 1
    assert s.receptions.statistics().refused_total == {("p", "request_limit"): 19}


async def test_what_the_storage_cannot_take_is_counted(autojump_clock):
    """As unavailable; the sender may try again."""
    s = services()
    s.fail_with = Unavailable("no")
    with pytest.raises(Unavailable):
        await s.reception("p").store(batch(3), "a")
    assert s.receptions.statistics().refused_total == {("p", "unavailable"): 3}


async def test_whoever_numbers_series_knows_the_source(autojump_clock):
    """In the task that admitted, in its threads, and in what makes a batch later; not in other tasks."""
    s = services()
    seen = []

    def make():
        seen.append(SOURCE.get())
        return batch(1)

    async def push(source):
        s.reception("p").admit(source)
        await trio.lowlevel.checkpoint()
        await trio.to_thread.run_sync(make)
        await s.reception("p").store_from(make, 1, source)

    async with trio.open_nursery() as nursery:
        for source in "ab":
            nursery.start_soon(push, source)
    assert sorted(seen) == ["a", "a", "b", "b"]
    assert SOURCE.get() == ""


@pytest.mark.parametrize(
    "text", ["{rates: {trusted_proxies: [x]}}", "{rates: {overrides: [{sources: [10.0.0.0/99]}]}}"]
)
def test_bad_networks_are_faults_of_the_configuration(text):
    """They are found when it is read."""
    with pytest.raises(ConfigError, match="not an address or a network"):
        loader.parse(f"tinyobs: {{limits: {text}}}", "test.yml")
