"""The output `histogram_bucket` counts all samples of a group in the buckets of the format that was asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from aggregation.test_aggregator import MINUTE, Feed, named, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.aggregation.bucket_outputs import SCHEMA, ZERO_THRESHOLD
from tinyobs.aggregation.output import Samples
from tinyobs.aggregation.rule import BucketFormat, phi_text, quantiles_of
from tinyobs.aggregation.sample_outputs import Quantiles, UniqueSamples

CPU = [12.5, 13.3, 13.0, 12.0, 14.0, 25.0]


def flushed(values, **more):
    """What comes of some samples of one series, and of one more of another."""
    feed = Feed(rule("histogram_bucket", **more))
    feed.push([(named(n="cpu", cpu="1"), i, v) for i, v in enumerate(values)], 1)
    feed.push([(named(n="cpu", cpu="2"), 1, 90.0)], 1)
    return feed.tick(MINUTE)


def test_ranges_are_those_of_victoriametrics():
    """The example of its own tests; zero and what is too small or large have ranges of their own, negative ones none."""
    values = [*CPU, -1.0, 0.0, 1e-12, 1e18, 1e30, 10.0, 100.0]
    name, counts = "cpu:1m_histogram_bucket", {}
    for labels, value in flushed(values, histogram=BucketFormat.VMRANGE).items():
        counts[dict(labels)["cpu"], dict(labels)["vmrange"]] = value
        assert dict(labels)["__name__"] == name
    assert counts == {
        ("1", "0...1.000e-09"): 2,
        ("1", "8.799e+00...1.000e+01"): 1,
        ("1", "1.136e+01...1.292e+01"): 2,
        ("1", "1.292e+01...1.468e+01"): 3,
        ("1", "2.448e+01...2.783e+01"): 1,
        ("1", "8.799e+01...1.000e+02"): 1,
        ("1", "1.000e+18...+Inf"): 2,
        ("2", "8.799e+01...1.000e+02"): 1,
    }


def test_classic_buckets_are_cumulative():
    """With the bounds that were given, a sum and a count."""
    found = flushed([*CPU, -1.0], histogram=BucketFormat.CLASSIC, buckets=(0.0, 12.5, 14.0))
    of_one = {labels: v for labels, v in found.items() if dict(labels)["cpu"] == "1"}
    assert of_one == {
        named(n="cpu:1m_histogram_bucket", cpu="1", le="0"): 1,
        named(n="cpu:1m_histogram_bucket", cpu="1", le="12.5"): 3,
        named(n="cpu:1m_histogram_bucket", cpu="1", le="14"): 6,
        named(n="cpu:1m_histogram_bucket", cpu="1", le="+Inf"): 7,
        named(n="cpu:1m_histogram_sum", cpu="1"): pytest.approx(88.8),
        named(n="cpu:1m_histogram_count", cpu="1"): 7,
    }


def loop_buckets(spans, buckets):
    """Return index -> count of spans and buckets."""
    out, at, left = {}, 0, list(buckets)
    for gap, length in spans:
        at += gap
        for _ in range(length):
            out[at] = left.pop(0)
            at += 1
    return out


def index_of(size):
    """The bucket of a size, by the definition: it ends at 2^(index / 2^schema)."""
    index = math.ceil(math.log2(size) * 2**SCHEMA)
    return index + (2.0 ** (index / 2**SCHEMA) < size) - (2.0 ** ((index - 1) / 2**SCHEMA) >= size)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.lists(st.floats(-1e9, 1e9) | st.integers(-64, 64).map(float), max_size=20), min_size=1, max_size=4))
def test_native_histograms_hold_every_sample_in_its_bucket(intervals):
    """Counts go on over intervals; zero, negative values and powers of two included."""
    feed, x = Feed(rule("histogram_bucket")), named(n="x")
    positive, negative, zero, values = {}, {}, 0, []
    for i, samples in enumerate(intervals):
        feed.push([(x, i * MINUTE, v) for v in samples], i * MINUTE)
        for v in samples:
            values.append(v)
            if abs(v) <= ZERO_THRESHOLD:
                zero += 1
            else:
                side = positive if v > 0 else negative
                side[index_of(abs(v))] = side.get(index_of(abs(v)), 0) + 1
        found = feed.tick((i + 1) * MINUTE)
        if not samples:
            if values:
                continue
            assert found == {}
            continue
        h = found[named(n="x:1m_histogram_bucket")]
        assert (h.schema, h.zero_count, h.count, h.is_integer) == (SCHEMA, zero, len(values), True)
        assert h.sum == pytest.approx(sum(values), rel=1e-9, abs=1e-6)
        assert loop_buckets(h.positive_spans, h.positive_buckets) == positive
        assert loop_buckets(h.negative_spans, h.negative_buckets) == negative


def test_quantiles_of_many_samples_are_of_a_fair_choice():
    """So many are kept of each group; the extremes are those of all, and the others are close."""
    output = Quantiles((0.0, 0.5, 1.0), samples_max=1000, thin_out_min=4000)
    output.grow(2, 2)
    values = np.random.default_rng(1).permutation(100_000).astype(float)
    for part in np.array_split(values, 50):
        groups = (part < 100).astype(np.int64)
        output.add(Samples(groups, groups, np.zeros(len(part), np.int64), part))
    found = {c.label[1]: c.values.tolist() for c in output.columns(np.arange(2), np.arange(2))}
    assert found["0"] == [100.0, 0.0]
    assert found["1"] == [99_999.0, 99.0]
    assert found["0.5"][0] == pytest.approx(50_000, rel=0.1)
    assert found["0.5"][1] == 50.0


def test_different_values_are_counted_though_many_come():
    """Repeated ones are thrown away on the way; 0 and -0 are one value."""
    output = UniqueSamples(thin_out_min=100)
    for i in range(20):
        values = np.array([0.0, -0.0, *np.arange(1.0, 50.0), float(i)])
        groups = np.zeros(len(values), np.int64)
        output.add(Samples(groups, groups, groups, values))
    (column,) = output.columns(np.arange(1), np.arange(1))
    assert column.values.tolist() == [50.0]


def test_phis_are_read_and_written():
    """As VictoriaMetrics reads them; what is none is named."""
    assert quantiles_of("quantiles(0, 0.50,0.99, 1)") == (0.0, 0.5, 0.99, 1.0)
    assert [phi_text(p) for p in (0.0, 0.5, 1.0, 0.999)] == ["0", "0.5", "1", "0.999"]
    assert quantiles_of("avg") is None
    for bad in ("quantiles(", "quantiles()", "quantiles(a)", "quantiles(1.5)"):
        with pytest.raises(ValueError, match="quantiles"):
            quantiles_of(bad)
