"""Promises while one thread writes and others read: a batch is seen whole or not at all, and nothing goes away again."""

from __future__ import annotations

import sys
import threading
from typing import Final

import numpy as np

from .scene import EVER, Scene, check_columns, labels, make_batch

SERIES_COUNT: Final = 50
BATCHES: Final = 100
READERS: Final = 2
SWITCH_SECONDS: Final = 2e-4
"""How long a thread runs before another may: so short that they meet in every place."""
READER: Final = "reader of the storage contract"
"""The name of the threads that read: a storage under test can tell them from others of the process."""


def check_concurrency(scene: Scene) -> None:
    """Every batch has a sample of every series, so every view must have as many samples of each."""
    storage, now = scene.storage, scene.now_ms
    series = [labels("c", i=str(i)) for i in range(SERIES_COUNT)]
    batches = [make_batch(storage, [(s, now - BATCHES + i, float(i)) for s in series]) for i in range(BATCHES)]
    done = threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        seen = 0
        try:
            while not done.is_set():
                seen = _read_once(scene, seen)
            _read_once(scene, BATCHES)
        except Exception as e:  # noqa: BLE001 - raised by the thread that waits
            failures.append(e)

    readers = [threading.Thread(target=read, name=READER, daemon=True) for _ in range(READERS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    for reader in readers:
        reader.start()
    try:
        for i, batch in enumerate(batches):
            assert storage.append([batch])[0].stored == SERIES_COUNT, "good samples are stored while others read"
            if i % 10 == 0:
                storage.maintain(now)
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for reader in readers:
            reader.join(60)
    if failures:
        raise failures[0]


def _read_once(scene: Scene, seen: int) -> int:
    """Read everything; return how many batches were there."""
    with scene.storage.querier(*EVER) as querier:
        selection = querier.select([], *EVER)
        count = len(selection.labels)
        columns = selection.read(0, count)
        again = selection.read(0, count)
    check_columns(columns)
    assert count in (0, SERIES_COUNT), "readers see all of a batch or none of it: series"
    counts = np.diff(columns.offsets)
    assert len(set(counts.tolist())) <= 1, "readers see all of a batch or none of it: samples"
    assert np.array_equal(columns.values, again.values), "a selection that is read again has the same samples"
    found = int(counts[0]) if count else 0
    assert found >= seen, "what readers have seen does not go away"
    wanted = np.tile(np.arange(found, dtype=np.float64), count)
    assert np.array_equal(columns.values, wanted), "readers see what was written"
    return found
