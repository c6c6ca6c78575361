"""What the storage engine costs without HTTP: appends, replay, memory, queries.

    python benchmarks/engine.py [--series 100000] [--intervals 40] [--directory /tmp/bench-engine]

Batches of 2000 series, one sample each, 15 s apart; values as a node exporter has them: counters, gauges, constants.
Figures are per core; the directory should be on a real disk, as every batch is fsynced.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from pathlib import Path

import numpy as np

from tinyobs.model.batch import Batch
from tinyobs.model.matchers import equal, name_is
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import Engine, open_directory
from tinyobs.storage.options import EngineOptions

BATCH = 2000
NOW_MS = 1_700_000_000_000


def rss_mb() -> float:
    with Path("/proc/self/statm").open() as f:
        return int(f.read().split()[1]) * resource.getpagesize() / 1e6


def labels(i: int) -> tuple[tuple[str, str], ...]:
    host, metric = divmod(i, 500)
    return (
        ("__name__", f"node_metric_{metric // 8:02d}_total"),
        ("cpu", str(metric % 8)),
        ("env", "prod" if host % 3 else "dev"),
        ("instance", f"host-{host:05d}.example.com:9100"),
        ("job", "node"),
        ("mode", ("idle", "user", "system", "iowait")[metric % 4]),
        ("rack", f"r{host % 40:02d}"),
        ("region", ("eu-west-1", "us-east-1", "ap-south-1")[host % 3]),
    )


def columns(series: int, intervals: int) -> np.ndarray:
    """Return float64 [intervals, series]."""
    rng = np.random.default_rng(7)
    out = np.empty((intervals, series))
    steps = rng.poisson(rng.lognormal(4, 2, series).clip(0, 1e6), (intervals, series))
    out[:] = np.cumsum(steps, 0) + rng.integers(0, 10**9, series)
    third = series // 3
    out[:, :third] = np.round(np.cumsum(rng.random((intervals, third)) * 15, 0), 2)
    out[:, third : third + third // 2] = rng.integers(0, 3, third // 2)
    return out


def ingest(engine: Engine, refs: np.ndarray, values: np.ndarray, first_ms: int) -> None:
    for k, row in enumerate(values):
        times = np.full(len(refs), first_ms + k * 15_000)
        for a in range(0, len(refs), BATCH):
            b = a + BATCH
            engine.append([Batch(refs[a:b], times[a:b], row[a:b])])
        engine.maintain(first_ms + k * 15_000)


def query(engine: Engine, first_ms: int) -> None:
    for what, matchers in (
        (
            "one series",
            [name_is("node_metric_07_total"), equal("instance", "host-00003.example.com:9100"), equal("cpu", "3")],
        ),
        ("one host", [equal("instance", "host-00003.example.com:9100")]),
        ("one metric", [name_is("node_metric_07_total")]),
    ):
        for again in ("first", "again"):
            began = time.perf_counter()
            with engine.querier(first_ms, NOW_MS) as q:
                selection = q.select(matchers, first_ms, NOW_MS)
                got = selection.read(0, len(selection.labels))
            print(
                f"query {what} ({again}): {len(got)} series, {got.samples} samples: {(time.perf_counter() - began) * 1e3:.1f} ms"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--intervals", type=int, default=40)
    parser.add_argument("--directory", default="/tmp/bench-engine")
    options = parser.parse_args()
    shutil.rmtree(options.directory, ignore_errors=True)
    print(f"start: RSS {rss_mb():.0f} MB")
    registry = SeriesRegistry()
    began = time.perf_counter()
    refs = registry.intern_many(labels(i) for i in range(options.series))
    print(f"register {len(refs)} series: {time.perf_counter() - began:.2f} s, RSS {rss_mb():.0f} MB")
    values = columns(options.series, options.intervals)
    own_mb = values.nbytes / 1e6
    first_ms = NOW_MS - options.intervals * 15_000
    engine = open_directory(options.directory, registry, lambda: NOW_MS, EngineOptions())
    began, cpu = time.perf_counter(), time.process_time()
    ingest(engine, refs, values, first_ms)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    samples = values.size
    statistics = engine.statistics()
    print(
        f"append {samples} samples: {samples / wall:,.0f}/s wall, {samples / cpu:,.0f} per CPU second,"
        f" fsync {statistics.wal_fsync_seconds_total:.2f} s of {wall:.2f} s"
    )
    print(
        f"log {statistics.wal_written_bytes_total / samples:.2f} B/sample,"
        f" head {statistics.head_chunk_bytes / max(1, statistics.head_samples):.2f} B/sample sealed,"
        f" RSS {rss_mb() - own_mb:.0f} MB without the workload's own {own_mb:.0f} MB,"
        f" peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - own_mb:.0f} MB"
    )
    query(engine, first_ms)
    print(f"with the index: RSS {rss_mb() - own_mb:.0f} MB")
    engine.close()
    began = time.perf_counter()
    engine = open_directory(options.directory, SeriesRegistry(), lambda: NOW_MS, EngineOptions())
    print(f"replay {engine.statistics().replay_samples} samples: {time.perf_counter() - began:.2f} s")
    engine.close()
    shutil.rmtree(options.directory)


if __name__ == "__main__":
    main()
