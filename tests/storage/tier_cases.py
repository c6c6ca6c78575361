"""An engine with tiers of a few days, and the same questions to tiers and to raw samples."""

from __future__ import annotations

import attrs
import numpy as np
from engine_cases import Clock, batch, labels, maintain_all

from tinyobs.model.registry import SeriesRegistry
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions as QueryOptions
from tinyobs.storage.engine import Engine
from tinyobs.storage.options import DAY_MS, HOUR_MS, EngineOptions

MINUTE_MS = 60_000
FIVE_MS = 5 * MINUTE_MS
DAY0_MS = 19_675 * DAY_MS
OPTIONS = EngineOptions(
    block_ms=6 * HOUR_MS,
    retention_ms=400 * DAY_MS,
    tiers=((FIVE_MS, 4000 * DAY_MS), (HOUR_MS, 8000 * DAY_MS)),
    out_of_order_window_ms=1000 * DAY_MS,
)
FEATURES = frozenset(("promql-extended-range-selectors", "promql-experimental-functions"))


def open_tiered(disk, options=OPTIONS, clock=None):
    return Engine.open(disk, SeriesRegistry(), options, clock or Clock(DAY0_MS))


def load(engine, series, clock, *, width_ms=DAY_MS):
    """Store {name: [(time, value)]} as if time went by, maintaining as it does."""
    points = sorted((t, name, v) for name, row in series.items() for t, v in row)
    at = 0
    while at < len(points):
        end = points[at][0] + width_ms
        some = []
        while at < len(points) and points[at][0] < end:
            some.append(points[at])
            at += 1
        clock.now_ms = max(clock.now_ms, some[-1][0])
        result = engine.append([batch(engine, [(labels(n, s=n), t, v) for t, n, v in some])])[0]
        assert not result.refused
        maintain_all(engine, clock.now_ms)


def days(values, step_ms=MINUTE_MS, start_ms=DAY0_MS + 1):
    """Samples with these values, evenly from the beginning of the first day."""
    return [(start_ms + i * step_ms, float(v)) for i, v in enumerate(values)]


def ask(engine, text, start_ms, end_ms, step_ms, **more):
    """A range query: ({labels: {time: value}}, result)."""
    result = PromqlEngine(QueryOptions(features=FEATURES)).range(engine, text, start_ms, end_ms, step_ms, **more)
    return points_of(result), result


def ask_at(engine, text, at_ms, **more):
    """An instant query: ({labels: {time: value}}, result)."""
    result = PromqlEngine(QueryOptions(features=FEATURES)).instant(engine, text, at_ms, **more)
    return points_of(result), result


def points_of(result):
    found = {}
    for i in range(len(result.columns)):
        series, times, values = result.columns.one(i)
        found[series] = dict(zip(times.tolist(), values.tolist(), strict=True))
    return found


def tiers_of(engine):
    return sorted({(e.tier_ms, e.level) for e in engine.segments.entries if e.tier_ms})


def assert_close(got, want, rtol=1e-9):
    assert got.keys() == want.keys()
    for series in want:
        assert got[series].keys() == want[series].keys(), series
        a = np.array(list(got[series].values()))
        b = np.array([want[series][t] for t in got[series]])
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)


def without_raw(engine):
    """Drop all raw segments, as if they had expired."""
    gone = [e for e in engine.segments.entries if not e.tier_ms]
    engine.segments.replace(gone, (), engine.publish)


def with_options(options=OPTIONS, **more):
    return attrs.evolve(options, **more)
