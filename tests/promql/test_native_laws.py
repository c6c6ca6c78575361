"""Laws that histograms in queries obey, on random data: parts and wholes, rates and increases, quantiles and fractions."""

from __future__ import annotations

import numpy as np
import pytest

from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint, histograms_of
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.native import arithmetic, measures
from tinyobs.promql.native.codec import decoded, encoded
from tinyobs.promql.native.sizes import extra_samples, sizes, stored_sizes
from tinyobs.promql.native.table import Table
from tinyobs.promql.native.totals import means, totals
from tinyobs.promql.native.trim import trimmed

from .histogram_values import made_of, negative_of, plus, positive_of, same
from .memory import MemoryStore
from .running import OPTIONS, samples_of

CUSTOM = ((1.0, 2.0, 4.0, 8.0), (1.0, 4.0, 8.0), (0.5, 1.0, 2.0, 4.0, 16.0))


def histogram(random: np.random.Generator, schema: int | None = None, hint: ResetHint = ResetHint.UNKNOWN) -> Histogram:
    """Return a histogram whose count is that of its buckets."""
    schema = int(random.integers(-1, 4)) if schema is None else schema
    if schema == CUSTOM_SCHEMA:
        bounds = CUSTOM[int(random.integers(len(CUSTOM)))]
        counts = dict(enumerate(random.integers(0, 9, len(bounds) + 1).astype(float).tolist()))
        numbers = (0.0, sum(counts.values()), float(random.integers(0, 100)))
        return made_of(schema, 0.0, numbers, counts, {}, bounds, hint)
    sides = []
    for _ in range(2):
        places = random.choice(np.arange(-6, 7), int(random.integers(0, 6)), replace=False).tolist()
        sides.append({int(i): float(random.integers(1, 9)) for i in places})
    zero = float(random.integers(0, 4))
    numbers = (zero, zero + sum(sides[0].values()) + sum(sides[1].values()), float(random.integers(-50, 50)))
    return made_of(schema, 1e-6, numbers, sides[0], sides[1], (), hint)


def table_of(histograms: list[Histogram]) -> Table:
    """Return the histograms as rows of matrices."""
    return decoded(histograms_of(histograms))


def listed(table: Table) -> list[Histogram]:
    """Return the histograms of a table."""
    words = encoded(table)
    return [words.one(i) for i in range(len(table))]


@pytest.fixture
def random() -> np.random.Generator:
    """Return the same numbers each time."""
    return np.random.default_rng(7)


def test_words_and_rows_hold_the_same(random: np.random.Generator) -> None:
    """Histograms of all layouts come back from matrices as they went in, without empty buckets."""
    schemas = [None, CUSTOM_SCHEMA]
    hints = list(ResetHint)
    some = [histogram(random, schemas[i % 2], hints[i % 4]) for i in range(60)]
    back = listed(table_of(some))
    assert all(same(a, b) and a.reset_hint == b.reset_hint for a, b in zip(some, back, strict=True))
    assert [listed(table_of(some).take(np.array([5, 3])))[i] for i in (0, 1)] == [back[5], back[3]]


def test_schemas_that_are_too_fine_are_reduced() -> None:
    """Schema 9 becomes 8: buckets 1 and 2 are one, bucket 3 is half of the second."""
    (found,) = listed(table_of([made_of(9, 0.0, (0.0, 6.0, 6.0), {1: 1.0, 2: 2.0, 3: 3.0}, {})]))
    assert (found.schema, positive_of(found)) == (8, {1: 3.0, 2: 3.0})


def test_sizes_are_those_of_upstream() -> None:
    """A histogram counts 176 bytes and 8 for each span and bucket, in units of 16, in matrices as in storage."""
    one = made_of(0, 0.0, (0.0, 3.0, 3.0), {0: 1.0, 1: 1.0, 5: 1.0}, {2: 1.0})
    some, want = [one, Histogram(0, 0.0, 0.0, 0.0, 0.0)], [(176 + 8 * (7 + 2)) // 16, 176 // 16]
    assert stored_sizes(histograms_of(some)).tolist() == want
    assert sizes(table_of(some)).tolist() == [(176 + 8 * (4 + 3)) // 16, 11]  # empty buckets are gone
    assert extra_samples(histograms_of(some)) == sum(want) - 2


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sums_of_pairs(random: np.random.Generator, sign: float) -> None:
    """Pairs of any schemas add up as buckets of dictionaries do."""
    left, right = ([histogram(random) for _ in range(200)] for _ in range(2))
    sums = arithmetic.added(table_of(left), table_of(right), sign=sign)
    for a, b, found in zip(left, right, listed(sums.table), strict=True):
        assert same(plus(a, b, sign), found)
    assert not sums.incompatible.any()


def test_custom_bounds_meet_in_common_ones(random: np.random.Generator) -> None:
    """Sums of other bounds keep every count, under bounds that both have."""
    left, right = ([histogram(random, CUSTOM_SCHEMA) for _ in range(60)] for _ in range(2))
    sums = arithmetic.added(table_of(left), table_of(right))
    for a, b, found, differ in zip(left, right, listed(sums.table), sums.reconciled.tolist(), strict=True):
        assert set(found.custom_values) == set(a.custom_values) & set(b.custom_values)
        assert sum(found.positive_buckets) == a.count + b.count == found.count
        assert differ == (a.custom_values != b.custom_values)


def test_kinds_do_not_mix(random: np.random.Generator) -> None:
    """Exponential buckets cannot be added to custom ones."""
    sums = arithmetic.added(table_of([histogram(random)]), table_of([histogram(random, CUSTOM_SCHEMA)]))
    assert sums.incompatible.all()


def test_wider_zero_buckets_lose_no_count(random: np.random.Generator) -> None:
    """What a wider zero bucket takes in is counted there; its end never lies within a populated bucket."""
    some = [histogram(random) for _ in range(100)]
    for number, batch in table_of(some).parts():
        wide = arithmetic.widened(batch, np.full(len(batch), 0.3))
        assert np.allclose(wide.data[:, 2:].sum(axis=1), batch.data[:, 2:].sum(axis=1))
        assert (wide.thresholds >= 0.3).all()
        lower, upper = batch.positive_limits()
        cut = (lower < wide.thresholds[:, None]) & (upper > wide.thresholds[:, None]) & (batch.positives() != 0)
        assert not cut.any()
        assert len(number) == len(batch)


def test_resets_are_found_where_any_bucket_fell(random: np.random.Generator) -> None:
    """Of two histograms of one schema and zero bucket, the later one follows a reset when any number is smaller."""
    before = [histogram(random, 1) for _ in range(200)]
    after = [plus(b, histogram(random, 1), 1.0 if i % 2 else -0.1) for i, b in enumerate(before)]
    found = arithmetic.are_resets(table_of(after), table_of(before)).tolist()
    for a, b, reset in zip(after, before, found, strict=True):
        sides = [(side(a), side(b)) for side in (positive_of, negative_of)]
        fell = any(now.get(i, 0.0) < count for now, then in sides for i, count in then.items())
        assert reset == (fell or a.count < b.count or a.zero_count < b.zero_count)


def test_equality_is_that_of_every_number(random: np.random.Generator) -> None:
    """A histogram equals itself and no other one."""
    table = table_of([histogram(random) for _ in range(50)])
    assert arithmetic.are_equal(table, table).all()
    assert not arithmetic.are_equal(table, arithmetic.scaled(table, np.full(50, 2.0)))[table.counts() > 0].any()


def test_totals_are_sums_one_after_the_other(random: np.random.Generator) -> None:
    """Runs of mixed schemas add up to what adding them one by one gives; a mean is the total over the number."""
    some = [histogram(random) for _ in range(90)]
    starts = np.array([0, 1, 20, 21, 60])
    found, middle = listed(arithmetic.finished(totals(table_of(some), starts).table)), means(table_of(some), starts)
    for i, (first, last) in enumerate(zip(starts.tolist(), [*starts.tolist()[1:], 90], strict=True)):
        want = some[first]
        for other in some[first + 1 : last]:
            want = plus(want, other)
        assert same(want, found[i])
        assert np.isclose(listed(middle.table)[i].count, want.count / (last - first))


def test_totals_name_the_one_that_does_not_fit(random: np.random.Generator) -> None:
    """Of a run with exponential and custom buckets, the first of the other kind is told."""
    some = [histogram(random, s) for s in (0, 1, CUSTOM_SCHEMA, 0, CUSTOM_SCHEMA)]
    assert totals(table_of(some), np.array([0, 4])).incompatible.tolist() == [2, -1]


@pytest.mark.parametrize("schema", [0, 2, CUSTOM_SCHEMA])
def test_fractions_undo_quantiles(random: np.random.Generator, schema: int) -> None:
    """The share of observations up to a quantile is that quantile, wherever a bucket has a width."""
    some = [h for h in (histogram(random, schema) for _ in range(100)) if h.count > 0 and h.zero_count == 0]
    table = table_of(some)
    for q in (0.1, 0.35, 0.5, 0.77):
        wanted = np.full(len(some), q)
        values = measures.quantiles(table, wanted).values
        shares, _ = measures.fractions(table, np.full(len(some), -np.inf), values)
        inside = values < 16 if schema != CUSTOM_SCHEMA else (values > 0) & ~np.isin(values, (8.0, 16.0))
        assert inside.sum() > 20
        assert np.allclose(shares[inside], q)


@pytest.mark.parametrize("schema", [0, 3, CUSTOM_SCHEMA])
def test_trimmed_parts_make_up_the_whole(random: np.random.Generator, schema: int) -> None:
    """What lies below a limit and what lies above it are all observations; neither part has any on the other side."""
    some = [histogram(random, schema) for _ in range(80)]
    table = table_of(some)
    at = np.full(len(some), 1.3)
    below, above = trimmed(table, at, upper=True), trimmed(table, at, upper=False)
    assert np.allclose(below.counts() + above.counts(), [h.count for h in some])
    for part, beyond in ((below, lambda rungs: rungs.lower >= 1.3), (above, lambda rungs: rungs.upper <= 1.3)):
        for _, batch in part.parts():
            rungs = measures.ladder(batch)
            assert not rungs.counts[beyond(rungs)].any()


def store() -> MemoryStore:
    """Return twelve counters of two jobs in three schemas, with resets, over twenty minutes."""
    random = np.random.default_rng(3)
    made = MemoryStore({})
    for n in range(12):
        labels = (("__name__", "h"), ("job", str(n % 2)), ("n", f"{n:02d}"))
        current = histogram(random, n % 3)
        points = []
        for t in range(40):
            current = histogram(random, n % 3) if random.random() < 0.05 else plus(current, histogram(random, n % 3))
            points.append((t * 30_000, current))
        made.add(labels, points)
    return made


def results(query: str) -> dict[tuple, list[Histogram | float | None]]:
    """Return the samples of a range query by labels."""
    result = PromqlEngine(OPTIONS).range(store(), query, 300_000, 1_100_000, 50_000)
    return {labels: samples_of(result.columns, i) for i, labels in enumerate(result.columns.labels)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sum(h)", "sum(sum by (job) (h))"),
        ("sum by (job) (rate(h[5m]))", "sum by (job) (increase(h[5m]) / 300)"),
        ("avg(h)", "sum(h) / count(h)"),
        ("histogram_count(sum_over_time(h[2m]))", "sum_over_time(histogram_count(h)[2m:30s])"),
        ("avg_over_time(h[3m])", "sum_over_time(h[3m]) / count_over_time(h[3m])"),
        ("resets(h[5m])", "resets(h[5m:30s])"),
        ("h - h + h", "h"),
        ("histogram_count(delta(h[5m]))", "delta(histogram_count(h)[5m:30s])"),
        (
            "histogram_sum(h) and histogram_count(h) > 0",
            "histogram_avg(h) * histogram_count(h) and histogram_count(h) > 0",
        ),
        ("idelta(h[5m])", "h - h offset 30s"),
    ],
)
def test_two_ways_to_the_same(one: str, other: str) -> None:
    """Two queries that mean the same give nearly the same at every step."""
    a, b = results(one), results(other)
    bare = {tuple(p for p in labels if p[0] != "__name__"): v for labels, v in b.items()}
    assert len(a) == len(bare) > 0
    for labels, samples in a.items():
        partners = bare[tuple(p for p in labels if p[0] != "__name__")]
        assert len(samples) == len(partners) > 0
        for x, y in zip(samples, partners, strict=True):
            if isinstance(x, Histogram):
                assert isinstance(y, Histogram)
                assert np.allclose((x.count, x.sum), (y.count, y.sum), atol=1e-6)
                assert np.allclose(sum(x.positive_buckets), sum(y.positive_buckets), atol=1e-6)
            else:
                assert np.isclose(x, y)
