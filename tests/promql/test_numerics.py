"""The arithmetic below the functions: sums, quantiles, buckets, heaps, hashes, numbers as text."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.model.labels import from_mapping
from tinyobs.promql import buckets
from tinyobs.promql.buckets import fractions, quantiles
from tinyobs.promql.grid import Grid, between, instant, subquery
from tinyobs.promql.heap import ordered, survivors
from tinyobs.promql.numbers_text import format_g, format_openmetrics
from tinyobs.promql.quantiles import quantiles_of_rows
from tinyobs.promql.sampling import offset_of, xxhash64
from tinyobs.promql.sums import finished, kahan_step, sums_of_groups, sums_of_rows

floats = st.floats(-1e15, 1e15, allow_nan=False)


@given(st.lists(floats, min_size=1, max_size=40))
def test_tree_sum_is_nearly_exact(values: list[float]) -> None:
    """The compensated tree gives the correctly rounded sum, up to one last place."""
    total = finished(*sums_of_rows(np.array(values)[:, None]))[0]
    exact = math.fsum(values)
    assert math.isclose(total, exact, rel_tol=1e-15, abs_tol=1e-10 * sum(map(abs, values)) * 1e-16)


@given(st.lists(st.lists(floats, min_size=1, max_size=9), min_size=1, max_size=6))
def test_sums_of_groups_are_sums_of_their_rows(groups: list[list[float]]) -> None:
    """Each run of rows is summed for itself."""
    values = np.concatenate([np.array(g) for g in groups])[:, None]
    starts = np.cumsum([0, *[len(g) for g in groups[:-1]]])
    got = finished(*sums_of_groups(values, starts))[:, 0]
    assert np.allclose(got, [math.fsum(g) for g in groups], rtol=1e-14, atol=1e-6)


def test_sums_with_infinities() -> None:
    """Infinite values sum to infinity, opposite ones to NaN; no compensation spoils that."""
    inf = math.inf
    for values, expected in (([inf, 1.0, 2.0], inf), ([1.0, -inf], -inf), ([inf, -inf, 1.0], math.nan)):
        with np.errstate(invalid="ignore"):
            got = finished(*sums_of_rows(np.array(values)[:, None]))[0]
        assert got == expected or (math.isnan(got) and math.isnan(expected))


def test_kahan_step_keeps_what_a_plain_sum_loses() -> None:
    """1 + 1e100 + 1 - 1e100 is 2."""
    total, rest = np.zeros(1), np.zeros(1)
    for value in (1.0, 1e100, 1.0, -1e100):
        total, rest = kahan_step(np.array([value]), total, rest)
    assert float(total[0] + rest[0]) == 2.0


@given(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12), st.floats(0, 1))
def test_quantile_lies_between_neighbours(values: list[float], q: float) -> None:
    """The quantile is the linear interpolation between the samples around its rank."""
    got = float(quantiles_of_rows(np.array([values]), np.array([q]))[0])
    rank = q * (len(values) - 1)
    assert math.isclose(got, float(np.interp(rank, range(len(values)), sorted(values))), abs_tol=1e-12)


def test_quantile_of_absent_rows_and_strange_quantiles() -> None:
    """Nothing gives NaN, quantiles outside 0 .. 1 give infinities, only present values count."""
    values = np.array([[1.0, 2.0, 9.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    present = np.array([[True, True, False], [False] * 3, [True] * 3, [True] * 3])
    got = quantiles_of_rows(values, np.array([1.0, 0.5, -1.0, 2.0]), present)
    assert got[0] == 2
    assert math.isnan(got[1])
    assert got[2:].tolist() == [-math.inf, math.inf]


def test_bucket_quantiles_level_tiny_falls_silently() -> None:
    """Counts that fall by rounding only are levelled without a note, real falls are reported."""
    bounds = np.array([1.0, 2.0, np.inf])
    tiny = np.array([[[10.0], [10.0 - 1e-13], [20.0]]])
    assert quantiles(np.array([0.5]), bounds, tiny)[1] is None
    found, repairs = quantiles(np.array([0.5]), bounds, np.array([[[10.0], [8.0], [20.0]]]))
    assert repairs is not None
    assert (repairs.count[0, 0], repairs.smallest[0, 0], repairs.difference[0, 0]) == (1, 2.0, 2.0)
    assert found[0, 0] == 1.0


def test_buckets_of_equal_bounds_are_one() -> None:
    """`le="1"` and `le="1.0"` are the same bound; their counts add up."""
    bounds = np.array([1.0, 1.0, np.inf])
    counts = np.array([[[5.0], [5.0], [20.0]]])
    assert quantiles(np.array([0.25]), bounds, counts)[0][0, 0] == 0.5
    assert fractions(np.array([0.0]), np.array([1.0]), bounds, counts)[0, 0] == 0.5


@given(st.lists(st.integers(0, 1000), unique=True, min_size=1, max_size=30), st.integers(1, 8))
def test_heap_keeps_the_best(values: list[int], k: int) -> None:
    """Of distinct values the heap keeps the k largest, or smallest."""
    numbers = [float(v) for v in values]
    k = min(k, len(numbers))
    best = [numbers[i] for i in ordered(survivors(numbers, k, largest=True), numbers, largest=True)]
    assert best == heapq.nlargest(k, numbers)
    least = [numbers[i] for i in ordered(survivors(numbers, k, largest=False), numbers, largest=False)]
    assert least == heapq.nsmallest(k, numbers)


def test_heap_evicts_nan_first_and_the_earlier_of_equals() -> None:
    """NaN gives way to any number; of two equal smallest values the one at the root goes."""
    assert survivors([math.nan, 1.0], 1, largest=True) == [1]
    assert sorted(survivors([1.0, 1.0, 2.0], 2, largest=True)) == [1, 2]


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_xxhash64(data: bytes, digest: int) -> None:
    """The hash is that of the specification."""
    assert xxhash64(data) == digest


def test_sampling_offsets_are_spread() -> None:
    """About a tenth of many series lies below 0.1."""
    below = sum(offset_of(from_mapping({"i": str(i)})) < 0.1 for i in range(2000))
    assert 150 < below < 250


@pytest.mark.parametrize(
    ("value", "text", "openmetrics"),
    [
        (1.0, "1", "1.0"),
        (0.5, "0.5", "0.5"),
        (1e21, "1e+21", "1e+21"),
        (1e20, "100000000000000000000", "100000000000000000000.0"),
        (0.00001, "1e-05", "1e-05"),
        (-1.25e-7, "-1.25e-07", "-1.25e-07"),
        (math.inf, "+Inf", "+Inf"),
        (math.nan, "NaN", "NaN"),
        (0.0, "0", "0.0"),
    ],
)
def test_numbers_as_go_prints_them(value: float, text: str, openmetrics: str) -> None:
    """The exponent forms are those of Go's %g."""
    assert format_g(value) == text
    assert format_openmetrics(value) == openmetrics


def test_grids() -> None:
    """Grids include both ends; those of subqueries start after the open end of the range, at a multiple of the step."""
    assert between(0, 100, 30) == Grid(0, 30, 4)
    assert between(0, -1, 30).steps == 0
    assert Grid(0, 30, 4).end_ms == 90
    assert subquery(instant(100), 60, 20) == Grid(60, 20, 3)
    assert subquery(instant(-10), 60, 20).start_ms == -60
    assert subquery(Grid(100, 10, 3), 60, 20) == Grid(60, 20, 4)


@pytest.mark.parametrize("seed", range(12))
def test_buckets_are_raised_at_once_as_step_by_step(seed: int) -> None:
    """Counts and repairs are the same to the last bit; what the quick way leaves to the other has a tiny difference."""
    rng = np.random.default_rng(seed)
    counts = rng.random((3, 8, 20)) * 10
    if seed % 3 == 1:
        counts = np.round(counts)
    if seed % 3 == 2:
        counts = (np.cumsum(counts > 5, axis=1) + 1.0) * (1 + rng.integers(-2, 3, counts.shape) * 1e-13)
    bounds, sound = np.array([1.0, 2, 3, 4, 5, 6, 7, np.inf]), rng.random(20) < 0.9
    expected, repairs = buckets._raised_by_steps(bounds, counts, sound)
    quick = buckets._raised(bounds, counts, sound)
    assert (quick is None) == (seed % 3 == 2)
    if quick is None:
        return
    assert np.array_equal(quick[0], expected)
    assert quick[1] is not None
    assert repairs is not None
    for name in ("count", "smallest", "largest", "difference"):
        assert np.array_equal(getattr(quick[1], name), getattr(repairs, name)), name


def test_groups_of_equal_length_are_added_as_each_alone() -> None:
    """The order of additions within a group does not depend on the other groups."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(15, 4)) * 10.0 ** rng.integers(-9, 9, (15, 4))
    total, rest = sums_of_groups(values, np.arange(0, 15, 5))
    for group in range(3):
        alone = sums_of_groups(values[5 * group : 5 * group + 5], np.array([0]))
        assert np.array_equal(total[group], alone[0][0])
        assert np.array_equal(rest[group], alone[1][0])
    uneven = sums_of_groups(values, np.array([0, 5, 6]))
    assert np.array_equal(uneven[0][0], total[0])
    assert np.array_equal(uneven[1][0], rest[0])
