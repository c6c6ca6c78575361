"""A small engine with a clock that tests move, and ways to fill and to read it."""

from __future__ import annotations

import numpy as np

from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import Engine
from tinyobs.storage.options import EngineOptions

BLOCK_MS = 60_000
START_MS = 1_700_000_040_000  # a multiple of the block
OPTIONS = EngineOptions(
    block_ms=BLOCK_MS, retention_ms=3_600_000, wal_file_bytes_max=4096, slice_samples_max=1000, future_ms=600_000
)
EVER = (-(2**62), 2**62)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms=START_MS):
        self.now_ms = now_ms

    def __call__(self):
        return self.now_ms


def labels(name, **more):
    return from_mapping({"__name__": name, **more})


def open_engine(disk, options=OPTIONS, clock=None, registry=None):
    return Engine.open(disk, registry or SeriesRegistry(), options, clock or Clock())


def batch(engine, samples, **more):
    """A batch of (labels, time, value)."""
    refs = engine.registry.intern_many([s[0] for s in samples])
    times = np.array([s[1] for s in samples], np.int64)
    return Batch(refs, times, np.array([s[2] for s in samples], np.float64), **more)


def append(engine, samples):
    """Store (labels, time, value) samples as one batch."""
    return engine.append([batch(engine, samples)])[0]


def contents(engine, matchers=(), mint=EVER[0], maxt=EVER[1]):
    """{labels: [(time, value), ...]} of everything that a querier returns; empty series left out."""
    with engine.querier(mint, maxt) as q:
        selection = q.select(matchers, mint, maxt)
        assert list(selection.labels) == sorted(set(selection.labels))
        columns = selection.read(0, len(selection.labels))
    found = {}
    for i in range(len(columns)):
        series, times, values = columns.one(i)
        assert (np.diff(times) > 0).all(), "times ascend without repetition"
        if len(times):
            found[series] = list(zip(times.tolist(), values.tolist(), strict=True))
    return found


def maintain_all(engine, now_ms):
    """Do background work until there is none; return the number of slices."""
    slices = 0
    while engine.maintain(now_ms):
        slices += 1
        assert slices < 10_000
    return slices
