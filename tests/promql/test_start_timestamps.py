"""Start timestamps from the storage engine to results: kept in memory and in segments, seen where an option says so."""

from __future__ import annotations

import pytest
from storage.engine_cases import BLOCK_MS, START_MS, Clock, append, labels, maintain_all, open_engine

from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions
from tinyobs.testing.mem_disk import MemDisk

SEEN = EngineOptions(features=frozenset({"promql-experimental-functions"}), use_start_timestamps=True)
HIDDEN = EngineOptions(features=SEEN.features)
DELTA, PLAIN = labels("c_total", k="delta"), labels("c_total", k="plain")


def engine_of_deltas(clock: Clock):  # type: ignore[no-untyped-def]
    """An engine with a sample each second: a delta since the sample before, and one of unknown start."""
    engine = open_engine(MemDisk(), clock=clock)
    for i in range(1, 11):
        moment = START_MS + 1000 * i
        append(engine, [(DELTA, moment, 2.0, moment - 1000), (PLAIN, moment, 2.0)])
    return engine


@pytest.mark.parametrize("in_segments", [False, True])
def test_starts_reach_functions_of_counters(in_segments: bool) -> None:
    """Deltas are added up and start_timestamp tells since when, from memory as from a segment."""
    clock = Clock()
    engine = engine_of_deltas(clock)
    if in_segments:
        clock.now_ms = START_MS + 5 * BLOCK_MS
        append(engine, [(labels("later"), clock.now_ms, 1.0)])
        maintain_all(engine, clock.now_ms)
        assert engine.statistics().segments > 0
    at = START_MS + 10_000
    promql = PromqlEngine(SEEN)
    assert promql.instant(engine, "increase(c_total[10s])", at).columns.values.tolist() == [20.0, 0.0]
    assert promql.instant(engine, "resets(c_total[5s])", at).columns.values.tolist() == [4.0, 0.0]
    starts = promql.instant(engine, "start_timestamp(c_total)", at).columns.values.tolist()
    assert starts == [(at - 1000) / 1000, 0.0]
    grid = promql.range(engine, "rate(c_total[2s])", at - 2000, at, 1000)
    assert grid.columns.values.tolist() == [2.0] * 3 + [0.0] * 3


def test_starts_are_ignored_unless_asked_for() -> None:
    """Without the option results are those of samples alone, and start_timestamp gives nothing."""
    engine = engine_of_deltas(Clock())
    at = START_MS + 10_000
    promql = PromqlEngine(HIDDEN)
    assert promql.instant(engine, "increase(c_total[10s])", at).columns.values.tolist() == [0.0, 0.0]
    assert len(promql.instant(engine, "start_timestamp(c_total)", at).columns) == 0
