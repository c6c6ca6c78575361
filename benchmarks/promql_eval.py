"""How fast PromQL evaluates: from arrays in memory, without storage and without encoding.

    python benchmarks/promql_eval.py [--series 20000] [--samples 960] [--repeat 3]

Counters of `--series` series with a sample every 15 s; queries over 241 steps of 60 s, and instant queries over few.
Prints the best CPU time of `--repeat` runs.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tinyobs.abc import Querier, Selection
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.labels import from_mapping
from tinyobs.promql.engine import PromqlEngine

RANGE_QUERIES = (
    "rate(requests_total[5m])",
    "sum(rate(requests_total[5m]))",
    "sum by (job) (rate(requests_total[5m]))",
    "sum by (instance) (requests_total)",
    "max_over_time(requests_total[5m])",
    "avg_over_time(requests_total[5m])",
    "quantile_over_time(0.9, requests_total[5m])",
    "requests_total > 10",
    "topk(5, rate(requests_total[5m]))",
    "requests_total / on(instance, path) requests_total",
)
INSTANT_QUERIES = (
    'requests_total{instance="7"}',
    'rate(requests_total{instance="7"}[5m])',
    'sum by (job) (rate(requests_total{instance="7"}[5m]))',
    'rate(requests_total{instance="7"}[5m]) / on (path) requests_total{instance="7"}',
    "1 + 1",
)


class Arrays(Querier, Selection):
    """One metric in a matrix: a querier and its own selection."""

    def __init__(self, series: int, samples: int) -> None:
        rng = np.random.default_rng(1)
        self.labels = sorted(
            from_mapping(
                {"__name__": "requests_total", "job": f"job{i % 7}", "instance": str(i // 10), "path": f"/p{i % 10}"}
            )
            for i in range(series)
        )
        self.times = np.arange(samples, dtype=np.int64) * 15_000
        self.values = rng.integers(0, 20, (series, samples)).cumsum(axis=1).astype(np.float64)
        resets = rng.integers(0, samples, series)
        for i in range(0, series, 10):
            self.values[i, resets[i] :] -= self.values[i, resets[i]]
        self.rows: dict[str, list[int]] = {}
        for row, labels in enumerate(self.labels):
            self.rows.setdefault(dict(labels)["instance"], []).append(row)
        self.mint_ms, self.maxt_ms = 0, int(self.times[-1])
        self.cut, self.chosen = slice(None), slice(None)

    def querier(self, mint_ms: int, maxt_ms: int) -> Arrays:
        return self

    def select(self, matchers, mint_ms, maxt_ms, check=None) -> Selection:
        found = Arrays.__new__(Arrays)
        found.times, found.values = self.times, self.values
        few = next((m.value for m in matchers if m.name == "instance"), None)
        rows = self.rows[few] if few else None
        found.chosen = slice(None) if rows is None else np.array(rows)
        found.labels = self.labels if rows is None else [self.labels[i] for i in rows]
        found.cut = slice(*np.searchsorted(self.times, (mint_ms, maxt_ms + 1)).tolist())
        return found

    def read(self, first: int, last: int) -> SeriesColumns:
        values = self.values[first:last] if isinstance(self.chosen, slice) else self.values[self.chosen[first:last]]
        values, times = values[:, self.cut], self.times[self.cut]
        offsets = np.arange(len(values) + 1, dtype=np.int64) * len(times)
        return SeriesColumns(self.labels[first:last], offsets, np.tile(times, len(values)), values.ravel())

    def label_names(self, matchers=()) -> list[str]:
        return []

    def label_values(self, name, matchers=()) -> list[str]:
        return []

    def close(self) -> None:
        pass


def best(repeat: int, run) -> float:
    took = []
    for _ in range(repeat):
        started = time.process_time()
        run()
        took.append(time.process_time() - started)
    return min(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=960)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    arrays, engine = Arrays(options.series, options.samples), PromqlEngine()
    end = int(arrays.times[-1])
    for text in RANGE_QUERIES:
        if options.only in text:
            took = best(options.repeat, lambda: engine.range(arrays, text, end - 240 * 60_000, end, 60_000))  # noqa: B023
            print(f"{took * 1e3:10.1f} ms  range    {text}")
    for text in INSTANT_QUERIES:
        if options.only in text:
            took = best(200, lambda: engine.instant(arrays, text, end))  # noqa: B023
            print(f"{took * 1e3:10.3f} ms  instant  {text}")


if __name__ == "__main__":
    main()
