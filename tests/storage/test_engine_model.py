"""The engine against a dictionary, under hypothesis."""

from __future__ import annotations

import struct

import attrs
import pytest
from engine_cases import (
    BLOCK_MS,
    OPTIONS,
    START_MS,
    Clock,
    batch,
    contents,
    exemplars_of,
    float_histogram,
    histogram,
    labels,
    maintain_all,
    open_engine,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tinyobs.model.batch import Refused
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import Histogram, ResetHint, pack, stale_histogram
from tinyobs.model.matchers import Matcher, MatchType, equal
from tinyobs.model.staleness import STALE_NAN
from tinyobs.storage.wal_exemplars import encode_labels
from tinyobs.testing.mem_disk import Loss, MemDisk

SERIES = [labels("m", i=str(i), parity="even" if i % 2 == 0 else "odd") for i in range(5)] + [labels("other")]
HISTOGRAMS = [
    histogram(0),
    histogram(1),
    histogram(1, ResetHint.GAUGE),
    float_histogram(1),
    float_histogram(2, custom=True),
]
VALUES = st.sampled_from(
    [0.0, -0.0, 1.0, 2.5, float("nan"), STALE_NAN, float("inf"), 1e300, stale_histogram(), *HISTOGRAMS]
)
STARTS = st.sampled_from([0, 0, START_MS - 7, START_MS])
SAMPLES = st.lists(st.tuples(st.sampled_from(SERIES), st.integers(0, 40), VALUES, STARTS), min_size=1, max_size=30)
TRACES = st.sampled_from([(), (("trace", "a"),), (("trace", "b"), ("span", "c"))])
EXEMPLARS = st.lists(
    st.tuples(st.sampled_from(SERIES), TRACES, st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 40), st.booleans()),
    max_size=5,
)
EXEMPLARS_MAX = 9


def bits(value):
    return pack(value) if isinstance(value, Histogram) else struct.pack("<d", value)


def in_order(exemplar):
    """Return what says which of two exemplars of a series is the later one."""
    _, labels, value, time, _ = exemplar
    return time, value, encode_labels(labels)


def is_repeated(known, exemplar):
    """Tell whether one of the two stands for both; where neither has a time of its own, that of the sample does not matter."""
    (_, *mine, at, has_time), (_, *others, time, has) = known, exemplar
    return mine == others and (at == time or not (has_time or has))


class ExemplarModel:
    """The newest exemplars of all series, as a list."""

    def __init__(self):
        self.kept = []

    def add_all(self, exemplars):
        """Tell what becomes of the exemplars of a batch, which are taken in the order of their times, values and labels."""
        return [self.add(*e) for e in sorted(exemplars, key=in_order)]

    def add(self, series, labels, value, time, has_time):
        """Tell what becomes of an exemplar: True stored, False refused, None ignored."""
        new = series, labels, value, time, has_time
        mine = [e for e in reversed(self.kept) if e[0] == series]
        if mine and (is_repeated(mine[0], new) or in_order(new) < in_order(mine[0])):
            for known in mine:
                if is_repeated(known, new):
                    return None
                if in_order(known) < in_order(new):
                    break
            return False
        self.kept.append(new)
        return True

    def drop_oldest(self):
        """Keep what fits, as is done behind each group."""
        self.kept = self.kept[-EXEMPLARS_MAX:]

    def by_series(self):
        found = {}
        for series, *rest in self.kept:
            found.setdefault(series, []).append(tuple(rest))
        return found


class Machine(RuleBasedStateMachine):
    """Appends, upkeep, restarts and crashes; every time lies within the out-of-order window."""

    last_write_wins = False

    @initialize()
    def begin(self):
        self.clock = Clock(START_MS + 20 * BLOCK_MS)
        self.options = attrs.evolve(OPTIONS, last_write_wins=self.last_write_wins, exemplars_max=EXEMPLARS_MAX)
        self.disk = MemDisk()
        self.model, self.exemplars = {}, ExemplarModel()
        self.engine = open_engine(self.disk, self.options, self.clock)

    def expect(self, samples):
        """Apply samples to the model; return how many are stored."""
        stored = 0
        for series, time, value, since in samples:
            known = self.model.get((series, time))
            if known is None or (known[0] != bits(value) and self.last_write_wins):
                self.model[series, time] = bits(value), since
            if known is None or known[0] == bits(value) or self.last_write_wins:
                stored += 1
        return stored

    @rule(groups=st.lists(st.tuples(SAMPLES, EXEMPLARS), min_size=1, max_size=3))
    def append(self, groups):
        intern = self.engine.registry.intern
        groups = [
            (
                [(s, START_MS + t * 15_000, v, since) for s, t, v, since in samples],
                [(s, labels, v, START_MS + t * 15_000, own) for s, labels, v, t, own in exemplars],
            )
            for samples, exemplars in groups
        ]
        results = self.engine.append(
            [
                batch(self.engine, samples, exemplars=[Exemplar(intern(s), *e) for s, *e in exemplars])
                for samples, exemplars in groups
            ]
        )
        for (samples, exemplars), result in zip(groups, results, strict=True):
            verdicts = self.exemplars.add_all(exemplars)
            assert result.exemplars_stored == verdicts.count(True)
            assert sum(result.exemplars_refused.values()) == verdicts.count(False)
            expected = self.expect(samples)
            assert result.stored == expected
            rest = len(samples) - expected
            assert dict(result.refused) == ({Refused.DUPLICATE: rest} if rest else {})
        self.exemplars.drop_oldest()

    @rule(later=st.integers(0, 3))
    def maintain(self, later):
        self.clock.now_ms += later * 10_000
        maintain_all(self.engine, self.clock.now_ms)

    @rule()
    def maintain_a_little(self):
        self.clock.now_ms += 10_000
        self.engine.maintain(self.clock.now_ms)

    @rule()
    def restart(self):
        self.engine.close()
        self.engine = open_engine(self.disk, self.options, self.clock)

    @rule(loss=st.sampled_from(list(Loss)))
    def crash(self, loss):
        self.disk = self.disk.after_crash(len(self.disk.changes), loss)
        self.engine = open_engine(self.disk, self.options, self.clock)

    @rule(mint=st.integers(0, 40), span=st.integers(0, 20))
    def query(self, mint, span):
        low, high = START_MS + mint * 15_000, START_MS + (mint + span) * 15_000
        for matchers, chosen in (
            ([equal("parity", "odd")], lambda s: ("parity", "odd") in s),
            ([Matcher(MatchType.NOT_EQUAL, "parity", "odd")], lambda s: ("parity", "odd") not in s),
        ):
            got = contents(self.engine, matchers, low, high, starts=True)
            found = {(s, t): (bits(v), since) for s, samples in got.items() for t, v, since in samples}
            assert found == {k: v for k, v in self.model.items() if chosen(k[0]) and low <= k[1] <= high}

    @invariant()
    def everything_is_there(self):
        got = contents(self.engine, starts=True)
        assert {(s, t): (bits(v), since) for s, samples in got.items() for t, v, since in samples} == self.model
        assert exemplars_of(self.engine) == self.exemplars.by_series()
        assert self.engine.statistics().maintenance_failures_total == 0


class LastWriteWins(Machine):
    """The same with the option that replaces values."""

    last_write_wins = True


@pytest.mark.parametrize("machine", [Machine, LastWriteWins])
def test_the_engine_is_a_dictionary(machine):
    """Whatever is appended, cut, merged, restarted or crashed: reading gives what a dictionary would."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
