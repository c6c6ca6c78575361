"""No source gets more than its rate, and none is told to wait for nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tinyobs.model.networks import Networks, address_of
from tinyobs.model.rates import RateLimit

STEPS = st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 30)), min_size=1, max_size=40)


@seed(1)
@settings(max_examples=200, deadline=None)
@given(STEPS, st.floats(0.5, 50), st.floats(0, 10))
def test_never_more_than_rate_and_burst(steps, rate, tolerance):
    """In every span of time a source gets at most what the rate allows in it and the burst, or one larger request."""
    limit, now, got = RateLimit(rate, tolerance), 1000.0, []
    for pause, units in steps:
        now += pause
        if limit.wait_seconds("a", units, now) == 0:
            limit.take("a", units, now)
            got.append((now, units))
    for i, (first, _) in enumerate(got):
        for j in range(i, len(got)):
            units = [n for _, n in got[i : j + 1]]
            most = rate * (got[j][0] - first) + max(rate * tolerance, units[-1])
            assert sum(units) <= most + rate * 1e-5 * len(units)


@seed(2)
@settings(max_examples=200, deadline=None)
@given(STEPS, st.floats(0.5, 50), st.floats(0, 10))
def test_after_the_told_time_it_works(steps, rate, tolerance):
    """Who waits for just as long is taken, and who waits for less is not."""
    limit, now = RateLimit(rate, tolerance), 1000.0
    for pause, units in steps:
        now += pause
        wait = limit.wait_seconds("a", units, now)
        if wait > 0.01:
            assert limit.wait_seconds("a", units, now + wait * 0.9) > 0
        now += wait
        assert limit.wait_seconds("a", units, now) == 0
        limit.take("a", units, now)


def test_a_large_request_is_taken_from_who_owes_nothing():
    """It could never be taken otherwise; what comes next waits until it is worked off, but for the burst."""
    limit = RateLimit(10, 2)
    assert limit.wait_seconds("a", 1000, 0) == 0
    limit.take("a", 1000, 0)
    assert limit.wait_seconds("a", 1, 0) == pytest.approx(98.1)
    assert limit.wait_seconds("a", 1000, 0) == 100
    assert limit.wait_seconds("b", 1, 0) == 0


def test_the_clock_may_begin_anywhere():
    """Clocks that begin at 0, or before, are clocks as well."""
    limit = RateLimit(1, 1)
    assert limit.wait_seconds("a", 5, -100.0) == 0
    limit.take("a", 5, -100.0)
    assert limit.wait_seconds("a", 1, -100.0) == 5


def test_sources_are_forgotten():
    """Those that owe nothing go by themselves, and beyond the most those that were quiet for longest."""
    limit = RateLimit(1, 10, sources_max=3)
    for i in range(5):
        limit.take(str(i), 8, 0.0)
    assert len(limit) == 3
    assert limit.wait_seconds("1", 8, 0.0) == 0
    assert limit.wait_seconds("4", 8, 0.0) > 0
    limit.take("z", 1, 100.0)
    assert len(limit) == 1


def test_networks_know_their_addresses():
    """IPv4 in both forms, IPv6 with a zone; what is no address is in no network."""
    networks = Networks(["10.0.0.0/8", "::1", "fe80::/10"])
    assert all(a in networks for a in ("10.1.2.3", "::ffff:10.1.2.3", "::1", "fe80::1%eth0"))
    assert not any(a in networks for a in ("11.0.0.1", "alice", "", "::2"))
    assert "10.0.0.1" not in Networks([])
    assert address_of("nobody") is None
