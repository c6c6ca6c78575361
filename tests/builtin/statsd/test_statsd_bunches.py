"""Bunches of lines: what they add up to, what of them is refused, and that none costs its neighbours."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.builtin.statsd import bunches
from tinyobs.builtin.statsd.bunches import Bunches, LineCounts
from tinyobs.builtin.statsd.mapper import Mapper
from tinyobs.builtin.statsd.settings import StatsdSettings
from tinyobs.builtin.statsd.state import State
from tinyobs.model.histograms import numbers_of
from tinyobs.model.labels import to_text
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import is_stale
from tinyobs.receiving.mapping.mapping_file import Action, MappingRule

NOW = 1_700_000_000_000


class Statsd:
    """Lines in, samples out."""

    def __init__(self, **options):
        self.settings = StatsdSettings(**options)
        self.registry = SeriesRegistry()
        self.state = State(self.registry, self.settings.series_max, self.settings.set_values_max)
        self.refused, self.first, self.counts = Counter(), {}, LineCounts()
        self.bunches = Bunches(self.state, Mapper(self.settings), self.refuse, self.counts)

    def refuse(self, reason, count, first):
        """Count what is refused, and keep the first line of each reason."""
        self.refused[reason] += count
        self.first.setdefault(reason, first)

    def take(self, *lines, at_ms=NOW):
        """Take lines."""
        self.bunches.take(b"\n".join(lines), at_ms)
        return self

    def batch(self, at_ms=NOW + 10_000):
        """Return the samples of now."""
        return self.state.snapshot(at_ms, at_ms).batch()

    def samples(self, at_ms=NOW + 10_000):
        """Return series -> value, of a histogram its (count, sum)."""
        batch, found = self.batch(at_ms), {}
        for ref, value, number in zip(batch.refs.tolist(), batch.values, numbers_of(batch.values), strict=True):
            if number >= 0:
                histogram = batch.histograms.one(int(number))
                value = (histogram.count, round(histogram.sum, 9))
            found[to_text(self.registry.labels(ref))] = value if isinstance(value, tuple) else float(value)
        return found


@pytest.fixture
def statsd():
    """One with the defaults."""
    return Statsd()


def test_counters_add_up(statsd):
    """Rates and tags are heeded; several values and samples of a line count each."""
    statsd.take(b"a.b:1|c", b"a.b:2|c|@0.1", b"a.b:1|c|#env:prod", b"a.b:1:2|c", b"a.b:5|c:0.5|c").take(b"a.b:1|c\n")
    assert statsd.samples() == {"a_b": 1 + 20 + 3 + 5.5 + 1, 'a_b{env="prod"}': 1.0}
    assert not statsd.refused


def test_gauges_are_set_and_changed_in_order(statsd):
    """The last value counts; a sign changes what there is, from zero in the beginning."""
    statsd.take(b"g:5|g", b"g:+2|g", b"g:-1.5|g", b"h:3|g", b"h:4|g", b"i:-2|g", b"j:1e3|g")
    assert statsd.samples() == {"g": 5.5, "h": 4.0, "i": -2.0, "j": 1000.0}
    statsd.take(b"g:7|g:+1|g", b"h:9|g", b"h:nan|g", b"i:inf|g")
    found = statsd.samples()
    assert (found["g"], found["i"]) == (8.0, float("inf"))
    assert np.isnan(found["h"])
    assert not is_stale(np.array([found["h"]]))[0]


def test_timers_become_histograms(statsd):
    """Milliseconds become seconds, histograms and distributions stay as they are; rates weigh."""
    statsd.take(b"t:320|ms|@0.1", b"t:80|ms", b"h:2|h", b"d:-3|d", b"d:1:2|d|#a:b")
    assert statsd.samples() == {"t": (11, 3.28), "h": (1, 2.0), "d": (1, -3.0), 'd{a="b"}': (2, 3.0)}


def test_classic_histograms():
    """Buckets are cumulative, their bounds written as Prometheus stores them."""
    statsd = Statsd(observer_type="classic", buckets=(0.1, 1.0)).take(b"t:100|ms|@0.5", b"t:750|ms", b"t:3|h|#a:b")
    assert statsd.samples() == {
        't_bucket{le="0.1"}': 2.0,
        't_bucket{le="1.0"}': 3.0,
        't_bucket{le="+Inf"}': 3.0,
        "t_sum": 0.95,
        "t_count": 3.0,
        't_bucket{a="b", le="0.1"}': 0.0,
        't_bucket{a="b", le="1.0"}': 0.0,
        't_bucket{a="b", le="+Inf"}': 1.0,
        't_sum{a="b"}': 3.0,
        't_count{a="b"}': 1.0,
    }


def test_summaries_have_a_window():
    """Quantiles are of the last ten minutes, sum and count of all; without observations they are no number."""
    statsd = Statsd(observer_type="summary", quantiles=(0.5, 0.9))
    statsd.take(*(b"t:%d|h" % i for i in range(1, 101)))
    found = statsd.samples()
    assert found['t{quantile="0.5"}'] == pytest.approx(50, rel=0.003)
    assert found['t{quantile="0.9"}'] == pytest.approx(90, rel=0.003)
    assert (found["t_sum"], found["t_count"]) == (5050.0, 100.0)
    statsd.take(b"t:1000|h", at_ms=NOW + 400_000)
    assert statsd.samples(NOW + 400_000)['t{quantile="0.5"}'] == pytest.approx(51, rel=0.003)
    found = statsd.samples(NOW + 800_000)
    assert found['t{quantile="0.5"}'] == pytest.approx(1000, rel=0.003)
    found = statsd.samples(NOW + 1_200_000)
    assert np.isnan(found['t{quantile="0.5"}'])
    assert (found["t_sum"], found["t_count"]) == (6050.0, 101.0)


def test_sets_count_different_values_of_an_interval():
    """They begin anew each time; beyond the bound values are counted as lost."""
    statsd = Statsd(set_values_max=3).take(b"u:a|s", b"u:b|s", b"u:a|s", b"u:http://x|s", b"v:9|s", b"w:1|c")
    assert statsd.samples() == {"u": 3.0, "v": 0.0, "w": 1.0}
    assert statsd.refused == {"set_limit": 1}
    assert statsd.take(b"v:1|s").samples() == {"u": 0.0, "v": 1.0, "w": 1.0}


def test_start_times_and_metadata(statsd):
    """A counter says since when it counts, a gauge nothing; metadata comes once."""
    statsd.take(b"c:1|c", b"g:1|g", b"t:1|ms")
    batch = statsd.batch()
    names = [to_text(statsd.registry.labels(ref)) for ref in batch.refs.tolist()]
    assert dict(zip(names, batch.starts_ms.tolist(), strict=True)) == {"c": NOW, "g": 0, "t": NOW}
    assert {name: str(m.type) for name, m in batch.metadata.items()} == {"c": "counter", "g": "gauge", "t": "histogram"}
    assert not statsd.batch(NOW + 20_000).metadata
    assert statsd.batch(NOW - 5).starts_ms.max() <= NOW - 5


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"bad", "malformed_line"),
        (b"a:|c", "malformed_value"),
        (b"a:1_0|c", "malformed_value"),
        (b"a: 1|c", "malformed_value"),
        (b"a:.|c", "malformed_value"),
        (b"a:nan|c", "malformed_value"),
        (b"a:inf|ms", "malformed_value"),
        (b"g:1e999|g", "malformed_value"),
        (b"a:-1|c", "illegal_negative_counter"),
        (b"a:1|q", "unknown_type"),
        (b"good:1|g", "conflicting_type"),
        (b"good:1|c|@x", "invalid_sample_factor"),
    ],
)
def test_a_bad_line_costs_no_other(statsd, line, reason):
    """Those around it are taken; it is counted under its reason, each time."""
    for _ in range(2):
        statsd.take(b"good:1|c", line, b"good:2|c", line)
    assert statsd.samples() == {"good": 6.0}
    assert statsd.refused == {reason: 4}
    assert statsd.first == {reason: line}


def test_a_bad_value_makes_no_series(statsd):
    """The first sample of a series is what was sent, not a zero that nobody sent; other values of the line count."""
    statsd.take(b"g:high|g", b"c:-1|c", b"t:nan|ms", b"c:x:2|c", b"m:1|c:x|c:3|c", b"w:1|c:2|q", b"w:1|c:2|g:3|c")
    assert statsd.samples() == {"c": 2.0, "m": 4.0, "w": 4.0}
    assert statsd.refused == {
        "malformed_value": 4,
        "illegal_negative_counter": 1,
        "unknown_type": 1,
        "conflicting_type": 1,
    }
    assert statsd.take(b"g:3|g", b"g:high|g").samples()["g"] == 3.0
    assert statsd.first["malformed_value"] == b"g:high|g"


def test_values_that_become_too_large(statsd):
    """A rate or a scale never makes a counter infinite or a count overflow."""
    statsd.take(b"c:1e300|c|@0.000001", b"h:1|h|@0.000000001", b"h:1|h|@1e-10", b"h:1e308|h|@0.1", b"c:1e308|c|@0.1")
    assert statsd.samples() == {"c": pytest.approx(1e306), "h": pytest.approx((1e9, 1e9))}
    assert statsd.refused == {"malformed_value": 2, "invalid_sample_factor": 1}


def test_long_runs_of_digits(statsd):
    """They are refused in one pass; what would try all ways of parting them would not end."""
    statsd.take(b"a:" + b"1" * 60_000 + b"x|c", b"a:1|c").take(b"a:" + b"1" * 60_000 + b"x|c", b"a:1|c")
    assert statsd.samples() == {"a": 2.0}
    assert statsd.refused == {"malformed_value": 2}


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_line_ends_of_windows(end):
    """They are no part of a line, which is remembered once."""
    statsd = Statsd()
    for i in range(3):
        statsd.take(b"a:1|c:2|c" + end.replace(b"\r", b"\r\n")[:2] + b"b:1|c|T%d" % (1_700_000_000 + i) + end)
    assert statsd.samples() == {"a": 9.0, "b": 3.0}
    assert len(statsd.bunches._pairs.numbers) == 2


@pytest.mark.parametrize(("observer", "label"), [("classic", "le"), ("summary", "quantile")])
def test_tags_with_names_of_labels_that_parts_have(observer, label):
    """They get another name, so that buckets and quantiles stay apart."""
    statsd = Statsd(observer_type=observer).take(
        b"t:1|h|#%s:x" % label.encode(), b"t:1|h", b"c:1|c|#%s:x" % label.encode()
    )
    found = statsd.samples()
    assert found[f't_sum{{exported_{label}="x"}}'] == found["t_sum"] == 1.0
    assert found[f'c{{{label}="x"}}'] == 1.0
    assert len(statsd.batch().refs) == len(set(statsd.batch().refs.tolist()))


def test_names_that_are_taken():
    """A histogram's parts are names, too, while it lives."""
    statsd = Statsd(observer_type="classic").take(b"a.count:1|c", b"a:1|ms", b"b:1|ms", b"b_sum:1|g", b"b:2|c")
    assert statsd.refused == {"conflicting_type": 3}
    assert set(statsd.samples()) >= {"a_count", "b_sum"}
    assert "a_sum" not in statsd.samples()


def test_events_and_service_checks():
    """They are counted and passed over, or become gauges by the setting."""
    lines = (
        b"_e{5,4}:title|te:xt|#a:b",
        b"_sc|Redis up|2|h:web|#env:prod",
        b"_sc|Redis up|0|h:web|#env:prod",
        b"a:1|c",
    )
    statsd = Statsd().take(*lines)
    assert statsd.samples() == {"a": 1.0}
    assert (statsd.counts.events, statsd.counts.service_checks) == (1, 2)
    statsd = Statsd(service_checks=True).take(*lines, b"_sc|x|7", b"_sc|Plain|1")
    checks = 'statsd_service_check{check="Redis up", env="prod", host="web"}'
    assert statsd.samples() == {"a": 1.0, checks: 0.0, 'statsd_service_check{check="Plain"}': 1.0}
    assert statsd.refused == {"malformed_service_check": 1}


def test_mappings_and_labels():
    """Labels of mappings win over tags unless those are honored; those of the settings come last."""
    rules = (
        MappingRule(match="a.*", name="a", labels=(("env", "$1"),), scale=2.0),
        MappingRule(match="b.*", name="b", labels=(("env", "$1"), ("x", "y")), honor_labels=True),
        MappingRule(match="e.*", name="$2"),
        MappingRule(match="d.*", action=Action.DROP),
    )
    statsd = Statsd(mappings=rules, labels=(("env", "none"), ("job", "statsd")))
    statsd.take(b"a.m:3|c|#env:t", b"b.m:1|c|#env:t", b"b.m:1|c", b"c:1|c", b"d.m:1|c", b"d.m:1|c", b"e.m:1|c")
    assert statsd.samples() == {
        'a{env="m", job="statsd"}': 6.0,
        'b{env="t", job="statsd", x="y"}': 1.0,
        'b{env="m", job="statsd", x="y"}': 1.0,
        'c{env="none", job="statsd"}': 1.0,
    }
    assert statsd.counts.dropped == 2
    assert statsd.refused == {"empty_metric_name": 1}


def test_timestamps_do_not_fill_the_memory(statsd):
    """What differs only by the time is remembered once; a broken time is refused."""
    statsd.take(*(b"a:1|c|#x:y|T%d" % (1_700_000_000 + i) for i in range(50)), b"a:1|c|T12x")
    assert statsd.samples() == {'a{x="y"}': 50.0}
    assert statsd.refused == {"malformed_timestamp": 1}
    assert len(statsd.bunches._pairs.numbers) == 1


def test_too_many_series_are_refused_until_there_is_room():
    """Those that are there go on; when some expire others may come."""
    statsd = Statsd(series_max=2, ttl_ms=5000).take(b"a:1|c", b"b:1|c", b"c:1|c", b"c:1|c")
    assert statsd.refused == {"series_limit": 2}
    statsd.take(b"a:1|c", at_ms=NOW + 8000)
    expired = statsd.state.expire(NOW + 9000)
    statsd.bunches.forget(expired)
    statsd.take(b"c:4|c", b"a:1|c", at_ms=NOW + 9000)
    found = statsd.samples()
    assert (found["a"], found["c"]) == (3.0, 4.0)
    assert is_stale(np.array([found["b"]]))[0]
    assert set(statsd.samples()) == {"a", "c"}
    statsd.take(b"b:1|c", at_ms=NOW + 9000)
    assert statsd.refused == {"series_limit": 3}


def test_the_memory_of_pairs_is_bounded(monkeypatch):
    """When it is full it begins anew, and nothing is lost."""
    monkeypatch.setattr(bunches, "PAIRS_MIN", 5)
    statsd = Statsd(series_max=2)
    for i in range(20):
        statsd.take(b"a:1|c|@%d" % (i + 1), b"a:1|c")
    assert len(statsd.bunches._pairs.numbers) <= 7
    assert statsd.samples()["a"] == pytest.approx(20 + sum(1 / (i + 1) for i in range(20)))


GOOD = [b"good:1|c", b"good:1|c|#a:b", b"gauge:5|g", b"timer:5|ms", b"set:x|s", b"multi:1:2|ms|#x:y"]
NOISE = st.binary(max_size=30).filter(lambda b: b"\n" not in b)


@settings(derandomize=True, max_examples=300)
@given(st.lists(st.sampled_from(GOOD) | NOISE, max_size=20), st.integers())
def test_noise_among_lines(lines, seed):
    """Whatever stands among good lines, they are taken; good lines with bytes changed do not break others."""
    statsd, chooser = Statsd(series_max=50), random.Random(seed)
    mutated = []
    for line in lines:
        data = bytearray(line)
        if data and chooser.random() < 0.5:
            data[chooser.randrange(len(data))] = chooser.choice([0, 10, 35, 45, 58, 64, 124, 200])
            mutated.append(bytes(data))
        mutated.append(line)
    statsd.take(*mutated)
    statsd.take(b"good:1|c", b"check_me_8e2:1|c")
    found = statsd.samples()
    assert found["check_me_8e2"] == 1.0
    if "good" in found and not isinstance(found["good"], tuple):
        assert found["good"] >= 1.0
    statsd.batch().histograms and statsd.batch().histograms.validate()
    assert all(count > 0 for count in statsd.refused.values())
