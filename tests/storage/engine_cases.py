"""A small engine with a clock that tests move, and ways to fill and to read it."""

from __future__ import annotations

import numpy as np

from tinyobs.model.batch import Batch
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import Histogram, ResetHint, handles, histograms_of, numbers_of
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
    """A batch of (labels, time, value) or (labels, time, value, start time); a value may be a `Histogram`."""
    refs = engine.registry.intern_many([s[0] for s in samples])
    times = np.array([s[1] for s in samples], np.int64)
    own = [s[2] for s in samples if isinstance(s[2], Histogram)]
    values = np.array([0.0 if isinstance(s[2], Histogram) else s[2] for s in samples], np.float64)
    values[[isinstance(s[2], Histogram) for s in samples]] = handles(0, len(own))
    starts = np.array([s[3] if len(s) > 3 else 0 for s in samples], np.int64)
    table = histograms_of(own) if own else None
    return Batch(refs, times, values, histograms=table, starts_ms=starts if starts.any() else None, **more)


def append(engine, samples, exemplars=(), **more):
    """Store samples as one batch, with exemplars (labels of the series, labels, value, time[, has time])."""
    made = [Exemplar(engine.registry.intern(e[0]), *e[1:]) for e in exemplars]
    return engine.append([batch(engine, samples, exemplars=made, **more)])[0]


def contents(engine, matchers=(), mint=EVER[0], maxt=EVER[1], starts=False):
    """{labels: [(time, value), ...]} of everything that a querier returns; empty series left out.

    A native histogram is a `Histogram`.  starts: (time, value, start time).
    """
    with engine.querier(mint, maxt) as q:
        selection = q.select(matchers, mint, maxt)
        assert list(selection.labels) == sorted(set(selection.labels))
        columns = selection.read(0, len(selection.labels))
    numbers = numbers_of(columns.values)
    values = columns.values.tolist()
    for i in np.flatnonzero(numbers >= 0).tolist():
        values[i] = columns.histograms.one(int(numbers[i]))
    since = [0] * len(values) if columns.starts_ms is None else columns.starts_ms.tolist()
    found = {}
    for i in range(len(columns)):
        series, times, _ = columns.one(i)
        assert (np.diff(times) > 0).all(), "times ascend without repetition"
        if len(times):
            at = slice(int(columns.offsets[i]), int(columns.offsets[i + 1]))
            rows = (times.tolist(), values[at], since[at]) if starts else (times.tolist(), values[at])
            found[series] = list(zip(*rows, strict=True))
    return found


def exemplars_of(engine, matchers=(), mint=EVER[0], maxt=EVER[1]):
    """{labels: [(labels, value, time, has time), ...]} of all exemplars."""
    found = engine.exemplars([matchers], mint, maxt)
    return {s.series: [(e.labels, e.value, e.timestamp_ms, e.has_time) for e in s.exemplars] for s in found}


def histogram(k=0, hint=ResetHint.UNKNOWN):
    """A small integer histogram that differs with k."""
    return Histogram(
        3, 1e-128, 1, 6 + 2 * k, 2.5 * k, ((0, 2), (3, 1)), (2, 2 + k, 1 + k), reset_hint=hint, is_integer=True
    )


def float_histogram(k=0.0, custom=False):
    """A small float histogram that differs with k."""
    if custom:
        return Histogram(-53, 0.0, 0.0, 3.0 + k, k, ((0, 3),), (1.0, 2.0, k), custom_values=(0.1, 2.0))
    return Histogram(0, 0.001, 0.5, 4.0 + k, -k, ((1, 1),), (2.5 + k,), ((-2, 1),), (1.0,))


def maintain_all(engine, now_ms):
    """Do background work until there is none; return the number of slices."""
    slices = 0
    while engine.maintain(now_ms):
        slices += 1
        assert slices < 10_000
    return slices
