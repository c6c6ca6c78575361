"""Native histograms of folded series add up, as sums in PromQL do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tinyobs.builtin.limits.folds import GONE_MS
from tinyobs.model.batch import Batch, Refused
from tinyobs.model.histogram_checks import fault_of
from tinyobs.model.histograms import (
    CUSTOM_SCHEMA,
    Histogram,
    ResetHint,
    handles,
    histograms_of,
    is_handle,
    numbers_of,
    stale_histogram,
)
from tinyobs.model.labels import from_mapping
from tinyobs.model.staleness import STALE_NAN, is_stale_value

HOUR = 3_600_000
RULE = {"match": '{__name__=~".+"}', "labels": ["p"], "values_max": 1}


def exponential(*buckets, schema=0, zero=0, first=0, hint=ResetHint.UNKNOWN, total=None):
    """A histogram of integers with these counts from bucket `first` on."""
    count = zero + sum(buckets)
    spans = ((first, len(buckets)),) if buckets else ()
    value = float(count) if total is None else total
    return Histogram(schema, 0.001, zero, count, value, spans, buckets, reset_hint=hint, is_integer=True)


def custom(bounds, *buckets):
    """A histogram with these bounds."""
    return Histogram(
        CUSTOM_SCHEMA, 0.0, 0, sum(buckets), 1.0, ((0, len(buckets)),), buckets, (), (), tuple(bounds), is_integer=True
    )


def counts_of(h):
    """Return {index: count} of the positive buckets that are not empty."""
    out, index, at = {}, 0, 0
    for offset, length in h.positive_spans:
        index += offset
        for count in h.positive_buckets[at : at + length]:
            out[index] = count
            index += 1
        at += length
    return {i: c for i, c in out.items() if c}


class Folding:
    """A scene that keeps one value of `p`, and folds histograms of all others."""

    def __init__(self, scene, **limits):
        self.scene = scene(rules=[RULE], **limits)
        self.scene.process({"__name__": "h", "p": "kept"})

    def batch(self, samples, times=None, starts=None, **labels):
        """Return a batch of (member, histogram or float) pairs."""
        s = self.scene
        refs = s.registry.intern_many(from_mapping({"__name__": "h", "p": p, **labels}) for p, _ in samples)
        values = np.zeros(len(samples))
        found = []
        for i, (_, sample) in enumerate(samples):
            if isinstance(sample, Histogram):
                values[i] = handles(len(found), len(found) + 1)[0]
                found.append(sample)
            else:
                values[i] = sample
        at = s.now_ms + (np.zeros(len(samples), np.int64) if times is None else np.array(times))
        table = histograms_of(found) if found else None
        return Batch(refs, at, values, "test", histograms=table, starts_ms=starts)

    def send(self, *samples, after=1000, **more):
        """Process samples and return [(time, histogram or float)] of the sum; others must not come out."""
        self.scene.now_ms += after
        self.out = out = self.scene.limits.process(self.batch(samples, **more))
        names = {self.scene.registry.labels(r) for r in out.refs.tolist()}
        assert all(("p", "__other__") in labels for labels in names)
        told = []
        for t, v in zip(out.timestamps_ms.tolist(), out.values, strict=True):
            number = int(numbers_of(np.array([v]))[0])
            told.append((t - self.scene.now_ms, out.histograms.one(number) if number >= 0 else float(v)))
            if number >= 0:
                assert not fault_of(told[-1][1])
        return told

    def sum(self, *samples, **more):
        """Return the last value of the sum."""
        return self.send(*samples, **more)[-1][1]


@pytest.fixture
def folding(scene):
    return Folding(scene)


def test_counters_are_the_sum_of_increases(folding):
    """First samples say where members stand; one that begins anew counts from zero; markers change nothing."""
    f = folding
    h = f.sum(("a", exponential(5, 1, zero=2)), ("b", exponential(3)))
    assert (h.count, h.sum, h.schema, h.reset_hint) == (0, 0, 0, ResetHint.UNKNOWN)
    h = f.sum(("a", exponential(7, 1, zero=3)), ("b", exponential(4, 2)))
    assert (h.count, h.zero_count, counts_of(h)) == (6, 1, {0: 3, 1: 2})
    assert f.out.absorbed == 1
    h = f.sum(("a", exponential(1)))
    assert (h.count, counts_of(h)) == (7, {0: 4, 1: 2}), "began anew"
    assert f.send(("a", STALE_NAN)) == []
    h = f.sum(("b", exponential(4, 3)))
    assert counts_of(h) == {0: 4, 1: 3}
    h = f.sum(("a", exponential(2)))
    assert counts_of(h) == {0: 5, 1: 3}, "goes on where it stood"


def test_schemas_meet_in_the_coarser(folding):
    """As in PromQL: the finer one is merged, and zero buckets are widened."""
    f = folding
    f.send(("a", exponential(schema=1)), ("b", exponential(schema=0)))
    h = f.sum(("a", exponential(2, 3, 4, schema=1)), ("b", exponential(10, first=1)))
    assert h.schema == 0
    assert counts_of(h) == {0: 2, 1: 17}
    h = f.sum(("a", exponential(2, 3, 5, schema=1)))
    assert (h.schema, counts_of(h)) == (0, {0: 2, 1: 18})
    wide = Histogram(0, 1.0, 5, 5, 1.0, is_integer=True)
    f.send(("c", wide))
    h = f.sum(("c", Histogram(0, 1.0, 7, 7, 1.0, is_integer=True)))
    assert (h.zero_threshold, h.zero_count, counts_of(h)) == (1.0, 4, {1: 18})


def test_custom_bounds_that_all_have_stay(folding):
    """The sum has the bounds that all members have in common."""
    f = folding
    f.send(("a", custom([1, 2, 3], 0, 0, 0, 0)), ("b", custom([1, 3, 4], 0, 0, 0, 0)))
    h = f.sum(("a", custom([1, 2, 3], 1, 1, 1, 1)), ("b", custom([1, 3, 4], 2, 2, 2, 2)))
    assert h.custom_values == (1.0, 3.0)
    assert counts_of(h) == {0: 3, 1: 4, 2: 5}


def test_buckets_that_do_not_go_together_are_refused(folding):
    """The first histogram says of which kind they are; the others are counted, and nothing else is lost."""
    f = folding
    f.send(("a", exponential(1)))
    h = f.sum(("a", exponential(2)), ("b", custom([1], 1, 0)))
    assert counts_of(h) == {0: 1}
    assert f.out.refused == {Refused.LIMIT: 1}
    assert f.out.limits[0].text == "values_max 1 of metric h, whose custom and exponential buckets cannot be added up"
    assert f.out.absorbed == 0


def test_gauges_are_the_sum_of_the_latest(folding):
    """One that is stale, by either kind of marker, or silent for five minutes, leaves the sum."""
    f, gauge = folding, ResetHint.GAUGE
    h = f.sum(("a", exponential(1, hint=gauge)), ("b", exponential(2, hint=gauge)))
    assert (counts_of(h), h.reset_hint, f.out.starts_ms.tolist()) == ({0: 3}, gauge, [0])
    assert counts_of(f.sum(("c", exponential(10, hint=gauge)))) == {0: 13}
    assert counts_of(f.sum(("a", STALE_NAN))) == {0: 12}
    assert counts_of(f.sum(("b", stale_histogram()))) == {0: 10}
    assert counts_of(f.sum(("a", exponential(5, hint=gauge)), after=GONE_MS - 1000)) == {0: 5}
    assert is_stale_value(f.sum(("a", STALE_NAN))), "nobody is left"
    found = f.send(
        ("a", exponential(1, hint=gauge)),
        ("b", exponential(2, hint=gauge)),
        ("a", exponential(4, hint=gauge)),
        times=[0, 5, 5],
    )
    assert [(t, counts_of(h)) for t, h in found] == [(0, {0: 1}), (5, {0: 6})]


def test_a_counter_that_nobody_is_left_of_ends(folding):
    """The sum says that it is stale, and goes on with its total when a member is back."""
    f = folding
    f.send(("a", exponential(1)), ("b", exponential(1)))
    f.send(("a", exponential(3)))
    assert f.send(("a", STALE_NAN)) == []
    assert is_stale_value(f.sum(("b", STALE_NAN)))
    h = f.sum(("b", exponential(2)))
    assert counts_of(h) == {0: 3}
    assert f.out.starts_ms.tolist() == [f.scene.now_ms - 4000]


def test_one_that_is_known_to_have_begun_counts_from_zero(folding):
    """With a start time after that of the sum, the first sample is an increase."""
    f = folding
    f.send(("a", exponential(5)))
    starts = np.array([f.scene.now_ms + 500, 1])
    h = f.sum(("b", exponential(3)), ("c", exponential(100)), starts=starts)
    assert counts_of(h) == {0: 3}


def test_several_times_in_one_batch(folding):
    """The sum has a sample for each, in order, and never falls; late ones are in the next."""
    f = folding
    f.send(("a", exponential(0)), ("b", exponential(0, schema=1)))
    given = [("a", exponential(1)), ("a", exponential(3)), ("b", exponential(4, 4, schema=1)), ("a", exponential(2))]
    found = f.send(*given, times=[10, 20, 15, 30])
    assert [(t, counts_of(h)) for t, h in found] == [
        (10, {0: 1}),
        (15, {0: 5, 1: 4}),
        (20, {0: 7, 1: 4}),
        (30, {0: 9, 1: 4}),
    ]
    assert f.send(("b", exponential(5, 4, schema=1)), after=0, times=[25]) == []
    assert counts_of(f.sum(("a", exponential(2)), after=0, times=[40])) == {0: 10, 1: 4}


def test_a_hint_that_there_was_no_reset_is_not_believed(folding):
    """The sample that the sender means may have been lost; that there was one is."""
    f = folding
    f.send(("a", exponential(9)))
    h = f.sum(("a", exponential(4, hint=ResetHint.NO)))
    assert counts_of(h) == {0: 4}
    h = f.sum(("a", exponential(6, hint=ResetHint.YES)))
    assert counts_of(h) == {0: 10}


def test_sums_of_observations_that_are_no_numbers_do_not_stay(folding):
    """A member that observed NaN or infinity spoils one increase of its own, and no other."""
    f = folding
    f.send(("a", exponential(1)), ("b", exponential(1)))
    h = f.sum(("a", exponential(2, total=float("nan"))), ("b", exponential(2, total=5.0)))
    assert (h.sum, h.count) == (4.0, 2)
    h = f.sum(("a", exponential(3, total=7.0)), ("b", exponential(3, total=6.0)))
    assert (h.sum, h.count) == (5.0, 4)


def test_floats_and_histograms_of_one_name_are_apart(folding):
    """A member that changes from one to the other begins again; both have sums, at different times."""
    f, gauge = folding, ResetHint.GAUGE
    assert f.sum(("a", 5.0), ("b", 2.0)) == 7.0
    assert counts_of(f.sum(("a", exponential(3, hint=gauge)))) == {0: 3}
    assert f.sum(("b", 4.0)) == 4.0
    assert f.sum(("a", 1.0)) == 5.0
    assert counts_of(f.sum(("c", exponential(2, hint=gauge)))) == {0: 2}
    assert f.scene.limits.statistics().folded_histograms_bytes == 7 * 8


def test_memory_is_bounded(scene):
    """What there is no room for is refused; those that are remembered go on, and room that is free again is given away."""
    f = Folding(scene, folded_histograms_size_max="1KiB", forget_after="1h")
    many = [(str(i), exponential(1)) for i in range(40)]
    f.send(*many)
    refused = f.out.refused[Refused.LIMIT]
    assert 15 < refused < 35
    assert [h.text for h in f.out.limits] == ["folded_histograms_size_max 1024"]
    assert f.out.absorbed == 40 - refused - 1
    assert f.scene.limits.statistics().folded_histograms_bytes <= 1024 + 5 * 8, "the sum is made of what there is"
    h = f.sum(*[(p, exponential(2)) for p, _ in many])
    assert (f.out.refused[Refused.LIMIT], counts_of(h)) == (refused, {0: 40 - refused})
    f.scene.now_ms += 3 * HOUR
    f.scene.process({"__name__": "h", "p": "kept"})
    assert f.scene.limits.statistics().folded_histograms_bytes == 0
    f.send(("new", exponential(1)))
    assert not f.out.refused


def test_a_restart_and_a_change_of_rules_make_no_jump(folding):
    """The sum begins anew at nothing, with a start time; where the rule stays it goes on."""
    f = folding
    f.send(("a", exponential(1)))
    f.send(("a", exponential(9)))
    f.scene.configure(rules=[{"match": "z", "series_max": 1}, RULE])
    assert counts_of(f.sum(("a", exponential(12)))) == {0: 11}
    f.scene.configure(rules=[{**RULE, "values_max": 2}, RULE])
    f.scene.process()
    f.scene.process({"__name__": "h", "p": "second"})
    h = f.sum(("a", exponential(19)))
    assert (h.count, f.out.starts_ms.tolist()) == (0, [f.scene.now_ms])
    assert counts_of(f.sum(("a", exponential(20)))) == {0: 1}


@seed(11)
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.integers(0, 5),
                st.lists(st.integers(0, 4), min_size=2, max_size=4),
                st.integers(0, 1),
            ),
            max_size=8,
        ),
        max_size=5,
    ),
    st.booleans(),
)
def test_sums_are_those_of_a_plain_model(batches, counting):
    """Whatever comes in whatever order, the last sum of each batch is that of a model with dictionaries."""
    from limit_scenes import Scene

    f = Folding(Scene)
    hint = ResetHint.UNKNOWN if counting else ResetHint.GAUGE
    last, total, newest = {}, {}, -1
    for given_samples in batches:
        samples = []
        for member, at, buckets, schema in sorted(given_samples, key=lambda x: x[1]):
            h = exponential(*buckets, schema=schema, hint=hint)
            samples.append((str(member), at * 1000, h))
        if not samples:
            continue
        told = f.send(*[(m, h) for m, _, h in samples], times=[t for _, t, _ in samples], after=0)
        taken = []
        for member, at, h in samples:
            if at <= last.get(member, (-1, None))[0]:
                continue
            before = last.get(member, (0, None))[1]
            if before is not None:
                now_counts, then = coarse(h), coarse(before)
                fine_now, fine_then = counts_of(h), counts_of(before)
                if h.schema == before.schema:
                    fell = any(fine_now.get(i, 0) < c for i, c in fine_then.items())
                else:
                    fell = h.schema > before.schema or any(now_counts.get(i, 0) < c for i, c in then.items())
                for i in now_counts:
                    total[i] = total.get(i, 0) + now_counts[i] - (0 if fell else then.get(i, 0))
            last[member] = (at, h)
            taken.append(at)
        if not taken or max(taken) <= newest:
            assert told == []
            continue
        newest = max(taken)
        if not counting:
            total = {}
            for _, h in last.values():
                for i, c in coarse(h).items():
                    total[i] = total.get(i, 0) + c
        assert told[-1][0] == newest
        assert coarse(told[-1][1]) == {i: c for i, c in total.items() if c}


def coarse(h):
    """Return {index: count} of the positive buckets of schema 0."""
    out: dict[int, float] = {}
    for i, c in counts_of(h).items():
        to = -(-i // (1 << h.schema))
        out[to] = out.get(to, 0) + c
    return out


def test_sums_pass_by_handles(folding):
    """What is kept and what is summed up travel in one table."""
    f = folding
    out = f.scene.limits.process(
        f.batch([("kept", exponential(7)), ("a", exponential(8)), ("a", 1.0)], times=[0, 0, 5])
    )
    kept, other, _ = out.values
    assert is_handle(np.array([kept, other])).all()
    assert [out.histograms.one(int(numbers_of(np.array([v]))[0])).count for v in (kept, other)] == [7, 0]
