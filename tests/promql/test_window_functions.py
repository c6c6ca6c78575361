"""Range functions against the obvious way, on irregular series."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.labels import Labels, from_mapping
from tinyobs.model.staleness import STALE_NAN, is_stale_value
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions

from .memory import MemoryStore
from .running import FEATURES
from .window_reference import NAN_SAFE, RANGE_FUNCTIONS

ENGINE = PromqlEngine(EngineOptions(features=FEATURES))

numbers = st.one_of(st.integers(0, 50).map(float), st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3)))
with_gaps = st.one_of(numbers, numbers, numbers, st.sampled_from([math.nan, STALE_NAN]))


@st.composite
def stores(draw: st.DrawFn, values: st.SearchStrategy[float]) -> MemoryStore:
    """A few series `m` with samples at irregular times within about ten minutes."""
    data = {}
    for i in range(draw(st.integers(1, 4))):
        times = sorted(draw(st.sets(st.integers(0, 120), max_size=25)))
        jitter = draw(st.sampled_from([0, 0, 1, 777]))
        points = [(t * 5_000 + jitter, draw(values)) for t in times]
        data[from_mapping({"__name__": "m_total", "i": str(i)})] = points
    return MemoryStore.of(data)


def answer(store: MemoryStore, query: str, start: int, end: int, step: int) -> dict[tuple[str, int], float]:
    """Return (series, time) -> value."""
    columns = ENGINE.range(store, query, start, end, step).columns
    found = {}
    for i in range(len(columns)):
        labels, times, values = columns.one(i)
        for t, v in zip(times.tolist(), values.tolist(), strict=True):
            found[dict(labels)["i"], t] = v
    return found


def expected(
    store: MemoryStore, name: str, grid: tuple[int, int, int], range_ms: int, offset_ms: int
) -> dict[tuple[str, int], float]:
    """Return (series, time) -> value the slow way."""
    found = {}
    for labels, (times, values) in store.series.items():
        for t in range(grid[0], grid[1] + 1, grid[2]):
            end = t - offset_ms
            points = [
                (a / 1000, v)
                for a, v in zip(times.tolist(), values.tolist(), strict=True)
                if end - range_ms < a <= end and not is_stale_value(v)
            ]
            value = RANGE_FUNCTIONS[name](points, (end - range_ms) / 1000, end / 1000)
            if value is not None:
                found[dict(labels)["i"], t] = value
    return found


def assert_same(got: dict[tuple[str, int], float], want: dict[tuple[str, int], float]) -> None:
    """Assert equality within rounding."""
    assert got.keys() == want.keys()
    for key, value in want.items():
        close = math.isclose(got[key], value, rel_tol=1e-9, abs_tol=1e-6)
        assert close or (math.isnan(got[key]) and math.isnan(value)), (key, got[key], value)


grids = st.tuples(
    st.integers(0, 300_000), st.integers(0, 12), st.sampled_from([1_000, 15_000, 30_000, 61_000, 300_000])
)
ranges = st.sampled_from([1_000, 15_000, 30_000, 60_000, 61_001, 300_000])


def call(name: str, argument: str) -> str:
    """Return the text of a call."""
    return f"{name}(0.3, {argument})" if name.startswith("quantile") else f"{name}({argument})"


@pytest.mark.parametrize("name", RANGE_FUNCTIONS)
@settings(max_examples=20, deadline=None)
@given(data=st.data(), grid=grids, range_ms=ranges, offset_ms=st.sampled_from([0, 7_000, -20_000]))
def test_range_function(
    name: str, data: st.DataObject, grid: tuple[int, int, int], range_ms: int, offset_ms: int
) -> None:
    """Over any window of any samples the function gives what its definition gives."""
    store = data.draw(stores(with_gaps if name in NAN_SAFE else numbers))
    start, count, step = grid
    end = start + count * step
    query = call(name, f"m_total[{range_ms}ms] offset {offset_ms}ms")
    assert_same(answer(store, query, start, end, step), expected(store, name, (start, end, step), range_ms, offset_ms))


@settings(max_examples=40, deadline=None)
@given(store=stores(with_gaps), grid=grids, lookback=st.sampled_from([1_000, 20_000, 300_000]))
def test_instant_selector(store: MemoryStore, grid: tuple[int, int, int], lookback: int) -> None:
    """A selector gives the newest sample that is younger than the lookback and not stale."""
    start, count, step = grid
    end = start + count * step
    columns = ENGINE.range(store, "m_total", start, end, step, lookback_ms=lookback).columns
    got = {}
    for i in range(len(columns)):
        labels, times, values = columns.one(i)
        got.update({(labels, t): v for t, v in zip(times.tolist(), values.tolist(), strict=True)})
    want: dict[tuple[Labels, int], float] = {}
    for labels, (times, values) in store.series.items():
        for t in range(start, end + 1, step):
            here = [(a, v) for a, v in zip(times.tolist(), values.tolist(), strict=True) if t - lookback < a <= t]
            if here and not is_stale_value(here[-1][1]):
                want[labels, t] = here[-1][1]
    assert got.keys() == want.keys()
    assert all(got[k] == v or (got[k] != got[k] and v != v) for k, v in want.items())


@settings(max_examples=30, deadline=None)
@given(store=stores(numbers), grid=grids)
def test_subquery_is_a_range_over_points(store: MemoryStore, grid: tuple[int, int, int]) -> None:
    """A subquery sees the inner expression at multiples of its step, within the open-left range."""
    start, count, step = grid
    end = start + count * step
    got = answer(store, "sum_over_time(m_total[2m:30s])", start, end, step)
    first = start - 120_000 - (start - 120_000) % 30_000 - 30_000
    inner = answer(store, "m_total", first, end, 30_000)
    want: dict[tuple[str, int], float] = {}
    for t in range(start, end + 1, step):
        for (i, at), value in inner.items():
            if t - 120_000 < at <= t:
                want[i, t] = want.get((i, t), 0.0) + value
    assert_same(got, want)
