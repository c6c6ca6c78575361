"""The log of changes against a plain list of them, and what an engine notes in it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tinyobs.model.batch import Batch
from tinyobs.model.matchers import name_is
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage import changes
from tinyobs.storage.changes import ALWAYS_MS, NEVER_MS, ChangeLog
from tinyobs.storage.engine import Engine
from tinyobs.storage.options import EngineOptions
from tinyobs.testing.mem_disk import MemDisk

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize("seed", range(20))
def test_changes_since_a_moment(seed):
    """What is told is never later than the least time of all changes since, and at most a second earlier."""
    rng, log, noted = random.Random(seed), ChangeLog(), []
    for i in range(300):
        first = i * 700 + rng.choice([0, 0, 0, -5_000, -200_000])
        log.note(first)
        noted.append(first)
        number = rng.randrange(0, len(noted) + 1)
        least = min(noted[number:], default=NEVER_MS)
        assert log.since(number) in range(least - 1000, least + 1) if noted[number:] else log.since(number) == NEVER_MS
    assert log.now() == 300


def test_a_long_log_forgets_on_the_safe_side(monkeypatch):
    """Of changes too old to be kept the least time is told, however many there were."""
    monkeypatch.setattr(changes, "KEPT_MAX", 10)
    log = ChangeLog()
    for i in range(100):
        log.note(i * 1000)
    assert log.since(0) == 0
    assert log.since(50) == 0
    assert log.since(95) == 95_000
    assert log.since(100) == NEVER_MS
    log.note(ALWAYS_MS)
    assert log.since(100) == ALWAYS_MS


def engine_with_a_series():
    """Return an engine and the number of a series."""
    registry = SeriesRegistry()
    engine = Engine.open(MemDisk(), registry, EngineOptions(), lambda: NOW_MS)
    return engine, registry.intern_many([(("__name__", "x"),)])


def test_appends_and_deletes_are_noted():
    """A sample is a change from its time on, and so is a delete from its beginning on; what is refused is none."""
    engine, refs = engine_with_a_series()
    before = engine.changes.now()
    engine.append([Batch(refs, np.array([NOW_MS - 5000]), np.ones(1))])
    assert engine.changes.since(before) == NOW_MS - 5000
    before = engine.changes.now()
    engine.append([Batch(refs, np.array([NOW_MS + 10**9]), np.ones(1))])
    assert engine.changes.since(before) == NEVER_MS
    engine.delete([[name_is("x")]], NOW_MS - 60_000, NOW_MS)
    assert engine.changes.since(before) == NOW_MS - 60_000
    engine.close()
