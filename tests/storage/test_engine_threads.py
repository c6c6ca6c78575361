"""Readers in threads while the writer appends, cuts and merges."""

from __future__ import annotations

import threading

import numpy as np
from engine_cases import BLOCK_MS, OPTIONS, START_MS, Clock, labels, open_engine

from tinyobs.model.batch import Batch
from tinyobs.testing.mem_disk import MemDisk

SERIES = 40
STEPS = 400


def test_readers_see_whole_batches_only():
    """Every view has all series of each batch or none, no gap, and never less than an earlier view."""
    clock = Clock()
    engine = open_engine(MemDisk(), OPTIONS, clock)
    refs = engine.registry.intern_many(labels("m", i=str(i)) for i in range(SERIES))
    done = threading.Event()
    failures = []

    def read():
        seen = 0
        try:
            while True:
                last_round = done.is_set()
                with engine.querier(0, 2**60) as q:
                    selection = q.select([], 0, 2**60)
                    columns = selection.read(0, len(selection.labels))
                counts = np.diff(columns.offsets)
                assert len(counts) in (0, SERIES)
                if len(counts):
                    assert (counts == counts[0]).all()
                    expected = np.tile(np.arange(counts[0], dtype=np.float64), SERIES)
                    assert (columns.values == expected).all()
                    assert counts[0] >= seen
                    seen = counts[0]
                if last_round:
                    assert seen == STEPS
                    return
        except Exception as e:
            failures.append(e)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for t in readers:
        t.start()
    for step in range(STEPS):
        clock.now_ms = START_MS + step * BLOCK_MS // 10
        engine.append([Batch(refs, np.full(SERIES, clock.now_ms), np.full(SERIES, float(step)))])
        engine.maintain(clock.now_ms)
    done.set()
    for t in readers:
        t.join(60)
    assert not failures
    assert engine.statistics().cuts_total > 5
