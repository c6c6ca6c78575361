"""Filling an engine with samples that can be told from one another, and reading them through a cursor."""

from __future__ import annotations

import numpy as np
from engine_cases import START_MS, append, labels

from tinyobs.abc import CursorStart
from tinyobs.model.histograms import numbers_of

STEP_MS = 15_000
SERIES = [labels("m", i=str(i)) for i in range(3)]
OLDEST = CursorStart(None)


def rows(begin, end):
    """What `fill` stores, in order."""
    return [
        (s, START_MS + step * STEP_MS + i, float(10 * step + i), 0)
        for step in range(begin, end)
        for i, s in enumerate(SERIES)
    ]


def fill(engine, begin, end, clock=None):
    """Store a batch for each step; the clock goes along."""
    for step in range(begin, end):
        if clock is not None:
            clock.now_ms = max(clock.now_ms, START_MS + step * STEP_MS)
        assert append(engine, rows(step, step + 1)).stored == len(SERIES)
    return rows(begin, end)


fill.rows = rows


def samples_of(engine, logged):
    """(labels, time, value, start time) of each sample of a record."""
    b = logged.batch
    values = b.values.tolist()
    for i in np.flatnonzero(numbers_of(b.values) >= 0).tolist():
        values[i] = b.histograms.one(int(numbers_of(b.values[i : i + 1])[0]))
    since = [0] * len(b) if b.starts_ms is None else b.starts_ms.tolist()
    series = [engine.registry.labels(r) for r in b.refs.tolist()]
    return list(zip(series, b.timestamps_ms.tolist(), values, since, strict=True))


def read_all(engine, cursor, samples_max=7):
    """All samples that there are to be read."""
    found = []
    while records := cursor.read(samples_max):
        found += [row for r in records for row in samples_of(engine, r)]
    return found


def drain(cursor):
    """Read what is left and note that all has been dealt with."""
    while cursor.read(1000):
        pass
    cursor.save(cursor.position)
