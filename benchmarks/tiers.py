"""What downsampling tiers cost and give: bytes, time to build, queries over a month from tiers and from raw samples.

    python benchmarks/tiers.py [--series 120] [--days 32] [--directory /tmp/bench-tiers]

Samples 15 s apart: a third counters that grow by Poisson steps, a third gauges with two decimals, a third counters of
seconds and constants.  Everything goes through the engine as if time went by.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from pathlib import Path

import numpy as np

from tinyobs.model.batch import Batch
from tinyobs.model.registry import SeriesRegistry
from tinyobs.promql.engine import PromqlEngine
from tinyobs.storage.engine import Engine, open_directory
from tinyobs.storage.options import DAY_MS, HOUR_MS, EngineOptions, SyncMode

STEP_MS = 15_000
START_MS = 19_676 * DAY_MS
QUERIES = (
    "rate(m_total[1h])",
    "avg_over_time(m_gauge[1h])",
    "max_over_time(m_gauge[1h])",
    "sum(rate(m_total[1h]))",
    "m_gauge",
)


def values(kind: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the samples of a series."""
    if kind == 0:
        return np.cumsum(rng.poisson(rng.lognormal(3, 2), count)).astype(float)
    if kind == 1:
        return np.round(50 + np.cumsum(rng.normal(0, 0.3, count)), 2)
    return np.round(np.cumsum(rng.random(count) * 15), 2) if rng.random() < 0.5 else np.full(count, 3.0)


def fill(engine: Engine, series: int, days: int) -> None:
    """Store the samples, a quarter of a day at a time, and let the engine keep up."""
    rng = np.random.default_rng(7)
    count = days * DAY_MS // STEP_MS
    names = ("m_total", "m_gauge", "m_other")
    labels = [(("__name__", names[i % 3]), ("instance", f"host-{i:05d}:9100"), ("job", "node")) for i in range(series)]
    refs = engine.registry.intern_many(labels)
    every = np.stack([values(i % 3, count, rng) for i in range(series)])
    chunk = DAY_MS // STEP_MS // 4
    for at in range(0, count, chunk):
        times = START_MS + 1 + np.arange(at, at + chunk, dtype=np.int64) * STEP_MS
        engine.append([Batch(np.tile(refs, chunk), np.repeat(times, series), every[:, at : at + chunk].T.reshape(-1))])
        while engine.maintain(int(times[-1])):
            pass


def show_bytes(engine: Engine) -> None:
    """Print what each tier takes."""
    raw = sum(e.bytes for e in engine.segments.entries if not e.tier_ms and e.maxt_ms <= _end(engine))
    samples = sum(e.samples for e in engine.segments.entries if not e.tier_ms and e.maxt_ms <= _end(engine))
    print(f"{'raw':>4}  {raw:>12,} bytes  {raw / samples:.3f} a sample ({samples:,} samples)")
    for width in sorted({e.tier_ms for e in engine.segments.entries} - {0}):
        mine = [e for e in engine.segments.entries if e.tier_ms == width]
        buckets = sum(e.samples for e in mine if e.level == max(x.level for x in mine))
        size = sum(e.bytes for e in mine)
        print(
            f"{width // 60_000:>3}m  {size:>12,} bytes  {size / buckets:.2f} a bucket, {size / raw:.1%} of raw, {len(mine)} segments"
        )


def _end(engine: Engine) -> int:
    return max(e.covers[1] for e in engine.segments.entries if e.covers)


def ask(engine: Engine, days: int) -> None:
    """Print time and samples of queries over all days, by tier."""
    promql = PromqlEngine()
    end = START_MS + (days - 2) * DAY_MS
    for text in QUERIES:
        row = []
        for resolution in (0, 300_000, HOUR_MS):
            took = []
            for _ in range(3):
                began = time.perf_counter()
                found = promql.range(engine, text, START_MS + 2 * HOUR_MS, end, HOUR_MS, resolution_ms=resolution)
                took.append(time.perf_counter() - began)
            row.append(f"{statistics.median(took) * 1000:8.1f} ms {found.statistics.samples_read:>11,}")
        print(f"{text:28}" + " | ".join(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=120)
    parser.add_argument("--days", type=int, default=32)
    parser.add_argument("--directory", type=Path, default=Path("/tmp/bench-tiers"))
    given = parser.parse_args()
    shutil.rmtree(given.directory, ignore_errors=True)
    years = 3650 * DAY_MS
    options = EngineOptions(retention_ms=years, tiers=((300_000, years), (HOUR_MS, years)), sync=SyncMode.NEVER)
    engine = open_directory(given.directory, SeriesRegistry(), lambda: START_MS + given.days * DAY_MS, options)
    try:
        began = time.perf_counter()
        fill(engine, given.series, given.days)
        print(f"stored in {time.perf_counter() - began:.0f} s")
        for kind in ("rollup", "rollup_merge", "merge"):
            cost = engine.upkeep.ledger.of(kind)
            rate = cost.samples_read / max(cost.cpu_seconds, 1e-9) / 1e6
            print(
                f"{kind}: {cost.finished} jobs, {cost.cpu_seconds:.1f} s of CPU, {rate:.1f} M samples/s, longest slice {cost.slice_seconds_max:.2f} s"
            )
        show_bytes(engine)
        print(f"{'over all days, step 1h':28}{'raw: time, samples':>23} | {'5m':>23} | {'1h':>23}")
        ask(engine, given.days)
    finally:
        engine.close()
        shutil.rmtree(given.directory, ignore_errors=True)


if __name__ == "__main__":
    main()
