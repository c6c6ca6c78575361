"""Series with values beyond those kept are folded into one, whose value is right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tinyobs.builtin.limits.folds import GONE_MS
from tinyobs.model.batch import Batch, Refused
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.staleness import STALE_NAN, is_stale_value

HOUR = 3_600_000
RULE = {"match": '{__name__=~".+"}', "labels": ["p"], "values_max": 1}
COUNTER, GAUGE = "x_total", "x"


def paths(name, *values, **labels):
    """Label sets with these values of the bounded label."""
    return [{"__name__": name, "p": v, **labels} for v in values]


@pytest.fixture
def folding(scene):
    """A scene that keeps one value of `p`, which is `kept`."""
    s = scene(rules=[RULE])
    for name in (COUNTER, GAUGE, "h_bucket", "h_sum"):
        s.process(*paths(name, "kept", le="+Inf") if name == "h_bucket" else paths(name, "kept"))
    return s


def other(name, **labels):
    """The folded series as text."""
    from tinyobs.model.labels import to_text

    return to_text(from_mapping({"__name__": name, "p": "__other__", **labels}))


def test_a_counter_is_the_sum_of_increases(folding):
    """First samples only say where members stand; resets and members that are gone do not decrease it."""
    s = folding
    steps = [((100, 7), 0), ((105, 9), 7), ((2, 10), 10), ((2, STALE_NAN), 10), ((4, 1), 13), ((None, 2), 14)]
    for values, total in steps:
        s.now_ms += 1000
        given = {p: v for p, v in zip("ab", values, strict=True) if v is not None}
        out = s.process(*paths(COUNTER, *given), value=list(given.values()))
        assert s.stored(out) == {other(COUNTER): total}
        assert out.absorbed == len(given) - 1
        assert out.refused == {}


def test_a_counter_that_is_known_to_have_begun_counts_from_zero(folding):
    """With a start time after that of the sum, the first sample is an increase."""
    s = folding
    s.process(*paths(COUNTER, "a"), value=5)
    s.now_ms += 1000
    late, early = s.now_ms - 10, s.now_ms - HOUR
    out = s.process(*paths(COUNTER, "b", "c"), value=[3, 100], starts_ms=np.array([late, early]))
    assert s.stored(out) == {other(COUNTER): 3}
    assert out.starts_ms.tolist() == [s.now_ms - 1000]


def test_a_gauge_is_the_sum_of_the_latest_values(folding):
    """Batches of different members add up; a member that is stale, or silent for five minutes, leaves the sum."""
    s = folding
    assert s.stored(s.process(*paths(GAUGE, "a", "b"), value=[1, 2])) == {other(GAUGE): 3}
    s.now_ms += 1000
    assert s.stored(s.process(*paths(GAUGE, "c"), value=10)) == {other(GAUGE): 13}
    s.now_ms += 1000
    assert s.stored(s.process(*paths(GAUGE, "a"), value=STALE_NAN)) == {other(GAUGE): 12}
    s.now_ms += GONE_MS - 1000
    assert s.stored(s.process(*paths(GAUGE, "a"), value=1)) == {other(GAUGE): 1}
    s.now_ms += 1000
    out = s.process(*paths(GAUGE, "a"), value=STALE_NAN)
    assert is_stale_value(float(out.values[0])), "nobody is left"


def test_what_is_no_number_goes_with_its_member(folding):
    """A sum with NaN or infinity is as they are in PromQL, and is right again afterwards."""
    s = folding
    for value, total in ((math.inf, math.inf), (math.nan, math.nan), (1e300, 1e300), (2, 3)):
        s.now_ms += 1000
        found = s.stored(s.process(*paths(GAUGE, "a", "b"), value=[value, 1]))[other(GAUGE)]
        assert found == total or (found != found and total != total)
    s.process(*paths(COUNTER, "a"), value=1)
    s.now_ms += 1000
    assert s.stored(s.process(*paths(COUNTER, "a"), value=math.nan)) == {other(COUNTER): 0}
    s.now_ms += 1000
    assert s.stored(s.process(*paths(COUNTER, "a"), value=3)) == {other(COUNTER): 2}


def test_several_samples_of_a_member_in_one_batch(folding):
    """They are taken in order of time, and the sum has a sample for each time."""
    s = folding
    refs = s.batch(*paths(COUNTER, "a", "b")).refs
    t = s.now_ms + np.array([3000, 1000, 2000, 2000, 1000])
    given = Batch(refs[[0, 0, 0, 1, 1]], t, np.array([7.0, 1.0, 4.0, 12.0, 10.0]), "test")
    out = s.limits.process(given)
    assert (out.timestamps_ms - s.now_ms).tolist() == [1000, 2000, 3000]
    assert out.values.tolist() == [0, 5, 8]
    assert out.absorbed == 2


def test_a_sum_never_goes_back_in_time(folding):
    """Late samples and those at the same time are in the next sample of the sum; repeated ones change nothing."""
    s = folding
    s.process(*paths(COUNTER, "a", "b"), value=0)
    assert s.stored(s.process(*paths(COUNTER, "a"), value=5, at=2000)) == {other(COUNTER): 5}
    out = s.process(*paths(COUNTER, "b"), value=3, at=2000)
    assert len(out) == 0
    assert out.absorbed == 1
    assert len(s.process(*paths(COUNTER, "b"), value=3, at=2000)) == 0
    assert len(s.process(*paths(COUNTER, "b"), value=2, at=1000)) == 0, "older than what is known of b"
    assert s.stored(s.process(*paths(COUNTER, "a"), value=6, at=3000)) == {other(COUNTER): 9}


def test_histograms_are_folded_bucket_by_bucket(folding):
    """`le` is never folded, and the parts of a histogram keep the same values."""
    s = folding
    both = [*paths("h_bucket", "a", "b", le="+Inf"), *paths("h_sum", "a", "b"), *paths("h_bucket", "kept", le="+Inf")]
    s.process(*both, value=0)
    s.now_ms += 1000
    found = s.stored(s.process(*both, value=[1, 2, 0.5, 0.25, 9]))
    kept = '{__name__="h_bucket", le="+Inf", p="kept"}'
    assert found.pop(next(k for k in found if "kept" in k)) == 9, kept
    assert found == {other("h_bucket", le="+Inf"): 3, other("h_sum"): 0.75}


def test_the_type_is_that_of_the_metadata(folding):
    """It goes before the name; that of the batch before what is stored."""
    s = folding
    s.metadata = {"c": MetricMetadata(MetricType.COUNTER), "g_total": MetricMetadata(MetricType.COUNTER)}
    given = {"g_total": MetricMetadata(MetricType.GAUGE)}
    names = ("c", "g_total")
    for name in names:
        s.process(*paths(name, "kept"))
    series = [p for name in names for p in paths(name, "a")]
    assert s.stored(s.process(*series, value=5, metadata=given)) == {other("c"): 0, other("g_total"): 5}


def test_quantiles_of_summaries_are_left_out(folding):
    """They cannot be added up: they are counted, and nobody is told of an error; sum and count are folded."""
    s = folding
    s.process(*paths("h_sum", "a"), value=1)
    s.now_ms += 1000
    kept = {"__name__": "h", "p": "kept", "quantile": "0.5"}
    out = s.process(kept, {**kept, "p": "a"}, *paths("h_sum", "a"), value=[5, 9, 3])
    assert s.stored(out) == {'h{p="kept", quantile="0.5"}': 5, other("h_sum"): 2}
    assert (out.absorbed, out.refused, out.limits) == (1, {}, ())
    assert s.limits.statistics().refused_samples_total["quantile"] == 1
    assert s.limits.decisions.report()["refused"][0]["of"] == "label p of metric h"


def test_members_that_are_gone_make_room(scene):
    """Beyond `folded_members_max` series are refused; refs of forgotten members mean nobody."""
    s = scene(rules=[RULE], folded_members_max=2, forget_after="1h")
    s.process(*paths(GAUGE, "kept"))
    s.process(*paths(GAUGE, "a", "b"), value=[1, 2])
    kept_too_long = s.batch(*paths(GAUGE, "b", "a"))
    left = s.process(*paths(GAUGE, "c"), value=4)
    assert [h.text for h in left.limits] == ["folded_members_max 2"]
    s.now_ms += HOUR // 2
    s.process(*paths(GAUGE, "kept", "a"), value=1)
    s.now_ms += HOUR // 2 + 120_000
    s.process()
    out = s.process(*paths(GAUGE, "c", "a"), value=[4, 1])
    assert s.stored(out) == {other(GAUGE): 5}
    out = s.limits.process(kept_too_long)
    assert len(out) == 0
    assert s.limits.statistics().forgotten_samples_total == 2


def test_series_that_are_numbered_are_folded_as_well(scene):
    """When a rule comes later, the oldest values stay and the others are folded from their next sample on."""
    s = scene()
    series = paths(GAUGE, "kept", "a", "b")
    s.process(*series)
    s.configure(rules=[RULE])
    found = s.stored(s.process(*series, value=[1, 2, 3]))
    assert list(found.values()) == [1, 5]
    assert other(GAUGE) in found


def test_folded_series_count_like_others(scene):
    """A flood in another label makes no more sums than there is room for."""
    s = scene(rules=[RULE], series_max=5)
    s.process(*paths(GAUGE, "kept"))
    left = s.process(*({"p": "a", "user": str(i)} for i in range(20)))
    assert len(left) == 4
    assert left.refused == {Refused.LIMIT: 16}
    assert s.limits.statistics().series == 5
    assert len(s.process({"p": "b", "user": "0"})) == 0, "the same time: seen with the next sample"
    assert s.limits.statistics().series == 5


def test_a_restart_makes_no_jump(scene):
    """Members begin anew with a baseline; the folded series that is there already is used again, and says since when."""
    s = scene(rules=[RULE])
    s.process(*paths(COUNTER, "kept"))
    s.registry.intern(from_mapping({"__name__": COUNTER, "p": "__other__"}), gated=False)
    out = s.process(*paths(COUNTER, "a"), value=1000)
    assert out.values.tolist() == [0]
    assert out.starts_ms.tolist() == [s.now_ms]


@seed(7)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.sampled_from([0, 1, 2, 5, 9])), max_size=12),
        max_size=6,
    ),
    st.booleans(),
)
def test_sums_are_those_of_a_plain_model(batches, counting):
    """Whatever comes in whatever order, the last sum of each batch is that of a model with one dictionary."""
    from limit_scenes import Scene

    s = Scene(rules=[RULE])
    name = COUNTER if counting else GAUGE
    s.process(*paths(name, "kept"))
    last: dict[int, tuple[int, float]] = {}
    total, newest = 0.0, -1
    for samples in batches:
        members = s.batch(*paths(name, *map(str, range(5)))).refs
        if not samples:
            continue
        m, t, v = (np.array(x) for x in zip(*samples, strict=True))
        out = s.limits.process(Batch(members[m], s.now_ms + t * 1000, v.astype(float), "test"))
        taken = []
        before = dict(last)
        for member, at, value in sorted(samples, key=lambda x: x[1]):
            if at > before.get(member, (-1, 0))[0] and at > last.get(member, (-1, 0))[0]:
                old = last.get(member)
                if old is not None:
                    total += value - old[1] if value >= old[1] else value
                last[member] = (at, value)
                taken.append(at)
        expected = total if counting else sum(value for _, value in last.values())
        if taken and max(taken) > newest:
            newest = max(taken)
            assert out.timestamps_ms[-1] == s.now_ms + newest * 1000
            assert out.values[-1] == expected
        else:
            assert len(out) == 0
