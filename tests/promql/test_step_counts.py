"""Samples by step: what selectors, windows, subqueries and fixed parts of a query count."""

from __future__ import annotations

import pytest

from tinyobs.model.histograms import Histogram
from tinyobs.model.labels import from_mapping
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions

from .memory import MemoryStore

STORE = MemoryStore.of(
    {
        from_mapping({"__name__": "m", "i": i}): [(t * 10_000, float(t)) for t in range(first, 31)]
        for i, first in (("a", 0), ("b", 12))
    }
)
FEATURES = ("promql-per-step-stats", "promql-experimental-functions")
COUNTING = PromqlEngine(EngineOptions().with_features(FEATURES))


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("m", [1, 1, 2, 2]),
        ("m * 2 + m", [2, 2, 4, 4]),
        ("sum(m) > 1e9", [1, 1, 2, 2]),
        ("7", [0, 0, 0, 0]),
        ("rate(m[30s])", [3, 3, 4, 6]),
        ("sum_over_time(m[30s:10s])", [3, 3, 4, 6]),
        ("m @ 300", [2, 2, 2, 2]),
        ("sum(rate(m[1m] @ 300)) + sum(m)", [13, 13, 14, 14]),
        ("timestamp(m)", [1, 1, 2, 2]),
        ('max_over_time(rate(m{i="a"}[1m])[20s:10s])', [2, 2, 2, 2]),
    ],
)
def test_a_range_query_counts_by_step(text: str, counts: list[int]) -> None:
    """A sample counts for every step whose window it lies in; inner samples of a subquery do not count."""
    found = COUNTING.range(STORE, text, 60_000, 150_000, 30_000, per_step=True).statistics.steps
    assert found is not None
    assert found[0].tolist() == [60_000, 90_000, 120_000, 150_000]
    assert found[1].tolist() == counts


def test_an_instant_query_has_one_step() -> None:
    """Also when its result is a range."""
    found = COUNTING.instant(STORE, "m[1m]", 300_000, per_step=True).statistics.steps
    assert found is not None
    assert (found[0].tolist(), found[1].tolist()) == ([300_000], [12])


def test_nothing_is_counted_unless_it_is_asked_for() -> None:
    """By the caller, and by the feature."""
    assert COUNTING.instant(STORE, "m", 0).statistics.steps is None
    assert PromqlEngine().instant(STORE, "m", 0, per_step=True).statistics.steps is None


def test_histograms_count_for_as_many_floats_as_they_are_larger() -> None:
    """A histogram with a span and a bucket takes 192 bytes with its time, 12 times as many as a float."""
    store = MemoryStore({})
    one = Histogram(0, 0.0, 0.0, 1.0, 1.0, ((0, 1),), (1.0,))
    store.add(from_mapping({"__name__": "h"}), [(t * 10_000, one if t % 2 else 1.0) for t in range(31)])
    for text, want in (("h", [1, 12]), ("count_over_time(h[20s])", [13, 13]), ("h @ 10", [12, 12])):
        result = COUNTING.range(store, text, 60_000, 70_000, 10_000, per_step=True)
        assert result.statistics.steps is not None
        assert result.statistics.steps[1].tolist() == want
    assert COUNTING.instant(store, "h", 70_000).statistics.samples_read >= 12
