"""Counting of series, sizes of metrics and churn, against plain counting."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from tinyobs.model.batch import Batch
from tinyobs.model.cardinality import CardinalityQuery, ChurnHour
from tinyobs.model.labels import from_mapping, metric_name
from tinyobs.model.matchers import equal, name_is
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage import census as census_module
from tinyobs.storage import churn as churn_module
from tinyobs.storage.census import NO_METRIC, Census, largest_pairs
from tinyobs.storage.churn import GONE_AFTER_MS, HOUR_MS, INTERVAL_MS, ChurnLog
from tinyobs.storage.engine import Engine
from tinyobs.storage.metric_sizes import segment_sizes
from tinyobs.storage.options import DEFAULT_OPTIONS
from tinyobs.testing.mem_disk import MemDisk

NOW = 1_700_000_400_000
"""Just after the beginning of an interval."""


def some_series(count, seed=1):
    dice = random.Random(seed)
    found = []
    for i in range(count):
        labels = {"__name__": f"m{dice.randrange(7)}", "i": str(i), "ü": dice.choice("aéx")}
        if i % 9 == 0:
            del labels["__name__"]
        found.append(from_mapping(labels))
    return found


def counted(series):
    """Return pair -> number of series, by plain counting."""
    return Counter(pair for labels in series for pair in labels)


def as_pairs(registry, counts):
    return {registry.pair(i): int(n) for i, n in enumerate(counts) if n}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_counts_agree_with_plain_counting(share, monkeypatch):
    """Of few, many and all series, also while new ones come."""
    monkeypatch.setattr(census_module, "SERIES_AT_ONCE", 16)
    registry, dice = SeriesRegistry(), random.Random(3)
    census, series = Census(registry), some_series(300)
    for known in (100, 101, 300):
        registry.intern_many(series[:known])
        chosen = np.array([dice.random() < share for _ in range(known)], np.bool_)
        columns, counts = census.count(chosen)
        wanted = counted([s for s, c in zip(series, chosen, strict=False) if c])
        assert as_pairs(registry, counts) == wanted
        assert as_pairs(registry, census.count(None)[1]) == counted(series[:known])
    for i, (name, value) in enumerate(registry.pair(i) for i in range(registry.pair_count)):
        assert columns.names[columns.name_ids[i]] == name
        assert (columns.widths[i], columns.name_widths[columns.name_ids[i]]) == (
            len(value.encode()),
            len(name.encode()),
        )
    metrics = census.metrics_of(np.arange(301, dtype=np.uint32)).tolist()
    names = ["" if m == NO_METRIC else registry.pair(m)[1] for m in metrics]
    assert names == [*map(metric_name, series), ""]


def test_the_largest_are_listed_by_size_then_name(monkeypatch):
    """Of very many equal ones, those that came first are taken."""
    registry = SeriesRegistry()
    registry.intern(tuple((f"l{i}", "v") for i in range(9)))
    counts = np.array([1, 5, 1, 5, 1, 7, 1, 1, 5])
    ids = np.arange(9)
    assert largest_pairs(registry, ids, counts, 3) == (("l5=v", 7), ("l1=v", 5), ("l3=v", 5))
    assert largest_pairs(registry, ids, counts, 99, value_only=True)[0] == ("v", 7)
    assert largest_pairs(registry, ids[:0], counts[:0], 3) == ()
    monkeypatch.setattr(census_module, "TIES_MAX", 1)
    assert largest_pairs(registry, ids, counts, 3) == (("l5=v", 7), ("l1=v", 5))


def open_engine(now=NOW):
    clock = [now]
    return Engine.open(MemDisk(), SeriesRegistry(), DEFAULT_OPTIONS, lambda: clock[0]), clock


def store(engine, series, at, count=1):
    refs = engine.registry.intern_many(series)
    for i in range(count):
        times = np.full(len(refs), at - 1000 * (count - 1 - i))
        engine.append([Batch(refs, times, np.random.default_rng(i).random(len(refs)), "test")])


def settle(engine, now):
    while engine.maintain(now):
        pass


def test_the_engine_counts_live_series():
    """Totals, lists, matchers, focus; series that only have a number do not count."""
    engine, _ = open_engine()
    series = some_series(200)
    engine.registry.intern_many(some_series(220, seed=2)[200:])
    store(engine, series, NOW)
    found = engine.cardinality(CardinalityQuery(top=3, focus="ü"))
    pairs = counted(series)
    assert (found.series_count, found.metric_count, found.label_name_count) == (200, 7, 3)
    assert (found.label_pair_count, found.min_time_ms, found.max_time_ms) == (len(pairs), NOW, NOW)
    assert found.label_bytes == sum(len(n.encode()) + len(v.encode()) for n, v in pairs)
    assert dict(found.series_by_focus) == {v: n for (name, v), n in pairs.items() if name == "ü"}
    assert found.values_by_label == (("i", 200), ("__name__", 7), ("ü", 3))
    assert found.bytes_by_label[0][0] == "i"
    assert found.series_by_label[0] == ("i", 200)
    assert len(found.series_by_metric) == len(found.series_by_pair) == 3
    sets = ((name_is("m1"),), (name_is("m2"), equal("ü", "a")))
    some = engine.cardinality(CardinalityQuery(matcher_sets=sets))
    wanted = [s for s in series if metric_name(s) == "m1" or (metric_name(s) == "m2" and ("ü", "a") in s)]
    assert some.series_count == len(wanted)
    assert sum(n for _, n in some.series_by_metric) == len(wanted)
    engine.close()


def test_sizes_of_metrics_add_up():
    """Bytes and samples in memory and in segments are those of the whole; series are those of the largest place."""
    engine, clock = open_engine()
    series = [s for s in some_series(300) if metric_name(s)]
    store(engine, series, NOW, count=200)
    found = engine.cardinality(CardinalityQuery(top=100)).metrics
    assert sum(m.samples for m in found) == 200 * len(series)
    assert {m.name: m.series for m in found} == Counter(map(metric_name, series))
    clock[0] = NOW + 4 * HOUR_MS
    store(engine, series[:1], clock[0])
    settle(engine, clock[0])
    readers = engine.current()[1]
    assert readers
    for reader in readers:
        sizes = segment_sizes(reader)
        assert sizes.bytes.sum() == pytest.approx(reader.pages.lengths.sum())
        assert sizes.samples.sum() == pytest.approx(reader.info.sample_count)
        assert list(sizes.names) == reader.label_values("__name__")
    found = engine.cardinality(CardinalityQuery(top=100)).metrics
    assert sum(m.samples for m in found) == pytest.approx(200 * len(series) + 1, abs=len(found))
    assert {m.name: m.series for m in found} == Counter(map(metric_name, series))
    assert list(found) == sorted(found, key=lambda m: (-m.bytes, m.name))
    engine.close()


def test_churn_tells_who_came_and_went():
    """Created and gone in their hours, with their metrics; what still has samples is not gone."""
    registry = SeriesRegistry()
    census, log = Census(registry), ChurnLog(registry)
    registry.intern_many([from_mapping({"__name__": "before", "i": str(i)}) for i in range(5)])
    newest = np.full(100, NOW)
    log.note(NOW, lambda: newest)
    registry.intern_many([from_mapping({"__name__": "early", "i": str(i)}) for i in range(3)])
    newest[:2] = NOW + INTERVAL_MS  # the first two go on
    log.note(NOW + INTERVAL_MS - 1, lambda: pytest.fail("the interval is not over"))
    newest[8:] = -(2**63)
    log.note(NOW + INTERVAL_MS + GONE_AFTER_MS, lambda: newest)
    registry.intern(from_mapping({"__name__": "late"}))
    census.count(None)
    hours = log.hours(census, 10)
    assert sum(h.created for h in hours) == 4
    assert sum(h.gone for h in hours) == 6
    start = NOW // HOUR_MS * HOUR_MS
    assert hours == (ChurnHour(start, 4, 6, (("early", 3), ("late", 1)), (("before", 3), ("early", 3))),)


def test_churn_is_bounded_and_survives_clocks(monkeypatch):
    """Old notes go when they hold too many series; a clock that goes back begins anew; late notes lose nothing."""
    monkeypatch.setattr(churn_module, "GONE_SERIES_MAX", 10)
    registry = SeriesRegistry()
    census, log = Census(registry), ChurnLog(registry)
    log.note(NOW, lambda: pytest.fail("the first note only begins"))
    for i in range(1, 9):
        now = NOW + i * INTERVAL_MS
        log.note(now + GONE_AFTER_MS, lambda at=now: np.full(4, at - INTERVAL_MS))
    census.count(None)
    assert sum(h.gone for h in log.hours(census, 1)) == 8
    log.note(NOW - 10 * HOUR_MS, lambda: pytest.fail("the clock went back"))
    log.note(NOW - 5 * HOUR_MS, lambda: np.array([NOW - 10 * HOUR_MS, NOW - 7 * HOUR_MS, NOW]))
    assert len(log._notes[-1].gone) == 2


def test_the_engine_notes_churn_in_its_background_work():
    """New series after the start are created ones."""
    engine, clock = open_engine()
    store(engine, some_series(10), NOW)
    settle(engine, NOW)
    store(engine, [from_mapping({"__name__": "new", "i": str(i)}) for i in range(4)], NOW)
    (hour,) = engine.cardinality(CardinalityQuery()).churn
    assert (hour.created, hour.created_by_metric, hour.gone) == (4, (("new", 4),), 0)
    clock[0] = NOW + INTERVAL_MS + GONE_AFTER_MS
    settle(engine, clock[0])
    assert sum(h.gone for h in engine.cardinality(CardinalityQuery()).churn) == 14
    engine.close()
