"""The aggregates of downsampling against their definition, one bucket at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.histograms import Histogram, handles, histograms_of, is_handle, stale_histogram
from tinyobs.model.ragged import offsets_of
from tinyobs.model.rollup import Aggregate, Rounding, tier_name
from tinyobs.model.staleness import STALE_NAN, is_stale_value
from tinyobs.storage.rollup import (
    completed,
    implied,
    roll_up,
    roll_up_tier,
    thinned,
    weights_of,
    with_implied,
    without_implied,
)
from tinyobs.storage.runs import Runs

W = 60
VALUES = st.one_of(st.integers(0, 20).map(float), st.sampled_from([math.nan, STALE_NAN, -0.0, 1e300, math.inf]))
ROW = st.dictionaries(st.integers(-300, 900), VALUES, max_size=40).map(lambda d: sorted(d.items()))
ROWS = st.lists(ROW, min_size=1, max_size=4)


def runs_of_rows(rows):
    counts = np.array([len(r) for r in rows], np.int64)
    times = np.array([t for r in rows for t, _ in r], np.int64)
    return Runs(offsets_of(counts), times, np.array([v for r in rows for _, v in r], np.float64))


def rows_of(runs):
    bounds = runs.offsets.tolist()
    pairs = list(zip(runs.times_ms.tolist(), runs.values.tolist(), strict=True))
    return [pairs[a:b] for a, b in itertools.pairwise(bounds)]


def by_bucket(row, width):
    found = {}
    for t, v in row:
        found.setdefault(-(-t // width) * width, []).append((t, v))
    return found


def same(a, b):
    return repr(a) == repr(b)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_aggregates_by_their_definition(rows):
    """Minima, maxima, sums and counts are those of the samples in a bucket, NaN as in PromQL, without stale markers."""
    found = {a: rows_of(r) for a, r in roll_up(runs_of_rows(rows), W).items()}
    for i, row in enumerate(rows):
        want = {a: [] for a in Aggregate}
        for end, samples in by_bucket([p for p in row if not is_stale_value(p[1])], W).items():
            values = [v for _, v in samples]
            numbers = [v for v in values if v == v]
            want[Aggregate.COUNT].append((end, float(len(values))))
            want[Aggregate.SUM].append((end, float(np.add.reduceat(np.array(values), [0])[0])))
            want[Aggregate.MIN].append((end, min(numbers, default=math.nan)))
            want[Aggregate.MAX].append((end, max(numbers, default=math.nan)))
        for a in (Aggregate.COUNT, Aggregate.SUM):
            assert same(found[a][i], want[a])
        for a in (Aggregate.MIN, Aggregate.MAX):
            assert np.array_equal(np.array(found[a][i]), np.array(want[a]), equal_nan=True)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_edges_are_samples_and_hold_what_counts(rows):
    """First, last and both sides of falls are kept; a marker only where it is the last of its bucket."""
    for row, kept in zip(rows, rows_of(thinned(runs_of_rows(rows), W)), strict=True):
        assert all(any(same(p, q) for q in row) for p in kept)
        left = by_bucket(kept, W)
        for end, samples in by_bucket(row, W).items():
            real = [p for p in samples if not is_stale_value(p[1])]
            here = [p for p in left.get(end, []) if not is_stale_value(p[1])]
            if real:
                assert same(here[0], real[0])
                assert same(here[-1], real[-1])
            assert same(left[end][-1], samples[-1]) or not is_stale_value(samples[-1][1])
            assert sum(is_stale_value(v) for _, v in left.get(end, [])) == is_stale_value(samples[-1][1])


def lost(row):
    values = [v for _, v in row if not is_stale_value(v)]
    return sum(a for a, b in itertools.pairwise(values) if b < a)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=30, max_size=200), st.sets(st.integers(0, 199), max_size=3))
def test_counters_keep_their_increase_and_their_resets(steps, resets):
    """What a counter lost in resets is the same over edges, of any width, as over its samples."""
    value, row = 0, []
    for i, step in enumerate(steps):
        value = step if i in resets else value + step
        row.append((i * 7, float(value)))
    for width in (W, 5 * W):
        assert lost(rows_of(thinned(runs_of_rows([row]), width))[0]) == lost(row)


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_a_coarser_tier_is_the_same_from_a_finer_one(rows):
    """Only sums may differ, by the order of additions; and falls of what is no counter."""
    runs = runs_of_rows([[(t, v) for t, v in row if v == v or is_stale_value(v)] for row in rows])
    direct = roll_up(runs, 5 * W)
    steps = roll_up_tier(with_implied(without_implied(roll_up(runs, W), W), W), 5 * W)
    for a in Aggregate:
        if a is Aggregate.EDGES:
            continue
        np.testing.assert_array_equal(steps[a].offsets, direct[a].offsets)
        np.testing.assert_array_equal(steps[a].times_ms, direct[a].times_ms)
        np.testing.assert_allclose(steps[a].values, direct[a].values, rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 900), st.just(1.0), min_size=1), min_size=1, max_size=3))
def test_edges_of_steady_series_compose(rows):
    """Thinning what was thinned before gives what thinning the samples gives."""
    rows = [[(t, float(i)) for i, t in enumerate(sorted(row))] for row in rows]
    runs = runs_of_rows(rows)
    assert same(rows_of(thinned(thinned(runs, W), 5 * W)), rows_of(thinned(runs, 5 * W)))


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_what_edges_imply_need_not_be_written(rows):
    """Leaving out implied minima and maxima loses nothing."""
    full = roll_up(runs_of_rows(rows), W)
    slim = without_implied(full, W)
    again = with_implied(slim, W)
    for a in Aggregate:
        assert np.array_equal(again[a].offsets, full[a].offsets)
        assert np.array_equal(again[a].values, full[a].values, equal_nan=True)
    counter = runs_of_rows([[(i * 7, float(i)) for i in range(100)]])
    assert not len(without_implied(roll_up(counter, W), W)[Aggregate.MIN].values)


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_weights_add_up_to_the_samples(rows):
    """Over the edges of each bucket weights add up to the number of its samples."""
    found = roll_up(runs_of_rows(rows), W)
    edges = found[Aggregate.EDGES]
    weights = weights_of(edges, found[Aggregate.COUNT], W)
    series = np.repeat(np.arange(len(rows)), np.diff(edges.offsets))
    for i, row in enumerate(rows):
        real = sum(not is_stale_value(v) for _, v in row)
        assert weights[series == i].sum() == real


def test_histograms_keep_the_last_of_a_bucket():
    """A histogram stands for its bucket, a stale one ends the series, and floats between them are not lost."""
    table = histograms_of([Histogram(0, 0.0, 0.0, float(i), float(i)) for i in range(3)] + [stale_histogram()])
    h = handles(0, 4)
    times = np.array([1, 10, 20, 70, 80], np.int64)
    runs = Runs(np.array([0, 5], np.int64), times, np.array([h[0], 5.0, h[1], h[2], h[3]]), table)
    found = roll_up(runs, W)
    edges = found[Aggregate.EDGES]
    assert edges.times_ms.tolist() == [10, 20, 70, 80]
    assert is_handle(edges.values).tolist() == [False, True, True, True]
    assert edges.histograms is not None
    assert edges.histograms.one(0).count == 1.0
    assert found[Aggregate.COUNT].values.tolist() == [3.0, 1.0]
    assert found[Aggregate.SUM].values.tolist() == [5.0]
    assert weights_of(edges, found[Aggregate.COUNT], W).tolist() == [1.0, 2.0, 1.0, 0.0]
    assert implied(edges, Aggregate.MIN, W).values.tolist() == [5.0]


def test_nothing_to_do():
    """Rows without samples stay rows."""
    runs = runs_of_rows([[], []])
    for part in roll_up(runs, W).values():
        assert part.offsets.tolist() == [0, 0, 0]
    assert completed(runs, runs, Aggregate.MIN, W).offsets.tolist() == [0, 0, 0]


def test_rounding_by_stretches():
    """Times are rounded with the width that holds where they lie."""
    rounding = Rounding(np.array([600], np.int64), np.array([60, 1], np.int64))
    assert rounding.down(np.array([59, 60, 600, 601])).tolist() == [0, 60, 600, 601]
    assert rounding.up(np.array([59, 60, 599, 601])).tolist() == [60, 60, 600, 601]
    assert [tier_name(w) for w in (0, 300_000, 3_600_000)] == ["raw", "5m", "1h"]
