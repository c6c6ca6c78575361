"""Points per second of writing query results as JSON.

Usage: python benchmarks/json_results.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from tinyobs.exposition import json
from tinyobs.model.columns import SeriesColumns

SERIES, STEPS = 2000, 240


def columns(values: np.ndarray) -> SeriesColumns:
    series, steps = values.shape
    times = np.tile(1_700_000_000_000 + np.arange(steps) * 15_000, series)
    labels = [
        (("__name__", "m"), ("cpu", str(i % 64)), ("instance", f"host-{i}:9100"), ("job", "node"))
        for i in range(series)
    ]
    return SeriesColumns(labels, np.arange(series + 1) * steps, times, values.ravel())


def measure(name: str, found: SeriesColumns, write: Callable[[SeriesColumns], Iterator[str]]) -> None:
    best, size = float("inf"), 0
    for _ in range(3):
        started = time.process_time()
        size = sum(map(len, write(found)))
        best = min(best, time.process_time() - started)
    print(f"{name:36} {found.samples / best / 1e6:6.2f} M points/s {size / best / 1e6:6.0f} MB/s")


def main() -> None:
    random = np.random.default_rng(1)
    shape = (SERIES, STEPS)
    noise = random.random(shape)
    measure("matrix, 17 digits", columns(noise * 100), json.matrix)
    measure("matrix, integers", columns(random.integers(0, 10**9, shape).astype(float)), json.matrix)
    measure("matrix, two decimals", columns(np.round(noise * 100, 2)), json.matrix)
    measure("matrix, some very small", columns(np.where(noise < 0.05, 1e-5, noise)), json.matrix)
    measure("vector of 100 000 series", columns(random.random((100_000, 1))), json.vector)


if __name__ == "__main__":
    main()
