"""The life of tiers: built, built anew for late samples, merged, deleted from, outliving raw samples."""

from __future__ import annotations

import numpy as np
import pytest
from engine_cases import labels, maintain_all
from tier_cases import (
    DAY0_MS,
    FIVE_MS,
    MINUTE_MS,
    OPTIONS,
    Clock,
    ask,
    ask_at,
    assert_close,
    days,
    load,
    open_tiered,
    tiers_of,
    with_options,
    without_raw,
)

from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.matchers import name_is
from tinyobs.storage.options import DAY_MS, HOUR_MS
from tinyobs.storage.rollup_job import GROUP_DAYS
from tinyobs.storage.tiers import AGGREGATES, TIER_LEVEL, aggregate_of, is_stale, span_of
from tinyobs.testing.mem_disk import MemDisk

SPAN = DAY0_MS + HOUR_MS, DAY0_MS + 2 * DAY_MS


@pytest.fixture
def clock():
    return Clock(DAY0_MS)


@pytest.fixture
def disk():
    return MemDisk()


@pytest.fixture
def engine(disk, clock):
    engine = open_tiered(disk, clock=clock)
    load(engine, {"c_total": days(range(5 * 1440)), "g": days([i % 7 for i in range(5 * 1440)])}, clock)
    yield engine
    engine.close()


def spans(engine, width):
    return sorted({span_of(e) for e in engine.segments.entries if e.tier_ms == width})


def test_days_are_built_when_complete(engine):
    """One set of segments a day and tier, only of days that are over, in the order of the days."""
    want = [(DAY0_MS + d * DAY_MS, DAY0_MS + (d + 1) * DAY_MS) for d in range(4)]
    assert spans(engine, FIVE_MS) == spans(engine, HOUR_MS) == want
    raw = [e for e in engine.segments.entries if not e.tier_ms]
    assert not any(is_stale(e, raw) for e in engine.segments.entries if e.tier_ms)
    assert {aggregate_of(e) for e in engine.segments.entries if e.tier_ms} == set(AGGREGATES)


def test_no_tiers_unless_asked_for(clock):
    """By default nothing is built."""
    engine = open_tiered(MemDisk(), with_options(tiers=()), clock)
    load(engine, {"g": days(range(3 * 1440))}, clock)
    assert not tiers_of(engine)
    engine.close()


def test_tiers_survive_a_restart_and_merging_keeps_them_fresh(engine, disk, clock):
    """What was built is there after opening; merging raw segments is no news to tiers."""
    before = spans(engine, HOUR_MS), tiers_of(engine)
    finished = engine.upkeep.ledger.of("rollup").finished
    engine.close()
    again = open_tiered(disk, clock=clock)
    maintain_all(again, clock.now_ms)
    assert (spans(again, HOUR_MS), tiers_of(again)) == before
    load(again, {"g": days([1.0] * 30 * 1440, start_ms=DAY0_MS + 5 * DAY_MS + 1)}, clock, width_ms=5 * DAY_MS)
    assert again.upkeep.ledger.of("merge").finished
    assert finished == 2 * 4
    assert again.upkeep.ledger.of("rollup").finished == 2 * 30
    again.close()


def test_late_samples_are_taken_in(engine, clock):
    """Late samples are seen at once, then their days are built anew, merged ones included."""
    late = [(t, 50.0) for t, _ in days([0] * 1440, start_ms=DAY0_MS + 30_001)]
    text = "max_over_time(g[1h])"
    assert max(next(iter(ask(engine, text, *SPAN, HOUR_MS)[0].values())).values()) == 6.0
    engine.append([_batch(engine, "g", late)])
    for _ in range(2):
        got, _ = ask(engine, text, *SPAN, HOUR_MS)
        want, _ = ask(engine, text, *SPAN, HOUR_MS, resolution_ms=0)
        assert got == want
        assert max(next(iter(got.values())).values()) == 50.0
        load(engine, {"g": [(clock.now_ms + 7 * HOUR_MS, 1.0)]}, clock)
        maintain_all(engine, clock.now_ms)
    raw = [e for e in engine.segments.entries if not e.tier_ms]
    assert not any(is_stale(e, raw) for e in engine.segments.entries if e.tier_ms)
    assert any("1h" in i for i in ask(engine, text, *SPAN, HOUR_MS)[1].infos)


def _batch(engine, name, points):
    ref = engine.registry.intern(labels(name, s=name))
    times, values = np.array([t for t, _ in points], np.int64), np.array([v for _, v in points])
    return Batch(np.full(len(times), ref, np.uint32), times, values)


def test_days_are_merged(clock):
    """Days of a tier that lie together become one segment an aggregate, and answer as before."""
    engine = open_tiered(MemDisk(), clock=clock)
    first = -(DAY0_MS // DAY_MS) % GROUP_DAYS[0]  # days until a group begins
    count = first + GROUP_DAYS[0] + 3
    load(engine, {"c_total": days(range(count * 288), FIVE_MS)}, clock, width_ms=2 * DAY_MS)
    begin = DAY0_MS + first * DAY_MS
    assert (begin, begin + GROUP_DAYS[0] * DAY_MS) in spans(engine, HOUR_MS)
    got, result = ask(engine, "increase(c_total[1d])", begin, begin + 9 * DAY_MS, HOUR_MS)
    want, _ = ask(engine, "increase(c_total[1d])", begin, begin + 9 * DAY_MS, HOUR_MS, resolution_ms=0)
    assert_close(got, want)
    assert any("1h" in i for i in result.infos)
    # Late samples in one day of a merged segment build all of it anew.
    engine.append([_batch(engine, "c_total", [(begin + DAY_MS + 1234, 1e6)])])
    load(engine, {"c_total": [(clock.now_ms + 7 * HOUR_MS, 1e9)]}, clock)
    maintain_all(engine, clock.now_ms)
    got, result = ask(engine, "max_over_time(c_total[1h])", begin, begin + 3 * DAY_MS, HOUR_MS)
    assert max(next(iter(got.values())).values()) == 1e6
    assert any("1h" in i for i in result.infos)
    engine.close()


def test_tiers_outlive_raw_samples(engine):
    """Where raw samples are gone the finest tier answers, whatever the step, and names are still known."""
    start, end, step = DAY0_MS + 6 * HOUR_MS, DAY0_MS + DAY_MS, FIVE_MS
    texts = ["c_total", "rate(c_total[5m])", "avg_over_time(g[30m])", "count_over_time(g[1h])"]
    want = [ask(engine, t, start, end, step, resolution_ms=0)[0] for t in texts]
    without_raw(engine)
    for text, before in zip(texts, want, strict=True):
        got, result = ask(engine, text, start, end, step)
        assert_close(got, before)
        assert any("5m" in i for i in result.infos)
    got, result = ask(engine, "rate(c_total[10m])", start, end, MINUTE_MS)
    assert len(next(iter(got.values()))) == (end - start) // MINUTE_MS + 1
    _, result = ask(engine, "stddev_over_time(g[1h])", start, end, HOUR_MS)
    assert any("stddev_over_time needs all samples" in w for w in result.warnings)
    assert not ask(engine, "c_total", start, end, step, resolution_ms=0)[0]
    with engine.querier(start, end) as q:
        assert q.label_names() == ["__name__", "s"]
        assert q.label_values("s", [name_is("g")]) == ["g"]
        assert len(q.series([name_is("c_total")])) == 1
        assert not q.select([name_is("c_total")], start, end).labels  # without hints: what was stored


def test_the_coarsest_tier_is_left(engine):
    """Windows shorter than a bucket see the bucket that ended last; instants hold over a bucket."""
    want, _ = ask(engine, "rate(c_total[1h])", *SPAN, HOUR_MS, resolution_ms=0)
    gone = [e for e in engine.segments.entries if e.tier_ms != HOUR_MS]
    engine.segments.replace(gone, (), engine.publish)
    got, result = ask(engine, "rate(c_total[5m])", *SPAN, 15 * MINUTE_MS)
    assert any("1h" in i for i in result.infos)
    ((series, row),) = got.items()
    assert len(row) == (SPAN[1] - SPAN[0]) // (15 * MINUTE_MS) + 1
    got, _ = ask(engine, "rate(c_total[5m])", SPAN[0] + 30 * MINUTE_MS, SPAN[1], 15 * MINUTE_MS)
    assert SPAN[0] + 30 * MINUTE_MS in got[series]
    for t, v in row.items():
        assert v == pytest.approx(want[series][t // HOUR_MS * HOUR_MS])
    got, _ = ask(engine, "c_total", SPAN[0] + HOUR_MS, SPAN[1], 15 * MINUTE_MS)
    assert all(len(row) == (SPAN[1] - SPAN[0] - HOUR_MS) // (15 * MINUTE_MS) + 1 for row in got.values())


def test_deletes_do_not_come_back(engine, clock):
    """A delete takes whole buckets from tiers at once, and their space later; other series keep theirs."""
    low, high = DAY0_MS + 10 * HOUR_MS, DAY0_MS + 12 * HOUR_MS
    engine.delete([[name_is("g")]], low + 60_000, high - 60_000)
    for _ in range(2):
        got, _ = ask(engine, "count_over_time(g[1h])", *SPAN, HOUR_MS)
        (row,) = got.values()
        assert not {low + HOUR_MS, high} & set(row)
        assert row[low] == row[high + HOUR_MS] == 60.0
        (row,) = ask(engine, "count_over_time(c_total[1h])", *SPAN, HOUR_MS)[0].values()
        assert row[high] == 60.0
        engine.clean_tombstones()
        maintain_all(engine, clock.now_ms)
    assert not engine.segments.deletes
    engine.delete([[name_is("g")]], -(2**62), 2**62)
    engine.clean_tombstones()
    without_raw(engine)
    assert not ask(engine, "g", *SPAN, HOUR_MS)[0]
    assert ask(engine, "c_total", *SPAN, HOUR_MS)[0]


def test_each_tier_has_its_own_age(clock):
    """Raw samples go first, then the 5m tier; the 1h tier stays longest."""
    ages = with_options(OPTIONS, retention_ms=2 * DAY_MS, tiers=((FIVE_MS, 4 * DAY_MS), (HOUR_MS, 400 * DAY_MS)))
    engine = open_tiered(MemDisk(), ages, clock)
    load(engine, {"c_total": days(range(8 * 1440))}, clock, width_ms=6 * HOUR_MS)
    oldest = {w: min(e.mint_ms for e in engine.segments.entries if e.tier_ms == w) for w in (0, FIVE_MS, HOUR_MS)}
    assert oldest[HOUR_MS] < DAY0_MS + DAY_MS < oldest[FIVE_MS] < oldest[0]
    got, _ = ask(engine, "increase(c_total[1h])", DAY0_MS + 2 * HOUR_MS, DAY0_MS + 7 * DAY_MS, HOUR_MS)
    (row,) = got.values()
    assert len(row) == (7 * 24 - 2) + 1
    assert all(v == pytest.approx(60.0) for v in row.values())
    engine.close()


def test_histograms_keep_one_a_bucket(clock):
    """Of native histograms the last in each bucket stays."""
    engine = open_tiered(MemDisk(), clock=clock)
    ref = engine.registry.intern(labels("h", s="h"))
    for day in range(3):
        count = 1440
        times = DAY0_MS + day * DAY_MS + 1 + np.arange(count, dtype=np.int64) * MINUTE_MS
        table = histograms_of([Histogram(0, 0.0, 0.0, float(i), float(i)) for i in range(count)])
        batch = Batch(np.full(count, ref, np.uint32), times, handles(0, count), histograms=table)
        clock.now_ms = int(times[-1])
        assert not engine.append([batch])[0].refused
        maintain_all(engine, clock.now_ms)
    edges = [r for e, r in engine.segments.pairs if e.tier_ms == HOUR_MS and e.level == TIER_LEVEL]
    columns = next(edges[0].iterate())
    assert columns.samples == 24
    assert columns.histograms is not None
    assert columns.histograms.one(0).count == 59.0
    engine.close()


def test_a_query_at_one_time_of_raw_samples(engine):
    """A short range at one time stays with raw samples."""
    assert not ask_at(engine, "rate(c_total[10m])", SPAN[0])[1].infos
