"""Observations in buckets: the counts are those of the values, whatever their sign, schema and weight."""

from __future__ import annotations

import numpy as np
import pytest

from tinyobs.builtin.statsd.buckets import BucketCounts, histograms_of, keys_of, quantiles_of
from tinyobs.model.histogram_resolution import indexed

SERIES, COUNT = 20, 5000


def observations(seed=1):
    """Return (series, values): of both signs, and zeros."""
    random = np.random.default_rng(seed)
    values = random.lognormal(0, 2, COUNT) * random.choice([-1, 1, 1], COUNT)
    values[:50] = 0
    values[50:60] = [1, 2, 4, 0.5, 1e300, -1e300, 1e-300, 5e-324, 2.0**-128, 3]
    return random.integers(0, SERIES, COUNT), values


def counted(schema, buckets_max=10_000, pieces=7):
    """Return (histograms, schemas) of the observations, added in pieces."""
    series, values = observations()
    schemas = np.full(SERIES + 1, schema, np.int8)
    counts = BucketCounts()
    for mine in np.array_split(np.arange(COUNT), pieces):
        counts.add(keys_of(series[mine], values[mine], schemas[series[mine]]), np.ones(len(mine)))
        counts.limit(schemas, np.full(SERIES + 1, buckets_max, np.int32))
    sums = np.bincount(series, values, minlength=SERIES + 1)
    found = histograms_of(counts.entries(), np.arange(SERIES + 1), schemas, sums)
    found.validate()
    return found, schemas


def check(histogram, values):
    """Compare a histogram with the values it is of."""
    above, below = values[values > 2.0**-128], -values[values < -(2.0**-128)]
    assert histogram.count == len(values)
    assert histogram.zero_count == len(values) - len(above) - len(below)
    for spans, buckets, side in (
        (histogram.positive_spans, histogram.positive_buckets, above),
        (histogram.negative_spans, histogram.negative_buckets, below),
    ):
        assert sum(buckets) == len(side)
        for index, count in indexed(spans, buckets):
            low, high = (2.0 ** (i / 2.0**histogram.schema) for i in (index - 1, index))
            assert count == ((side > low) & (side <= high)).sum()


@pytest.mark.parametrize("schema", [8, 3, 0, -2])
def test_native_histograms_have_the_counts_of_their_values(schema):
    """For each bucket, of each series, at each resolution."""
    series, values = observations()
    found, _ = counted(schema)
    for number in range(SERIES):
        check(found.one(number), values[series == number])
    assert found.one(SERIES).count == 0


def test_too_many_buckets_become_wider():
    """Each series has the finest buckets of which it has no more than it may."""
    series, values = observations()
    found, schemas = counted(5, buckets_max=40)
    for number in range(SERIES):
        one = found.one(number)
        assert len(one.positive_buckets) + len(one.negative_buckets) <= 40
        assert one.schema == schemas[number] < 5
        check(one, values[series == number])


def test_parts_of_samples_are_rounded_together():
    """A rate of 0.3 counts as 3 1/3 each; their sum is rounded, and never falls."""
    schemas, counts, before = np.full(1, 3, np.int8), BucketCounts(), 0
    for i in range(1, 31):
        counts.add(keys_of(np.zeros(1, np.int64), np.ones(1), schemas), np.array([1 / 0.3]))
        count = histograms_of(counts.entries(), np.zeros(1, np.int64), schemas, np.ones(1)).one(0).count
        assert count == round(i / 0.3)
        assert count > before
        before = count


def test_forgotten_series_leave_nothing():
    """The others keep all."""
    counts, schemas = BucketCounts(), np.full(3, 3, np.int8)
    counts.add(keys_of(np.array([0, 1, 2]), np.ones(3), schemas), np.ones(3))
    counts.forget(np.array([1]))
    assert counts.entries().series.tolist() == [0, 2]


def test_quantiles_are_near():
    """Within a third of a percent of the value at the rank, for each series that has any."""
    series, values = observations()
    quantiles = (0.0, 0.5, 0.9, 0.99, 1.0)
    counts = BucketCounts()
    counts.add(keys_of(series, values, np.full(COUNT, 7, np.int8)), np.ones(COUNT))
    known, found = quantiles_of(counts.entries(), 7, quantiles)
    assert known.tolist() == list(range(SERIES))
    for number in range(SERIES):
        mine = np.sort(values[series == number])
        exact = [mine[max(int(np.ceil(q * len(mine))) - 1, 0)] for q in quantiles]
        np.testing.assert_allclose(found[number], exact, rtol=0.0035, atol=2.0**-128)
