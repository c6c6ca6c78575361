"""Remembered results: equal to evaluated ones whatever is stored meanwhile, and evaluated no more than needed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from promql.memory import MemoryStore
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.parser import parse
from tinyobs.promql.result_cache import ResultCache, is_reusable
from tinyobs.storage.changes import ChangeLog

QUERIES = (
    "sum by (a) (rate(x_total[5m]))",
    "x_total",
    "x_total > 40",
    "topk(2, x_total)",
    "max_over_time(x_total[3m:1m] offset 1m)",
    "avg by (a) ({__name__=~'x.*'})",
    "absent(x_total{a='9'})",
    "count_values('v', floor(x_total / 100))",
    "time() - timestamp(x_total)",
)


class Stored(MemoryStore):
    """A store that tells what changed."""

    def __init__(self) -> None:
        super().__init__({})
        self.changes = ChangeLog()

    def put(self, name: str, points: list[tuple[int, float]]) -> None:
        """Add samples to a series."""
        self.add((("__name__", "x_total"), ("a", name[0]), ("b", name)), points)
        self.changes.note(min(t for t, _ in points))


def shown(result):
    """Return all that a client sees of a result."""
    c = result.columns
    return [(c.one(i)[0], c.one(i)[1].tolist(), [float(v) for v in c.one(i)[2]]) for i in range(len(c))]


def same(one, other):
    """Tell whether two results have equal points, up to the last bits of sums."""
    a, b = shown(one), shown(other)
    assert [x[:2] for x in a] == [x[:2] for x in b]
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x[2], y[2], rtol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_remembered_results_are_those_that_evaluation_gives(seed):
    """A dashboard moves on and widens while samples come on time, late and anew; its answers are those of an empty cache."""
    rng = random.Random(seed)
    store, cached, plain = Stored(), PromqlEngine(results=ResultCache()), PromqlEngine()
    now, names = 3_600_000, ["1a", "1b", "2a", "2b", "3a"]
    for name in names[:3]:
        store.put(name, [(t, float(rng.randrange(100))) for t in range(0, now, 15_000)])
    for _ in range(25):
        now += rng.choice([0, 15_000, 15_000, 60_000, 300_000])
        store.put(rng.choice(names), [(now, float(rng.randrange(100)))])
        if rng.random() < 0.2:
            store.put(rng.choice(names), [(now - rng.randrange(1_000_000), 7.5)])
        text, step = rng.choice(QUERIES), rng.choice([15_000, 60_000])
        end = now // step * step + rng.choice([0, 0, 0, 7])
        start = end - rng.choice([20, 40, 60]) * step
        same(cached.range(store, text, start, end, step), plain.range(store, text, start, end, step))
    assert cached.results.hits > 0


def test_only_new_steps_are_evaluated():
    """The second look at a range that moved on reads the samples of the new steps only."""
    store, engine = Stored(), PromqlEngine(results=ResultCache())
    store.put("1a", [(t, float(t)) for t in range(0, 7_200_000, 15_000)])
    text = "rate(x_total[5m])"
    first = engine.range(store, text, 3_600_000, 7_140_000, 60_000)
    store.put("1a", [(7_200_000, 1.0)])
    second = engine.range(store, text, 3_660_000, 7_200_000, 60_000)
    assert engine.results.misses == 60 + 1
    assert second.statistics.samples_read <= 21 < first.statistics.samples_read
    assert engine.range(store, text, 3_660_000, 7_200_000, 60_000).statistics.samples_read == 0
    fresh = engine.range(store, text, 3_660_000, 7_200_000, 60_000, fresh=True)
    assert fresh.statistics.samples_read > 200
    same(second, fresh)


def test_results_with_annotations_are_not_remembered():
    """An annotation belongs to the whole range, so it is told each time."""
    store, engine = Stored(), PromqlEngine(results=ResultCache())
    store.add((("__name__", "gauge"),), [(t, 1.0) for t in range(0, 600_000, 15_000)])
    for _ in range(2):
        assert engine.range(store, "rate(gauge[5m])", 300_000, 600_000, 60_000).infos
    assert engine.results.bytes == 0


def test_the_longest_range_keeps_its_first_step():
    """A range of as many steps as a query may have is remembered as a whole."""
    store, engine = Stored(), PromqlEngine(results=ResultCache())
    store.put("1a", [(t, float(t)) for t in range(0, 600_000, 15_000)])
    for end in (11_000_000, 11_000_000, 11_001_000):
        found = engine.range(store, "vector(time())", end - 11_000_000, end, 1000)
        assert found.columns.values[[0, -1]].tolist() == [(end - 11_000_000) / 1000, end / 1000]
        assert found.columns.samples == 11_001


def test_aggregations_below_an_annotation_are_remembered():
    """A query with an annotation about its whole range evaluates only new steps of the aggregation below."""
    store, engine, plain = Stored(), PromqlEngine(results=ResultCache()), PromqlEngine()
    for le, factor in (("1", 9.0), ("2", 5.0), ("+Inf", 12.0)):
        labels = (("__name__", "x_bucket"), ("le", le))
        store.add(labels, [(t, factor * t) for t in range(0, 7_200_000, 15_000)])
    text = "histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))"
    results = [engine.range(store, text, 3_600_000 + d, 7_080_000 + d, 60_000) for d in (0, 60_000, 120_000)]
    assert results[2].infos
    assert "over 59 samples from 1970-01-01T01:02:00Z" in results[2].infos[0]
    assert engine.results.misses == 59 + 1
    assert results[2].infos == plain.range(store, text, 3_720_000, 7_200_000, 60_000).infos
    same(results[2], plain.range(store, text, 3_720_000, 7_200_000, 60_000))


def test_the_memory_for_results_is_bounded():
    """Results that were not asked for longest go; one that would take a large share is not kept at all."""
    store, cache = Stored(), ResultCache(bytes_max=40_000)
    engine = PromqlEngine(results=cache)
    store.put("1a", [(t, float(t)) for t in range(0, 7_200_000, 15_000)])
    for i in range(30):
        engine.range(store, f"x_total + {i}", 3_600_000, 7_200_000, 60_000)
        assert cache.bytes <= 40_000
    assert cache.bytes > 0
    before = cache.bytes
    engine.range(store, "x_total", 0, 7_200_000, 1_000)
    assert cache.bytes == before


@pytest.mark.parametrize(
    ("text", "reusable"),
    [
        ("x", True),
        ("sum(rate(x[5m])) / 2 > bool 1", True),
        ("x offset 5m", True),
        ("x offset -5m", False),
        ("x @ 100", False),
        ("x @ end()", False),
        ("max_over_time(x[5m:1m] @ start())", False),
        ("rate({__name__=~'a|b'}[5m])", False),
        ("sum by (a) ({__name__=~'a|b'})", True),
        ("-{a='b'}", False),
        ("label_replace(x, 'a', 'b', 'c', 'd')", False),
        ("vector(end())", False),
        ("sum_over_time(x[step()])", False),
        ("x smoothed", False),
        ("info(x)", False),
    ],
)
def test_which_queries_can_be_remembered(text, reusable):
    """What depends on the range as a whole, or on later samples, is evaluated each time."""
    features = frozenset(("promql-experimental-functions", "promql-extended-range-selectors"))
    assert is_reusable(parse(text, features=features)) is reusable
