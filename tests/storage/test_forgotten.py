"""What segments hold counts when the head has forgotten the series, and when the clock is wrong."""

from __future__ import annotations

import numpy as np

from tinyobs.model.batch import Batch, Refused
from tinyobs.model.matchers import name_is
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import Engine
from tinyobs.storage.options import HOUR_MS, EngineOptions
from tinyobs.testing.mem_disk import MemDisk

START_MS = 1000 * HOUR_MS


class Setup:
    """An engine with a clock that the test moves."""

    def __init__(self, **options):
        self.now_ms = START_MS
        self.engine = Engine.open(MemDisk(), SeriesRegistry(), EngineOptions(**options), lambda: self.now_ms)

    def push(self, name, at_ms, value):
        ref = self.engine.registry.intern((("__name__", name),))
        one = Batch(np.array([ref], np.uint32), np.array([at_ms], np.int64), np.array([value]))
        return self.engine.append([one])[0]

    def run_hours(self, count):
        """Let time pass with one live series, maintenance included."""
        for k in range(count):
            self.now_ms += HOUR_MS
            self.push("alive", self.now_ms, float(k))
            self.maintain()

    def maintain(self):
        while self.engine.maintain(self.now_ms):
            pass


def test_a_forgotten_series_keeps_its_values():
    """A series that the head no longer knows is judged by what segments hold: another value is refused."""
    setup = Setup(out_of_order_window_ms=0)
    setup.push("gone", START_MS, 1.0)
    setup.run_hours(30)
    assert setup.engine.segments.maxt_ms > START_MS
    assert setup.push("gone", START_MS, 2.0).refused == {Refused.DUPLICATE: 1}
    assert setup.push("gone", START_MS, 1.0).stored == 1
    assert setup.push("gone", START_MS + 1000, 7.0).stored == 1
    setup.engine.close()


def test_new_series_may_begin_earlier_than_all_that_is_stored():
    """Looking into segments does not refuse history."""
    setup = Setup(retention_ms=24 * 3650 * HOUR_MS)
    setup.run_hours(10)
    assert setup.push("early", 5, 1.0).stored == 1
    setup.engine.close()


def test_a_clock_that_jumps_ahead_empties_nothing():
    """Age counts from the newest segment where the clock is ahead of it."""
    setup = Setup(retention_ms=24 * HOUR_MS)
    setup.run_hours(10)
    setup.now_ms += 24 * 365 * HOUR_MS
    setup.maintain()
    with setup.engine.querier(0, setup.now_ms) as querier:
        assert querier.select([name_is("alive")], 0, setup.now_ms).read(0, 1).samples == 10
    setup.engine.close()
