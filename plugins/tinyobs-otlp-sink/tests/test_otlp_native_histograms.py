"""Native histograms as points of OTLP: exponential, coarser, with bounds, or refused."""

from __future__ import annotations

import attrs
import pytest
from tinyobs.model.histograms import Histogram, ResetHint
from tinyobs.model.metadata import MetricType
from translation_scene import CUMULATIVE, NATIVE, Scene, texts

from tinyobs_otlp_sink.points import BUCKETS_MAX


def test_a_native_histogram_becomes_exponential():
    """The scale is its schema; a bucket with upper bound base^i is number i-1; empty ones between are written."""
    s = Scene()
    s.add([({"__name__": "x", "a": "b"}, NATIVE)], metadata={"x": MetricType.HISTOGRAM})
    metric = s.metrics()["x"]
    assert metric.exponential_histogram.aggregation_temporality == CUMULATIVE
    (point,) = metric.exponential_histogram.data_points
    assert (point.scale, point.count, point.sum, point.zero_count, point.zero_threshold) == (3, 9, 12.5, 2, 0.001)
    assert (point.positive.offset, list(point.positive.bucket_counts)) == (-3, [1, 2, 0, 0, 0, 3])
    assert (point.negative.offset, list(point.negative.bucket_counts)) == (3, [1])
    assert texts(point.attributes) == {"a": "b"}


def test_a_wide_native_histogram_gets_a_coarser_scale():
    """Every observation stays, in a bucket that holds the one it was in."""
    wide = Histogram(
        schema=8,
        zero_threshold=0.0,
        zero_count=0,
        count=3,
        sum=1.0,
        positive_spans=((-5000, 1), (4999, 1), (99, 1)),
        positive_buckets=(1, 1, 1),
        is_integer=True,
    )
    s = Scene()
    s.add([({"__name__": "x"}, wide)])
    (point,) = s.metrics()["x"].exponential_histogram.data_points
    counts = list(point.positive.bucket_counts)
    assert len(counts) <= BUCKETS_MAX
    assert sum(counts) == 3
    base = 2 ** (2.0**-point.scale)
    for i, bucket in enumerate(counts):
        for upper in (-5000, 0, 100) if bucket else ():
            middle = 2 ** ((upper - 0.5) * 2.0**-8)
            low, high = base ** (point.positive.offset + i), base ** (point.positive.offset + i + 1)
            if low < middle <= high:
                break
        else:
            assert not bucket


def test_custom_bounds_are_a_histogram_with_bounds():
    """They need no exponent."""
    custom = Histogram(
        schema=-53,
        zero_threshold=0.0,
        zero_count=0,
        count=6,
        sum=7.0,
        positive_spans=((0, 1), (1, 1)),
        positive_buckets=(2, 4),
        custom_values=(1.0, 5.0),
        is_integer=True,
    )
    s = Scene()
    s.add([({"__name__": "x"}, custom)])
    (point,) = s.metrics()["x"].histogram.data_points
    assert (list(point.explicit_bounds), list(point.bucket_counts), point.count) == ([1, 5], [2, 0, 4], 6)


@pytest.mark.parametrize("change", [{"is_integer": False, "count": 9.5}, {"reset_hint": ResetHint.GAUGE}])
def test_histograms_without_a_form_are_refused(change):
    """Those of floats, and those that are gauges."""
    s = Scene()
    s.add([({"__name__": "x"}, attrs.evolve(NATIVE, **change))])
    assert s.requests() == []
    assert s.translation.refused == 1
