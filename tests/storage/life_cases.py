"""What the tests of deletes, imports, snapshots and retention share."""

from __future__ import annotations

import numpy as np
from engine_cases import START_MS, append, histogram, labels

from tinyobs.model.matchers import equal
from tinyobs.model.ragged import offsets_of
from tinyobs.storage.runs import Runs
from tinyobs.storage.segment_writer import SegmentWriter
from tinyobs.testing.mem_disk import Loss

A, B, C = labels("a"), labels("b"), labels("c")
NOW = START_MS


def only(name):
    """Matcher sets for one metric."""
    return [[equal("__name__", name)]]


def without(stored, series, mint=-(2**62), maxt=2**62):
    """What is left of `contents` after a delete."""
    left = {s: [x for x in found if s != series or not mint <= x[0] <= maxt] for s, found in stored.items()}
    return {s: found for s, found in left.items() if found}


def fill(engine, clock, first, last, step_ms=10_000):
    """Append a sample of A, B (with start times) and C (every other one a native histogram) for each step."""
    for i in range(first, last):
        clock.now_ms = now = NOW + i * step_ms
        third = histogram(i) if i % 2 else float(200 + i)
        append(engine, [(A, now, float(i)), (B, now, float(100 + i), NOW - 1000), (C, now, third)])


def write_segment(disk, name, series):
    """Write a finished segment file as an importer does; series: {labels: [(time, value), ...]}."""
    writer = SegmentWriter(disk, name, level=0)
    ordered = sorted(series)
    samples = [x for s in ordered for x in series[s]]
    runs = Runs(
        offsets_of(np.array([len(series[s]) for s in ordered])),
        np.array([t for t, _ in samples], np.int64),
        np.array([v for _, v in samples], np.float64),
    )
    writer.add(runs.columns(ordered))
    return writer.finish()


def losses(disk, first, last=None, share=1):
    """Yield (number of changes, loss) for every crash from a change on; few within the writing of one segment.

    share: each number of changes meets only one loss in so many, and every loss meets some numbers.
    """
    for count in range(first, (len(disk.changes) if last is None else last) + 1):
        around = disk.changes[max(0, count - 1) : count + 1]
        inside = len({(c.method, c.name) for c in around}) == 1 and around[0].name.startswith("segments/")
        if not inside or count % 10 == 0:
            yield from ((count, loss) for i, loss in enumerate(Loss) if (i + count) % share == 0)
