"""TinyObs as a library: write a day of samples, open the directory, and calculate with NumPy what PromQL found.

    python busiest_hours.py [FOLDER]

Without a folder it uses a temporary one.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np

import tinyobs
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import open_directory

DAY_START = 1_767_225_600
"""2026-01-01 00:00:00 UTC, in seconds."""
STEP = 60
HOSTS = ("alpha", "beta")


def write_a_day(folder: str) -> None:
    """Store a counter of requests for two hosts, one sample a minute; beta rests from 3 to 5 o'clock."""
    registry = SeriesRegistry()
    engine = open_directory(folder, registry, lambda: (DAY_START + 86_400) * 1000)
    times = np.arange(DAY_START, DAY_START + 86_400, STEP)
    hour = (times - DAY_START) / 3600
    for number, host in enumerate(HOSTS):
        rate = 50 + 40 * np.sin((hour - 9 + 3 * number) / 24 * 2 * np.pi)
        requests = np.cumsum(rate * STEP)
        there = np.ones(len(times), bool) if host == "alpha" else (hour < 3) | (hour >= 5)
        ref = registry.intern(from_mapping({"__name__": "http_requests_total", "host": host}))
        refs = np.full(int(there.sum()), ref, np.uint32)
        engine.append([Batch(refs, times[there] * 1000, requests[there], "example")])
    engine.close()


def busiest_hours(folder: str) -> list[tuple[str, int, float, int]]:
    """Return (host, busiest hour, requests per second in it, hours without samples) for each host."""
    with tinyobs.open(folder) as db:
        answer = db.query_range(
            "sum by (host) (rate(http_requests_total[1h]))", start=DAY_START + 3600, end=DAY_START + 86_400, step="1h"
        )
        labels, _, matrix = answer.to_numpy()
    found = []
    for series, row in zip(labels, matrix, strict=True):
        best = int(np.nanargmax(row))  # row[i] is the hour that ends at i + 1 o'clock
        found.append((series["host"], best, float(row[best]), int(np.isnan(row).sum())))
    return found


def main(folder: str) -> None:
    """Write, ask and print."""
    write_a_day(folder)
    for host, hour, rate, missing in busiest_hours(folder):
        print(
            f"{host}: busiest from {hour}:00 to {hour + 1}:00 with {rate:.1f} requests/s; {missing} hours without data"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)
