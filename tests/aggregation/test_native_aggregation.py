"""Native histograms are aggregated as floats are: each count of a bucket is what a counter would be."""

from __future__ import annotations

import numpy as np
import pytest
from aggregation.test_aggregator import MINUTE, SERIES, Feed, named, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.histogram_checks import fault_of
from tinyobs.model.histograms import (
    CUSTOM_SCHEMA,
    Histogram,
    ResetHint,
    handles,
    histograms_of,
    stale_histogram,
)
from tinyobs.model.staleness import STALE_NAN

OUTPUTS = (
    "avg",
    "count_samples",
    "count_series",
    "increase",
    "increase_prometheus",
    "last",
    "rate_avg",
    "rate_sum",
    "sum_samples",
    "sum_samples_total",
    "total",
    "total_prometheus",
)
X = named(n="x")


class NativeFeed(Feed):
    """A rule that is fed with label sets and histograms, or floats."""

    def push(self, samples, now_ms):
        """Give one batch of (labels, time, histogram or float)."""
        refs = self.registry.intern_many([labels for labels, _, _ in samples]).astype(np.uint32)
        found = [v for _, _, v in samples if isinstance(v, Histogram)]
        values = np.array([np.nan if isinstance(v, Histogram) else v for _, _, v in samples])
        values[[isinstance(v, Histogram) for _, _, v in samples]] = handles(0, len(found))
        times = np.array([t for _, t, _ in samples], np.int64)
        self.rule.take(refs, times, values, now_ms, histograms_of(found) if found else None)


def observed(count, *, bucket=0, schema=0, hint=ResetHint.UNKNOWN):
    """A histogram with so many observations, all in one bucket."""
    spans, buckets = (((bucket, 1),), (count,)) if count else ((), ())
    return Histogram(schema, 0.001, 0, count, 2.0 * count, spans, buckets, reset_hint=hint, is_integer=True)


def custom(*buckets):
    return Histogram(
        CUSTOM_SCHEMA, 0.0, 0, sum(buckets), 1.0, ((0, len(buckets)),), buckets, custom_values=(1.0,), is_integer=True
    )


SAMPLE = st.tuples(st.integers(0, len(SERIES) - 1), st.integers(-70, 59), st.integers(0, 20))
INTERVALS = st.lists(st.lists(st.lists(SAMPLE, max_size=10), max_size=3), min_size=1, max_size=6)
GROUPING = st.sampled_from([((), ()), (("job",), ()), ((), ("pod",)), ((), ("__name__", "job"))])


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    INTERVALS,
    GROUPING,
    st.sampled_from([MINUTE, 2 * MINUTE]),
    st.sampled_from([0, 2 * MINUTE]),
    st.booleans(),
    st.sampled_from([0, MINUTE]),
)
def test_counts_are_those_that_floats_would_have(intervals, grouping, staleness, first, windows, dedup):
    """Resets, gaps, samples out of order, windows and deduplication included; a histogram has the count of the float."""
    made = rule(
        *OUTPUTS,
        by=grouping[0],
        without=grouping[1],
        staleness_interval_ms=staleness,
        ignore_first_sample_interval_ms=first,
        enable_windows=windows,
        dedup_interval_ms=dedup,
    )
    floats, natives = Feed(made), NativeFeed(made)
    for i, batches in enumerate(intervals):
        for k, samples in enumerate(batches):
            now = i * MINUTE + k * 1000
            given_samples = [(SERIES[s], i * MINUTE + t * 1000, v) for s, t, v in samples]
            floats.push(given_samples, now)
            natives.push([(labels, t, observed(v)) for labels, t, v in given_samples], now)
        wanted, found = floats.tick((i + 1) * MINUTE), natives.tick((i + 1) * MINUTE)
        assert not set(found) - set(wanted)
        for labels, value in wanted.items():
            if labels not in found:
                assert value == 0, "what does not move is not put out where there is no histogram to say it with"
                continue
            one = found[labels]
            if isinstance(one, Histogram):
                assert not fault_of(one)
                assert one.sum == pytest.approx(2 * value, rel=1e-9, abs=1e-6)
                one = one.count
            assert one == pytest.approx(value, rel=1e-9, abs=1e-6), labels
    assert natives.rule.counts.ignored == floats.rule.counts.ignored


def test_what_is_put_out_says_whether_it_counts():
    """Totals are counters, sums of an interval gauges, and the last one is what it was."""
    feed = NativeFeed(rule(*OUTPUTS))
    for i in range(2):
        feed.push([(X, i * MINUTE, observed(3 + i))], i * MINUTE)
        found = {labels[0][1].rpartition("1m_")[2]: h for labels, h in feed.tick((i + 1) * MINUTE).items()}
    hints = {name: h.reset_hint for name, h in found.items() if isinstance(h, Histogram)}
    counters = {"total", "total_prometheus", "sum_samples_total", "last"}
    assert {name for name, hint in hints.items() if hint is ResetHint.UNKNOWN} == counters
    assert {hints[n] for n in ("avg", "increase", "rate_sum", "sum_samples")} == {ResetHint.GAUGE}
    assert not found["total"].is_integer


def test_resolutions_meet_in_the_coarser():
    """Of members of one group, and of one series over time."""
    feed = NativeFeed(rule("total", "sum_samples", without=("pod",)))
    one, two = named(n="x", pod="1"), named(n="x", pod="2")
    feed.push([(one, 0, observed(0, schema=2)), (two, 0, observed(0))], 0)
    feed.push([(one, 1, observed(4, bucket=4, schema=2)), (two, 1, observed(2, bucket=1))], 1)
    found = feed.tick(MINUTE)
    total = found[named(n="x:1m_without_pod_total")]
    assert (total.schema, total.positive_spans, total.positive_buckets) == (0, ((1, 1),), (6.0,))


def test_quantiles_are_of_the_observations_of_the_interval():
    """Of counters what they grew by; of gauges what came; an interval without observations has none."""
    feed = NativeFeed(rule("quantiles(0.5, 1)", without=("pod",)))
    one, two = named(n="x", pod="1"), named(n="x", pod="2")
    half, most = (named(n="x:1m_without_pod_quantiles", quantile=q) for q in ("0.5", "1"))
    feed.push([(one, 0, observed(100, bucket=9)), (two, 0, observed(0))], 0)
    assert feed.tick(MINUTE) == {}
    feed.push([(one, MINUTE, observed(100, bucket=9)), (two, MINUTE, observed(10, bucket=1))], MINUTE)
    found = feed.tick(2 * MINUTE)
    assert 1 < found[half] < 2
    assert found[most] == 2.0
    assert feed.tick(3 * MINUTE) == {}
    gauge = named(n="g")
    feed.push([(gauge, 3 * MINUTE, observed(5, bucket=3, hint=ResetHint.GAUGE))], 3 * MINUTE)
    assert feed.tick(4 * MINUTE)[named(n="g:1m_without_pod_quantiles", quantile="1")] == 8.0


def test_markers_end_series_of_histograms():
    """Both kinds of markers; what is under way goes on when a series is back."""
    feed = NativeFeed(rule("total", without=("pod",), staleness_interval_ms=10 * MINUTE))
    one, two, total = named(n="x", pod="1"), named(n="x", pod="2"), named(n="x:1m_without_pod_total")
    feed.push([(one, 0, observed(5)), (two, 0, observed(5)), (one, 1000, observed(7))], 0)
    assert feed.tick(MINUTE)[total].count == 2
    feed.push([(one, MINUTE, STALE_NAN)], MINUTE)
    assert feed.tick(2 * MINUTE)[total].count == 2
    feed.push([(two, 2 * MINUTE, stale_histogram())], 2 * MINUTE)
    assert feed.tick(3 * MINUTE) == {}
    feed.push([(two, 3 * MINUTE, observed(9))], 3 * MINUTE)
    assert feed.tick(4 * MINUTE)[total].count == 6
    assert feed.rule.counts.ignored == {"nan": 2}


def test_a_group_is_of_one_kind():
    """The first sample says which; others are counted, until the group is forgotten."""
    feed = NativeFeed(rule("sum_samples", without=("i",)))
    a, b, c, out = named(n="x", i="a"), named(n="x", i="b"), named(n="x", i="c"), named(n="x:1m_without_i_sum_samples")
    feed.push([(a, 0, 2.0), (b, 0, observed(3))], 0)
    assert feed.tick(MINUTE)[out].count == 3, "histograms of a batch come first"
    feed.push([(c, MINUTE, custom(1, 1)), (a, MINUTE, 1.0), (b, MINUTE, observed(4))], MINUTE)
    assert feed.tick(2 * MINUTE)[out].count == 4
    assert feed.rule.counts.ignored == {"mixed": 3}
    for i in range(2, 6):
        feed.tick(i * MINUTE + MINUTE)
    feed.push([(a, 6 * MINUTE, 2.0)], 6 * MINUTE)
    feed.push([(b, 6 * MINUTE, observed(3))], 6 * MINUTE)
    assert feed.tick(7 * MINUTE) == {out: 2.0}
    assert feed.rule.counts.ignored == {"mixed": 4}


def test_outputs_that_cannot_be_made_of_histograms_are_counted():
    """The others of the rule are put out."""
    feed = NativeFeed(rule("max", "count_samples", "unique_samples"))
    feed.push([(X, 0, observed(3)), (X, 1, observed(4)), (named(n="y"), 1, 5.0)], 0)
    assert feed.tick(MINUTE) == {
        named(n="x:1m_count_samples"): 2.0,
        **{named(n=f"y:1m_{o}"): v for o, v in (("max", 5.0), ("count_samples", 1.0), ("unique_samples", 1.0))},
    }
    assert feed.rule.counts.ignored == {"histogram": 2}


def test_numbers_of_series_that_are_gone_are_used_again():
    """Tables shrink, what lives on stays."""
    feed = NativeFeed(rule("total", "rate_sum", "last", "sum_samples_total", "quantiles(0.5)", "avg"))
    here = named(n="here")
    for i in range(4):
        now = i * MINUTE
        many = [(named(n="x", i=str(k), round=str(i)), now, observed(1)) for k in range(1100)]
        feed.push([*many, (here, now, observed(10 + i))], now)
        found = feed.tick(now + MINUTE)
        assert found[named(n="here:1m_total")].count == i
        assert found[named(n="here:1m_last")].count == 10 + i
        assert found[named(n="here:1m_sum_samples_total")].count == sum(range(10, 11 + i))
    for i in range(4, 9):
        feed.push([(here, i * MINUTE, observed(10 + i))], i * MINUTE)
        found = feed.tick((i + 1) * MINUTE)
    assert feed.rule.table.inputs == feed.rule.table.groups == 1
    assert found[named(n="here:1m_total")].count == 8
    assert found[named(n="here:1m_rate_sum")].count == pytest.approx(1 / 60)


def test_memory_is_bounded():
    """Series whose histograms do not fit are left out and counted; those that are known go on."""
    feed = NativeFeed(rule("sum_samples", without=("i",), histograms_bytes_max=20 * 8 * 7))
    feed.push([(named(n="x", i=str(i)), 0, observed(1)) for i in range(100)], 0)
    assert feed.tick(MINUTE)[named(n="x:1m_without_i_sum_samples")].count == 20
    assert feed.rule.counts.ignored == {"no_room": 80}
    feed.push([(named(n="x", i="3"), MINUTE, observed(7))], MINUTE)
    assert feed.tick(2 * MINUTE)[named(n="x:1m_without_i_sum_samples")].count == 7
