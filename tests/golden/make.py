"""Makes the golden directory of the current format: `python tests/golden/make.py FOLDER`.

Everything is fixed: clock, samples, order of calls.  See README.md for when to run it, which is hardly ever.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from golden.content import bits, plain_content, plain_histogram

from tinyobs.codec.framing import Frame, frames
from tinyobs.model.batch import Batch
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import Histogram, ResetHint, handles, histograms_of
from tinyobs.model.labels import Labels, from_mapping
from tinyobs.model.matchers import equal
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN
from tinyobs.storage.engine import Engine
from tinyobs.storage.manifest import read_manifest
from tinyobs.storage.options import DAY_MS, HOUR_MS, EngineOptions
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.posix_disk import PosixDisk
from tinyobs.storage.segment_reader import SegmentReader
from tinyobs.storage.wal_format import FILE_HEADER, RecordType

START_MS = 19_675 * DAY_MS
NOW_MS = START_MS + 3 * DAY_MS
OPTIONS = EngineOptions(
    retention_ms=400 * DAY_MS,
    block_ms=6 * HOUR_MS,
    tiers=((300_000, 4000 * DAY_MS), (HOUR_MS, 8000 * DAY_MS)),
    out_of_order_window_ms=10 * DAY_MS,
    wal_file_bytes_max=16_384,
)
"""What the directory is opened with, by its test too."""
STEP_MS = 20 * 60_000
Row = tuple[Labels, int, "float | Histogram", int]


class Clock:
    """Stands still until it is moved."""

    now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms


def labels(name: str, **more: str) -> Labels:
    return from_mapping({"__name__": name, **more})


GAUGE, COUNTER = labels("temperature", place="Küche"), labels("requests_total", code="200")
ODD, MIXED = labels("odd_values"), labels("mixed")
INTEGER, FLOAT, CUSTOM = labels("latency_seconds"), labels("rates", kind="float"), labels("sizes")


STEPS = 206
LATE: list[Row] = [(GAUGE, START_MS + 60 * STEP_MS + 1, -1.5, 0)]
"""Out of order, beside what is in segments."""
DELETES = [
    (("odd_values",), START_MS, START_MS + 9 * HOUR_MS),
    (("latency_seconds", "requests_total"), START_MS + DAY_MS, START_MS + 26 * HOUR_MS),
    (("mixed",), START_MS + 185 * STEP_MS, START_MS + 193 * STEP_MS),
]
"""Names of metrics, first and last time."""


def integer_histogram(k: int) -> Histogram:
    hint = ResetHint.NO if k % 5 else ResetHint.YES
    spans, buckets = ((0, 2), (3, 1)), (2 + k, 1, k % 3)
    return Histogram(3, 1e-128, 1, 1 + sum(buckets), 2.5 * k, spans, buckets, reset_hint=hint, is_integer=True)


def float_histogram(k: int) -> Histogram:
    positive, negative = (0.5 + k / 8,), (1.25, k / 4)
    count = 0.75 + sum(positive) + sum(negative)
    return Histogram(0, 0.001, 0.75, count, -k / 2, ((1, 1),), positive, ((-2, 2),), negative, (), ResetHint.GAUGE)


def custom_histogram(k: int) -> Histogram:
    bounds = (0.1, 2.0) if k % 4 < 2 else (0.1, 2.5)
    buckets = (1.5 + k, 2.0, float(k % 7))
    return Histogram(-53, 0.0, 0.0, sum(buckets), k / 4, ((0, 3),), buckets, custom_values=bounds)


def rows_of(i: int) -> list[Row]:
    """Return the samples of step `i`."""
    at = START_MS + i * STEP_MS
    odd = [math.inf, -math.inf, -0.0, 5e-324, 0.1 + 0.2, STALE_NAN, math.nan, 1e308]
    rows: list[Row] = [
        (GAUGE, at, round(20 + 3 * math.sin(i / 10), 1), 0),
        (COUNTER, at + 7, float(17 * i if i < 100 else 13 * (i - 100)), START_MS - 1000 if i < 100 else at - 5),
    ]
    if i % 9 == 0:
        rows.append((ODD, at, odd[i // 9 % len(odd)], 0))
    if i % 6 == 0:
        k = i // 6
        rows.append((INTEGER, at, integer_histogram(k), START_MS - 1000))
        rows.append((FLOAT, at, float_histogram(k), 0))
        rows.append((CUSTOM, at, custom_histogram(k), 0))
        rows.append((MIXED, at, integer_histogram(k) if k % 2 else float(k), 0))
    return rows


def append(engine: Engine, rows: list[Row], exemplars: list[Exemplar], metadata: dict[str, MetricMetadata]) -> None:
    """Store samples as one batch."""
    own = [r[2] for r in rows if isinstance(r[2], Histogram)]
    values = np.array([0.0 if isinstance(r[2], Histogram) else r[2] for r in rows], np.float64)
    values[[isinstance(r[2], Histogram) for r in rows]] = handles(0, len(own))
    starts = np.array([r[3] for r in rows], np.int64)
    batch = Batch(
        engine.registry.intern_many([r[0] for r in rows]),
        np.array([r[1] for r in rows], np.int64),
        values,
        metadata=metadata,
        histograms=histograms_of(own) if own else None,
        starts_ms=starts if starts.any() else None,
        exemplars=exemplars,
    )
    (result,) = engine.append([batch])
    assert result.stored == len(rows), result
    assert result.exemplars_stored == len(exemplars)


def step(engine: Engine, clock: Clock, i: int) -> None:
    """Live through step `i`."""
    clock.now_ms = START_MS + i * STEP_MS
    ref = engine.registry.intern(INTEGER)
    exemplars = [Exemplar(ref, (("trace_id", f"{i:04x}"),), i / 4, clock.now_ms, i % 12 == 0)] if i % 6 == 0 else []
    metadata = {}
    if i == 0:
        metadata = {"requests_total": MetricMetadata(MetricType.COUNTER, "Requests served.", "")}
    if i == 190:
        metadata = {"latency_seconds": MetricMetadata(MetricType.HISTOGRAM, "How long: “ü”.", "seconds")}
    append(engine, rows_of(i), exemplars, metadata)


def maintain(engine: Engine, now_ms: int) -> None:
    while engine.maintain(now_ms):
        pass


def registry() -> SeriesRegistry:
    """Return a registry that knows all series: replay numbers them in an order that differs from run to run."""
    known = SeriesRegistry()
    for one in (GAUGE, COUNTER, ODD, MIXED, INTEGER, FLOAT, CUSTOM):
        known.intern(one)
    return known


def delete(engine: Engine, number: int) -> None:
    names, first, last = DELETES[number]
    engine.delete([[equal("__name__", name)] for name in names], first, last)


def fill(folder: Path) -> None:
    """Two days in segments and tiers, deletes that wait, then two sessions of the log."""
    clock = Clock()
    engine = Engine.open(PosixDisk(folder), registry(), OPTIONS, clock)
    for i in range(172):
        step(engine, clock, i)
        if i % 20 == 19 or i == 171:
            maintain(engine, clock.now_ms)
    delete(engine, 0)
    delete(engine, 1)
    for i in range(172, 188):
        step(engine, clock, i)
        if i == 184:
            maintain(engine, clock.now_ms)  # a cut, whose manifest lists the deletes; cleaning waits for a minute
    engine.close()
    engine = Engine.open(PosixDisk(folder), registry(), OPTIONS, clock)
    for i in range(188, STEPS):
        step(engine, clock, i)
        if i == 200:
            delete(engine, 2)
    append(engine, LATE, [], {})
    engine.close()


def expected_series() -> list[dict[str, Any]]:
    """Return what the samples and deletes of `fill` must give, worked out without the engine."""
    stored: dict[Labels, dict[int, list[Any]]] = {}
    for series, at, value, start in [*(row for i in range(STEPS) for row in rows_of(i)), *LATE]:
        plain = plain_histogram(value) if isinstance(value, Histogram) else bits(value)
        stored.setdefault(series, {})[at] = [at, plain, start]
    for names, first, last in DELETES:
        for series, samples in stored.items():
            if dict(series)["__name__"] in names:
                stored[series] = {t: v for t, v in samples.items() if not first <= t <= last}
    return [{"labels": dict(s), "samples": [v for _, v in sorted(stored[s].items())]} for s in sorted(stored)]


def record_types(folder: Path) -> set[int]:
    """Return the types of all records in the log."""
    found = set()
    for path in sorted((folder / "wal").iterdir()):
        for frame in frames(memoryview(path.read_bytes()), FILE_HEADER.size):
            assert isinstance(frame, Frame)
            found.add(frame.type)
    return found


def damages(folder: Path) -> list[dict[str, Any]]:
    """Return edits that damage the directory, each with what has to be said of it."""
    disk = PosixDisk(folder)
    manifest = read_manifest(disk)
    assert manifest is not None
    raw = next(e for e in manifest.segments if not e.tier_ms and e.samples > 100)
    segment = f"segments/{raw.sequence:08d}.seg"
    log = f"wal/{manifest.wal_first:08d}"
    last = f"wal/{disk.list('wal')[-1]}"
    page = int(SegmentReader(disk, segment, PageCache()).pages.offsets[0])
    size, end = disk.size(segment), disk.size(log)
    at = next(f.start for f in frames(memoryview(disk.read(log)), FILE_HEADER.size) if isinstance(f, Frame))
    newer = struct.pack("<I", 99).hex()
    return [
        {
            "name": "page",
            "file": segment,
            "edits": [[page + 40, "ff00ff"]],
            "offset": page,
            "says": "checksum does not fit",
        },
        {"name": "footer", "file": segment, "edits": [[size - 30, "00ff"]], "says": "footer does not fit its checksum"},
        {"name": "segment cut", "file": segment, "cut": size - 1, "offset": 0, "says": "the end is missing"},
        {
            "name": "log record",
            "file": log,
            "edits": [[at + 15, "deadbeef"]],
            "offset": at,
            "says": "checksum mismatch",
        },
        {"name": "log header", "file": log, "edits": [[10, "77"]], "offset": 0, "says": "not a log file"},
        {"name": "log cut below what was durable", "file": log, "cut": end // 2, "says": "lo"},
        {
            "name": "manifest",
            "file": "MANIFEST",
            "edits": [[12, "39"]],
            "offset": 0,
            "says": "its checksum does not fit",
        },
        {
            "name": "newer segment",
            "file": segment,
            "edits": [[8, newer], [size - 16, newer]],
            "newer": "segment format 99",
        },
        {"name": "torn tail", "file": last, "append": "4000000011223344", "torn": disk.size(last)},
    ]


def make(folder: Path) -> None:
    """Make the directory, what it holds, and the ways to damage it."""
    data = folder / "data"
    assert not data.exists(), f"{data} is there already; released golden directories are never made again"
    fill(data)
    (data / "LOCK").unlink()
    types = record_types(data)
    wanted = {t.value for t in RecordType} - {RecordType.CURSOR}
    assert types == wanted, f"the log lacks {wanted - types}"
    manifest = read_manifest(PosixDisk(data))
    assert manifest is not None
    assert len(manifest.deletes) == 2
    assert {e.tier_ms for e in manifest.segments} == {0, 300_000, HOUR_MS}
    (folder / "damage.json").write_text(json.dumps(damages(data), indent=1) + "\n")
    clock = Clock()
    clock.now_ms = NOW_MS
    engine = Engine.open(PosixDisk(data), SeriesRegistry(), OPTIONS, clock)  # only to read: it adds an empty log file
    content = plain_content(engine)
    assert content["series"] == expected_series()
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (folder / "content.json").write_text(text.replace('{"labels"', '\n{"labels"') + "\n")
    engine.close()
    for path in sorted((data / "wal").iterdir())[-1:]:
        path.unlink()
    (data / "LOCK").unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
