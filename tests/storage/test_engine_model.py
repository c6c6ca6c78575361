"""The engine against a dictionary, under hypothesis."""

from __future__ import annotations

import struct

import attrs
import pytest
from engine_cases import BLOCK_MS, OPTIONS, START_MS, Clock, batch, contents, labels, maintain_all, open_engine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tinyobs.model.batch import Refused
from tinyobs.model.matchers import Matcher, MatchType, equal
from tinyobs.model.staleness import STALE_NAN
from tinyobs.testing.mem_disk import Loss, MemDisk

SERIES = [labels("m", i=str(i), parity="even" if i % 2 == 0 else "odd") for i in range(5)] + [labels("other")]
VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.5, float("nan"), STALE_NAN, float("inf"), 1e300])
SAMPLES = st.lists(st.tuples(st.sampled_from(SERIES), st.integers(0, 40), VALUES), min_size=1, max_size=30)


def bits(value):
    return struct.pack("<d", value)


class Machine(RuleBasedStateMachine):
    """Appends, upkeep, restarts and crashes; every time lies within the out-of-order window."""

    last_write_wins = False

    @initialize()
    def begin(self):
        self.clock = Clock(START_MS + 20 * BLOCK_MS)
        self.options = attrs.evolve(OPTIONS, last_write_wins=self.last_write_wins)
        self.disk = MemDisk()
        self.model = {}
        self.engine = open_engine(self.disk, self.options, self.clock)

    def expect(self, samples):
        """Apply samples to the model; return how many are stored."""
        stored = 0
        for series, time, value in samples:
            known = self.model.get((series, time))
            if known is None or known == bits(value) or self.last_write_wins:
                self.model[series, time] = bits(value)
                stored += 1
        return stored

    @rule(groups=st.lists(SAMPLES, min_size=1, max_size=3))
    def append(self, groups):
        groups = [[(s, START_MS + t * 15_000, v) for s, t, v in samples] for samples in groups]
        results = self.engine.append([batch(self.engine, samples) for samples in groups])
        for samples, result in zip(groups, results, strict=True):
            expected = self.expect(samples)
            assert result.stored == expected
            rest = len(samples) - expected
            assert dict(result.refused) == ({Refused.DUPLICATE: rest} if rest else {})

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
            got = contents(self.engine, matchers, low, high)
            found = {(s, t): bits(v) for s, samples in got.items() for t, v in samples}
            assert found == {k: v for k, v in self.model.items() if chosen(k[0]) and low <= k[1] <= high}

    @invariant()
    def everything_is_there(self):
        got = contents(self.engine)
        assert {(s, t): bits(v) for s, samples in got.items() for t, v in samples} == self.model
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
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
