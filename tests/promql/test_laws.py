"""Laws that hold for any data: parts and wholes, rates and increases, shifts in time, blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.columns import SeriesColumns
from tinyobs.model.labels import from_mapping
from tinyobs.promql import evaluate
from tinyobs.promql.engine import PromqlEngine

from .memory import MemoryStore

ENGINE = PromqlEngine()
HOUR = 3_600_000


@st.composite
def counters(draw: st.DrawFn) -> MemoryStore:
    """Counters of a few jobs and instances, a sample every 15 s with gaps, now and then a reset."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    series = {}
    for i in range(draw(st.integers(1, 12))):
        labels = from_mapping({"__name__": "c_total", "job": f"j{i % 3}", "instance": f"i{i}"})
        kept = rng.random(80) > 0.1
        values = rng.integers(0, 9, 80).cumsum().astype(np.float64)
        if i % 2:
            values[40:] -= values[40]
        series[labels] = (np.arange(80) * 15_000 + int(rng.integers(0, 15_000)))[kept], values[kept]
    return MemoryStore(series)


def columns(store: MemoryStore, query: str, start: int = 300_000, end: int = 1_200_000) -> SeriesColumns:
    """Return the result of a range query."""
    return ENGINE.range(store, query, start, end, 60_000).columns


def assert_equal(a: SeriesColumns, b: SeriesColumns, shift_ms: int = 0) -> None:
    """Assert that two results are equal within rounding, the second one later by `shift_ms`."""
    assert list(a.labels) == list(b.labels)
    assert np.array_equal(a.offsets, b.offsets)
    assert np.array_equal(a.timestamps_ms + shift_ms, b.timestamps_ms)
    assert np.allclose(a.values, b.values, rtol=1e-12, atol=1e-12, equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(counters())
def test_sum_of_parts_is_the_whole(store: MemoryStore) -> None:
    """Summing by a label and then over it is summing at once; so for count, min and max."""
    for outer, inner in (("sum", "sum"), ("sum", "count"), ("min", "min"), ("max", "max")):
        whole = columns(store, f"{inner}(c_total)")
        assert_equal(columns(store, f"{outer}({inner} by (job) (c_total))"), whole)


@settings(max_examples=25, deadline=None)
@given(counters())
def test_increase_is_rate_times_range(store: MemoryStore) -> None:
    """increase(x[r]) is rate(x[r]) * r, and an average is a sum over a count."""
    assert_equal(columns(store, "increase(c_total[3m])"), columns(store, "rate(c_total[3m]) * 180"))
    average = columns(store, "avg by (job) (rate(c_total[3m]))")
    assert_equal(columns(store, "sum by (job) (rate(c_total[3m])) / count by (job) (rate(c_total[3m]))"), average)


@settings(max_examples=25, deadline=None)
@given(counters(), st.integers(1, 1000))
def test_time_has_no_origin(store: MemoryStore, hours: int) -> None:
    """Samples and query moved by the same time give the same values."""
    shift = hours * HOUR
    moved = MemoryStore({k: (t + shift, v) for k, (t, v) in store.series.items()})
    for query in ("sum by (job) (rate(c_total[3m]))", "max_over_time(c_total[2m:30s])", "deriv(c_total[5m])"):
        later = columns(moved, query, 300_000 + shift, 1_200_000 + shift)
        before = columns(store, query)
        assert list(before.labels) == list(later.labels)
        assert np.allclose(before.values, later.values, rtol=1e-7, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(counters())
def test_offset_is_an_earlier_query(store: MemoryStore) -> None:
    """`offset d` gives what the query d earlier gave."""
    assert_equal(
        columns(store, "rate(c_total[3m])", 240_000, 1_140_000),
        columns(store, "rate(c_total[3m] offset 1m)", 300_000, 1_200_000),
        60_000,
    )


@settings(max_examples=25, deadline=None)
@given(counters(), st.integers(0, 1200), st.integers(-300, 300))
def test_at_is_a_query_at_that_time(store: MemoryStore, at: int, offset: int) -> None:
    """`@ t` gives at every step what a query at t gives; an offset is counted from t, in either order."""
    query = "rate(c_total[3m])"
    then = ENGINE.instant(store, query, at * 1000).columns
    fixed = columns(store, f"rate(c_total[3m] @ {at})")
    assert list(fixed.labels) == list(then.labels)
    assert np.array_equal(fixed.values.reshape(len(then), 16), np.repeat(then.values[:, None], 16, axis=1))
    moved = f"max_over_time(c_total[3m] @ {at} offset {offset}s)"
    earlier = ENGINE.instant(store, "max_over_time(c_total[3m])", (at - offset) * 1000).columns
    now = ENGINE.instant(store, moved, 0).columns
    assert (list(now.labels), now.values.tolist()) == (list(earlier.labels), earlier.values.tolist())
    swapped = ENGINE.instant(store, f"max_over_time(c_total[3m] offset {offset}s @ {at})", 0).columns
    assert swapped.values.tolist() == now.values.tolist()


@settings(max_examples=25, deadline=None)
@given(counters())
def test_start_and_end_are_those_of_the_query(store: MemoryStore) -> None:
    """`@ start()` and `@ end()` are the borders of the range, in subqueries too."""
    for query in ("c_total @ {}", "sum_over_time(c_total[2m] @ {})", "max_over_time((c_total @ {})[2m:30s])"):
        assert_equal(columns(store, query.format("start()")), columns(store, query.format("300")))
        assert_equal(columns(store, query.format("end()")), columns(store, query.format("1200")))


@settings(max_examples=25, deadline=None)
@given(counters())
def test_a_subquery_of_a_selector_is_a_range_of_what_it_saw(store: MemoryStore) -> None:
    """Windows over a subquery see the values of an instant query at each of its steps."""
    wide = columns(store, "sum_over_time(c_total[4m:1m])", 600_000, 600_000)
    moments = [ENGINE.instant(store, "c_total", t * 60_000).columns for t in (7, 8, 9, 10)]
    for labels, value in zip(wide.labels, wide.values.tolist(), strict=True):
        parts = [dict(zip(m.labels, m.values.tolist(), strict=True)) for m in moments]
        bare = tuple(p for p in labels if p[0] != "__name__")
        whole = ("__name__", "c_total"), *bare
        assert value == pytest.approx(sum(p[whole] for p in parts if whole in p))


@settings(max_examples=25, deadline=None)
@given(counters())
def test_sets(store: MemoryStore) -> None:
    """and, or and unless are those of sets."""
    whole = columns(store, "c_total")
    assert_equal(columns(store, "c_total and c_total"), whole)
    assert_equal(columns(store, "c_total or c_total"), whole)
    assert len(columns(store, "c_total unless c_total")) == 0
    assert_equal(columns(store, "(c_total > 20) or (c_total <= 20)"), whole)
    assert_equal(columns(store, "topk(100, c_total)"), whole)
    assert_equal(columns(store, "bottomk(100, c_total)"), whole)


QUERIES = (
    "rate(c_total[3m])",
    "sum by (job) (rate(c_total[3m]))",
    "avg(c_total)",
    "stddev by (job) (c_total)",
    "max without (instance) (c_total)",
    "quantile_over_time(0.5, c_total[2m])",
    "sum_over_time(c_total[2m:30s])",
    "scalar(c_total) + vector(1)",
    "absent(c_total)",
)


@settings(max_examples=15, deadline=None)
@given(store=counters(), rows=st.integers(1, 5))
def test_blocks_do_not_show(store: MemoryStore, rows: int) -> None:
    """Results do not depend on how many series are evaluated at one time."""
    with pytest.MonkeyPatch.context() as patch:
        whole = [columns(store, query) for query in QUERIES]
        patch.setattr(evaluate, "_BLOCK_ROWS_MIN", 1)
        patch.setattr(evaluate, "_BLOCK_ROWS_MAX", rows)
        for query, expected in zip(QUERIES, whole, strict=True):
            assert_equal(columns(store, query), expected)
