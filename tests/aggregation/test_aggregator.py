"""A rule gives what a loop over its samples would give, whatever comes in which batches."""

from __future__ import annotations

import numpy as np
import pytest
from aggregation.naive import NaiveRule
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.aggregation.aggregator import Aggregator
from tinyobs.aggregation.rule import PLAIN_OUTPUTS, AggregationRule, suffix_of
from tinyobs.model.histograms import NO_HISTOGRAMS, numbers_of
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN
from tinyobs.relabel import Rule

MINUTE = 60_000
OUTPUTS = (*(o for o in PLAIN_OUTPUTS if o != "histogram_bucket"), "quantiles(0, 0.5, 0.9, 1)")
SERIES = [from_mapping({"__name__": n, "pod": p, "job": j}) for n in ("a", "b") for p in "xyz" for j in ("", "j")]


def rule(*outputs, by=(), without=(), **more):
    """A rule of a minute."""
    values = {"staleness_interval_ms": 2 * MINUTE, "ignore_first_sample_interval_ms": 2 * MINUTE, "interval_ms": MINUTE}
    return AggregationRule(
        "r", suffix=suffix_of("1m", by, without), outputs=outputs, by=by, without=without, **{**values, **more}
    )


class Feed:
    """A rule that is fed with label sets."""

    def __init__(self, made, start_ms=0):
        self.registry = SeriesRegistry()
        self.rule = Aggregator(made, self.registry, start_ms)

    def push(self, samples, now_ms):
        """Give one batch of (labels, time, value)."""
        refs = self.registry.intern_many([labels for labels, _, _ in samples]).astype(np.uint32)
        times = np.array([t for _, t, _ in samples], np.int64)
        self.rule.take(refs, times, np.array([v for _, _, v in samples], np.float64), now_ms)

    def tick(self, now_ms):
        """Return labels -> value of a flush."""
        return self.told(self.rule.tick(now_ms))

    def told(self, batch):
        """Return a batch as labels -> value, histograms as such."""
        if batch is None:
            return {}
        numbers = numbers_of(batch.values)
        table = batch.histograms or NO_HISTOGRAMS
        return {
            self.registry.labels(ref): float(value) if number < 0 else table.one(number)
            for ref, value, number in zip(batch.refs.tolist(), batch.values, numbers.tolist(), strict=True)
        }


def named(**labels):
    """Labels with a name."""
    return from_mapping({"__name__": labels.pop("n"), **labels})


VALUES = st.one_of(st.integers(-3, 20).map(float), st.floats(0, 1e6, allow_nan=False, width=32), st.just(float("nan")))
SAMPLE = st.tuples(st.integers(0, len(SERIES) - 1), st.integers(-70, 59), VALUES)
INTERVALS = st.lists(st.lists(st.lists(SAMPLE, max_size=12), max_size=3), min_size=1, max_size=7)
GROUPING = st.sampled_from([((), ()), (("job",), ()), (("__name__",), ()), ((), ("pod",)), ((), ("__name__", "job"))])


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    INTERVALS,
    GROUPING,
    st.sampled_from([MINUTE, 2 * MINUTE, 5 * MINUTE]),
    st.sampled_from([0, 2 * MINUTE]),
    st.sampled_from([(), ("pod",)]),
)
def test_all_outputs_are_those_of_a_loop(intervals, grouping, staleness, first, dropped):
    """Resets, gaps, samples out of order and several of a series in a batch included."""
    made = rule(
        *OUTPUTS,
        by=grouping[0],
        without=grouping[1],
        staleness_interval_ms=staleness,
        ignore_first_sample_interval_ms=first,
        drop_input_labels=dropped,
        input_relabel_configs=(Rule(source_labels=("job",), target_label="job", regex="j", replacement="k"),),
    )
    feed, naive = Feed(made), NaiveRule(made, 0)
    for i, batches in enumerate(intervals):
        for k, samples in enumerate(batches):
            now = i * MINUTE + k * 1000
            given = [(SERIES[s], i * MINUTE + t * 1000, v) for s, t, v in samples]
            feed.push(given, now)
            for sample in given:
                naive.push(*sample, now)
        found, wanted = feed.tick((i + 1) * MINUTE), naive.flush((i + 1) * MINUTE)
        assert set(found) == set(wanted)
        for labels, value in wanted.items():
            assert found[labels] == pytest.approx(value, rel=1e-9, abs=1e-6), labels


def test_names_and_labels_of_outputs():
    """The name has interval, grouping and output; what is grouped away is gone."""
    feed = Feed(rule("sum_samples", by=("job",)))
    feed.push([(named(n="x", job="a", pod="1"), 1, 2.0), (named(n="x", job="a", pod="2"), 1, 3.0)], 1)
    assert feed.tick(MINUTE) == {named(n="x:1m_by_job_sum_samples", job="a"): 5.0}
    feed = Feed(rule("count_series", without=("__name__",)))
    feed.push([(named(n="x"), 1, 2.0), (named(n="y"), 1, 3.0)], 1)
    assert feed.tick(MINUTE) == {named(n=":1m_count_series"): 2.0}
    feed = Feed(rule("max", keep_metric_names=True))
    feed.push([(named(n="x", a="b"), 1, 2.0)], 1)
    assert feed.tick(MINUTE) == {named(n="x", a="b"): 2.0}


def test_output_relabelling_drops_and_renames():
    """Rules see the finished labels; a dropped series is not put out again."""
    drop = Rule(source_labels=("__name__",), regex=".*_min", action="drop")
    rename = Rule(target_label="by", replacement="us")
    feed = Feed(rule("min", "max", output_relabel_configs=(drop, rename)))
    for i in range(2):
        feed.push([(named(n="x"), 1, 2.0)], i * MINUTE)
        assert feed.tick((i + 1) * MINUTE) == {named(n="x:1m_max", by="us"): 2.0}


def test_a_marker_ends_a_series_and_its_group_when_all_have_ended():
    """What continues otherwise without samples pauses, and goes on where it was when the series is back."""
    feed = Feed(rule("total", without=("pod",), staleness_interval_ms=10 * MINUTE))
    one, two, total = named(n="x", pod="1"), named(n="x", pod="2"), named(n="x:1m_without_pod_total")
    feed.push([(one, 0, 5.0), (two, 0, 5.0), (one, 1000, 7.0)], 0)
    assert feed.tick(MINUTE) == {total: 2.0}
    feed.push([(one, MINUTE, STALE_NAN)], MINUTE)
    assert feed.tick(2 * MINUTE) == {total: 2.0}
    feed.push([(two, 2 * MINUTE, STALE_NAN)], 2 * MINUTE)
    assert feed.tick(3 * MINUTE) == {}
    feed.push([(two, 3 * MINUTE, 9.0)], 3 * MINUTE)
    assert feed.tick(4 * MINUTE) == {total: 6.0}
    assert feed.rule.counts.ignored == {"nan": 2}


def test_infinite_values_of_one_series_leave_sums_that_go_on():
    """Counters pass them over; a running sum that they spoiled begins anew with the next interval."""
    feed = Feed(rule("total", "rate_sum", "sum_samples_total", without=("pod",)))
    good, odd = named(n="x", pod="1"), named(n="x", pod="2")
    feed.push([(good, 0, 5.0), (odd, 0, 1.0)], 0)
    assert feed.tick(MINUTE)[named(n="x:1m_without_pod_total")] == 0.0
    for i, value in enumerate((np.inf, -np.inf, np.inf), 1):
        feed.push(
            [(good, i * MINUTE, 5.0 + 6 * i), (odd, i * MINUTE, value), (odd, i * MINUTE + 1, np.inf)], i * MINUTE
        )
        found = feed.tick((i + 1) * MINUTE)
        assert found[named(n="x:1m_without_pod_total")] == 6.0 * i
        assert found[named(n="x:1m_without_pod_rate_sum")] == 0.1
    feed.push([(good, 4 * MINUTE, 29.0), (odd, 4 * MINUTE, 4.0)], 4 * MINUTE)
    found = feed.tick(5 * MINUTE)
    assert found[named(n="x:1m_without_pod_total")] == 24.0 + 4.0, "the counter that had no number for so long is new"
    assert found[named(n="x:1m_without_pod_sum_samples_total")] == 33.0


def test_old_samples_are_ignored_and_counted_where_asked():
    """Those before the window under way; by default they count."""
    for ignores, wanted in ((True, 1.0), (False, 3.0)):
        feed = Feed(rule("sum_samples", ignore_old_samples=ignores))
        feed.tick(MINUTE)
        feed.push([(named(n="x"), MINUTE - 1, 2.0), (named(n="x"), MINUTE, 1.0)], MINUTE)
        assert feed.tick(2 * MINUTE) == {named(n="x:1m_sum_samples"): wanted}
        assert feed.rule.counts.ignored == ({"too_old": 1} if ignores else {})


def test_windows_hold_newer_samples_back():
    """A flush is late by the usual lag, and what belongs to the next window waits for it."""
    feed = Feed(rule("sum_samples", enable_windows=True))
    feed.push([(named(n="x"), MINUTE - 5000, 1.0), (named(n="x"), MINUTE + 1, 10.0)], MINUTE)
    assert feed.rule.due_ms == MINUTE + 5000
    assert feed.tick(MINUTE + 5000) == {named(n="x:1m_sum_samples"): 1.0}
    feed.push([(named(n="x"), MINUTE - 1, 100.0)], MINUTE + 5000)
    assert feed.tick(2 * MINUTE + 5000) == {named(n="x:1m_sum_samples"): 10.0}
    assert feed.rule.counts.ignored == {"too_old": 1}


def test_deduplication_takes_the_newest_and_of_equal_times_the_largest():
    """Once for each interval of deduplication; the flush comes when the whole interval is over."""
    feed = Feed(rule("sum_samples", "count_samples", dedup_interval_ms=30_000))
    x = named(n="x")
    feed.push([(x, 10, 7.0), (x, 20, 1.0), (x, 20, 3.0), (x, 20, 2.0)], 100)
    feed.push([(x, 15, 50.0), (x, 20, 2.5)], 200)
    assert feed.tick(30_000) == {}
    feed.push([(x, 40_000, 4.0)], 40_000)
    assert feed.tick(MINUTE) == {named(n="x:1m_sum_samples"): 7.0, named(n="x:1m_count_samples"): 2.0}
    assert feed.rule.counts.ignored == {"duplicate": 5}


def test_first_intervals_and_the_end():
    """Ignored intervals are not put out; the last one only where asked, at the end of its interval."""
    feed = Feed(rule("last", ignore_first_intervals=1, flush_on_shutdown=True))
    feed.push([(named(n="x"), 1, 1.0)], 1)
    assert feed.tick(MINUTE) == {}
    feed.push([(named(n="x"), MINUTE, 2.0)], MINUTE)
    last = feed.rule.finish(MINUTE + 10)
    assert feed.told(last) == {named(n="x:1m_last"): 2.0}
    assert last.timestamps_ms.tolist() == [2 * MINUTE]
    assert Feed(rule("last")).rule.finish(5) is None


@pytest.mark.parametrize(("aligned", "first"), [(True, 120_000), (False, 90_000)])
def test_windows_follow_the_clock_or_the_start(aligned, first):
    """With alignment the first window ends at the second multiple of the interval; missed ticks are not made up for."""
    times = Feed(rule("last", no_align_flush_to_interval=not aligned), 30_000).rule.times
    assert times.tick_ms == first
    assert times.tick(first + 200_000).flush_ms == first
    assert times.tick_ms == first + 240_000


def test_series_beyond_the_limit_are_not_taken_until_others_are_gone():
    """They are counted, and told apart from series that the rule does not want."""
    feed = Feed(rule("sum_samples", series_max=1, match=("x",)))
    feed.push([(named(n="x", i="1"), 1, 1.0), (named(n="x", i="2"), 1, 1.0), (named(n="y"), 1, 1.0)], 1)
    assert feed.tick(MINUTE) == {named(n="x:1m_sum_samples", i="1"): 1.0}
    assert feed.rule.counts.ignored == {"no_room": 1}


def test_numbers_of_series_that_are_gone_are_used_again():
    """The tables shrink; totals of what lives on stay, and series that come back are new."""
    feed = Feed(rule("total", "count_series", "last", "quantiles(0.5)", "histogram_bucket", "rate_sum", "stddev"))
    here = named(n="here")
    for i in range(4):
        now = i * MINUTE
        many = [(named(n="x", i=str(k), round=str(i)), now, 1.0) for k in range(2000)]
        feed.push([*many, (here, now, 10.0 + i)], now)
        found = feed.tick(now + MINUTE)
        assert found[named(n="here:1m_total")] == float(i)
        assert found[named(n="here:1m_last")] == 10.0 + i
        assert found[named(n="here:1m_histogram_bucket")].count == i + 1
    for i in range(4, 9):
        feed.push([(here, i * MINUTE, 10.0 + i)], i * MINUTE)
        found = feed.tick((i + 1) * MINUTE)
    assert feed.rule.table.inputs == feed.rule.table.groups == 1
    assert found[named(n="here:1m_total")] == 8.0
    feed.push([(named(n="x", i="1", round="1"), 9 * MINUTE, 4.0)], 9 * MINUTE)
    assert feed.tick(10 * MINUTE)[named(n="x:1m_last", i="1", round="1")] == 4.0


def test_rules_are_values():
    """A rule that is equal keeps its state at a reload."""
    assert rule("last") == evolve(rule("last"), name="other") != rule("max")
